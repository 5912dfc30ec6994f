"""Stories of transitions: what happens, in which order, and what is done where nothing helps."""

from dataclasses import replace
from itertools import count

import pytest
from tests.planner.simulated_cluster import (
    ONE,
    PATIENCE,
    Operator,
    SimulatedCluster,
    began,
    operator,
    percent,
    plan,
)

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape
from tridentserve.domain.stages import Stage
from tridentserve.planner.pools import (
    NO_MEMORY,
    Attempt,
    MarkDraining,
    PoolKey,
    PoolState,
    RemovePool,
    Room,
    SetReplicas,
    Step,
    TransitionMemory,
    UnmarkDraining,
    Wait,
)
from tridentserve.planner.transitions import next_steps

NOTHING = PlacementPlan(pools=(), reasons=())
TWO = {**ONE, Stage.DIFFUSE: (100, 2)}


def kinds(steps: list[Step], revision: str) -> list[str]:
    """Words for the steps about a revision, in order: `diffuse=2`, `drain encode 1`."""
    words = []
    for step in steps:
        if isinstance(step, Wait) or step.pool.revision != revision:
            continue
        stage = step.pool.stages[0]
        match step:
            case SetReplicas(replicas=replicas):
                words.append(f"{stage}={replicas}")
            case MarkDraining(pods=pods):
                words.append(f"drain {stage} {pods}")
            case UnmarkDraining(pods=pods):
                words.append(f"keep {stage} {pods}")
            case RemovePool():
                words.append(f"remove {stage}")
    return words


def key(stage: Stage, revision: str, fraction: int = 100) -> PoolKey:
    shape = PoolShape(stages=(stage,), devices=1, fraction_percent=fraction)
    return PoolKey(shape=shape, revision=Revision(revision))


def look(
    observed: list[PoolState], target: PlacementPlan, revision: str = "b", room: Room | None = None
) -> list[Step]:
    steps, _ = next_steps(
        tuple(observed), target, Revision(revision), room or Room(), NO_MEMORY, 0.0, PATIENCE
    )
    return list(steps)


def test_the_first_look_creates_every_pool_at_its_size() -> None:
    steps = look([], plan(TWO), "a")

    assert sorted(kinds(steps, "a")) == ["decode=1", "diffuse=2", "encode=1"]
    assert isinstance(steps[-1], SetReplicas)


def test_there_is_nothing_to_do_where_all_is_as_planned() -> None:
    op = began(operator(None), plan(TWO))

    steps, memory = next_steps(
        op.cluster.observe(), plan(TWO), Revision("r1"), op.room, op.memory, op.cluster.now
    )

    assert steps == ()
    assert memory == NO_MEMORY


def test_equal_looks_get_equal_answers() -> None:
    op = began(operator(None), plan(TWO))
    observed = op.cluster.observe()

    answers = [
        next_steps(order, plan(ONE), Revision("r2"), op.room, NO_MEMORY, 7.0)
        for order in (observed, observed[::-1])
    ]

    assert answers[0] == answers[1]


def test_with_room_the_new_chain_is_up_before_anything_old_drains() -> None:
    op = began(operator(None), plan(TWO), "a")

    op.run(plan(TWO), "b")

    assert op.settled(plan(TWO), "b")
    new_up = [word for word in kinds(op.steps, "b") if "=" in word]
    assert sorted(set(new_up)) == ["decode=1", "diffuse=2", "encode=1"]
    assert all(op.cluster.served)
    first_drain = next(
        index for index, step in enumerate(op.steps) if isinstance(step, MarkDraining)
    )
    assert not [word for word in kinds(op.steps[first_drain:], "b") if "=" in word]


def test_an_old_revision_leaves_stage_by_stage_so_that_its_journeys_can_end() -> None:
    op = began(operator(None), plan(ONE), "a")

    op.run(plan(ONE), "b")

    words = kinds(op.steps, "a")
    drains = list(dict.fromkeys(word for word in words if word.startswith("drain")))
    assert drains == ["drain encode 1", "drain diffuse 1", "drain decode 1"]
    assert words.index("encode=0") < words.index("drain diffuse 1")
    assert words.index("diffuse=0") < words.index("drain decode 1")


