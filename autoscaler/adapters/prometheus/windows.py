"""What is kept of each signal between cycles: its samples within the window, and what is unasked.

Memory of a signal: 16 bytes a sample (two float64), a sixteenth more as room to grow, and about
1 KiB for the objects around them. A window of 14 days at 300 s is 4,033 samples: 69 KiB.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.observation import Series

Floats = NDArray[np.float64]

_NONE: Final = Series.of([])
_NO_SAMPLES: Final = _NONE.times


class Track:
    """The samples of one signal of one workload within its window, oldest first.

    A series that was handed out never changes: new samples go behind it, in room of the same
    arrays; anything else makes new arrays.

    Attributes:
        newest: Time of the newest sample; minus infinity before the first.
        marks: The newest raw sample of each selector, Unix seconds; minus infinity where there was
            none. Only kept where a query reads several.
    """

    __slots__ = (
        "_end", "_oldest", "_read_times", "_read_values", "_series", "_start", "_times", "_values",
        "marks", "newest",
    )  # fmt: skip

    def __init__(self) -> None:
        self._times = self._read_times = _NO_SAMPLES
        self._values = self._read_values = _NO_SAMPLES
        self._start = self._end = 0
        self._series: Series | None = _NONE
        self._oldest = np.inf
        self.newest = -np.inf
        self.marks: tuple[float, ...] = ()

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def nbytes(self) -> int:
        """Bytes of samples held, room to grow included."""
        return self._times.nbytes + self._values.nbytes

    def series(self, since: float, newest_since: float | None = None) -> Series:
        """Return the samples that are newer than `since`; forget the others.

        The same object as last time where nothing came and nothing went.

        Args:
            since: Unix seconds.
            newest_since: The newest sample is kept for longer, while it is newer than this: a
                window of one step is not empty between two steps.
        """
        if self._oldest <= since:
            self._forget(since, since if newest_since is None else min(newest_since, since))
        if self._series is None:
            part = slice(self._start, self._end)
            self._series = Series.sound(self._read_times[part], self._read_values[part])
        return self._series

    def _forget(self, since: float, alone: float) -> None:
        """Forget samples up to `since`; the newest, where it is left alone, only up to `alone`."""
        start, last, oldest, time = self._start, self._end - 1, self._oldest, self._times.item
        while start < last and oldest <= since:
            start += 1
            oldest = time(start)
        if start == last and oldest <= alone:
            start, oldest = start + 1, np.inf
        if start != self._start:
            self._start, self._oldest, self._series = start, oldest, None

    def append(self, time: float, value: float) -> None:
        """Add a sample that is newer than all others."""
        if self._start == self._end:
            self._oldest = time
        if self._end == len(self._times):
            self._grow()
        self._times[self._end] = time
        self._values[self._end] = value
        self._end += 1
        self._series = None
        self.newest = time

    def put(self, time: float, value: float, step: float) -> None:
        """Add a sample that is newer than all others, or in place of the newest if that is near.

        Args:
            time: Unix seconds.
            value: In the signal's unit.
            step: Seconds between evaluations: the same point asked again is no new sample.
        """
        if time - self.newest < step / 2:
            self.replace_newest(time, value)
        else:
            self.append(time, value)

    def replace_newest(self, time: float, value: float) -> None:
        """Put a sample in place of the newest one."""
        self._end -= 1
        self._grow()  # the arrays may be in somebody's hands
        self.append(time, value)

    def merge(self, times: Sequence[float] | Floats, values: Sequence[float] | Floats) -> None:
        """Add samples of any time, oldest first; where two have one time the new one counts."""
        old = slice(self._start, self._end)
        every = np.concatenate([np.asarray(times, np.float64), self._times[old]])
        their = np.concatenate([np.asarray(values, np.float64), self._values[old]])
        times, first = np.unique(every, return_index=True)
        self._hold(times, their[first])
        self._start, self._end = 0, len(self._times)
        self._series = None
        if self._end:
            self._oldest = float(times[0])
            self.newest = max(self.newest, float(self._times[-1]))

    def _grow(self) -> None:
        kept = slice(self._start, self._end)
        count = self._end - self._start
        room = count + max(8, count // 16)
        times, values = np.empty(room), np.empty(room)
        times[:count], values[:count] = self._times[kept], self._values[kept]
        self._hold(times, values)
        self._start, self._end = 0, count

    def _hold(self, times: Floats, values: Floats) -> None:
        """Keep samples in these arrays from now on, and show them to others read-only."""
        self._times, self._values = times, values
        self._read_times, self._read_values = times.view(), values.view()
        self._read_times.flags.writeable = self._read_values.flags.writeable = False


class Holes:
    """Which points of a grid are still to be asked for: whole numbers, in disjoint ranges."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last point of each range, in order."""
        return tuple(self._ranges)

    def add(self, first: int, last: int) -> None:
        """Ask for the points from `first` to `last`."""
        if first > last:
            return
        apart = [(a, b) for a, b in self._ranges if b < first - 1 or a > last + 1]
        touching = [(a, b) for a, b in self._ranges if not (b < first - 1 or a > last + 1)]
        first = min([first, *(a for a, _ in touching)])
        last = max([last, *(b for _, b in touching)])
        self._ranges = sorted([*apart, (first, last)])

    def remove(self, first: int, last: int) -> None:
        """Ask no longer for the points from `first` to `last`."""
        left = []
        for a, b in self._ranges:
            if a < first:
                left.append((a, min(b, first - 1)))
            if b > last:
                left.append((max(a, last + 1), b))
        self._ranges = left

    def trim(self, first: int) -> None:
        """Ask for nothing before `first`."""
        self._ranges = [(max(a, first), b) for a, b in self._ranges if b >= first]

    def newest(self, most: int) -> tuple[int, int] | None:
        """Return the newest range of at most `most` points; None where nothing is missing."""
        if not self._ranges:
            return None
        first, last = self._ranges[-1]
        return max(first, last - most + 1), last
