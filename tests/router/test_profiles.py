"""The profile of the router's pipeline: followed while it runs, without forgetting what it saw."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.manifest.profile_text import profile_text
from tests.router.conftest import Town, until

from tridentserve import errors
from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.pipeline import StageSpec
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.base import Object
from tridentserve.manifest.profile_choice import BuiltinProfile, ConfigMapKey, ProfileChoice
from tridentserve.manifest.profile_files import builtin, parse
from tridentserve_router.costs import Call, Costs

D = Stage.DIFFUSE
SHAPE, STEPS = Shape(height=64, width=64), 4
OTHER = Shape(height=128, width=128)
OWN = ProfileChoice(config_map_ref=ConfigMapKey(name="own"))
SD3 = ProfileChoice(name=BuiltinProfile.SD3)
LARGEST = dict.fromkeys(STAGES, 100)


def on_gpus(town: Town) -> tuple[StageSpec, ...]:
    """The stages, each on a whole GPU."""
    return tuple(
        replace(one, sharing=Sharing.EXCLUSIVE, devices_per_worker=1) for one in town.spec.stages
    )


def told(town: Town, shape: Shape = SHAPE) -> float | None:
    """Seconds of diffuse as the router expects them."""
    found = town.router.core.cost.estimate(D, shape, STEPS, 100)
    return None if found is None else found.mean_s


def step_s(text: str) -> float:
    """Seconds of a whole diffuse at the one shape of a file."""
    (found,) = (one for one in parse(text, "x").samples if one.stage is D and one.batch == 1)
    return found.fixed_s + STEPS * found.step_s


async def test_a_built_in_profile_tells_seconds_and_deadlines_before_any_request(
    town: Town,
) -> None:
    assert told(town) is None

    await town.name_profile(SD3)

    await until(lambda: told(town) is not None)
    await town.chain()
    accepted = (await town.generate(steps=STEPS)).events[0].accepted
    assert accepted.predicted_seconds > 0.0
    assert accepted.deadline_unix_seconds > 0.0


async def test_a_profile_that_is_named_no_more_is_expected_no_more(town: Town) -> None:
    await town.name_profile(SD3)
    await until(lambda: told(town) is not None)

    await town.name_profile(None)

    await until(lambda: told(town) is None)


async def test_the_same_edit_twice_keeps_the_planner_and_its_costs(town: Town) -> None:
    await town.name_profile(SD3)
    await until(lambda: told(town) is not None)
    cost, planner = town.router.core.cost, town.router.core.dispatcher._planner

    town.edit(plan="plan-2")
    await until(lambda: town.router.core.pipeline.plan == "plan-2")

    assert town.router.core.cost is cost
    assert town.router.core.dispatcher._planner is planner


async def test_a_config_map_is_followed_through_its_edits(town: Town) -> None:
    slow, fast = profile_text(step_s=3.0), profile_text(step_s=1.0)
    await town.name_profile(OWN)
    assert told(town) is None

    town.config_maps.put("own", {"profile.json": slow})
    await until(lambda: told(town) == pytest.approx(step_s(slow)))
    town.config_maps.put("own", {"profile.json": fast})
    await until(lambda: told(town) == pytest.approx(step_s(fast)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"profile.json": "{"}, "profile.json:1:2: is not JSON"),
        ({"profile.json": "{}"}, "profile.json: format"),
        ({"other.json": "{}"}, "has no text profile.json; it has: other.json"),
    ],
)
async def test_a_broken_profile_leaves_the_one_before_in_force_and_is_logged(
    town: Town, caplog: pytest.LogCaptureFixture, data: dict[str, str], words: str
) -> None:
    slow, fast = profile_text(step_s=3.0), profile_text(step_s=1.0)
    town.config_maps.put("own", {"profile.json": slow})
    await town.name_profile(OWN)
    await until(lambda: told(town) is not None)

    town.config_maps.put("own", data)
    await until(lambda: any("not understood" in one.message for one in caplog.records))
    (record,) = (one for one in caplog.records if "not understood" in one.message)
    assert words in record.problem  # type: ignore[attr-defined]
    assert "ConfigMap team/own" in record.problem  # type: ignore[attr-defined]
    assert told(town) == pytest.approx(step_s(slow))
    await town.chain()
    assert (await town.generate()).error is None

    town.config_maps.put("own", {"profile.json": fast})
    await until(
        lambda: (
            min(one.step_s for one in town.router.core.cost.profile.samples if one.stage is D)
            == 1.0
        )
    )


async def test_a_config_map_that_is_named_no_more_is_followed_no_more(town: Town) -> None:
    town.config_maps.put("own", {"profile.json": profile_text(step_s=3.0)})
    await town.name_profile(OWN)
    await until(lambda: told(town) is not None)

    await town.name_profile(SD3)
    named = town.router.core.cost
    town.config_maps.put("own", {"profile.json": profile_text(step_s=1.0)})
    await town.chain()

    assert (await town.generate()).error is None
    assert town.router.core.cost is named
    assert named.profile.name == "sd3"


class Broken:
    """ConfigMaps whose watch is a defect."""

    def __init__(self) -> None:
        """Nobody has watched yet."""
        self.watched = 0

    async def watch(self, name: str) -> AsyncIterator[Object | None]:
        """Nothing, ever."""
        self.watched += 1
        raise RuntimeError(name)
        yield None


async def test_a_defect_in_following_costs_the_profile_and_not_the_router(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Broken()
    monkeypatch.setattr(town.router._profiles, "_source", source)

    await town.name_profile(OWN)
    await until(lambda: any("not followed any more" in one.message for one in caplog.records))
    await town.chain()

    assert source.watched == 1
    assert (await town.generate()).error is None
    await town.name_profile(SD3)
    await until(lambda: told(town, Shape(height=1024, width=1024)) is not None)
    assert town.router.core.cost.profile.name == "sd3"


async def test_a_profile_of_too_many_kinds_of_call_changes_nothing(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    file = json.loads(profile_text())
    file["diffuse"]["rows"] = [
        {"shape": f"{16 * side}x96x1", "seconds": [1.0]} for side in range(1, 601)
    ]
    town.config_maps.put("own", {"profile.json": json.dumps(file)})
    await town.name_profile(OWN)
    await until(lambda: any("not understood" in one.message for one in caplog.records))
    await town.chain()

    assert (await town.generate()).error is None


async def test_what_was_measured_outlives_a_profile_that_comes(town: Town) -> None:
    await town.chain()
    assert (await town.generate(steps=STEPS)).error is None
    before = told(town)
    assert before is not None

    await town.name_profile(OWN)
    town.config_maps.put("own", {"profile.json": profile_text(step_s=before * 1.5)})

    await until(lambda: bool(town.router.core.cost.profile.samples))
    assert told(town) == pytest.approx(before, rel=0.3)


async def test_a_profile_of_ones_own_refuses_what_its_devices_cannot_hold(town: Town) -> None:
    town.config_maps.put("own", {"profile.json": profile_text(usable_gb=5.0)})
    await town.name_profile(OWN, stages=on_gpus(town))
    await until(lambda: bool(town.router.core.cost.profile.usable_bytes))
    await town.chain()

    result = await town.generate()

    assert isinstance(result.error, errors.TooLargeError)
    assert "encode of 64 x 64 needs 11.70 GB" in str(result.error)
    assert not result.events
    assert town.sample("tridentserve_requests_total", outcome="refused") == 1.0
    assert town.sample("tridentserve_requests_arrived_total") == 1.0


async def test_stages_without_a_gpu_are_refused_nothing_for_the_memory_of_one(town: Town) -> None:
    town.config_maps.put("own", {"profile.json": profile_text(usable_gb=5.0)})
    await town.name_profile(OWN)
    await until(lambda: told(town) is not None)
    await town.chain()

    assert (await town.generate()).error is None


async def test_an_edit_that_moves_stages_to_gpus_brings_their_memory_into_play(
    town: Town,
) -> None:
    town.config_maps.put("own", {"profile.json": profile_text(usable_gb=5.0)})
    await town.name_profile(OWN)
    await until(lambda: told(town) is not None)
    await town.chain()
    assert not town.router.core.cost.profile.usable_bytes

    town.edit(stages=on_gpus(town))
    await until(lambda: bool(town.router.core.cost.profile.usable_bytes))

    assert isinstance((await town.generate()).error, errors.TooLargeError)


async def test_a_built_in_profile_refuses_nothing_since_the_nodes_may_be_larger(
    town: Town,
) -> None:
    await town.name_profile(SD3, stages=on_gpus(town))
    await until(lambda: told(town) is not None)

    for side in (1024, 65536):
        town.router.core.dispatcher.check_fits(Shape(height=side, width=side))


async def test_a_built_in_profile_that_stays_for_want_of_a_readable_one_refuses_nothing_either(
    town: Town,
) -> None:
    await town.name_profile(SD3, stages=on_gpus(town))
    await until(lambda: told(town) is not None)

    await town.name_profile(OWN)

    assert told(town) is not None
    town.router.core.dispatcher.check_fits(Shape(height=65536, width=65536))


def call(seconds: float, shape: Shape = SHAPE, worker: str = "w") -> Call:
    return Call(
        stage=D,
        shape=shape,
        steps=STEPS,
        fraction_percent=100,
        seconds=seconds,
        worker=WorkerId(worker),
    )


@given(seconds=st.lists(st.floats(0.01, 100.0), max_size=5))
def test_a_profile_that_comes_late_is_as_one_that_was_there_from_the_beginning(
    seconds: list[float],
) -> None:
    profile = builtin("sd3")
    early, late = Costs(LARGEST), Costs(LARGEST)
    early.use(profile, LARGEST)
    for one in seconds:
        early.observe(call(one))
        late.observe(call(one))
    late.use(profile, LARGEST)

    for shape in (SHAPE, OTHER, Shape(height=1024, width=1024)):
        asked = (D, shape, STEPS, 100)
        assert late.model.estimate(*asked) == early.model.estimate(*asked)


def test_costs_are_another_model_only_where_something_changed() -> None:
    costs = Costs(LARGEST)
    first = costs.model
    costs.use(None, dict(LARGEST))
    assert costs.model is first

    costs.use(builtin("sd3"), LARGEST)
    second = costs.model
    assert second is not first
    costs.use(builtin("sd3"), LARGEST)
    assert costs.model is second
    costs.use(builtin("sd3"), {**LARGEST, D: 50})
    assert costs.model is not second


def test_of_a_thousand_shapes_the_latest_are_remembered_and_the_oldest_are_guessed() -> None:
    costs = Costs(LARGEST)
    shapes = [Shape(height=16 * side, width=16) for side in range(1, 1001)]
    for shape in shapes:
        for _ in range(3):
            costs.observe(call(1.0, shape))
    costs.use(builtin("sd3"), LARGEST)

    found = [costs.model.estimate(D, shape, STEPS, 100) for shape in shapes]
    sure = [one is not None and one.confidence > 0.5 for one in found]

    assert sure == [False] * (1000 - sum(sure)) + [True] * sum(sure)
    assert 100 < sum(sure) < 200
