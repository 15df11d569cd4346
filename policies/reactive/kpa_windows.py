"""Knative's window averages: a plain one, and one that favours the newest samples.

Source: knative/serving 98e5ef9, `pkg/autoscaler/aggregation/bucketing.go`. The order of the
floating-point operations is part of the behaviour: averages are compared to the last digit.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from autoscaler.core.observation import Series

Algorithm = Literal["linear", "weighted-exponential"]

_DIGITS: Final = 1e6
"""Plain averages are rounded to six digits after the point."""

_WEIGHED: Final = 0.9999
"""Share of the weight that the slots of a full window together have, or more."""

_LEAST_WEIGHT: Final = 0.2
"""The newest slot never weighs less, however long the window is."""


class LinearWindow:
    """The average of the slots of a sliding window; the values of one slot add up.

    Before the window has filled, only the slots since the first value count. A silent slot
    between two values counts as 0; silence at the end shortens the window instead.

    An accumulator: made, filled and asked within one call, or kept by a caller that has its own
    stream of samples.
    """

    __slots__ = ("_first", "_last", "_seconds", "_slot_seconds", "_slots", "_total")

    def __init__(self, seconds: float, slot_seconds: float = 1.0) -> None:
        """Start empty.

        Args:
            seconds: Length of the window.
            slot_seconds: Length of one slot; the last slot is cut where they do not fit evenly.
        """
        self._seconds = seconds
        self._slot_seconds = slot_seconds
        self._slots = [0.0] * self._fitting(seconds)
        self._first: int | None = None
        self._last: int | None = None
        self._total = 0.0

    def record(self, time: float, value: float) -> None:
        """Add a value to the slot of its time.

        A late value counts, too, unless it is a whole window older than the newest.
        """
        slot = self._slot(time)
        if slot != self._last:
            if self._last is not None and (self._last - slot) * self._slot_seconds >= self._seconds:
                return
            if self._first is None or slot < self._first:
                self._first = slot
            if self._last is None or slot > self._last:
                self._advance(slot)
        self._slots[slot % len(self._slots)] += value
        self._total += value

    def is_empty(self, now: float) -> bool:
        """Return whether nothing was recorded for longer than the window."""
        return (
            self._last is None
            or (self._slot(now) - self._last) * self._slot_seconds > self._seconds
        )

    def average(self, now: float) -> float:
        """Return the average over the window that ends at `now`; 0 where it is empty."""
        if self._last is None:
            return 0.0
        size = len(self._slots)
        filled = size if self._first is None else self._last - self._first + 1
        silent = self._slot(now) - self._last
        if silent <= 0:
            return _rounded(self._total / min(filled, size))
        if silent * self._slot_seconds >= self._seconds:
            return 0.0
        total = self._total
        for gone in range(self._last + 1, self._last + silent + 1):
            total -= self._slots[gone % size]
        return _rounded(total / min(filled, size - silent))

    def resize(self, seconds: float, now: float) -> None:
        """Change the length of the window and keep what still fits in.

        For a caller that keeps its window, as the recorded cases of Knative do. The policy cuts
        its windows out of the series anew each cycle, so an edited length needs no resizing.
        """
        if seconds == self._seconds:
            return
        kept = [0.0] * self._fitting(seconds)
        total = 0.0
        size = len(self._slots)
        if self._last is None or self.is_empty(now):
            self._first = None
        else:
            for slot in range(self._last, self._last - min(len(kept), size), -1):
                value = self._slots[slot % size]
                kept[slot % len(kept)] = value
                total += value
            self._first = self._last - (size - 1)
        self._seconds, self._slots, self._total = seconds, kept, total

    def _slot(self, time: float) -> int:
        return math.floor(time / self._slot_seconds)

    def _fitting(self, seconds: float) -> int:
        return math.ceil(seconds / self._slot_seconds)

    def _advance(self, slot: int) -> None:
        """Make `slot` the newest; what leaves the window is forgotten."""
        size = len(self._slots)
        if self._last is None or (slot - self._last) * self._slot_seconds >= self._seconds:
            self._first = slot
            self._slots = [0.0] * size
            self._total = 0.0
        else:
            for gone in range(self._last + 1, slot + 1):
                self._total -= self._slots[gone % size]
                self._slots[gone % size] = 0.0
        self._last = slot


class WeightedWindow(LinearWindow):
    """The same window, where each slot weighs less than the one after it.

    With c the weight of the newest slot, the one before weighs c(1-c), and so on. The weights are
    never made to sum to 1: a short history reads low, and so does silence at the end.
    """

    __slots__ = ()

    def average(self, now: float) -> float:
        """Return the weighted average over the window that ends at `now`; 0 where it is empty."""
        if self._last is None or self.is_empty(now):
            return 0.0
        size = len(self._slots)
        newest = max(1.0 - (1.0 - _WEIGHED) ** (1.0 / size), _LEAST_WEIGHT)
        weight, count = newest, size
        silent = self._slot(now) - self._last
        if silent > 0:
            weight *= (1.0 - newest) ** silent
            count -= silent
        total = 0.0
        for slot in range(self._last, self._last - count, -1):
            total += self._slots[slot % size] * weight
            weight *= 1.0 - newest
        return total


WINDOWS: Final[Mapping[Algorithm, type[LinearWindow]]] = MappingProxyType(
    {"linear": LinearWindow, "weighted-exponential": WeightedWindow}
)
"""The two algorithms by Knative's names for them."""


def window_average(series: Series, now: float, seconds: float, algorithm: Algorithm) -> float:
    """Return the average of a series over the window that ends at `now`.

    Knative scrapes every second; a series here has one sample a scrape, say every 15 s. So one
    slot is one sample: those newer than `now - seconds` count, each once, and at least the newest
    does, however short the window. A sample that is missing between two others is left out; it
    is not a 0. The weights of `weighted-exponential` are those of a window of as many slots as
    samples fit into it.

    Args:
        series: Finite samples, one or more.
        now: End of the window, Unix seconds.
        seconds: Length of the window.
        algorithm: linear or weighted-exponential.

    Raises:
        ValueError: The series has no sample.
    """
    if not len(series):
        raise ValueError("a window average needs at least one sample")
    newer = series.since(now - seconds)
    values = newer.values if len(newer) else series.values[-1:]
    window = WINDOWS[algorithm](max(len(values), round(seconds / _spacing(series, seconds))))
    for slot, value in enumerate(values.tolist()):
        window.record(slot, value)
    return window.average(len(values) - 1)


def _spacing(series: Series, otherwise: float) -> float:
    """Return the usual time between two samples: the median, the upper one of two."""
    if len(series) == 1:
        return otherwise
    gaps = np.sort(np.diff(series.times))
    return float(gaps[len(gaps) // 2])


def _rounded(value: float) -> float:
    """Round to six digits after the point, halves away from zero."""
    scaled = value * _DIGITS
    whole = math.trunc(scaled)
    if abs(scaled - whole) >= 0.5:
        whole += 1 if scaled > 0 else -1
    return whole / _DIGITS
