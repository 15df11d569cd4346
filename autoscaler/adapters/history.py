"""The live questions, asked at past times: what a backtest sees the fleet with.

The same plan, the same grid of evaluation times and the same rule for the age of a sample as the
live reader: at a past moment everything is seen that could have been seen then, and nothing that
came later. A chunk of time is fetched at once, then served cycle by cycle.

Replica counts are what kube-state-metrics recorded. They are what really ran, not what a
backtest would have run: each decision starts from the size of that moment. Pods and node pools of
the past are not known.

Memory: 24 bytes a sample (three float64) of one chunk and one window, for each signal.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from autoscaler.adapters.prometheus.errors import SourceError
from autoscaler.adapters.prometheus.plan import PlannedQuery, QueryPlan
from autoscaler.adapters.prometheus.questions import Question, raw_times
from autoscaler.adapters.prometheus.rows import Rows
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.adapters.prometheus.template import matcher
from autoscaler.adapters.prometheus.windows import Floats
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Observation,
    ReplicaStatus,
    Series,
    Snapshot,
)
from autoscaler.core.workload import FleetSpec, ScaledWorkload

REPLICA_STEP_SECONDS: Final = 30
"""How often replica counts are asked for: kube-state-metrics is rarely scraped more often."""

REPLICA_WINDOW_SECONDS: Final = 300
"""How old a replica count may be."""

_PREFIX: Final = "/"  # no signal is called so


@dataclass(frozen=True, slots=True)
class ReplicaMetrics:
    """Where the replicas of a kind are recorded.

    Attributes:
        label: The label with the object's name.
        desired: Metric of `spec.replicas`.
        ready: Metric of the replicas that serve.
        total: Metric of the pods that exist.
    """

    label: str
    desired: str
    ready: str
    total: str


KUBE_STATE_METRICS: Final[Mapping[str, ReplicaMetrics]] = {
    "Deployment": ReplicaMetrics(
        "deployment",
        "kube_deployment_spec_replicas",
        "kube_deployment_status_replicas_ready",
        "kube_deployment_status_replicas",
    ),
    "StatefulSet": ReplicaMetrics(
        "statefulset",
        "kube_statefulset_replicas",
        "kube_statefulset_status_replicas_ready",
        "kube_statefulset_status_replicas",
    ),
}


@dataclass(slots=True)
class _Kept:
    """One signal of one workload: its samples, and when each could first be seen."""

    question: Question
    window: float
    newest_window: float
    seen: Floats = field(default_factory=lambda: np.empty(0))
    times: Floats = field(default_factory=lambda: np.empty(0))
    values: Floats = field(default_factory=lambda: np.empty(0))
    alive: Floats = field(default_factory=lambda: np.empty(0))
    """Evaluation times of this chunk at which there was a value with a raw sample behind it."""
    marks: Floats | None = None
    fault: Gap | None = None

    def forget(self, before: float) -> None:
        """Forget what no cycle from `before` on can see; keep the newest sample."""
        first = int(np.searchsorted(self.times, before - self.newest_window, side="right"))
        first = min(first, max(0, len(self.times) - 1))
        self.seen, self.times, self.values = (
            self.seen[first:].copy(), self.times[first:].copy(), self.values[first:].copy(),
        )  # fmt: skip
        self.alive = np.empty(0)
        self.fault = None

    def add(self, evaluated: Floats, values: Floats, ages: Sequence[Floats]) -> None:
        """Add the values of a range that follows all before it.

        Args:
            evaluated: When they were evaluated, Unix seconds.
            values: The values, as many.
            ages: For each selector, its newest raw samples then, NaN where there is none.
        """
        times = evaluated
        if ages:
            (times,), self.marks = raw_times(evaluated, [age[None] for age in ages], self.marks)
        there = np.isfinite(times)
        self.alive = np.concatenate([self.alive, evaluated[there]])
        last = self.times[-1] if len(self.times) else -math.inf
        reached = np.maximum.accumulate(np.concatenate([[last], np.where(there, times, -np.inf)]))
        fresh = there & (times > reached[:-1])
        self.seen = np.concatenate([self.seen, evaluated[fresh]])
        self.times = np.concatenate([self.times, times[fresh]])
        self.values = np.concatenate([self.values, values[fresh]])

    def series(self, now: float) -> Series:
        """Return what could be seen at `now`."""
        end = int(np.searchsorted(self.seen, now, side="right"))
        first = int(np.searchsorted(self.times, now - self.window, side="right"))
        if first >= end > 0 and self.times[end - 1] > now - self.newest_window:
            first = end - 1
        return Series(self.times[first:end], self.values[first:end])

    def gap(self, now: float) -> Gap | None:
        """Say what the newest evaluation before `now` lacked."""
        if self.fault is not None:
            return self.fault
        newest = self.question.time_of(self.question.point_at(now))
        at = int(np.searchsorted(self.alive, newest - 1e-3))
        if at < len(self.alive) and self.alive[at] <= newest + 1e-3:
            return None
        return Gap(GapReason.EMPTY, f"{self.question.planned.source}: no series at that time")


class HistoryObserver:
    """Sees a fleet as it was; `observe` is called with rising times."""

    def __init__(
        self,
        sources: Mapping[str, PrometheusSource],
        plan: Callable[[FleetSpec], QueryPlan],
        *,
        until: float,
        chunk_seconds: float = 6 * 3600.0,
        replicas: Mapping[str, ReplicaMetrics] = KUBE_STATE_METRICS,
    ) -> None:
        """Make an observer; nothing is asked yet.

        Args:
            sources: By the name that `spec.source` says.
            plan: Which queries answer a fleet: the live reader's.
            until: The last time that will be observed, Unix seconds.
            chunk_seconds: How much time is fetched at once.
            replicas: Where the replicas of each kind are recorded.
        """
        self._sources = dict(sources)
        self._planner = plan
        self._until = until
        self._chunk = chunk_seconds
        self._metrics = replicas
        self._fleet: FleetSpec | None = None
        self._questions: list[Question] = []
        self._kept: dict[str, dict[str, _Kept]] = {}
        self._loaded = -math.inf
        self._now = -math.inf

    @property
    def nbytes(self) -> int:
        """Bytes of samples held."""
        return sum(
            kept.seen.nbytes + kept.times.nbytes + kept.values.nbytes + kept.alive.nbytes
            for signals in self._kept.values()
            for kept in signals.values()
        )

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        if fleet is not self._fleet or now < self._now:
            self._begin(fleet)
        self._now = now
        if now > self._loaded:
            self._load(now, max(now, min(now + self._chunk, self._until)))
        observations: dict[str, Observation] = {}
        missing: dict[str, Gap] = {
            pool.key: Gap(GapReason.EMPTY, "the past sizes of node pools are not known")
            for pool in fleet.pools
        }
        for workload in fleet.workloads:
            replicas = self._replicas(workload, now)
            if isinstance(replicas, Gap):
                missing[workload.key] = replicas
            else:
                observations[workload.key] = self._observation(workload, replicas, now)
        return Snapshot(now, observations, missing)

    # --- what is asked --------------------------------------------------------------------

    def _begin(self, fleet: FleetSpec) -> None:
        plan = self._planner(fleet)
        planned = [*plan.queries, *_replica_queries(fleet, self._metrics)]
        self._questions = [Question(one) for one in planned]
        self._fleet, self._loaded = fleet, -math.inf
        self._kept = {workload.key: {} for workload in fleet.workloads}
        signals = {workload.key: workload.spec.signals for workload in fleet.workloads}
        for question in self._questions:
            step, window = question.planned.step_seconds, float(question.planned.window_seconds)
            for key, name in _targets(question.planned):
                spec = signals[key].get(name)
                longest = window if spec is None else max(window, spec.max_age)
                self._kept[key][name] = _Kept(question, window, longest + step)

    def _load(self, now: float, end: float) -> None:
        """Fetch what the cycles from `now` to `end` need and what is not there yet."""
        for signals in self._kept.values():
            for kept in signals.values():
                kept.forget(now)
        by_source: dict[str, list[Question]] = {}
        for question in self._questions:
            by_source.setdefault(question.planned.source, []).append(question)
        most = sum(source.settings.max_concurrency for source in self._sources.values())
        with ThreadPoolExecutor(max(1, most), thread_name_prefix="history") as pool:
            done = [
                pool.submit(self._load_one, self._sources.get(name), question, now, end)
                for name, questions in by_source.items()
                for question in questions
            ]
            for one in done:
                one.result()
        self._loaded = end

    def _load_one(
        self, source: PrometheusSource | None, question: Question, now: float, end: float
    ) -> None:
        """Fetch one question's ranges in order; each thread has questions of its own."""
        planned = question.planned
        first = question.first_point(now)
        if question.head is not None:
            first = max(first, question.head + 1)
        last = question.point_at(end)
        fault: Gap | None = None
        if source is None:
            fault = Gap(GapReason.ERROR, f"no source is called {planned.source!r}")
        while source is not None and first <= last:
            upto = min(last, first + question.most_points - 1)
            try:
                answer = source.query_range(
                    question.text,
                    question.time_of(first),
                    question.time_of(upto),
                    planned.step_seconds,
                )
            except SourceError as error:
                if error.too_large and upto > first and question.shrink():
                    continue
                fault = Gap(GapReason.ERROR, str(error))
                break
            if answer.warnings:
                warned = f"{planned.source}: {'; '.join(answer.warnings)}"
                fault = Gap(GapReason.PARTIAL, warned)
            self._take(planned, question.rows_in(answer.rows))
            question.head, first = upto, upto + 1
        if fault is not None:
            for key, name in _targets(planned):
                self._kept[key][name].fault = fault

    def _take(self, planned: PlannedQuery, rows: Rows) -> None:
        for line, (labels, served) in enumerate(planned.serves.items()):
            fault, there = rows.faults.get(labels), rows.there[line]
            for key, name in served:
                kept = self._kept[key][name]
                if fault is not None:
                    text = f"{planned.source}: bad query: {fault}"
                    kept.fault = Gap(GapReason.ERROR, text)
                elif there.any():
                    ages = [age[line][there] for age in rows.ages]
                    kept.add(rows.times[there], rows.values[line][there], ages)

    # --- what is seen ---------------------------------------------------------------------

    def _observation(
        self, workload: ScaledWorkload, replicas: ReplicaStatus, now: float
    ) -> Observation:
        signals: dict[str, Series] = {}
        missing: dict[str, Gap] = {}
        for name in workload.spec.signals:
            kept = self._kept[workload.key][name]
            series, gap = kept.series(now), kept.gap(now)
            if len(series):
                signals[name] = series
            if gap is not None:
                missing[name] = gap
        return Observation(now, replicas, signals, missing)

    def _replicas(self, workload: ScaledWorkload, now: float) -> ReplicaStatus | Gap:
        kind = workload.spec.target.kind
        kept = self._kept[workload.key]
        if kind not in self._metrics:
            known = ", ".join(self._metrics)
            text = f"the past replicas of a {kind} are not recorded; known are: {known}"
            return Gap(GapReason.EMPTY, text)
        counts: dict[str, int] = {}
        for what in ("desired", "ready", "total"):
            one = kept[_PREFIX + what]
            if one.fault is not None:
                return one.fault
            latest = one.series(now).latest
            if math.isfinite(latest):
                counts[what] = round(latest)
        for what in ("desired", "ready"):
            if what not in counts:
                metric = getattr(self._metrics[kind], what)
                name = workload.spec.target.name
                text = f"{metric} has no sample of {name} at that time"
                return Gap(GapReason.EMPTY, f"{workload.spec.source}: {text}")
        return ReplicaStatus(counts["desired"], counts["ready"], total=counts.get("total"))


