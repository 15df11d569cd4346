"""When to fit again: each workload at a moment of its own, so that they never fit all at once."""

import zlib
from typing import Final

from autoscaler.core.observation import Series

EARLIEST: Final = 0.75
"""A refit comes after this share of the interval at the earliest."""


def own_share(series: Series) -> float:
    """Return a number in [0, 1) that the samples decide: spread evenly, and the same each time."""
    return zlib.crc32(series.values.tobytes(), zlib.crc32(series.times.tobytes())) / 2.0**32


def soon(series: Series, now: float, spread_seconds: float) -> float:
    """Return a moment within `spread_seconds` from now, Unix seconds."""
    return now + spread_seconds * own_share(series)


def later(series: Series, now: float, interval_seconds: float) -> float:
    """Return a moment in the last quarter of an interval that begins now, Unix seconds."""
    return now + interval_seconds * (EARLIEST + (1.0 - EARLIEST) * own_share(series))
