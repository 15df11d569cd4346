"""One planned query, asked again and again: what of its window is missing, and what came back.

A question is asked with the age of its samples: the same query evaluates `timestamp()` of the raw
series behind it, so that a value and its age belong to one moment. A value without a newer raw
sample behind it is an echo (`rate()[5m]` answers for five minutes after its target died) and is
dropped.

How many raw series there are is asked with it, too: Prometheus forgets the series of a failed
scrape at once, and a sum over the targets that are left looks as fresh as the whole.
"""

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from autoscaler.adapters.prometheus.plan import PlannedQuery
from autoscaler.adapters.prometheus.rows import PART, Rows, sorted_rows
from autoscaler.adapters.prometheus.windows import Floats, Holes

MOST_POINTS: Final = 10_000
"""Prometheus refuses more than 11,000 points of a series."""

MOST_SAMPLES: Final = 250_000
"""Samples in one answer: about 8 MB of JSON, 40 MB while it is decoded."""

VANISHED_SECONDS: Final = 300.0
"""For so long a series that is gone counts as old; then the query is taken to do without it."""

SPREAD_FROM_SECONDS: Final = 60
"""Questions with a longer step than this are not all asked in the same cycle."""

_BY_POD: Final = re.compile(r"\bby\s*\([^()]*\bpod\b[^()]*\)")


