"""What degree policies compare: options by degree, kept until the cost model has learnt."""

from hypothesis import given
from hypothesis import strategies as st
from tests.planner.floor import demand
from tests.planner.pricing import LARGE, SMALL, UP_TO_8, costs, kind

from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.dispatch.options import Options, efficient, k_star
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

E, D, C = STAGES


def test_each_degree_has_its_fastest_strategy_and_its_price_in_devices() -> None:
    guided = Strategy(cfg=2)
    model = costs(8.0, 5.0, 3.0)
    model.seconds[D, LARGE, guided] = 4.5

    found = Options(model).of(kind(strategies=(*UP_TO_8, guided)), D, LARGE, 2)

    assert [(one.degree, one.strategy, one.mean_s, one.device_s) for one in found] == [
        (1, SINGLE, 16.0, 16.0),
        (2, guided, 9.0, 18.0),
        (4, Strategy(ulysses=4), 6.0, 24.0),
    ]


def test_a_worker_offers_what_it_allows_and_has_devices_for() -> None:
    options = Options(costs(8.0, 5.0, 3.0, 2.0))

    def degrees(one: Kind) -> list[int]:
        return [option.degree for option in options.of(one, D, LARGE, 1)]

    assert degrees(kind(devices=4)) == [1, 2, 4]
    assert degrees(kind(strategies=UP_TO_8[1:2])) == [2]
    assert degrees(kind(strategies=())) == []


def test_several_kinds_offer_the_fastest_of_each_degree() -> None:
    model = costs(8.0, 5.0)
    slow, wide = kind(devices=1, fraction=50), kind(devices=2)

    found = Options(model).over([slow, wide], D, LARGE, 1)

    assert [(one.degree, one.mean_s) for one in found] == [(1, 8.0), (2, 5.0)]


def test_what_is_unknown_is_absent() -> None:
    options = Options(costs(8.0))

    assert options.of(kind(), D, SMALL, 1) == ()
    assert options.over([], D, LARGE, 1) == ()
    assert options.anywhere(E, SMALL, 1) == ()
    assert efficient(()) == ()
    assert k_star(()) is None


def test_an_answer_is_looked_up_until_the_cost_model_has_learnt() -> None:
    model = costs(8.0)
    options, one = Options(model), kind()
    first = options.of(one, D, LARGE, 1)
    asked = len(model.asked)
    again = options.of(one, D, LARGE, 1)
    still = len(model.asked)
    model.seconds[D, LARGE, SINGLE] = 6.0
    model.version += 1

    assert again is first
    assert still == asked
    assert options.of(one, D, LARGE, 1)[0].mean_s == 6.0


def test_the_efficient_degrees_are_those_of_the_paper() -> None:
    """CogVideoX 768x1360 at 81, 65 and 17 frames (paper section 2.7): k* is 8, 4 and 2."""
    table = {(30.5, 17.75, 9.10, 4.75): 8, (22.14, 13.07, 6.77, 3.56): 4, (4.71, 2.91, 1.55): 2}

    found = {times: k_star(Options(costs(*times)).of(kind(), D, LARGE, 6)) for times in table}

    assert {times: one.degree if one else None for times, one in found.items()} == table


def test_where_no_degree_is_efficient_the_least_that_is_feasible_is_left() -> None:
    """768x1360x33 fits on 4 devices and more, none of which is efficient (paper section 3.6)."""
    options = Options(costs(9.37, 5.63, 3.00, 1.57)).of(kind(strategies=UP_TO_8[2:]), D, LARGE, 6)
    inefficient = tuple(one for one in options if one.degree != 4)

    assert [one.degree for one in efficient(options)] == [4, 8]
    assert [one.degree for one in efficient(inefficient, 0.999)] == [8]


@given(
    seconds=st.lists(st.floats(0.01, 100), min_size=1, max_size=4), threshold=st.floats(0.1, 1.0)
)
def test_the_efficient_are_some_of_the_options_the_least_degree_among_them(
    seconds: list[float], threshold: float
) -> None:
    options = Options(costs(*seconds)).of(kind(), D, LARGE, 1)

    found = efficient(options, threshold)

    assert set(found) <= set(options)
    assert found[0] is options[0]
    for one in found[1:]:
        assert (options[0].mean_s / one.mean_s) / one.degree >= threshold * (1 - 1e-6)


def test_what_remains_are_the_stages_that_are_not_done_each_at_its_best_degree() -> None:
    options = Options(costs(8.0, 4.2, 3.0))
    one = demand("a", shape=LARGE, steps=10)

    remaining = [options.remaining_s(Journey(demand=one, stage=stage)) for stage in STAGES]

    assert remaining == [1.0 + 42.0 + 2.0, 42.0 + 2.0, 2.0]
    assert options.remaining_s(Journey(demand=demand("b", shape=SMALL))) is None
