"""The profile that a pipeline names: read now and then, told of where it is wrong, never missed."""

from typing import TYPE_CHECKING, Any

import pytest
from tests.manifest.profile_text import profile_text

from tridentserve.domain.ids import PipelineName
from tridentserve.domain.pipeline import Limits
from tridentserve.domain.stages import Stage
from tridentserve.errors import InvalidFieldError, UnavailableError
from tridentserve.manifest.profile_files import builtin
from tridentserve.manifest.status import ConditionStatus, ConditionType
from tridentserve.manifest.v1alpha1 import parse
from tridentserve_operator.profiles import within
from tridentserve_operator.testing import pipeline_body

if TYPE_CHECKING:
    from tests.operator.conftest import Story

DEGRADED, METRICS = ConditionType.DEGRADED, ConditionType.METRICS_AVAILABLE
READY = ConditionType.READY
OWN: dict[str, Any] = {"configMapRef": {"name": "own"}}
WIDE: dict[str, Any] = {"diffuse": {"replicas": {"min": 1, "max": 8}}}
QUICK: dict[str, Any] = {
    "intervalSeconds": 5,
    "behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": 20},
    },
}


def asked(story: "Story") -> int:
    """How often a ConfigMap was asked for."""
    return story.writes().count(("get", "ConfigMap"))


def put(story: "Story", step_s: float) -> None:
    """The user writes a profile of 20 steps."""
    story.cluster.put_config_map("own", {"profile.json": profile_text(step_s=step_s)})


async def test_requests_bring_workers_by_the_profile_before_any_was_measured(
    story: "Story",
) -> None:
    story.apply(profile={"name": "sd3"}, stages=WIDE, autoscaling=QUICK)
    story.load(1.0)

    await story.run(20)

    assert story.pools()["diffuse-100"] > 1
    assert story.condition(METRICS).reason == "SecondsFromProfile"
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert asked(story) == 0


async def test_what_was_measured_comes_before_what_a_profile_says(story: "Story") -> None:
    put(story, step_s=0.2)
    story.apply(profile=OWN, stages=WIDE, autoscaling=QUICK)
    story.load(1.0)
    await story.run(20)
    assert story.pools()["diffuse-100"] == 6
    pool = next(name for name in story.replicas() if "diffuse" in name)

    story.load(1.0, {("diffuse", pool): 0.5})
    await story.run(60)

    assert story.pools()["diffuse-100"] == 1


async def test_an_edit_of_the_config_map_is_seen_within_an_interval(story: "Story") -> None:
    put(story, step_s=0.1)
    story.apply(profile=OWN, stages=WIDE, autoscaling=QUICK)
    story.load(1.0)
    await story.run(20)
    assert story.pools()["diffuse-100"] == 3
    story.cluster.calls.clear()

    put(story, step_s=0.2)
    await story.run(5)

    assert story.pools()["diffuse-100"] == 6
    assert asked(story) <= 2


async def test_a_pipeline_at_rest_asks_once_an_interval_and_says_when(story: "Story") -> None:
    put(story, step_s=0.1)
    story.apply(profile=OWN, autoscaling=QUICK)
    await story.run(10)
    story.cluster.calls.clear()

    await story.run(50)
    again = await story.look()

    assert 10 <= asked(story) <= 11
    assert set(story.writes()) == {("get", "ConfigMap")}
    assert again <= story.cluster.now + 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "spec.profile.configMapRef.name: there is no ConfigMap default/own"),
        ({"b": "", "a": ""}, "spec.profile.configMapRef.key: ConfigMap default/own has no text"),
        ({"profile.json": "{\n\n"}, "ConfigMap default/own, profile.json:3:1: is not JSON"),
        ({"profile.json": "{}"}, "ConfigMap default/own, profile.json: format: Field required"),
    ],
)
async def test_a_profile_that_cannot_be_read_degrades_a_pipeline_that_serves_all_the_same(
    story: "Story", data: dict[str, str] | None, words: str
) -> None:
    if data is not None:
        story.cluster.put_config_map("own", data)
    story.apply(profile=OWN, stages=WIDE, autoscaling=QUICK)
    await story.run(10)

    degraded = story.condition(DEGRADED)
    assert degraded.status is ConditionStatus.TRUE
    assert degraded.reason == "ProfileUnreadable"
    assert words in degraded.message
    assert story.condition(READY).status is ConditionStatus.TRUE
    assert story.events().count("ProfileUnreadable") == 1

    put(story, step_s=0.1)
    await story.run(6)
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE


