"""Measured values as the quantities that the metrics APIs carry, written as Kubernetes does."""

import math
from typing import Final

from autoscaler.core.integers import INT64_MAX
from autoscaler.core.quantity import milli_of

_SUFFIXES: Final = ("m", "", "k", "M", "G", "T", "P", "E")


class UnfitError(ValueError):
    """A value that the HPA must not be shown; the message says why, in a few words."""


def quantity_of(value: float) -> str:
    """Return a value as a canonical quantity in whole thousandths: 40500m, 30, 2k.

    The nearest thousandth is taken, but what is more than nothing stays so: an HPA that is shown
    zero would scale down as if nobody were there.

    Raises:
        UnfitError: It is not finite, below zero (an HPA takes that for an overflow and goes to
            its maximum), or more than 64 bits of thousandths hold.
    """
    if not math.isfinite(value):
        raise UnfitError(f"is {value}, not a finite number")
    if value < 0:
        raise UnfitError(f"is {value:g}, and an HPA takes less than zero for an overflow")
    milli = milli_of(value)
    if milli >= INT64_MAX:
        raise UnfitError(f"is {value:g}, more than a quantity in thousandths holds")
    return canonical(milli if milli or not value else 1)


def canonical(milli: int) -> str:
    """Return thousandths as Kubernetes writes them: the largest suffix that loses nothing."""
    if milli == 0:
        return "0"
    power = 0
    while milli % 1000 == 0 and power < len(_SUFFIXES) - 1:
        milli //= 1000
        power += 1
    return f"{milli}{_SUFFIXES[power]}"
