"""The newest samples of a few workloads' signals, asked for at any moment.

Windows are asked for on a grid of whole steps, so that the same question has the same answer a week
later. Here only the newest value counts, now, and nothing is kept. What cycles ask goes first: one
query is out at a time, a source that fails or is busy is left alone, and its breaker hears nothing.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from autoscaler.adapters.prometheus.groups import Served
from autoscaler.adapters.prometheus.plan import QueryPlan
from autoscaler.adapters.prometheus.points import add
from autoscaler.adapters.prometheus.questions import Question
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.adapters.prometheus.windows import Track
from autoscaler.core.observation import Series
from autoscaler.core.workload import FleetSpec


class NewestReader:
    """Asks for the newest sample of every signal of a fleet; whatever fails is left out."""

    def __init__(
        self,
        sources: Mapping[str, PrometheusSource],
        plan: Callable[[FleetSpec], QueryPlan],
        *,
        deadline_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a reader; nothing is asked yet.

        Args:
            sources: By the name that `spec.source` says.
            plan: Which queries answer a fleet. Those over raw histograms are not asked: they are
                dear, and there is no latency where nothing runs.
            deadline_seconds: What has not been asked and answered by then is left out, and comes
                first the next time.
            monotonic: Measures that.
        """
        self._sources = dict(sources)
        self._plan = plan
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._fleet: FleetSpec | None = None
        self._questions: deque[Question] = deque()

    def read(
        self, fleet: FleetSpec, now: float, go_on: Callable[[], bool] = lambda: True
    ) -> dict[Served, Series]:
        """Return one sample of each signal, at its raw sample's own time, by workload and signal.

        Args:
            fleet: The workloads.
            now: Unix seconds.
            go_on: Whether more may be asked; looked at before each query.
        """
        if fleet != self._fleet:
            queries = self._plan(fleet).queries
            self._questions = deque(Question(one) for one in queries if not one.costly)
            self._fleet = fleet
        end = self._monotonic() + self._deadline
        found: dict[Served, Series] = {}
        left_alone: set[str] = set()
        for _ in range(len(self._questions)):
            if self._monotonic() >= end or not go_on():
                break
            question = self._questions[0]
            self._questions.rotate(-1)
            name = question.planned.source
            source = self._sources.get(name)
            if source is None or name in left_alone:
                continue
            try:
                answer = source.glance(question.text, now, deadline=end)
                if not answer.warnings:
                    found |= _newest(question, answer.rows)
            except Exception:  # noqa: BLE001  # a cycle meets the same trouble, and tells of it
                left_alone.add(name)
        return found


def _newest(question: Question, answer_rows: Iterable[Mapping[str, Any]]) -> dict[Served, Series]:
    """Return the sample of each signal that is whole: with raw samples behind all its parts."""
    rows = question.rows_in(answer_rows)
    if not len(rows.times):
        return {}
    serves = question.planned.serves.values()
    whom = [one for served in serves for one in served]
    lines = np.repeat(np.arange(len(serves)), list(map(len, serves)))
    tracks = [Track() for _ in whom]
    add(tracks, lines, rows, question.planned.step_seconds, newest=True)
    lacking = np.isnan(rows.ages).any(axis=(0, 2)) if rows.ages else np.zeros(len(serves), bool)
    whole = np.flatnonzero(~lacking).tolist()
    return {
        one: track.series(-math.inf)
        for one, track, line in zip(whom, tracks, lines.tolist(), strict=True)
        if len(track) and line in whole
    }