@pytest.mark.parametrize("how", ["broken", "gone", "forbidden", "another", "restart"])
async def test_nothing_is_torn_down_for_a_profile_that_went_bad(story: "Story", how: str) -> None:
    put(story, step_s=0.2)
    story.apply(profile=OWN, stages=WIDE, autoscaling=QUICK)
    story.load(1.0)
    await story.run(20)
    before = story.pools()
    assert before["diffuse-100"] == 6

    if how == "gone":
        del story.cluster.objects["ConfigMap", "default", "own"]
    elif how == "another":
        story.apply(profile={"configMapRef": {"name": "lost"}}, stages=WIDE, autoscaling=QUICK)
    elif how == "forbidden":
        story.cluster.before_call = refuse
    else:
        story.cluster.put_config_map("own", {"profile.json": "{}"})
    if how == "restart":
        story.restart()
    await story.run(300)

    assert story.pools() == before
    assert story.condition(DEGRADED).reason == "ProfileUnreadable"


def refuse(verb: str, kind: str, name: str) -> None:
    """The API server forbids reading."""
    if verb == "get":
        raise InvalidFieldError(f"GET /{kind}/{name}", "configmaps is forbidden")


async def test_a_missing_right_is_told_until_it_is_there(story: "Story") -> None:
    put(story, step_s=0.1)
    story.apply(profile=OWN)
    await story.run(10)
    story.cluster.before_call = refuse
    await story.run(10)

    message = story.condition(DEGRADED).message
    assert message.startswith(
        "spec.profile.configMapRef: ConfigMap default/own cannot be read: configmaps is forbidden"
    )
    story.cluster.before_call = lambda verb, kind, name: None
    await story.run(10)
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE


async def test_an_api_server_that_does_not_answer_is_no_fault_of_the_profile(
    story: "Story",
) -> None:
    def fail(verb: str, kind: str, name: str) -> None:
        if verb == "get":
            raise UnavailableError("the API server does not answer")

    put(story, step_s=0.1)
    story.cluster.before_call = fail
    story.apply(profile=OWN, stages=WIDE, autoscaling=QUICK)
    story.load(1.0)
    await story.run(10)
    assert story.condition(READY).status is ConditionStatus.TRUE
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert story.condition(METRICS).reason == "SecondsUnknown"

    story.cluster.before_call = lambda verb, kind, name: None
    await story.run(10)
    assert story.pools()["diffuse-100"] == 3


async def test_a_profile_that_is_named_no_more_is_forgotten_and_its_problem_with_it(
    story: "Story",
) -> None:
    story.apply(profile=OWN)
    await story.run(10)
    assert story.condition(DEGRADED).status is ConditionStatus.TRUE

    story.apply()
    await story.run(3)

    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert story.kept.profile.cost is None


async def test_naming_a_profile_replaces_no_pod(story: "Story") -> None:
    story.apply()
    await story.run(10)
    names = {pod["metadata"]["name"] for pod in story.cluster.pods()}

    put(story, step_s=0.1)
    story.apply(profile=OWN)
    await story.run(10)
    story.apply(profile={"name": "sd3"})
    await story.run(10)

    assert {pod["metadata"]["name"] for pod in story.cluster.pods()} == names


def limits(**bounds: int) -> Limits:
    """Those of a pipeline that sets these."""
    return parse(pipeline_body(limits=bounds)).spec.to_domain(PipelineName("default/flux")).limits


def test_shapes_and_steps_that_limits_refuse_are_left_out_unless_there_are_no_others() -> None:
    flux = builtin("flux")

    usual = within(flux, limits(maxSteps=4))

    assert max(one.shape.height for one in usual.samples) == 1024
    assert {one.stage for one in usual.samples} == set(Stage)
    assert usual.steps == 4
    assert within(flux, limits(maxPixels=67108864)) == flux
    assert within(flux, limits(maxPixels=1)).samples == flux.samples