def test_an_old_revision_stays_while_a_new_worker_is_missing() -> None:
    up = [
        PoolState(key=key(stage, revision), desired=1, routable=1)
        for revision in "ab"
        for stage in (Stage.ENCODE, Stage.DIFFUSE)
    ]
    decode = [
        PoolState(key=key(Stage.DECODE, "a"), desired=1, routable=1),
        PoolState(key=key(Stage.DECODE, "b"), desired=1, starting=1),
    ]

    assert kinds(look([*up, *decode], plan(ONE)), "a") == []


def test_a_new_fraction_needs_no_new_chain_and_drains_its_own_stage_only() -> None:
    op = began(operator(None), plan({**ONE, Stage.DECODE: (50, 1)}), "a")

    op.run(plan({**ONE, Stage.DECODE: (100, 1)}), "a")

    assert all(op.cluster.served)
    assert kinds(op.steps, "a") == [
        "decode=1",
        "drain decode 1",
        "decode=0",
        "remove decode",
    ]


def test_shrinking_labels_before_it_lowers() -> None:
    op = began(operator(None), plan(TWO), "a")

    op.run(plan(ONE), "a")

    assert kinds(op.steps, "a") == ["drain diffuse 1", "diffuse=1"]


def test_labels_come_off_when_the_workers_are_wanted_again() -> None:
    op = began(operator(None), plan(TWO), "a")
    op.tick(plan(ONE), "a")

    op.run(plan(TWO), "a")

    assert kinds(op.steps, "a") == ["drain diffuse 1", "keep diffuse 0"]


def test_without_room_one_worker_at_a_time_makes_way_and_a_chain_serves() -> None:
    sizes = {**ONE, Stage.DIFFUSE: (100, 5)}
    op = began(operator(percent(plan(sizes))), plan(sizes), "a")

    op.run(plan(sizes), "b", 900)

    assert op.settled(plan(sizes), "b")
    assert all(op.cluster.served)
    assert op.cluster.peak <= percent(plan(sizes))


def test_a_single_worker_without_room_is_replaced() -> None:
    op = began(operator(300), plan(ONE), "a")

    op.run(plan(ONE), "b")

    assert op.settled(plan(ONE), "b")
    assert not all(op.cluster.served)
    assert op.cluster.peak <= 300


def test_spare_workers_are_drained_first_and_a_chain_is_never_broken_for_growth() -> None:
    op = began(operator(300), plan(ONE), "a")

    op.run(plan(TWO), "a", 50)

    assert all(op.cluster.served)
    assert [one.shape.label for one in op.memory.infeasible] == ["diffuse@100"]
    assert op.memory.infeasible[0].workers == 2


def test_a_revision_that_cannot_be_placed_is_undone_and_the_old_one_serves_on() -> None:
    op = began(operator(None), plan(TWO), "a")
    op.cluster.unplaceable = frozenset({Revision("b")})

    op.run(plan(TWO), "b", 30)

    assert all(op.cluster.served)
    assert not op.cluster.alive(key(Stage.DIFFUSE, "b"))
    assert {one.shape.label for one in op.memory.infeasible} == {
        "encode@100",
        "diffuse@100",
        "decode@100",
    }
    assert len(op.cluster.alive(key(Stage.DIFFUSE, "a"))) == 2


def test_what_was_undone_is_tried_again_later() -> None:
    op = began(operator(None), plan(TWO), "a")
    op.cluster.unplaceable = frozenset({Revision("b")})
    op.run(plan(TWO), "b", 30)

    op.cluster.unplaceable = frozenset()
    op.run(plan(TWO), "b", 200)

    assert op.settled(plan(TWO), "b")
    assert all(op.cluster.served)


