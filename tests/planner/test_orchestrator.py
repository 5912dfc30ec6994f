"""Virtual replicas: which class goes where, how devices are split and packed, when it changes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.placements import (
    GB,
    PAPER,
    TRACES,
    by_node,
    devices,
    mix,
    nodes,
    profile,
    question,
)
from tests.planner.specs import codes

from tridentserve.domain.ids import NodeId
from tridentserve.domain.load import Load
from tridentserve.domain.plans import PlacementPlan
from tridentserve.planner.placement.moves import MoveCosts, MoveKind, lost_device_s, moves, staying
from tridentserve.planner.placement.orchestrator import Orchestrator, OrchestratorSettings
from tridentserve.planner.placement.packing import Bundle, pack, singled
from tridentserve.planner.placement.replicas import Needs, arrange, needs_of, tenant_of
from tridentserve.planner.placement.smoothing import (
    Remembered,
    SmoothedMix,
    smoothed,
    smoothed_survey,
)
from tridentserve.planner.placement.splitting import apportion
from tridentserve.planner.placement.survey import Survey, survey
from tridentserve.planner.projection import PlacementType, project
from tridentserve.planner.protocols import PlacementInputs

EDC, DC, ED, D, E, C = PlacementType


def seen(asked: PlacementInputs) -> Survey:
    found = survey(asked)
    assert found is not None
    return found


def replicas(name: str, memory_bytes: int = 48 * GB) -> dict[str, list[int]]:
    """Pixels times frames of the classes by the virtual replica that they go into."""
    asked = question(name, mix(name, 1.0), nodes(8, memory_bytes=memory_bytes))
    found: dict[str, list[int]] = {}
    for traffic in seen(asked).traffic:
        tenant = tenant_of(seen(asked), traffic)
        word = "none" if tenant is None else tenant.replica.name
        found.setdefault(word, []).append(traffic.rate.shape.volume)
    return found


@pytest.mark.parametrize("name", ["sd3", "cogvideox"])
def test_what_fits_a_device_whole_is_co_located(name: str) -> None:
    assert set(replicas(name)) == {"V0"}


def test_a_picture_whose_decoding_does_not_fit_beside_the_encoder_takes_the_next_replica() -> None:
    found = replicas("flux")

    assert found["V1"] == [2048 * 2048]
    assert max(found["V0"]) == 1024 * 1024


def test_a_model_whose_weights_do_not_fit_together_has_its_encoder_apart() -> None:
    assert len(replicas("hunyuanvideo")["V1"]) >= 7


def test_a_device_too_small_for_any_part_holds_nothing_and_the_plan_names_who_is_left_out() -> None:
    asked = question("flux", mix("flux", 1.0), nodes(8, memory_bytes=12 * GB))

    plan = Orchestrator().plan(asked)

    assert plan.pools == ()
    assert plan.limited
    assert "2048x2048x1/28" in plan.reasons[0].message


def test_split_gives_all_parts_of_a_replica_the_same_rate() -> None:
    """V3 on 24 devices, 10 s, 0.5 s and 1.5 s a request: 20, 1 and 3 serve 2 requests/s each."""
    assert apportion(24, (10.0, 0.5, 1.5), (1, 1, 1)) == (20, 1, 3)


def test_split_never_leaves_out_a_part_whose_share_is_less_than_a_device() -> None:
    assert apportion(8, (100.0, 0.01, 0.1), (1, 1, 1)) == (6, 1, 1)


def test_the_published_balance_of_a_light_load() -> None:
    assert apportion(128, (10, 63, 27), (1, 1, 1)) == (13, 81, 34)


@settings(deadline=None)
@given(
    total=st.integers(0, 300),
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=7),
    data=st.data(),
)
def test_shares_add_up_and_none_is_below_its_least_where_there_is_enough(
    total: int, weights: list[float], data: st.DataObject
) -> None:
    least = data.draw(st.lists(st.integers(0, 9), min_size=len(weights), max_size=len(weights)))

    parts = apportion(total, weights, least)

    enough = sum(least) <= total
    assert sum(parts) == (total if enough and total else min(total, sum(least)))
    assert all(part >= (lowest if enough else 0) for part, lowest in zip(parts, least, strict=True))


def test_groups_of_eight_are_not_broken_by_auxiliary_devices() -> None:
    layouts = pack(
        [Bundle(counts=((D, 115), (E, 3), (C, 10)), group=8)],
        [(NodeId(f"n{index:02}"), 8) for index in range(16)],
    )

    assert sum(layout.devices(D) == 8 for layout in layouts) == 14
    assert [sum(layout.devices(kind) for layout in layouts) for kind in (D, E, C)] == [115, 3, 10]


def test_nodes_are_kept_whole_for_the_class_that_uses_the_largest_groups() -> None:
    """Nearly all requests run on one device, a few on eight: three encoders go to one node."""
    rare = mix("hunyuanvideo", 1.0, (1, 0, 0, 0.01, 0, 0, 0, 0))

    plan = Orchestrator().plan(question("hunyuanvideo", rare))

    workers = {pool.shape.devices: pool.workers for pool in plan.pools}
    assert devices(plan) == {"DC": 125, "E": 3}
    assert workers == {8: 15, 5: 1, 1: 3}


def test_a_replica_for_which_there_are_too_few_devices_is_named() -> None:
    plan = Orchestrator().plan(question("flux", mix("flux", 1.0), nodes(2)))

    found = {reason.code: reason.message for reason in plan.reasons}
    assert found["TooFewDevices"] == "2 devices are too few for V1"
    assert found["VirtualReplica"].startswith("V0: 100 % of the requests, 2 devices")
    assert plan.limited


def test_parts_of_a_replica_share_nodes_where_its_groups_allow_it() -> None:
    layouts = pack(
        [Bundle(counts=((DC, 12), (E, 4)), group=1)], [(NodeId("a"), 8), (NodeId("b"), 8)]
    )

    assert [(layout.devices(DC), layout.devices(E)) for layout in layouts] == [(6, 2), (6, 2)]


def test_devices_follow_the_share_of_requests_and_the_rates_of_the_parts() -> None:
    asked = question("flux", mix("flux", 1.5))

    plan = Orchestrator().plan(asked)

    # A fifth of the requests needs V1: floor(25.6) and the remainder. DC 160 s a request, E 0.12 s.
    assert devices(plan) == {"EDC": 102, "DC": 25, "E": 1}


# --- when it changes ------------------------------------------------------------------------------


LIGHT = mix("flux", 1.5, (1, 1, 1, 1, 0.25))
HEAVY = mix("flux", 1.5, (0.2, 0.2, 0.2, 0.2, 2))
QUICK = OrchestratorSettings(tau_s=0.0)


def looks(
    planner: Orchestrator, *loads: Load, every_s: float = 30.0, start: PlacementPlan | None = None
) -> list[PlacementPlan]:
    """Plans of one look after the other, each in force until the next."""
    plans: list[PlacementPlan] = []
    for number, load in enumerate(loads):
        previous = plans[-1] if plans else start
        asked = question("flux", load, PAPER, previous, now=number * every_s)
        plans.append(planner.plan(asked))
    return plans


def test_a_balanced_placement_stays() -> None:
    first, second = looks(Orchestrator(QUICK), LIGHT, mix("flux", 4.0, (1, 1, 1, 1, 0.3)))

    assert second.id == first.id
    assert codes(second) == {"Balanced"}


def test_a_heavier_mix_changes_the_placement_once_it_has_dwelt() -> None:
    plans = looks(Orchestrator(QUICK), LIGHT, HEAVY, HEAVY, HEAVY, HEAVY, HEAVY)

    assert codes(plans[1]) == codes(plans[3]) == {"Dwell"}
    assert plans[4].id != plans[0].id
    assert devices(plans[4])["DC"] > devices(plans[0])["DC"]
    assert codes(plans[5]) == {"Unchanged"}


def test_one_odd_look_is_smoothed_away() -> None:
    odd = mix("flux", 1.5)
    calm = OrchestratorSettings(dwell_s=0.0, tau_s=300.0)
    nervous = replace(calm, tau_s=0.0)

    smooth = looks(Orchestrator(calm), LIGHT, odd, LIGHT, LIGHT)
    rough = looks(Orchestrator(nervous), LIGHT, odd, LIGHT, LIGHT)

    assert len({plan.id for plan in smooth}) == 1
    assert len({plan.id for plan in rough}) == 2


def test_a_change_that_costs_more_than_it_serves_is_not_made() -> None:
    dear = OrchestratorSettings(tau_s=0.0, dwell_s=0.0, costs=MoveCosts(pod_start_s=1e6))

    plans = looks(Orchestrator(dear), LIGHT, HEAVY)

    assert codes(plans[1]) == {"DoesNotPay"}
    assert plans[1].pools == plans[0].pools


def test_a_node_that_is_gone_changes_the_placement_at_once() -> None:
    planner = Orchestrator(QUICK)
    before = planner.plan(question("flux", LIGHT))

    after = planner.plan(question("flux", LIGHT, nodes(*[8] * 15), before, now=1.0))

    assert sum(devices(after).values()) == 120


def test_an_unknown_load_holds_the_placement() -> None:
    planner = Orchestrator()
    before = planner.plan(question("flux", LIGHT))
    unknown = Load(arrivals_per_s=None, problem="Prometheus does not answer")

    after = planner.plan(question("flux", unknown, PAPER, before, now=600.0))

    assert after.pools == before.pools
    assert codes(after) == {"LoadUnknown"}


def test_without_a_load_the_profile_is_the_mix() -> None:
    plan = Orchestrator().plan(question("sd3", Load(arrivals_per_s=0.0)))

    assert devices(plan) == {"EDC": 128}


def test_looking_twice_at_a_moment_counts_once() -> None:
    known = smoothed(SmoothedMix(), LIGHT.mix, 0.0, 60.0)
    once = smoothed(known, HEAVY.mix, 60.0, 60.0)

    assert smoothed(once, HEAVY.mix, 60.0, 60.0) == once
    assert once.rates[0].arrivals_per_s == pytest.approx(
        LIGHT.mix[0].arrivals_per_s * 0.3679 + HEAVY.mix[0].arrivals_per_s * 0.6321, rel=1e-3
    )


def test_a_node_that_took_the_place_of_another_one_is_planned_for_at_once() -> None:
    planner, three = Orchestrator(), nodes(8, 8, 8)
    others = [one for one in three.devices if one.node != "n00"]
    before = planner.plan(question("flux", LIGHT, nodes(8, 8)))

    after = planner.plan(
        question("flux", LIGHT, replace(three, devices=tuple(others)), before, now=1.0)
    )

    assert after.id == before.id
    assert set(by_node(after)) == {"n01", "n02"}


def test_a_class_that_is_gone_fades_and_is_forgotten_below_a_thousandth() -> None:
    gone, rest = LIGHT.mix[0], LIGHT.mix[1:]
    known = smoothed(SmoothedMix(), LIGHT.mix, 0.0, 60.0)

    fading = smoothed(known, rest, 300.0, 60.0)  # 0.7 % of what it was, a fourth of the whole
    forgotten = smoothed(known, rest, 400.0, 60.0)  # 0.1 % of what it was

    assert gone.shape in {one.shape for one in fading.rates}
    assert {one.shape for one in forgotten.rates} == {one.shape for one in rest}


def test_an_unknown_load_leaves_the_remembered_mix_as_it_is() -> None:
    _, known = smoothed_survey(question("flux", LIGHT, now=0.0), Remembered(), 60.0)

    found, after = smoothed_survey(
        question("flux", Load(arrivals_per_s=None), now=600.0), known, 60.0
    )

    assert found is None
    assert after == known
    assert known.mix.rates == LIGHT.mix


def test_what_is_surveyed_is_the_mix_as_smoothed() -> None:
    _, known = smoothed_survey(question("flux", LIGHT, now=0.0), Remembered(), 60.0)

    found, after = smoothed_survey(question("flux", HEAVY, now=60.0), known, 60.0)

    assert found is not None
    assert tuple(traffic.rate for traffic in found.traffic) == after.mix.rates
    assert after.mix.rates[0].arrivals_per_s == pytest.approx(
        LIGHT.mix[0].arrivals_per_s * 0.3679 + HEAVY.mix[0].arrivals_per_s * 0.6321, rel=1e-3
    )


# --- what a change costs --------------------------------------------------------------------------


def test_a_pod_costs_its_start_and_all_weights_and_a_residency_only_what_is_lacking() -> None:
    asked = question("flux", LIGHT, nodes(8))
    whole = replace(Orchestrator().plan(asked), reasons=())
    apart = arrange(seen(question("flux", mix("flux", 1.0, (0, 0, 0, 0, 1)), nodes(8))))
    (edc,) = [pool for pool in whole.pools if pool.shape.stages == EDC.stages]
    costs = MoveCosts(pod_start_s=20.0, load_bytes_per_s=10e9, load_launch_s=1.0)

    pods = moves(whole, apart, profile("flux"), costs)
    loads = moves(whole, apart, profile("flux"), replace(costs, residency=True))

    assert {move.kind for move in pods} == {MoveKind.POD_START}
    assert all(move.seconds > 21.0 for move in pods)
    assert all(move.kind is not MoveKind.POD_START for move in loads)
    assert lost_device_s(loads) < lost_device_s(pods)
    assert moves(whole, whole, profile("flux"), costs) == ()
    assert edc.shape.devices <= 8


def test_one_encoder_more_leaves_the_first_where_it_is() -> None:
    asked = seen(question("flux", mix("flux", 1.0), nodes(8, 8)))
    n0, n1 = NodeId("n00"), NodeId("n01")

    def plan(encoders: int) -> PlacementPlan:
        bundle = Bundle(counts=((DC, 16 - encoders), (E, encoders)), group=8)
        layouts = singled(pack([bundle], [(n0, 8), (n1, 8)]), asked.ungrouped)
        return PlacementPlan(pools=project(layouts, asked.capacity).pools, reasons=())

    kept = staying(plan(1), plan(2))

    assert devices(kept) == {"DC": 8, "E": 1}
    assert devices(staying(plan(2), plan(2))) == {"DC": 14, "E": 2}


def test_the_trigger_compares_what_the_parts_could_serve() -> None:
    asked = seen(question("hunyuanvideo", mix("hunyuanvideo", 0.5)))
    tenants = [one for one in (tenant_of(asked, traffic) for traffic in asked.traffic) if one]
    needs = needs_of(tenants)

    rates = needs.headroom({DC: 127, E: 1})

    assert rates[E] == pytest.approx(2.0)  # 0.5 s a request
    assert rates[DC] < rates[E]


def test_a_type_that_no_class_works_on_bounds_no_rate() -> None:
    needs = Needs(by_type=((EDC, 0.0), (E, 0.5)))

    assert needs.headroom({E: 2}) == {E: 4.0}


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(TRACES)),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    memory=st.sampled_from([24, 48, 80]),
    rate=st.floats(0.01, 100.0),
    weights=st.lists(st.floats(0.0, 10.0), min_size=8, max_size=8),
)
def test_every_replica_in_use_has_all_of_its_parts(
    name: str, sizes: list[int], memory: int, rate: float, weights: list[float]
) -> None:
    chosen = weights[: len(TRACES[name][1])]
    if sum(chosen) <= 0:
        chosen[0] = 1.0
    asked = question(name, mix(name, rate, chosen), nodes(*sizes, memory_bytes=memory * GB))

    there = devices(Orchestrator().plan(asked))

    hosted = {letter for word, count in there.items() if count for letter in word}
    assert hosted in (set(), {"E", "D", "C"})
    if "DC" in there:
        assert there.get("E", 0) > 0
    if "ED" in there:
        assert there.get("C", 0) > 0
