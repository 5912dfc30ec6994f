"""What degree policies compare: options by degree, kept until the cost model has learnt."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planner.floor import demand, state_of, worker
from tests.planner.pricing import LARGE, SMALL, UP_TO_8, call, costs, kind, model, samples, step

from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.offers import Offers
from tridentserve.planner.dispatch.options import Options, efficient, k_star
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

E, D, C = STAGES


def degrees(options: Options, one: Kind) -> list[int]:
    return [option.degree for option in options.of(one, D, LARGE, 1)]


def test_each_degree_has_its_fastest_strategy_and_its_price_in_devices() -> None:
    guided = Strategy(cfg=2)
    known = model(*samples(8.0, 5.0, 3.0), step(4.0, guided))

    found = Options(known).of(kind(strategies=(*UP_TO_8, guided)), D, LARGE, 2)

    assert [(one.degree, one.strategy, one.mean_s, one.device_s) for one in found] == [
        (1, SINGLE, 16.0, 16.0),
        (2, guided, 8.0, 16.0),
        (4, Strategy(ulysses=4), 6.0, 24.0),
    ]
    assert [one.efficiency for one in found] == pytest.approx([1.0, 1.0, 2 / 3])


def test_a_worker_offers_what_it_allows_and_has_devices_for() -> None:
    options = Options(costs(8.0, 5.0, 3.0, 2.0))

    assert degrees(options, kind(devices=4)) == [1, 2, 4]
    assert degrees(options, kind(strategies=UP_TO_8[1:2])) == [2]
    assert degrees(options, kind(strategies=())) == []


def test_several_kinds_offer_the_fastest_of_each_degree() -> None:
    options = Options(costs(8.0, 5.0))

    found = options.over([kind(devices=1, fraction=50), kind(devices=2)], D, LARGE, 1)

    assert [(one.degree, one.mean_s) for one in found] == [(1, 8.0), (2, 5.0)]


def test_what_is_unknown_is_absent() -> None:
    options = Options(CostModel())

    assert options.of(kind(), D, SMALL, 1) == ()
    assert options.over([], D, LARGE, 1) == ()
    assert options.anywhere(E, SMALL, 1) == ()
    assert options.fits(kind(), D, SMALL)
    assert efficient(()) == ()
    assert k_star(()) is None


def test_an_answer_is_looked_up_until_the_cost_model_has_learnt() -> None:
    known, one = costs(8.0), kind()
    options = Options(known)
    first = options.of(one, D, LARGE, 1)
    again = options.of(one, D, LARGE, 1)
    for _ in range(20):
        known.observe(D, LARGE, 1, 100, 16.0)

    assert again is first
    assert options.of(one, D, LARGE, 1)[0].mean_s > 12.0


def with_memory(peaks: dict[Strategy, int]) -> CostModel:
    """60 bytes a device: diffuse weighs 30, each of the others 10."""
    known = [step(8.0 / one.degree, one, peak_bytes=peak) for one, peak in peaks.items()]
    return CostModel(
        Profile(
            name="made up",
            source="test",
            samples=(*known, call(E, 1.0), call(C, 2.0)),
            weights_bytes=((E, 10), (D, 30), (C, 10)),
            usable_bytes=60,
        )
    )


def test_a_degree_whose_peak_does_not_fit_beside_the_weights_is_left_out() -> None:
    options = Options(with_memory({UP_TO_8[0]: 40, UP_TO_8[1]: 20, UP_TO_8[2]: 10}))
    together = kind()
    alone = state_of(worker("d", D, devices=("n1/gpu0", "n1/gpu1"))).roster.kinds(D)[0]

    assert degrees(options, together) == [4]  # 50 of weights and 10
    assert degrees(options, replace(alone, strategies=UP_TO_8)) == [2]  # 30 and 20
    assert not options.fits(alone, D, LARGE)
    (offer,) = Offers(options).among((alone, together), D, LARGE, 1)
    assert (offer.degree, offer.kinds) == (4, (together,))


def test_a_kind_offers_its_widest_strategy_without_an_estimate_where_nothing_is_known() -> None:
    one = kind()
    (offer,) = Offers(Options(CostModel())).among((one,), D, LARGE, 1)

    assert (offer.degree, offer.kinds, offer.option) == (8, (one,), None)


def test_what_is_offered_follows_the_fleet() -> None:
    state = state_of(worker("d", D))
    offers = Offers(Options(costs(8.0, 5.0)))
    journey = Journey(demand=demand("a", shape=LARGE), stage=D)
    wide = worker("wide", D, devices=("n1/gpu0", "n1/gpu1"))
    before = offers.of(state, journey)
    state.roster.put(replace(wide, strategies=UP_TO_8))
    after = offers.of(state, journey)
    state.roster.remove(wide.id)

    assert [(one.degree, len(one.kinds)) for one in before] == [(1, 1)]
    assert [(one.degree, len(one.kinds)) for one in after] == [(1, 2), (2, 1)]
    assert offers.of(state, journey) == before


def test_the_efficient_degrees_are_those_of_the_paper() -> None:
    """CogVideoX 768x1360 at 81, 65 and 17 frames (paper section 2.7): k* is 8, 4 and 2."""
    table = {(30.5, 17.75, 9.10, 4.75): 8, (22.14, 13.07, 6.77, 3.56): 4, (4.71, 2.91, 1.55): 2}

    found = {times: k_star(Options(costs(*times)).of(kind(), D, LARGE, 6)) for times in table}

    assert {times: one.degree if one else None for times, one in found.items()} == table


def test_where_no_degree_is_efficient_the_least_that_is_feasible_is_left() -> None:
    """768x1360x33 fits on 4 devices and more, none of which is efficient (paper section 3.6)."""
    options = Options(costs(9.37, 5.63, 3.00, 1.57)).of(kind(strategies=UP_TO_8[2:]), D, LARGE, 6)

    assert [one.degree for one in options] == [4, 8]
    assert [one.degree for one in efficient(options)] == [4]


@given(
    seconds=st.lists(st.floats(0.01, 100), min_size=1, max_size=4), threshold=st.floats(0.1, 1.0)
)
def test_the_efficient_are_some_of_the_options_and_as_fast_as_was_asked(
    seconds: list[float], threshold: float
) -> None:
    options = Options(costs(*seconds)).of(kind(), D, LARGE, 1)

    found = efficient(options, threshold)

    assert found
    assert set(found) <= set(options)
    for one in found:
        assert (options[0].mean_s / one.mean_s) / one.degree >= threshold * (1 - 1e-6)


def test_what_remains_are_the_stages_that_are_not_done_each_at_its_best_degree() -> None:
    options = Options(costs(8.0, 4.2, 3.0))
    one = demand("a", shape=LARGE, steps=10)

    remaining = [options.remaining_s(Journey(demand=one, stage=stage)) for stage in STAGES]

    assert remaining == [1.0 + 42.0 + 2.0, 42.0 + 2.0, 2.0]
    assert Options(CostModel()).remaining_s(Journey(demand=one)) is None


def test_pictures_take_as_long_as_a_batch_of_them_but_in_encode_which_all_share() -> None:
    options = Options(costs(8.0, 4.2, 3.0))
    one, four = (demand("a", shape=LARGE, steps=10, count=count) for count in (1, 4))

    remaining = [options.remaining_s(Journey(demand=four, stage=stage)) for stage in STAGES]

    assert remaining == [1.0 + 4 * (42.0 + 2.0), 4 * (42.0 + 2.0), 4 * 2.0]
    assert options.remaining_s(Journey(demand=one)) == 1.0 + 42.0 + 2.0


def test_a_degree_is_offered_that_has_the_memory_for_all_pictures_of_a_request() -> None:
    offers = Offers(Options(with_memory(dict(zip(UP_TO_8, (16, 12, 7, 4), strict=False)))))
    diffuser = replace(worker("d", D, devices=("0", "1", "2", "3")), strategies=UP_TO_8)
    state = state_of(diffuser)

    def degrees_of(count: int) -> list[int]:
        one = demand("a", shape=LARGE, count=count)
        return [offer.degree for offer in offers.of(state, Journey(demand=one, stage=D))]

    assert {count: degrees_of(count) for count in (1, 2, 4, 5)} == {
        1: [1, 2, 4],  # 30 bytes of 60 are left beside the weights
        2: [2, 4],
        4: [4],
        5: [],
    }
