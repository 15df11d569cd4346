"""The newest samples of a few workloads' signals, asked for at any moment.

Windows are asked for on a grid of whole steps, so that the same question has the same answer a week
later. Here only the newest value counts, now, and nothing is kept.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from autoscaler.adapters.prometheus.groups import Served
from autoscaler.adapters.prometheus.plan import QueryPlan
from autoscaler.adapters.prometheus.points import add
from autoscaler.adapters.prometheus.questions import Question
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.adapters.prometheus.windows import Track
from autoscaler.core.observation import Series
from autoscaler.core.workload import FleetSpec

AT_ONCE: Final = 4
"""Queries side by side."""


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
            plan: Which queries answer a fleet.
            deadline_seconds: What has not answered by then is left out.
            monotonic: Measures that.
        """
        self._sources = dict(sources)
        self._plan = plan
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="newest")
        self._fleet: FleetSpec | None = None
        self._questions: tuple[Question, ...] = ()

    def read(self, fleet: FleetSpec, now: float) -> dict[Served, Series]:
        """Return one sample of each signal, at its raw sample's own time, by workload and signal.

        Args:
            fleet: The workloads.
            now: Unix seconds.
        """
        if fleet != self._fleet:
            self._questions = tuple(map(Question, self._plan(fleet).queries))
            self._fleet = fleet
        deadline = self._monotonic() + self._deadline
        answers = self._threads.map(lambda one: self._asked(one, now, deadline), self._questions)
        return {target: series for found in answers for target, series in found.items()}

    def close(self) -> None:
        """Ask nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _asked(self, question: Question, now: float, deadline: float) -> dict[Served, Series]:
        source = self._sources.get(question.planned.source)
        if source is None:
            return {}
        try:
            answer = source.query_range(question.text, now, now, 1.0, deadline=deadline)
            return {} if answer.warnings else _newest(question, answer.rows)
        except Exception:  # noqa: BLE001  # the next cycle meets the same trouble, and tells of it
            return {}


def _newest(question: Question, answer_rows: Iterable[Mapping[str, Any]]) -> dict[Served, Series]:
    """Return the sample of each signal that has one with a raw sample behind it."""
    serves = question.planned.serves.values()
    whom = [one for served in serves for one in served]
    lines = np.repeat(np.arange(len(serves)), list(map(len, serves)))
    tracks = [Track() for _ in whom]
    rows = question.rows_in(answer_rows)
    add(tracks, lines, rows, question.planned.step_seconds, newest=True)
    return {
        one: track.series(-math.inf) for one, track in zip(whom, tracks, strict=True) if len(track)
    }