def test_a_revision_that_never_starts_is_undone_and_the_old_one_serves_on() -> None:
    op = began(operator(None), plan(TWO), "a")
    op.cluster.broken = frozenset({Revision("b")})

    op.run(plan(TWO), "b", 70)

    assert all(op.cluster.served)
    assert not op.cluster.alive(key(Stage.DIFFUSE, "b"))


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("broken", [True, False])
def test_without_room_no_more_than_a_quarter_is_lost_at_a_time(broken: bool, counted: bool) -> None:
    sizes = plan({**ONE, Stage.DIFFUSE: (100, 8)})
    op = began(operator(percent(sizes), gpu=counted), sizes, "a")
    op.cluster.broken = frozenset({Revision("b")} if broken else ())
    ready = []

    for _ in range(600):
        op.tick(sizes, "b")
        ready.append(sum(one.routable for one in op.cluster.observe()))

    # Of ten; the old encoder that leaves for good is one more.
    assert min(ready) >= (8 if broken else 7)
    assert all(op.cluster.served)
    assert broken or op.settled(sizes, "b")


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("bad", list(Stage))
def test_a_revision_with_one_stage_that_never_starts_leaves_half_of_the_old_one(
    bad: Stage, counted: bool
) -> None:
    old = {**ONE, Stage.DIFFUSE: (100, 8)}
    op = began(operator(800 + 200, gpu=counted), plan(old), "a")
    op.cluster.broken = frozenset({90})

    op.run(plan(old | {bad: (90, old[bad][1])}), "b", 600)

    left = [one.routable for one in op.cluster.observe() if one.key == key(Stage.DIFFUSE, "a")]
    assert left >= [4]
    assert all(op.cluster.served)


@pytest.mark.parametrize("counted", [True, False])
def test_a_worker_that_no_node_can_take_costs_its_stage_once_and_the_others_nothing(
    counted: bool,
) -> None:
    old = {**ONE, Stage.DIFFUSE: (100, 8)}
    large = PoolShape(stages=(Stage.ENCODE,), devices=2, fraction_percent=100)
    grown = plan(old)
    pools = (PoolPlan(shape=large, workers=1), *grown.pools[1:])
    op = began(operator(1100, gpu=counted), grown, "a")
    op.cluster.oversized = frozenset({large})
    ready = []

    for _ in range(1000):
        op.tick(replace(grown, pools=pools), "a")
        ready.append(len(op.cluster.alive(key(Stage.DIFFUSE, "a"))))

    assert min(ready) == 8
    assert all(op.cluster.served[200:])


def test_a_revision_that_served_just_now_is_not_abandoned_when_a_worker_restarts() -> None:
    sizes = plan({**ONE, Stage.DIFFUSE: (100, 4)})
    op = began(operator(600), sizes, "a")
    op.cluster.broken = frozenset({Revision("c")})
    encode, diffuse = key(Stage.ENCODE, "b"), key(Stage.DIFFUSE, "b")
    while not (op.cluster.alive(encode) and len(op.cluster.alive(diffuse)) >= 3):
        op.tick(sizes, "b")
    op.run(sizes, "c", 2)

    op.cluster.alive(encode)[0].ready_s = op.cluster.now + 3
    op.run(sizes, "c", 200)

    assert op.cluster.alive(encode)
    assert len(op.cluster.alive(diffuse)) >= 2


def test_an_old_chain_goes_whose_encoder_holds_what_nobody_needs() -> None:
    encode = PoolPlan(
        shape=PoolShape(stages=(Stage.ENCODE,), devices=0, fraction_percent=100), workers=2
    )
    after = plan({**ONE, Stage.ENCODE: (100, 2)})
    before = replace(after, pools=(encode, *after.pools[1:]))
    op = operator(None)
    op.room = Room(gpu_percent=500)
    op = began(op, before, "a")

    op.run(after, "b")

    assert op.settled(after, "b")


def test_a_pool_of_all_stages_that_no_node_takes_brings_every_stage_back() -> None:
    together = PoolShape(
        stages=(Stage.DECODE, Stage.DIFFUSE, Stage.ENCODE), devices=1, fraction_percent=100
    )
    op = began(operator(300), plan(ONE), "a")
    op.cluster.oversized = frozenset({together})

    for _ in range(300):
        op.tick(PlacementPlan(pools=(PoolPlan(shape=together, workers=1),), reasons=()), "a")

    assert all(op.cluster.served[100:])


