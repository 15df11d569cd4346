"""Kubernetes quantities such as 500m, 1.5Ki or 2e3: read, and turned into numbers as it does.

The rules are those of `k8s.io/apimachinery/pkg/api/resource` at v0.36 (quantity.go, amount.go,
math.go, scale_int.go), overflows included: what does not fit into 64 bits wraps or becomes 0
exactly as there, on the amd64 platform.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from autoscaler.core.integers import INT64_MAX, INT64_MIN, wrap64

_MILLI: Final = -3
_NANO: Final = -9
_FAST_DIGITS: Final = 18
"""More digits than this and Kubernetes leaves 64-bit arithmetic."""
_LONGEST_EXPONENT: Final = 100_000
"""A decimal exponent beyond this is refused: nobody means it, and it would fill the memory."""

_SHAPE: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?P<point>\.?)(?P<part>[0-9]*)"
    r"(?P<suffix>[eEinumkKMGTP]*[+-]?[0-9]*)"
)
_EXPONENT: Final = re.compile(r"[eE][+-]?[0-9]+")
_DECIMAL: Final = {
    "": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as Kubernetes holds it: `digits` x 10 ** `scale`.

    Attributes:
        digits: The digits, with their sign.
        scale: The power of ten that they are multiplied by.
        fast: Whether Kubernetes holds it in a 64-bit integer; else in a big decimal. The two
            round and overflow differently.
    """

    digits: int
    scale: int
    fast: bool = True

    @property
    def milli(self) -> int:
        """In whole thousandths, rounded away from zero: what the HPA calculates with.

        What does not fit into 64 bits overflows as in Kubernetes; a big negative decimal is
        rounded towards zero and one is added, as there.
        """
        return _fast_milli(self.digits, self.scale) if self.fast else _big_milli(self.digits)

    @property
    def approximate(self) -> float:
        """As a float, within rounding: `AsApproximateFloat64` there."""
        try:
            base = float(self.digits)
        except OverflowError:
            base = math.inf if self.digits > 0 else -math.inf
        return base if self.scale == 0 else base * _power_of_ten(self.scale)


def parse(text: str) -> Quantity:
    """Read a quantity.

    Raises:
        ValueError: It is not one; the message says what was found.
    """
    sign, given, part, suffix = _split(text)
    whole = given.lstrip("0") or "0"
    exponent = _exponent(suffix, text)
    binary = suffix in _BINARY
    digits = int(f"{whole}{part}")
    negative = sign == "-"
    spare = _FAST_DIGITS - len(whole) - len(part)
    if binary:
        # 15 digits less those of the factor, about three for ten powers of two.
        spare = 15 - len(whole) - exponent * 3 // 10 - 1 if not part else -1
    scale = (0 if binary else exponent) - len(part)
    if spare >= 0 and scale >= _NANO:
        digits = digits << exponent if binary else digits
        # No digit at all reads as 0 here, as in Kubernetes; below it is refused, as there.
        return Quantity(-digits if negative else digits, scale)
    if not given and not part:
        raise ValueError(f"a quantity should have a digit, unlike {text!r}")
    return _big(digits, -len(part), exponent, binary=binary, negative=negative)


def milli_of(value: float) -> int:
    """Return a measured value in whole thousandths, the nearest, at most what 64 bits hold.

    Metrics APIs carry at most thousandths; so that the noise of floating point does not count as
    one more, the nearest is taken. Ties go up.

    Raises:
        ValueError: The value is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"a measured value should be finite, not {value}")
    thousandths = value * 1000.0
    if abs(thousandths) >= float(INT64_MAX):
        return INT64_MAX if value > 0 else INT64_MIN
    return math.floor(thousandths + 0.5) if abs(thousandths) < 2**52 else int(thousandths)


def _split(text: str) -> tuple[str, str, str, str]:
    """Return sign, digits before the point, digits after it, and suffix."""
    found = _SHAPE.fullmatch(text) if text else None
    if found is None:
        raise ValueError(f"should be a quantity such as 20, 0.5, 500m or 1Gi, not {text!r}")
    return found["sign"], found["whole"], found["part"], found["suffix"]


def _exponent(suffix: str, text: str) -> int:
    if suffix in _DECIMAL:
        return _DECIMAL[suffix]
    if suffix in _BINARY:
        return _BINARY[suffix]
    if _EXPONENT.fullmatch(suffix) is None:
        raise ValueError(f"a quantity's suffix should be one of Kubernetes', not {suffix!r}")
    exponent = int(suffix[1:])
    if abs(exponent) > _LONGEST_EXPONENT:
        raise ValueError(f"a quantity's exponent should be a small number, not that of {text!r}")
    return exponent


def _big(number: int, scale: int, exponent: int, *, binary: bool, negative: bool) -> Quantity:
    """Return what 64 bits cannot hold: in nano-units, rounded up so that some stays some."""
    if binary:
        number <<= exponent
    else:
        scale += exponent
    shift = scale - _NANO
    number = number * _ten(shift) if shift >= 0 else -(-number // _ten(-shift))
    if binary:
        number = min(number, INT64_MAX * _ten(-_NANO))
    return Quantity(-number if negative else number, _NANO, fast=False)


def _fast_milli(digits: int, scale: int) -> int:
    """64-bit arithmetic: multiply by a power of ten, or divide by one, rounding away from zero."""
    shift = scale - _MILLI
    if shift < 0:
        quotient = -(-abs(digits) // _ten(-shift))
        return quotient if digits >= 0 else -quotient
    product = digits * _ten(shift)
    if INT64_MIN <= product <= INT64_MAX:
        return product
    # There one multiplication wraps, and a loop of them gives up with 0.
    return wrap64(product) if shift in (1, 2, 3, 6, 9) else 0


def _big_milli(nano: int) -> int:
    """Arithmetic on a big decimal in nano-units; only the result is cut to 64 bits."""
    divisor = _ten(_MILLI - _NANO)
    if nano < INT64_MAX:
        number = wrap64(nano)
        quotient = abs(number) // divisor * (1 if number >= 0 else -1)
        return quotient + (1 if number % divisor else 0)
    quotient, rest = divmod(nano, divisor)
    return wrap64(wrap64(quotient) + (1 if rest else 0))


def _ten(exponent: int) -> int:
    return int(10**exponent)


def _power_of_ten(exponent: int) -> float:
    """10 ** exponent, with the roundings of Go's math.Pow10; no quantity is finer than nano."""
    if exponent > 308:
        return math.inf
    if exponent < 0:
        return 1.0 / float(f"1e{-exponent}")
    big, small = divmod(exponent, 32)
    return float(f"1e{32 * big}") * float(f"1e{small}")
