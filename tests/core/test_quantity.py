import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.integers import INT64_MAX, INT64_MIN
from autoscaler.core.quantity import milli_of, parse

SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30),
    "Ti": Fraction(2**40), "e3": Fraction(1000), "E-2": Fraction(1, 100), "e+0": Fraction(1),
}  # fmt: skip


def wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize(
    ("text", "milli", "number"),
    [
        pytest.param("20", 20_000, 20.0, id="a whole number"),
        pytest.param("0.5", 500, 0.5, id="a fraction"),
        pytest.param("500m", 500, 0.5, id="thousandths"),
        pytest.param("1.0005", 1001, 1.0005, id="milli-units are rounded up"),
        pytest.param("-1.0005", -1001, -1.0005, id="and away from zero below it"),
        pytest.param("1n", 1, 1e-9, id="some stays some"),
        pytest.param("0.1n", 1, 1e-9, id="less than nano counts as one nano"),
        pytest.param("1.5Ki", 1_536_000, 1536.0, id="a binary suffix"),
        pytest.param("2Gi", 2 * 2**30 * 1000, 2.0 * 2**30, id="a large binary suffix"),
        pytest.param("2e3", 2_000_000, 2000.0, id="an exponent"),
        pytest.param("1E", 0, 1e18, id="E without digits is a suffix; 0 for overflow"),
        pytest.param("1E2", 100_000, 100.0, id="E with digits is an exponent"),
        pytest.param("+007.50", 7_500, 7.5, id="sign and leading zeros"),
        pytest.param(".5", 500, 0.5, id="no digit before the point"),
        pytest.param("5.", 5_000, 5.0, id="no digit after the point"),
        pytest.param("-", 0, 0.0, id="no digit at all is 0, as in Kubernetes"),
        pytest.param("1e300", 0, 1e300, id="too large for 64 bits: 0 milli-units"),
        pytest.param("1e400", 0, math.inf, id="too large for a float"),
        pytest.param("0.0000000001e-400", 1, 1e-9, id="too small even for a float: one nano"),
        pytest.param("9223372036854775807Ki", -1000, 2.0**63, id="binary: capped, then it wraps"),
        pytest.param("-9.0Gi", 8_783_067_657_710, -9.0 * 2**30, id="negative binary wraps"),
        pytest.param(
            "12345678901234567890", 4_807_115_922_877_858_896, 1.2345678901234568e19,
            id="many digits wrap",
        ),
        pytest.param(
            "-12345678901234567890", -5_097_733_592_001, -1.2345678901234568e19,
            id="many digits wrap otherwise below zero",
        ),
        pytest.param(
            "9999999999999999999.5001", 1_864_712_049_423_023_629, 1e19,
            id="a rest is added after wrapping",
        ),
        pytest.param("-1.50000000000000000001", -1499, -1.5, id="a rest is added below zero too"),
        pytest.param("-1.500000000000000000", -1500, -1.5, id="without a rest nothing is added"),
        pytest.param("1000000P", 0, 1e21, id="a loop of multiplications gives up with 0"),
        pytest.param("10000000000M", wrapped(10**19), 1e16, id="a single one wraps"),
    ],
)  # fmt: skip
def test_quantities_read_as_in_kubernetes(text: str, milli: int, number: float) -> None:
    """The figures are those of k8s.io/apimachinery v0.36.2."""
    quantity = parse(text)

    assert quantity.milli == milli
    assert quantity.approximate == pytest.approx(number, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "should be a quantity such as 20, 0.5, 500m or 1Gi, not ''", id="empty"),
        pytest.param(
            "1 Gi", "should be a quantity such as 20, 0.5, 500m or 1Gi, not '1 Gi'", id="a space"
        ),
        pytest.param(
            "1.2.3", "should be a quantity such as 20, 0.5, 500m or 1Gi, not '1.2.3'", id="points"
        ),
        pytest.param(
            "5K", "a quantity's suffix should be one of Kubernetes', not 'K'", id="K is none"
        ),
        pytest.param("5e", "a quantity's suffix should be one of Kubernetes', not 'e'", id="e"),
        pytest.param(
            "5e999999", "a quantity's exponent should be a small number, not that of '5e999999'",
            id="an exponent that would fill the memory",
        ),
        pytest.param("e-30", "a quantity should have a digit, unlike 'e-30'", id="no digit"),
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="quantity") as caught:
        parse(text)

    assert str(caught.value) == sentence


@given(st.integers(0, 10**6), st.text("0123456789", max_size=6), st.sampled_from(sorted(SUFFIXES)))
def test_quantities_that_fit_equal_exact_arithmetic(whole: int, part: str, suffix: str) -> None:
    exact = Fraction(f"{whole}.{part or 0}") * SUFFIXES[suffix]
    nano = math.ceil(exact * 10**9)  # Kubernetes keeps nothing finer
    quantity = parse(f"{whole}.{part}{suffix}")

    if nano < 10**18:
        assert quantity.milli == math.ceil(Fraction(nano, 10**6))
    assert quantity.approximate == pytest.approx(float(Fraction(nano, 10**9)), rel=1e-12)


@given(st.integers(-(10**15), 10**15))
def test_what_is_a_whole_number_of_milli_units_stays_so(milli: int) -> None:
    assert parse(f"{milli}m").milli == milli


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        pytest.param("1" * 30, 1, id="many digits after the point: one more for the rest"),
        pytest.param("0" * 29 + "1", 1, id="the smallest rest counts"),
    ],
)
def test_big_decimals_round_up_too(digits: str, expected: int) -> None:
    assert parse(f"3.{digits}").milli == 3000 + (111 if digits[0] == "1" else 0) + expected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("9" * 400, math.inf, id="above"),
        pytest.param("-" + "9" * 400, -math.inf, id="below"),
    ],
)
def test_more_digits_than_a_float_holds_are_infinite(text: str, number: float) -> None:
    assert parse(text).approximate == number


@pytest.mark.parametrize(
    ("value", "milli"),
    [
        pytest.param(0.0, 0, id="zero"),
        pytest.param(0.1 + 0.2, 300, id="the noise of floats is no milli-unit"),
        pytest.param(1.0005, 1001, id="ties go up"),
        pytest.param(-1.0006, -1001, id="negative"),
        pytest.param(1e17, INT64_MAX, id="capped above"),
        pytest.param(-1e17, INT64_MIN, id="capped below"),
        pytest.param(float(2**52), 2**52 * 1000, id="too large for halves"),
    ],
)
def test_measured_values_become_the_nearest_milli_units(value: float, milli: int) -> None:
    assert milli_of(value) == milli


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measured_value_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="should be finite"):
        milli_of(value)
