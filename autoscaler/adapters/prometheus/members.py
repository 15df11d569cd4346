"""The signals that a question serves, with what its newest answer says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.adapters.prometheus.points import (
    counts_at,
    end_of,
    lack,
    newest_times,
    pod_samples,
    reached,
)
from autoscaler.adapters.prometheus.questions import Question
from autoscaler.adapters.prometheus.rows import Rows
from autoscaler.adapters.prometheus.windows import Track
from autoscaler.core.observation import Gap, GapReason, PodSample

_NONE: Final[Mapping[str, Any]] = {}


@dataclass(slots=True)
class Kept:
    """One signal of one workload.

    Attributes:
        asks: What decides whether old samples still answer the question.
        window: How far back samples are kept, seconds.
        newest_window: How far back the newest sample is kept, seconds.
        track: Its samples.
        question: Who asks for the newest.
        filler: Who still asks for its past, if another question does.
        gap: What was lacking in the newest answer.
        pods: The newest sample of each pod, where the query tells pods apart.
        parts: How many raw series were behind the newest answer; None where that is unknown.
    """

    asks: tuple[object, ...]
    window: float
    newest_window: float
    track: Track
    question: Question
    filler: Question | None = None
    gap: Gap | None = None
    pods: Mapping[str, PodSample] = field(default_factory=dict)
    parts: int | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """The signals that a question serves, as the lines of its answers are.

    Attributes:
        kept: Them, one after the other.
        tracks: Their samples.
        lines: Which line of an answer is each one's.
    """

    kept: Sequence[Kept]
    tracks: Sequence[Track]
    lines: NDArray[np.intp]

    @classmethod
    def of(cls, question: Question, kept: Mapping[str, Mapping[str, Kept]]) -> "Members":
        """Find them."""
        serves = question.planned.serves.values()
        found = [kept[workload][signal] for served in serves for workload, signal in served]
        lines = np.repeat(np.arange(len(serves)), list(map(len, serves)))
        return cls(found, [one.track for one in found], lines)

    def note(self, question: Question, end: float, rows: Rows, warnings: tuple[str, ...]) -> None:
        """Note what the newest answer lacks, its pods, and how many raw series are behind it.

        Args:
            question: What was asked.
            end: The newest evaluation, Unix seconds.
            rows: The answer.
            warnings: What the source said beside it.
        """
        planned = question.planned
        told = Gap(GapReason.PARTIAL, f"{planned.source}: {'; '.join(warnings)}")
        gaps: list[Gap | None] = [told if warnings else None] * len(planned.serves)
        newest, there, keys = newest_times(rows), reached(rows, end), list(planned.serves)
        for line in np.flatnonzero((newest != end) | ~there).tolist():
            key = keys[line]
            ends = [end_of(points) for points, _ in rows.pods.get(key, _NONE).values()]
            last = max([newest.item(line), *ends])
            fault = rows.faults.get(key)
            reach = there.item(line)
            gaps[line] = lack(planned, key, last, reached=reach, fault=fault, end=end) or gaps[line]
        # Of an answer that is known to be incomplete, or wrong, the count says nothing.
        parts = [None] * len(keys) if warnings else counts_at(rows, end)
        for key in rows.faults:
            parts[question.places[key]] = None
        pods: list[Mapping[str, PodSample]] = [_NONE] * len(keys)
        for key, found in rows.pods.items():
            pods[question.places[key]] = pod_samples(planned, found)
        for kept, line in zip(self.kept, self.lines.tolist(), strict=True):
            kept.gap, kept.pods, kept.parts = gaps[line], pods[line], parts[line]
