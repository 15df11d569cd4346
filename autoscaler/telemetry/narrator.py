"""Tells each cycle in the log: every change with its trail, and what begins and ends."""

from collections.abc import Iterator
from typing import Any, Final

import structlog

from autoscaler.core.decision import Action, Cycle, Decision, Outcome
from autoscaler.core.observation import InterventionKind
from autoscaler.telemetry.lasting import Lasting, Stage, Told
from autoscaler.telemetry.report import CycleReport, Mode
from autoscaler.telemetry.sight import why_blind, why_held

MOST_LINES: Final = 20
"""Lines of one kind in one cycle: when Prometheus is gone, ten thousand workloads are blind at
once, and one line says so better."""

_QUIET: Final = frozenset({InterventionKind.PAUSED, InterventionKind.REPLICAS})
"""What a person has done on purpose is told, and is no warning."""

_OURS: Final = frozenset({"leading", "shadow"})
"""What we are ourselves: no warning, and told once."""


class Narrator:
    """Writes the log of cycles. Not for several threads."""

    def __init__(self) -> None:
        """Know of no cycle yet."""
        self._log: Any = structlog.get_logger("cycle")
        self._lasting = Lasting()
        self._advised: dict[str, tuple[int | None, int | None]] = {}
        self._known: set[str] = set()

    def narrate(self, report: CycleReport) -> None:
        """Tell one cycle: nothing above DEBUG where nothing changed."""
        cycle = report.cycle
        limited = _Limited(self._log)
        for outcome in cycle.outcomes:
            if outcome.done:
                limited.tell("info", *_change(cycle, outcome))
        for decision in self._advice(report):
            # What a standby would do, the leader does, and tells.
            standby = report.mode is Mode.LIVE and not report.leader
            limited.tell("debug" if standby else "info", "advise", _facts(decision))
        keys = {workload.key for workload in report.fleet.workloads} | set(report.sources)
        keys |= {pool.key for pool in report.fleet.pools}
        found = (*_of_targets(cycle), *_of_service(report))
        states = {(kind, name): text for kind, name, text in found}
        for told in self._lasting.note(cycle.plan.now, states, self._known - keys):
            limited.tell(*_line(told))
        self._known = keys
        limited.close()
        self._log.debug(
            "cycle",
            seconds=round(report.seconds, 3),
            lag_seconds=round(report.lag_seconds, 3),
            workloads=len(cycle.plan.decisions),
            actions=len(cycle.outcomes),
            queries=sum(source.queries for source in report.sources.values()),
        )

    def _advice(self, report: CycleReport) -> Iterator[Decision]:
        """Yield decisions that nobody here carries out, each time that they say something new."""
        cycle = report.cycle
        acted = {outcome.action.key for outcome in cycle.outcomes}
        advised: dict[str, tuple[int | None, int | None]] = {}
        for key, decision in cycle.plan.decisions.items():
            if decision.changes and key not in acted:
                advised[key] = (decision.current, decision.replicas)
                if self._advised.get(key) != advised[key]:
                    yield decision
        self._advised = advised


class _Limited:
    """Tells so many lines of a kind, and then how many more there were."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._counts: dict[tuple[str, str], int] = {}

    def tell(self, level: str, event: str, facts: dict[str, Any]) -> None:
        count = self._counts[level, event] = self._counts.get((level, event), 0) + 1
        if count <= MOST_LINES:
            getattr(self._log, level)(event, **facts)

    def close(self) -> None:
        for (level, event), count in self._counts.items():
            if count > MOST_LINES:
                getattr(self._log, level)(event, more=count - MOST_LINES)


def _change(cycle: Cycle, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    action = outcome.action
    if isinstance(action, Action):
        decision = cycle.plan.decisions[action.workload]
        facts = {**_facts(decision), "from": action.before, "to": action.after}
        return "scale", facts
    sized = cycle.plan.pools[action.pool]
    facts = {"pool": action.pool, "from": action.before, "to": action.after}
    return "resize", {**facts, "needed": sized.needed, "reason": sized.text}


def _facts(decision: Decision) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "workload": decision.workload,
        "from": decision.current,
        "to": decision.replicas,
    }
    if decision.combined is not None and decision.combined != decision.replicas:
        facts["wanted"] = decision.combined
    if decision.steps:
        facts["limited_by"] = ",".join(step.rule for step in decision.steps)
    return {**facts, "reason": decision.text}


def _of_targets(cycle: Cycle) -> Iterator[tuple[str, str, str]]:
    """Yield what is so of workloads and pools in this cycle and may last: kind, name, why."""
    for key, decision in cycle.plan.decisions.items():
        if why := why_blind(cycle, decision):
            yield "blind", key, why
        if why := why_held(decision):
            yield "holding", key, why
        seen = cycle.snapshot.observations.get(key)
        for one in seen.interventions if seen is not None else ():
            if one.holds(cycle.plan.now):
                yield str(one.kind), key, one.text
    for outcome in cycle.outcomes:
        if not outcome.done:
            yield "action failed", outcome.action.key, outcome.detail


def _of_service(report: CycleReport) -> Iterator[tuple[str, str, str]]:
    """Yield what is so of the process and what it asks: kind, name, why."""
    for name, source in report.sources.items():
        if source.problem:
            yield "source down", name, source.problem
    if report.journal_problem:
        yield "journal down", "", report.journal_problem
    if report.missed:
        yield "cycles missed", "", f"cycles take longer than {report.interval_seconds:g} s"
    if report.mode is Mode.SHADOW:
        yield "shadow", "", "decisions are recorded, nothing is changed"
    elif report.leader:
        yield "leading", "", "this process acts"


_WHAT: Final = {
    "action failed": "target",
    "cycles missed": "",
    "journal down": "",
    "leading": "",
    "shadow": "",
    "source down": "source",
}
"""What the name of a state is of; of a workload, unless it stands here."""


def _line(told: Told) -> tuple[str, str, dict[str, Any]]:
    lasting = told.kind in _OURS
    quiet = told.kind in _QUIET or lasting
    what = _WHAT.get(told.kind, "workload")
    facts: dict[str, Any] = {what: told.name} if what and told.name else {}
    if told.stage is not Stage.BEGAN:
        facts["for_seconds"] = round(told.seconds)
    facts["reason"] = told.text
    match told.stage:
        case Stage.BEGAN:
            return "info" if quiet else "warning", told.kind, facts
        case Stage.LASTS if lasting:
            return "debug", f"still {told.kind}", facts
        case Stage.LASTS:
            return "info" if quiet else "warning", f"still {told.kind}", facts
        case Stage.ENDED:
            return "info", f"no longer {told.kind}", facts
