import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.integers import (
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    ceil,
    int32_of,
    int64_of,
    quotient,
    ratio,
    wrap32,
    wrap64,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(2.9, 2, id="cut towards zero"),
        pytest.param(-2.9, -2, id="from below as well"),
        pytest.param(2147483647.5, INT32_MAX, id="the largest"),
        pytest.param(2147483648.0, INT32_MIN, id="one more does not fit"),
        pytest.param(-2147483649.0, INT32_MIN, id="one less does not fit"),
        pytest.param(math.inf, INT32_MIN, id="infinity"),
        pytest.param(math.nan, INT32_MIN, id="not a number"),
    ],
)
def test_floats_cut_to_32_bits(number: float, expected: int) -> None:
    assert int32_of(number) == expected


def test_floats_cut_to_64_bits() -> None:
    assert int64_of(-1e15 - 0.5) == -(10**15)
    assert int64_of(float(INT64_MAX)) == INT64_MIN


@given(st.integers(-(2**70), 2**70))
def test_sums_wrap(number: int) -> None:
    assert (wrap32(number) - number) % 2**32 == 0
    assert INT32_MIN <= wrap32(number) <= INT32_MAX
    assert (wrap64(number) - number) % 2**64 == 0
    assert INT64_MIN <= wrap64(number) <= INT64_MAX


@given(st.integers(), st.integers().filter(bool))
def test_a_quotient_is_cut_towards_zero(dividend: int, divisor: int) -> None:
    found = quotient(dividend, divisor)

    rest = dividend - found * divisor
    assert abs(rest) < abs(divisor)
    assert rest == 0 or (rest < 0) == (dividend < 0)


@pytest.mark.parametrize(
    ("dividend", "divisor", "expected"),
    [
        pytest.param(3.0, 2.0, 1.5, id="as usual"),
        pytest.param(3.0, 0.0, math.inf, id="by 0"),
        pytest.param(-3.0, 0.0, -math.inf, id="negative by 0"),
    ],
)
def test_ratios(dividend: float, divisor: float, expected: float) -> None:
    assert ratio(dividend, divisor) == expected


def test_nothing_by_nothing_is_not_a_number() -> None:
    assert math.isnan(ratio(0.0, 0.0))
    assert math.isnan(ratio(math.nan, 0.0))


def test_rounding_up_lets_infinities_pass() -> None:
    assert [ceil(1.2), ceil(-1.2), ceil(math.inf)] == [2.0, -1.0, math.inf]
    assert math.isnan(ceil(math.nan))
