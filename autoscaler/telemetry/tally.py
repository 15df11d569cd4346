"""What must be counted over cycles: a value that folds one report after the other."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from autoscaler.core.decision import Action, Outcome
from autoscaler.core.policy import Forecast
from autoscaler.core.spec import Actuation
from autoscaler.telemetry.report import CycleReport, SourceReport
from autoscaler.telemetry.scores import Score, score_of
from autoscaler.telemetry.sight import by_label

BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
"""Upper edges of the histogram of cycle seconds."""

HORIZONS: Final[Mapping[str, int]] = {"next": 0, "far": -1}
"""Which of a forecast's times are scored: the nearest, and the furthest."""


class Result(StrEnum):
    """What became of an action."""

    DONE = "done"
    FAILED = "failed"
    WITHHELD = "withheld"
    """Not tried: in shadow mode, or because another process leads."""


class Subject(StrEnum):
    """What an action changes."""

    WORKLOAD = "workload"
    POOL = "pool"


def result_of(outcome: Outcome) -> Result:
    """Return what became of an action that was tried."""
    return Result.DONE if outcome.done else Result.FAILED


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts since the process began; what is no longer in the policy files is forgotten.

    Attributes:
        cycles: Cycles that ran.
        missed: Planned cycles that never ran.
        lost: Cycles that the journal could not keep.
        buckets: Cycles by duration: one count for each edge of `BUCKETS`, and one beyond.
        seconds: Time spent in cycles.
        sources: What each Prometheus was asked, summed.
        saved: Queries that sharing has saved, by source.
        actions: By what is changed, its key, and what became of it.
        limited: Cycles in which a rule changed the number, by workload, rule and reason.
        scores: Of each forecast, by workload, policy, signal and end of the horizon.
    """

    cycles: int = 0
    missed: int = 0
    lost: int = 0
    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0
    sources: Mapping[str, SourceReport] = field(default_factory=dict)
    saved: Mapping[str, int] = field(default_factory=dict)
    actions: Mapping[tuple[Subject, str, Result], int] = field(default_factory=dict)
    limited: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    scores: Mapping[tuple[str, str, str, str], Score] = field(default_factory=dict)

    def after(self, report: CycleReport) -> "Tally":
        """Return this tally with one more cycle."""
        at = bisect_left(BUCKETS, report.seconds)
        return replace(
            self,
            cycles=self.cycles + 1,
            missed=self.missed + report.missed,
            lost=self.lost + bool(report.journal_problem),
            buckets=tuple(count + (index == at) for index, count in enumerate(self.buckets)),
            seconds=self.seconds + report.seconds,
            sources={
                name: _summed(self.sources.get(name), new) for name, new in report.sources.items()
            },
            saved={
                name: self.saved.get(name, 0) + new.saved for name, new in report.sources.items()
            },
            actions=self._actions(report),
            limited=self._limited(report),
            scores=dict(self._scores(report)),
        )

    def _actions(self, report: CycleReport) -> Mapping[tuple[Subject, str, Result], int]:
        counts = {}
        if self.actions:
            present = {
                Subject.WORKLOAD: {workload.key for workload in report.fleet.workloads},
                Subject.POOL: {pool.key for pool in report.fleet.pools},
            }
            counts = {name: n for name, n in self.actions.items() if name[1] in present[name[0]]}
        for outcome in report.cycle.outcomes:
            action = outcome.action
            subject = Subject.WORKLOAD if isinstance(action, Action) else Subject.POOL
            name = (subject, action.key, result_of(outcome))
            counts[name] = counts.get(name, 0) + 1
        for name in _withheld(report):
            counts[name] = counts.get(name, 0) + 1
        return counts

    def _limited(self, report: CycleReport) -> Mapping[tuple[str, str, str], int]:
        counts = {}
        if self.limited:
            present = {workload.key for workload in report.fleet.workloads}
            counts = {name: n for name, n in self.limited.items() if name[0] in present}
        for key, decision in report.cycle.plan.decisions.items():
            if not decision.steps:
                continue
            for rule, reason in {(step.rule, str(step.reason)) for step in decision.steps}:
                counts[key, rule, reason] = counts.get((key, rule, reason), 0) + 1
        return counts

    def _scores(self, report: CycleReport) -> Iterator[tuple[tuple[str, str, str, str], Score]]:
        """Yield every forecast's score: claims whose time has come are settled, new ones wait."""
        now = report.cycle.plan.now
        new = _forecasts(report)
        if not self.scores and not new:
            return
        signals = {workload.key: workload.spec.signals for workload in report.fleet.workloads}
        for name in dict.fromkeys((*self.scores, *new)):
            key, _, signal, horizon = name
            if signal not in signals.get(key, ()):
                continue
            gap = signals[key][signal].max_age
            forecast, before = new.get(name), self.scores.get(name)
            score = before if forecast is None else score_of(forecast.quantiles, before)
            seen = report.cycle.snapshot.observations.get(key)
            if score is not None and seen is not None and signal in seen.signals:
                score = score.settled(seen.signals[signal], gap)
            if score is not None and forecast is not None:
                score = score.claiming(forecast, HORIZONS[horizon], now)
            if score is not None:
                yield name, score


def _withheld(report: CycleReport) -> Iterator[tuple[Subject, str, Result]]:
    """Yield the changes that we would make if we acted."""
    if report.acts:
        return
    plan = report.cycle.plan
    for workload in report.fleet.workloads:
        decision = plan.decisions.get(workload.key)
        if workload.spec.actuation is Actuation.SCALE and decision and decision.changes:
            yield Subject.WORKLOAD, workload.key, Result.WITHHELD
    for pool in report.fleet.pools:
        sized = plan.pools.get(pool.key)
        if pool.spec.actuation is Actuation.SCALE and sized and sized.nodes != sized.current:
            yield Subject.POOL, pool.key, Result.WITHHELD


def _forecasts(report: CycleReport) -> dict[tuple[str, str, str, str], Forecast]:
    found = {}
    for key, decision in report.cycle.plan.decisions.items():
        for label, proposal in by_label(decision.proposals):
            answer = proposal.recommendation
            forecast = None if answer is None else answer.forecast
            if forecast is not None and len(forecast.times):
                for horizon in HORIZONS:
                    found[key, label, forecast.signal, horizon] = forecast
    return found


def _summed(before: SourceReport | None, new: SourceReport) -> SourceReport:
    if before is None:
        return new
    return SourceReport(
        queries=before.queries + new.queries,
        failures=before.failures + new.failures,
        seconds=before.seconds + new.seconds,
        signals=before.signals + new.signals,
        problem=new.problem,
        looks=before.looks + new.looks,
    )