@pytest.mark.parametrize("offset_s", [0.0, 11.0, 25.0])
def test_pools_that_gave_up_at_different_moments_are_tried_together(offset_s: float) -> None:
    full = plan({**ONE, Stage.DIFFUSE: (100, 3)})
    op = began(operator(500, gpu=False), full, "a")
    now = op.cluster.now
    op.memory = TransitionMemory(
        attempts=tuple(
            Attempt(
                pool=key(stage, "b"), routable=0, since_s=now, failed_until_s=until_s, gave_up=True
            )
            for stage, until_s in ((Stage.ENCODE, now + 1), (Stage.DIFFUSE, now + 1 + offset_s))
        )
    )

    op.run(plan(ONE), "b", 600)

    assert op.settled(plan(ONE), "b")


def test_workers_that_came_late_are_no_longer_infeasible() -> None:
    more = plan({**ONE, Stage.DIFFUSE: (100, 6)})
    op = began(operator(300, gpu=False), plan(ONE), "a")
    op.run(more, "a", 30)
    assert [(one.shape.label, one.workers) for one in op.memory.infeasible] == [("diffuse@100", 2)]
    op.cluster.capacity = 800

    op.run(more, "a", 60)
    op.tick(more, "a")

    assert op.settled(more, "a")
    assert op.memory.infeasible == ()


def test_another_revision_starts_without_the_refusals_of_the_one_before() -> None:
    op = began(operator(None), plan(TWO), "a")
    op.cluster.unplaceable = frozenset({Revision("b")})
    op.run(plan(TWO), "b", 30)
    assert op.memory.infeasible

    op.tick(plan(TWO), "c")

    assert op.memory.infeasible == ()


def test_a_pod_without_a_place_does_not_stop_the_clock_of_those_that_never_start() -> None:
    grown = plan({**ONE, Stage.DIFFUSE: (100, 4)})
    op = began(operator(500, gpu=False), plan(ONE), "a")
    op.cluster.broken = frozenset({100})

    for _ in range(70):  # two of three find a node and never start, the third finds none
        op.tick(grown, "a")

    assert [state.routable for state in op.cluster.observe()] == [1, 1, 1]
    assert [state.pods for state in op.cluster.observe()] == [1, 1, 1]
    assert [(one.shape.label, one.workers) for one in op.memory.infeasible] == [("diffuse@100", 2)]


def diffuse(**pods: int) -> list[PoolState]:
    """A chain of which diffuse is in the making."""
    state = PoolState(key=key(Stage.DIFFUSE, "a"), **pods)
    rest = [
        PoolState(key=key(stage, "a"), desired=1, routable=1)
        for stage in (Stage.ENCODE, Stage.DECODE)
    ]
    return [state, *rest]


def test_only_the_pod_that_no_node_takes_is_undone() -> None:
    grown = plan({**ONE, Stage.DIFFUSE: (100, 5)})
    observed = tuple(diffuse(desired=5, routable=1, starting=4, unschedulable=1))
    memory = NO_MEMORY
    steps: list[Step] = []
    for now in (0.0, PATIENCE.unschedulable_s):
        found, memory = next_steps(
            observed, grown, Revision("a"), Room(), memory, now, replace(PATIENCE, start_s=900.0)
        )
        steps += found

    assert kinds(steps, "a") == ["drain diffuse 1"]
    assert [one.workers for one in memory.infeasible] == [5]


def test_a_pod_asked_for_late_has_its_time_to_be_placed() -> None:
    looks = [
        (0.0, diffuse(desired=4, routable=1, starting=3), 4),
        (30.0, diffuse(desired=4, routable=1, starting=3), 5),
        (31.0, diffuse(desired=5, routable=1, starting=4, unschedulable=1), 5),
        (31.0 + PATIENCE.unschedulable_s, diffuse(desired=5, routable=1, starting=4), 5),
    ]
    memory = NO_MEMORY
    steps: list[Step] = []
    for now, observed, workers in looks:
        target = plan({**ONE, Stage.DIFFUSE: (100, workers)})
        found, memory = next_steps(
            tuple(observed), target, Revision("a"), Room(), memory, now, PATIENCE
        )
        steps += found

    assert kinds(steps, "a") == ["diffuse=5"]


