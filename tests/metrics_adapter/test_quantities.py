import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.integers import INT64_MAX
from autoscaler.core.quantity import parse
from metrics_adapter.quantities import UnfitError, canonical, quantity_of


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(0.0, "0", id="nothing"),
        pytest.param(-0.0, "0", id="nothing below nothing"),
        pytest.param(30.0, "30", id="whole"),
        pytest.param(40.5, "40500m", id="thousandths"),
        pytest.param(0.1 + 0.2, "300m", id="the noise of floating point is none"),
        pytest.param(1000.0, "1k", id="the largest suffix that loses nothing"),
        pytest.param(1500.0, "1500", id="a suffix that would lose something"),
        pytest.param(2_000_000.0, "2M", id="millions"),
        pytest.param(1e-9, "1m", id="some stays some"),
        pytest.param(9e15, "9P", id="large"),
    ],
)
def test_values_are_written_as_kubernetes_writes_them(value: float, written: str) -> None:
    assert quantity_of(value) == written


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(math.nan, "is nan, not a finite number", id="nan"),
        pytest.param(math.inf, "is inf, not a finite number", id="inf"),
        pytest.param(
            -1.0, "is -1, and an HPA takes less than zero for an overflow", id="below zero"
        ),
        pytest.param(
            -0.0004,
            "is -0.0004, and an HPA takes less than zero for an overflow",
            id="below zero by less than half a thousandth",
        ),
        pytest.param(
            -5e-324,
            "is -4.94066e-324, and an HPA takes less than zero for an overflow",
            id="below zero by next to nothing",
        ),
        pytest.param(1e19, "is 1e+19, more than a quantity in thousandths holds", id="too large"),
    ],
)
def test_what_an_hpa_must_not_see_is_refused(value: float, why: str) -> None:
    with pytest.raises(UnfitError) as refused:
        quantity_of(value)

    assert str(refused.value) == why


@given(st.integers(0, INT64_MAX - 1))
def test_what_is_written_reads_back_as_the_same_number(milli: int) -> None:
    text = canonical(milli)
    quantity = parse(text)

    assert Fraction(quantity.digits) * Fraction(10) ** quantity.scale == Fraction(milli, 1000)


@given(st.integers(0, INT64_MAX - 1))
def test_what_is_written_is_canonical(milli: int) -> None:
    """No fraction, no leading zero, and no larger suffix would do."""
    text = canonical(milli)

    digits = text.rstrip("mkMGTPE")
    suffix = text[len(digits) :]
    assert digits == str(int(digits))
    assert suffix in ("", "m", "k", "M", "G", "T", "P", "E")
    assert text == "0" or suffix == "E" or int(digits) % 1000


@given(st.floats(0, 1e15))
def test_a_value_is_at_most_half_a_thousandth_off_and_never_lost(value: float) -> None:
    quantity = parse(quantity_of(value))

    assert (quantity.digits > 0) == (value > 0)
    assert quantity.approximate == pytest.approx(value, abs=1.001e-3, rel=1e-12)
