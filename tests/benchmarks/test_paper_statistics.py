"""Intervals and corrections are those of the textbook."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper.statistics import holm, interval, p_value

FEW = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0])
    # 3.1824 standard errors of 1.2910 / 2, for three degrees of freedom.
    assert found.mean == 2.5
    assert found.high - found.mean == pytest.approx(2.0543, abs=1e-3)


def test_one_seed_says_nothing_of_chance() -> None:
    found = interval([3.0])
    assert (found.low, found.high) == (-inf, inf)
    assert not found.excludes(0.0)
    assert p_value([3.0]) == 1.0


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        interval([])


@given(values=FEW)
def test_the_interval_excludes_zero_where_the_test_is_significant(values: list[float]) -> None:
    p = p_value(values)
    if abs(p - 0.05) > 1e-6:
        assert interval(values).excludes(0.0) == (p < 0.05)


def test_equal_differences_are_no_accident_unless_they_are_nothing() -> None:
    assert (p_value([2.0, 2.0]), p_value([0.0, 0.0])) == (0.0, 1.0)


def test_holm_multiplies_by_how_many_are_left_and_never_falls() -> None:
    corrected = holm({"a": 0.04, "b": 0.01, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_correction_makes_nothing_more_significant(values: list[float]) -> None:
    given_values = dict(enumerate(values))
    for name, corrected in holm(given_values).items():
        assert given_values[name] <= corrected <= 1