def test_a_replacement_that_fails_brings_the_old_chain_back_and_is_not_repeated() -> None:
    op = began(operator(300), plan(ONE), "a")
    op.cluster.broken = frozenset({Revision("b")})

    op.run(plan(ONE), "b", 200)
    outage = op.cluster.served.count(False)
    op.cluster.served.clear()
    op.run(plan(ONE), "b", 300)

    assert outage
    assert all(op.cluster.served)
    assert not op.cluster.sins


@pytest.mark.parametrize("bad", ["a", "m"])
def test_after_two_edits_that_fail_the_chain_that_served_comes_back(bad: str) -> None:
    op = began(operator(300), plan(ONE), "good")
    op.cluster.broken = frozenset({Revision(bad), Revision("z")})
    op.run(plan(ONE), bad, 200)
    assert op.cluster.served[-1]

    op.run(plan(ONE), "z", 200)

    assert op.cluster.served[-1]
    assert op.cluster.alive(key(Stage.DIFFUSE, "good"))


def test_edits_that_others_came_after_hold_nothing() -> None:
    op = began(operator(None), plan(TWO), "good")
    edits = ["a", "b", "z"]
    op.cluster.broken = frozenset(map(Revision, edits))

    for edit in edits:
        op.run(plan(TWO), edit, 12)

    held = {state.key.revision for state in op.cluster.observe() if state.holds}
    assert held == {"good", "z"}
    assert {one.revision for one in op.cluster.deployments} == {"good", "z"}
    assert all(op.cluster.served)


def test_a_first_start_that_hangs_is_overdue_and_left_to_go_on() -> None:
    op = operator(None)
    op.cluster.broken = frozenset({Revision("a")})
    op.run(plan(TWO), "a", 70)

    assert {one.pool.stages for one in op.memory.attempts if one.overdue} == {
        (stage,) for stage in Stage
    }
    for pod in op.cluster.pods:
        pod.ready_s = op.cluster.now
    op.tick(plan(TWO), "a")

    assert op.memory.attempts == ()


@pytest.mark.parametrize("gpu", [True, False])
def test_a_fraction_that_never_comes_up_costs_the_last_worker_once_at_most(gpu: bool) -> None:
    small, large = plan({**ONE, Stage.DECODE: (50, 1)}), plan(ONE)
    op = began(operator(300, gpu=gpu), large, "a")
    op.cluster.broken = frozenset({50})

    for tick in range(600):  # the plan follows what is told: it asks anew whenever that expires
        if tick == 200:
            op.cluster.served.clear()
        told = any(one.shape.label == "decode@50" for one in op.memory.infeasible)
        op.tick(large if told else small, "a")

    assert all(op.cluster.served)
    assert any(isinstance(step, SetReplicas) and step.pool.percent == 50 for step in op.steps)


def test_a_fraction_that_cannot_be_had_is_told_and_the_plan_can_go_back() -> None:
    small, large = plan({**ONE, Stage.DECODE: (50, 1)}), plan({**ONE, Stage.DECODE: (100, 1)})
    op = began(operator(250, gpu=False), small, "a")

    for _ in range(60):
        told = any(one.shape.label == "decode@100" for one in op.memory.infeasible)
        op.tick(small if told else large, "a")
    op.run(small, "a")

    assert op.settled(small, "a")


def test_a_pipeline_that_never_fitted_keeps_its_pods_waiting() -> None:
    op = operator(None)
    op.cluster.capacity = 200

    op.run(plan(ONE), "a", 200)
    waiting = [state for state in op.cluster.observe() if state.starting]
    op.cluster.capacity = 300
    op.run(plan(ONE), "a", 50)

    assert len(waiting) == 1
    assert op.settled(plan(ONE), "a")