def _targets(planned: PlannedQuery) -> Iterator[tuple[str, str]]:
    for served in planned.serves.values():
        yield from served


def _replica_queries(
    fleet: FleetSpec, metrics: Mapping[str, ReplicaMetrics]
) -> Iterator[PlannedQuery]:
    """Yield the queries for the replica counts: three for each kind and source."""
    groups: dict[tuple[str, str], list[ScaledWorkload]] = {}
    for workload in fleet.workloads:
        if workload.spec.target.kind in metrics:
            key = workload.spec.source, workload.spec.target.kind
            groups.setdefault(key, []).append(workload)
    for (source, kind), workloads in groups.items():
        of = metrics[kind]
        labels = tuple(sorted((of.label, "namespace")))
        match = matcher("namespace", {workload.metadata.namespace for workload in workloads})
        for what in ("desired", "ready", "total"):
            serves: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}
            for one in workloads:
                names = {"namespace": one.metadata.namespace, of.label: one.spec.target.name}
                values = tuple(names[label] for label in labels)
                serves[values] = (*serves.get(values, ()), (one.key, _PREFIX + what))
            query = f"max by ({', '.join(labels)}) ({getattr(of, what)}{{{match}}})"
            yield PlannedQuery(
                source=source,
                promql=query,
                labels=labels,
                window_seconds=REPLICA_WINDOW_SECONDS,
                step_seconds=REPLICA_STEP_SECONDS,
                range_seconds=REPLICA_STEP_SECONDS,
                selectors=(),
                serves=serves,
                costly=False,
                template=query,
            )
