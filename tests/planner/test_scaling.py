"""The scaling discipline, told in virtual minutes."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.specs import codes, inputs, load, pipeline, plan_of, rule, size, stage_spec

from tridentserve.domain.ids import NodeId
from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape, Reason
from tridentserve.domain.stages import STAGES
from tridentserve.planner.placement.budget import gpu_percent
from tridentserve.planner.placement.static import Static
from tridentserve.planner.scaling import NO_MEMORY, ScalingMemory, bound

E, D, C = STAGES
LOAD = load(1.0)


@dataclass
class Story:
    """A pipeline whose wishes change while virtual time passes, a look every five seconds."""

    spec: PipelineSpec
    plan: PlacementPlan | None = None
    memory: ScalingMemory = NO_MEMORY
    now: float = 1000.0
    seen: list[PlacementPlan] = field(default_factory=list)

    def look(self, known: Load = LOAD, **wanted: tuple[int, int]) -> PlacementPlan:
        """One look at a wish."""
        self.now += 5
        wish = plan_of(self.spec, **wanted)
        self.plan, self.memory = bound(self.spec, wish, self.plan, self.memory, known, self.now)
        self.seen.append(self.plan)
        return self.plan

    def during(self, seconds: int, known: Load = LOAD, **wanted: tuple[int, int]) -> None:
        """The same wish for a while."""
        for _ in range(seconds // 5):
            self.look(known, **wanted)

    def diffuse(self) -> tuple[int, int]:
        """(workers, fraction) by now."""
        assert self.plan is not None
        return size(self.plan, D)


def test_the_first_plan_is_taken_as_it_is_wanted() -> None:
    story = Story(pipeline())
    story.look(diffuse=(7, 100))

    assert story.diffuse() == (7, 100)


def test_a_stage_that_no_plan_speaks_of_gets_its_least_at_the_largest_fraction() -> None:
    spec = pipeline(stage_spec(D, least=2, fractions=(25, 50, 100)))
    silent = plan_of(spec)
    wanted = replace(silent, pools=tuple(p for p in silent.pools if D not in p.shape.stages))

    plan, _ = bound(spec, wanted, None, NO_MEMORY, LOAD, 5.0)

    assert size(plan, D) == (2, 100)


def test_what_is_held_back_says_whether_more_or_less_is_wanted() -> None:
    story = Story(pipeline(up=rule(60)))
    story.during(120, diffuse=(4, 100))
    more = story.look(diffuse=(8, 100))
    story.during(120, diffuse=(4, 100))
    less = story.look(diffuse=(1, 100))

    (up,) = [one.message for one in more.reasons if one.code == "ScaleUpStabilized"]
    (down,) = [one.message for one in less.reasons if one.code == "ScaleDownStabilized"]
    assert "more is wanted, but not yet for 60 s" in up
    assert "less is wanted, but not yet for 300 s" in down


def test_growth_is_immediate_up_to_the_policies() -> None:
    story = Story(pipeline(stage_spec(D, most=50)))
    story.look(diffuse=(1, 100))
    sizes = []
    for _ in range(9):
        story.look(diffuse=(40, 100))
        sizes.append(story.diffuse()[0])

    # the more of 4 workers and 100 % of what there was, per 15 s
    assert sizes == [5, 5, 5, 10, 10, 10, 20, 20, 20]
    assert "ScaleUpLimit" in codes(story.seen[-1], D)
    assert story.seen[-1].limited


def test_a_window_on_the_way_up_takes_the_least_that_was_wanted_in_it() -> None:
    story = Story(pipeline(up=rule(60)))
    story.during(120, diffuse=(2, 100))
    story.during(30, diffuse=(6, 100))
    too_early = story.diffuse()
    story.during(30, diffuse=(4, 100))

    assert too_early == (2, 100)
    assert "ScaleUpStabilized" in codes(story.seen[-8], D)
    assert story.diffuse() == (4, 100)


def test_scale_down_waits_until_the_window_has_passed() -> None:
    story = Story(pipeline())
    story.during(60, diffuse=(5, 100))
    story.during(295, diffuse=(2, 100))
    held = story.diffuse()
    reasons = codes(story.seen[-1], D)
    story.during(10, diffuse=(2, 100))

    assert held == (5, 100)
    assert "ScaleDownStabilized" in reasons
    assert story.diffuse() == (2, 100)
    assert "ScaleDownStabilized" not in codes(story.seen[-1], D)


def test_scale_down_goes_to_the_most_that_was_wanted_within_the_window() -> None:
    story = Story(pipeline())
    story.during(60, diffuse=(6, 100))
    story.during(200, diffuse=(1, 100))
    story.look(diffuse=(3, 100))
    story.during(150, diffuse=(1, 100))

    assert story.diffuse() == (3, 100)


def test_scale_down_keeps_to_its_policies() -> None:
    story = Story(pipeline(down=rule(0, workers=1, percent=10, period_s=30)))
    story.look(diffuse=(6, 100))
    sizes = []
    for _ in range(7):
        story.during(30, diffuse=(1, 100))
        sizes.append(story.diffuse()[0])

    assert sizes == [5, 4, 3, 2, 1, 1, 1]


def test_a_change_within_the_tolerance_is_left_alone() -> None:
    story = Story(pipeline(stage_spec(D, most=50), down=rule(0, tolerance=20)))
    story.look(diffuse=(20, 100))
    story.look(diffuse=(22, 100))
    up = story.diffuse()
    story.look(diffuse=(16, 100))
    down = story.diffuse()
    story.look(diffuse=(15, 100))

    assert (up, down) == ((20, 100), (20, 100))
    assert story.diffuse() == (15, 100)


def test_a_load_that_trembles_changes_nothing() -> None:
    story = Story(pipeline())
    story.look(diffuse=(3, 100))
    for index in range(200):
        story.look(diffuse=(2 + index % 2, 100))

    assert {size(plan, D) for plan in story.seen} == {(3, 100)}


def test_an_unknown_load_holds_and_starts_the_window_anew() -> None:
    story = Story(pipeline())
    story.during(60, diffuse=(5, 100))
    story.during(290, diffuse=(1, 100))
    story.during(600, load(None), diffuse=(1, 100))
    held = story.diffuse()
    story.during(290, diffuse=(1, 100))
    again = story.diffuse()
    story.during(15, diffuse=(1, 100))

    assert held == again == (5, 100)
    assert story.diffuse() == (1, 100)


def test_an_unknown_load_does_not_grow_either() -> None:
    story = Story(pipeline())
    story.look(diffuse=(2, 100))
    story.during(60, load(None), diffuse=(8, 100))

    assert story.diffuse() == (2, 100)


@pytest.mark.parametrize("known", [LOAD, load(None)])
def test_limits_of_the_specification_hold_at_once(known: Load) -> None:
    story = Story(pipeline(stage_spec(D, most=8)))
    story.look(diffuse=(6, 100))
    story.spec = pipeline(stage_spec(D, most=3))
    story.look(known, diffuse=(3, 100))
    lowered = story.diffuse()
    story.spec = pipeline(stage_spec(D, least=12, most=20))
    story.look(known, diffuse=(12, 100))

    assert lowered == (3, 100)
    assert story.diffuse() == (12, 100)


def test_a_fraction_that_is_no_longer_listed_goes_at_once_and_keeps_the_capacity() -> None:
    story = Story(pipeline(stage_spec(D, fractions=(25, 50, 100))))
    story.look(diffuse=(4, 25))
    story.spec = pipeline(stage_spec(D, fractions=(50, 100)))
    story.look(load(None), diffuse=(1, 50))

    assert story.diffuse() == (2, 50)


def test_suspended_is_at_once_and_what_comes_back_comes_as_it_is_wanted() -> None:
    story = Story(pipeline())
    story.look(diffuse=(5, 100))
    story.spec = pipeline(suspend=True)
    story.look(diffuse=(5, 100))
    suspended = story.seen[-1]
    story.spec = pipeline()
    story.look(diffuse=(3, 100))

    assert suspended.pools == ()
    assert codes(suspended) == {"Suspended"}
    assert story.diffuse() == (3, 100)


def test_a_larger_fraction_comes_at_once_a_smaller_one_after_the_window() -> None:
    story = Story(pipeline(stage_spec(D, fractions=(25, 50, 100))))
    story.look(diffuse=(1, 25))
    story.look(diffuse=(1, 100))
    larger = story.diffuse()
    story.during(295, diffuse=(1, 50))
    held = story.diffuse()
    story.during(15, diffuse=(1, 50))

    assert (larger, held) == ((1, 100), (1, 100))
    assert story.diffuse() == (1, 50)


def test_a_fraction_dwells_before_it_changes_again_and_workers_make_up_for_it() -> None:
    story = Story(pipeline(stage_spec(D, fractions=(25, 50, 100), most=16), up=rule(period_s=60)))
    story.look(diffuse=(1, 25))
    story.look(diffuse=(1, 50))
    story.look(diffuse=(2, 100))
    dwelling, reasons = story.diffuse(), codes(story.seen[-1], D)
    story.during(60, diffuse=(2, 100))

    assert dwelling == (4, 50)
    assert "FractionDwell" in reasons
    assert story.diffuse() == (2, 100)


def test_a_restart_shrinks_nothing_before_a_window_has_passed() -> None:
    story = Story(pipeline())
    story.during(60, diffuse=(5, 100))
    story.memory = NO_MEMORY
    story.during(295, diffuse=(1, 100))
    held = story.diffuse()
    story.during(15, diffuse=(1, 100))

    assert held == (5, 100)
    assert story.diffuse() == (1, 100)


def test_a_plan_in_the_middle_of_a_refraction_counts_with_its_whole_capacity() -> None:
    spec = pipeline(stage_spec(D, fractions=(50, 100)))
    both = plan_of(spec, diffuse=(2, 100))
    small = next(pool for pool in plan_of(spec, diffuse=(2, 50)).pools if D in pool.shape.stages)
    previous = PlacementPlan(pools=(*both.pools, small), reasons=())

    plan, _ = bound(spec, plan_of(spec, diffuse=(1, 50)), previous, NO_MEMORY, LOAD, 5.0)

    assert size(plan, D) == (3, 100)


def gpu_story(limit: int) -> Story:
    stages = [stage_spec(stage, most=20, devices=1) for stage in STAGES]
    return Story(pipeline(*stages, gpu_limit=limit))


def test_moving_a_device_between_stages_does_not_wait_for_the_window() -> None:
    story = gpu_story(600)
    story.during(60, diffuse=(2, 100), decode=(3, 100))
    story.look(diffuse=(4, 100), decode=(1, 100))

    assert [size(story.seen[-1], stage)[0] for stage in STAGES] == [1, 4, 1]
    assert "DevicesExchanged" in codes(story.seen[-1], C)


def test_only_as_many_devices_are_given_as_others_gain() -> None:
    story = gpu_story(10_000)
    story.during(60, diffuse=(2, 100), decode=(8, 100))
    story.look(diffuse=(4, 100), decode=(1, 100))

    assert [size(story.seen[-1], stage)[0] for stage in STAGES] == [1, 4, 6]
    assert "ScaleDownStabilized" not in codes(story.seen[-1], C)


def test_a_stage_that_gave_devices_gives_no_more_before_its_period_has_passed() -> None:
    story = gpu_story(10_000)
    story.during(60, diffuse=(2, 100), decode=(9, 100))
    story.look(diffuse=(4, 100), decode=(1, 100))
    once = size(story.seen[-1], C)
    story.look(diffuse=(8, 100), decode=(1, 100))
    story.look(diffuse=(8, 100), decode=(1, 100))
    grown, twice = story.diffuse(), size(story.seen[-1], C)

    assert once == (7, 100)
    assert grown[0] > 4
    assert twice == once


def test_a_stage_keeps_its_least_whatever_the_others_need() -> None:
    story = gpu_story(10_000)
    story.spec = pipeline(
        *(stage_spec(one, least=2 if one is C else 1, most=20, devices=1) for one in STAGES),
        gpu_limit=10_000,
    )
    story.during(60, diffuse=(2, 100), decode=(3, 100))
    story.look(diffuse=(6, 100), decode=(1, 100))

    assert size(story.seen[-1], C) == (2, 100)


def test_of_two_stages_that_grow_too_far_the_one_that_gains_most_is_cut_first() -> None:
    story = gpu_story(1000)
    story.during(60, encode=(2, 100), diffuse=(3, 100))
    story.look(encode=(4, 100), diffuse=(7, 100))

    assert [size(story.seen[-1], stage)[0] for stage in STAGES] == [4, 5, 1]
    assert gpu_percent(story.seen[-1]) == 1000


def test_without_growth_elsewhere_nothing_is_given_away() -> None:
    story = gpu_story(600)
    story.during(60, diffuse=(2, 100), decode=(3, 100))
    story.look(diffuse=(2, 100), decode=(1, 100))

    assert size(story.seen[-1], C) == (3, 100)


def test_growth_beyond_the_budget_is_cut() -> None:
    story = gpu_story(600)
    story.during(60, diffuse=(2, 100), decode=(3, 100))
    story.look(diffuse=(6, 100), decode=(3, 100))

    assert gpu_percent(story.seen[-1]) == 600
    assert story.diffuse() == (2, 100)
    assert story.seen[-1].limited
    assert "GpuLimit" in codes(story.seen[-1])


def on_nodes(*workers: int) -> PlacementPlan:
    """Workers of one device that host everything, on nodes of their own."""
    shape = PoolShape(stages=tuple(sorted(STAGES)), devices=1, fraction_percent=100)
    nodes = tuple((NodeId(f"n{number}"), count) for number, count in enumerate(workers))
    pool = PoolPlan(shape=shape, workers=sum(workers), nodes=nodes)
    reason = Reason(code="VirtualReplica", message="V0")
    return PlacementPlan(pools=(pool,), reasons=(reason,), prices=((D, 2.0),))


def test_workers_on_nodes_are_taken_as_they_are_wanted_while_the_load_is_known() -> None:
    spec = pipeline(*(stage_spec(stage, devices=1) for stage in STAGES), gpu_limit=10_000)

    plan, memory = bound(spec, on_nodes(4, 4), on_nodes(8, 8), NO_MEMORY, LOAD, 5.0)

    assert plan == on_nodes(4, 4)
    assert memory == NO_MEMORY


def test_workers_on_nodes_stay_while_the_load_is_unknown_and_say_what_the_planner_said() -> None:
    spec = pipeline(*(stage_spec(stage, devices=1) for stage in STAGES), gpu_limit=10_000)
    held = replace(on_nodes(1), reasons=(Reason(code="LoadUnknown", message="?"),))

    plan, _ = bound(spec, held, on_nodes(8, 8), NO_MEMORY, load(None), 5.0)

    assert plan.pools == on_nodes(8, 8).pools
    assert codes(plan) == {"LoadUnknown"}


def test_a_placement_that_follows_no_load_follows_the_specification_at_once() -> None:
    wide, narrow = pipeline(stage_spec(D, least=6)), pipeline(stage_spec(D, least=2))
    unknown = load(None)
    before, memory = bound(wide, Static().plan(inputs(wide, unknown)), None, NO_MEMORY, unknown, 0)

    after, _ = bound(narrow, Static().plan(inputs(narrow, unknown)), before, memory, unknown, 5)

    assert size(before, D) == (6, 100)
    assert size(after, D) == (2, 100)


WISHES = st.lists(
    st.tuples(
        st.integers(1, 10), st.sampled_from([25, 50, 100]), st.integers(1, 10),
        st.sampled_from([25, 100]), st.booleans(), st.booleans(),
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    wishes=WISHES,
    limit=st.integers(300, 2000),
    window=st.sampled_from([0, 20, 300]),
    steps=st.integers(1, 90),
)
def test_whatever_is_wanted_the_plan_keeps_to_the_specification(
    wishes: list[tuple[int, int, int, int, bool, bool]], limit: int, window: int, steps: int
) -> None:
    spec = pipeline(
        stage_spec(E, devices=1),
        stage_spec(D, most=6, fractions=(25, 50, 100), devices=1),
        stage_spec(C, least=2, most=9, fractions=(25, 100), devices=2),
        gpu_limit=limit,
        down=rule(window, workers=1, percent=0),
    )
    story = Story(spec)
    for workers, fraction, others, other, known, restart in wishes:
        if restart:
            story.memory = NO_MEMORY
        before = story.plan
        story.now += steps
        plan = story.look(
            LOAD if known else load(None), diffuse=(workers, fraction), decode=(others, other)
        )
        assert 1 <= size(plan, D)[0] <= 6
        assert size(plan, C)[0] <= 9
        assert size(plan, D)[1] in (25, 50, 100)
        assert gpu_percent(plan) <= max(limit, 100 + 100 + 200)
        if not known and before is not None:
            assert plan.id == before.id
        for memory in story.memory.stages:
            assert len(memory.recommendations) <= 1 + 300 // 5 + 1


@settings(max_examples=50, deadline=None)
@given(workers=st.integers(1, 8), fraction=st.sampled_from([25, 50, 100]), start=st.integers(1, 8))
def test_a_wish_that_stays_is_fulfilled(workers: int, fraction: int, start: int) -> None:
    story = Story(pipeline(stage_spec(D, fractions=(25, 50, 100)), down=rule(60, tolerance=0)))
    story.look(diffuse=(start, 50))
    story.during(600, diffuse=(workers, fraction))

    wished = workers * fraction
    got = story.diffuse()
    assert got[1] == fraction
    assert abs(got[0] * got[1] - wished) <= 0.1 * got[0] * got[1]
