"""Whole numbers of 32 and 64 bits as Go makes them on amd64, where the original programs run.

Python's integers never overflow. To agree with the Kubernetes HPA to the letter, its casts are
kept: a float that does not fit (or is not a number) becomes the least integer, a sum wraps.
"""

import math
from typing import Final

INT32_MAX: Final = 2**31 - 1
INT32_MIN: Final = -(2**31)
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)


def int32_of(number: float) -> int:
    """Cut a float to 32 bits, towards zero; what does not fit becomes `INT32_MIN`."""
    return _cut(number, INT32_MIN, INT32_MAX)


def int64_of(number: float) -> int:
    """Cut a float to 64 bits, towards zero; what does not fit becomes `INT64_MIN`."""
    return _cut(number, INT64_MIN, INT64_MAX)


def wrap32(number: int) -> int:
    """Return what is left of a whole number in 32 bits with sign."""
    return (number - INT32_MIN) % 2**32 + INT32_MIN


def wrap64(number: int) -> int:
    """Return what is left of a whole number in 64 bits with sign."""
    return (number - INT64_MIN) % 2**64 + INT64_MIN


def quotient(dividend: int, divisor: int) -> int:
    """Divide whole numbers and cut towards zero, unlike `//`.

    Raises:
        ZeroDivisionError: The divisor is 0.
    """
    result = abs(dividend) // abs(divisor)
    return result if (dividend < 0) == (divisor < 0) else -result


def ratio(dividend: float, divisor: float) -> float:
    """Divide floats; by 0 gives an infinity, and 0 by 0 is not a number."""
    if divisor != 0.0:
        return dividend / divisor
    if dividend == 0.0 or math.isnan(dividend):
        return math.nan
    return math.inf if dividend > 0.0 else -math.inf


def ceil(number: float) -> float:
    """Round up and stay a float: infinities and NaN pass."""
    return float(math.ceil(number)) if math.isfinite(number) else number


def _cut(number: float, least: int, most: int) -> int:
    if not math.isfinite(number):
        return least
    whole = math.trunc(number)
    return whole if least <= whole <= most else least