def test_growth_that_does_not_fit_leaves_the_workers_alone_that_do() -> None:
    op = began(operator(400, gpu=False), plan(TWO), "a")
    more = plan({**ONE, Stage.DIFFUSE: (100, 4)})

    op.run(more, "a", 30)
    op.cluster.pods[0].ready_s = op.cluster.now + 5  # a worker restarts meanwhile
    op.run(more, "a", 9)

    assert len(op.cluster.alive(key(Stage.DIFFUSE, "a"))) == 2
    assert [(one.shape.label, one.workers) for one in op.memory.infeasible] == [("diffuse@100", 3)]
    assert not op.cluster.sins


def test_suspended_drains_everything_and_then_removes_it() -> None:
    op = began(operator(None), plan(TWO), "a")

    op.run(NOTHING, "a", 40)

    assert op.cluster.deployments == {}
    assert op.cluster.pods == []
    assert not op.cluster.sins


def test_suspended_drains_a_stage_only_when_the_ones_before_it_are_gone() -> None:
    op = began(operator(None), plan(TWO), "a")

    steps, _ = next_steps(
        op.cluster.observe(), NOTHING, Revision("a"), op.room, op.memory, op.cluster.now
    )

    drained = [step.pool.stages for step in steps if isinstance(step, MarkDraining)]
    assert drained == [(Stage.ENCODE,)]


def test_suspended_in_the_middle_of_a_rollout_ends_with_nothing_and_comes_back() -> None:
    op = began(operator(500), plan(TWO), "a")
    for _ in range(4):
        op.tick(plan(TWO), "b")

    op.run(NOTHING, "b", 40)
    assert op.cluster.pods == []
    op.run(plan(TWO), "b")

    assert op.settled(plan(TWO), "b")


@pytest.mark.parametrize("limit", [400, 500, None])
def test_an_operator_that_dies_after_any_step_goes_on_where_it_was(limit: int | None) -> None:
    """Once for every step that a whole rollout has, until there is no such step any more."""
    for death in count():
        op = began(operator(limit), plan(TWO), "a")
        done = 0
        for _ in range(400):
            steps, op.memory = next_steps(
                op.cluster.observe(),
                plan(TWO),
                Revision("b"),
                op.room,
                op.memory,
                op.cluster.now,
                PATIENCE,
            )
            for step in steps:
                if done == death:
                    op.memory = NO_MEMORY
                    done += 1
                    break
                op.cluster.carry_out(step)
                done += not isinstance(step, Wait)
            op.cluster.pass_time()
            if op.settled(plan(TWO), "b"):
                break
        assert op.settled(plan(TWO), "b")
        assert not op.cluster.sins
        if done <= death:
            return


def test_every_wait_ends() -> None:
    op = began(operator(None), plan(TWO), "a")
    op.cluster.unplaceable = frozenset({Revision("b")})

    op.run(plan(TWO), "b", 100)

    waits = [step for step in op.steps if isinstance(step, Wait)]
    assert waits
    assert all(wait.until_s < op.cluster.now + 1000 for wait in waits)


def test_workers_without_a_device_count_against_the_processor_cores() -> None:
    cluster = SimulatedCluster(rng=operator(None).cluster.rng)
    op = Operator(cluster=cluster, room=Room(gpu_percent=0, cpu_percent=400))
    on_cores = plan(TWO, devices=0)

    op.run(on_cores, "a")

    assert op.settled(on_cores, "a")
    assert cluster.peak <= 400


def test_a_pool_of_several_stages_gives_way_to_pools_of_one() -> None:
    together = PlacementPlan(
        pools=(
            replace(
                plan(ONE).pools[0],
                shape=PoolShape(
                    stages=(Stage.DECODE, Stage.DIFFUSE, Stage.ENCODE),
                    devices=1,
                    fraction_percent=100,
                ),
            ),
        ),
        reasons=(),
    )
    op = operator(None)
    op.run(together, "a")
    op.cluster.served.clear()

    op.run(plan(ONE), "a")
    assert op.settled(plan(ONE), "a")
    op.run(together, "a")

    assert op.settled(together, "a")
    assert all(op.cluster.served)