class Question:
    """A planned query and what of its window is still unasked.

    Times of evaluation lie on a grid (whole multiples of the step): the same question asked a
    week later has the same answer.

    Attributes:
        planned: The query and whom it serves.
        text: What is sent: the query, the age of its samples and the count of its series.
        holes: Which points of the grid are missing.
        head: The newest point that was ever wanted; None before the first cycle.
        most_points: Points asked for at once; halved when an answer is too large.
        supplement: Whether it only fetches the past of workloads that came later.
        places: Where each combination of label values stands in `planned.serves`.
        signals: How many signals of workloads it serves.
        answered: The newest point that was ever answered.
        failure: Why the newest point was not answered; empty if it was.
    """

    def __init__(self, planned: PlannedQuery, *, supplement: bool = False) -> None:
        self.planned = planned
        self.supplement = supplement
        self.signals = sum(map(len, planned.serves.values()))
        self.answered = -(2**62)
        self.failure = ""
        self.text = dated(planned)
        self.holes = Holes()
        self.head: int | None = None
        self._phase = _phase(planned)
        self.places = {key: place for place, key in enumerate(planned.serves)}
        rows = (2 + len(planned.selectors)) * max(1, len(planned.serves))
        self._full = max(2, min(MOST_POINTS, MOST_SAMPLES // rows))
        self.most_points = self._full

    def point_at(self, time: float) -> int:
        """Return the newest point of the grid that is not after `time` (Unix seconds)."""
        return math.floor((time - self._phase) / self.planned.step_seconds + 1e-9)

    def time_of(self, point: int) -> float:
        """Return when a point of the grid is, Unix seconds."""
        return float(point * self.planned.step_seconds + self._phase)

    def first_point(self, now: float) -> int:
        """Return the oldest point within the window."""
        return self.point_at(now - self.planned.window_seconds) + 1

    def newest_range(self, now: float) -> tuple[int, int] | None:
        """Move the window to `now`; return the points to ask for, if the newest is unasked.

        The newest point of last time is asked for again: a scrape may have come late. Where our
        clock was set back, the whole window is asked for anew: else nothing was, until that time
        has come again.
        """
        head, first = self.point_at(now), self.first_point(now)
        if self.head is not None and head < self.head:
            self.head, self.holes = None, Holes()
        self.holes.trim(first)
        if not self.supplement and (self.head is None or head > self.head):
            self.holes.add(first if self.head is None else max(first, self.head), head)
            self.head = head
        ranges = self.holes.ranges
        if not ranges or ranges[-1][1] != self.head:
            return None
        return self.holes.newest(self.most_points)

    def older_ranges(self) -> list[tuple[int, int]]:
        """Return what else is unasked, in parts, newest first."""
        most = self.most_points
        parts = [
            (max(first, last - most + 1), last)
            for first, end in reversed(self.holes.ranges)
            for last in range(end, first - 1, -most)
        ]
        if parts and parts[0][1] == self.head:
            del parts[0]  # that is the newest range
        return parts

    def came(self, asked: tuple[int, int]) -> None:
        """Note that a range was answered; the next may be larger again."""
        self.holes.remove(*asked)
        self.answered = max(self.answered, asked[1])
        self.most_points = min(self._full, self.most_points * 2)

    def inherit(self, others: Iterable["Question"]) -> None:
        """Go on where other questions for the same signals stand: ask for what they lack."""
        heads = [one.head for one in others if one.head is not None]
        self.head = min(heads, default=None)
        for one in others:
            for first, last in one.holes.ranges:
                self.holes.add(first, last)

    def shrink(self) -> bool:
        """Ask for half as much at once; return whether that is possible."""
        if self.most_points <= 1:
            return False
        self.most_points = max(1, self.most_points // 2)
        return True

    def rows_in(self, answer_rows: Iterable[Mapping[str, Any]]) -> Rows:
        """Sort the rows of an answer by workload; those that serve nobody are left out."""
        return sorted_rows(self.planned, self.places, answer_rows)


def dated(planned: PlannedQuery) -> str:
    """Return the query text: its values, the ages of its samples, the count of its raw series.

    Of several selectors the first is counted. Where a plan knows of no selector (the query reads
    no series) the values stand alone.
    """
    names = [*planned.labels, *(["pod"] if _BY_POD.search(planned.promql) else [])]
    parts = [f"(\n{planned.promql}\n)"]
    parts += [f"max{_by(names)} (timestamp({selector}))" for selector in planned.selectors]
    parts += [f"count{_by(planned.labels)} ({selector})" for selector in planned.selectors[:1]]
    return "\nor ".join(
        f'label_replace({part}, "{PART}", "{number}", "", "")' for number, part in enumerate(parts)
    )


def raw_times(
    times: Floats, ages: Sequence[Floats], marks: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return the time of the oldest of the newest raw samples behind each value.

    Of several selectors the oldest decides: a sum is as old as its oldest part. One that answers
    no more counts with its last sample for `VANISHED_SECONDS`; one that never answered (a metric's
    other name) does not count.

    Args:
        times: When the values were evaluated, Unix seconds, rising; shape (times,).
        ages: For each selector, the newest raw sample at each time, NaN where there is none; shape
            (lines, times).
        marks: The newest raw sample of each selector before `times`, minus infinity where there
            was none; shape (lines, selectors). Absent: there was none.

    Returns:
        For each value its time, minus infinity where nothing is behind it; and the new marks.
    """
    lines = len(ages[0])
    before = np.full((lines, len(ages)), -np.inf) if marks is None else marks
    after = np.empty_like(before)
    behind = np.full(ages[0].shape, np.inf)
    answered = np.zeros(ages[0].shape, np.bool_)
    for number, raw in enumerate(ages):
        known = np.column_stack([before[:, number], raw])
        newest = np.fmax.accumulate(known, axis=1)  # it leaves NaN out
        after[:, number] = newest[:, -1]
        there = ~np.isnan(raw)
        counts = there | (times - newest[:, 1:] <= VANISHED_SECONDS)
        behind = np.where(counts, np.minimum(behind, newest[:, 1:]), behind)
        answered |= there
    return np.where(answered, behind, -np.inf), after


def _by(names: Sequence[str]) -> str:
    return f" by ({', '.join(dict.fromkeys(names))})" if names else ""


def _phase(planned: PlannedQuery) -> int:
    """Spread long steps over their length, by what is asked and not by whom it serves."""
    if planned.step_seconds <= SPREAD_FROM_SECONDS:
        return 0
    text = f"{planned.source}\n{planned.template}\n{planned.labels}"
    return zlib.crc32(text.encode()) % planned.step_seconds
