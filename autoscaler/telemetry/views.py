"""Documents of the newest cycle: plan, workloads, summaries. Plain values, ready for JSON.

Names are camelCase with units, as in the policy files. Every document that leaves the process
has `version`: it rises when a field goes away or changes its meaning, never for a new field.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from autoscaler.core.decision import Cycle, Decision, NodePoolDecision, Outcome, Proposal, Reading
from autoscaler.core.observation import Gap, Intervention
from autoscaler.core.spec import SignalSpec
from autoscaler.core.workload import ScaledWorkload
from autoscaler.journal import encode
from autoscaler.telemetry.report import CycleReport
from autoscaler.telemetry.sight import by_label, why_blind
from autoscaler.telemetry.tally import result_of

VERSION: Final = 1
CHANGES_SHOWN: Final = 100
"""Changes in one summary; `changed` tells how many there were."""

Document = dict[str, Any]


def json_of(document: Document) -> bytes:
    """Return a document as JSON; NaN and the infinities, of which JSON knows nothing, as null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def plan_document(report: CycleReport, ident: str) -> Document:
    """Return what another controller needs to follow our numbers, and no more."""
    plan = report.cycle.plan
    return {
        **_header(report, ident),
        "workloads": [
            _planned(report.cycle, workload, plan.decisions[workload.key])
            for workload in report.fleet.workloads
            if workload.key in plan.decisions
        ],
    }


def workloads_document(report: CycleReport, ident: str) -> Document:
    """Return one short row for each workload and node pool."""
    cycle = report.cycle
    return {
        **_header(report, ident),
        "workloads": [_row(cycle, workload) for workload in report.fleet.workloads],
        "nodePools": [_pool(cycle, sized) for sized in cycle.plan.pools.values()],
    }


def workload_document(report: CycleReport, workload: ScaledWorkload, ident: str) -> Document:
    """Return all that is known of one workload: the whole trail of its decision."""
    cycle, key = report.cycle, workload.key
    observation = cycle.snapshot.observations.get(key)
    decision = cycle.plan.decisions.get(key)
    document = {**_header(report, ident), "workload": _row(cycle, workload)}
    document["workload"]["match"] = dict(workload.spec.match)
    document["workload"]["labels"] = dict(workload.metadata.labels)
    if observation is not None:
        document["missing"] = {name: _gap(gap) for name, gap in observation.missing.items()}
        document["interventions"] = [
            _intervention(one) for one in observation.interventions if one.holds(cycle.plan.now)
        ]
    elif key in cycle.snapshot.missing:
        document["unseen"] = _gap(cycle.snapshot.missing[key])
    if decision is not None:
        document["signals"] = _signals(cycle.plan.now, decision.readings, workload.spec.signals)
        document["policies"] = [_policy(label, one) for label, one in by_label(decision.proposals)]
        document["steps"] = [
            {
                "rule": step.rule,
                "before": step.before,
                "after": step.after,
                "reason": step.reason,
                "text": step.text,
            }
            for step in decision.steps
        ]
        document["forecasts"] = forecasts_of(decision)
    document["outcomes"] = [_outcome(one) for one in cycle.outcomes if one.action.key == key]
    pool = cycle.plan.pools.get(workload.spec.replica.node_pool or "")
    if pool is not None:
        document["nodePool"] = _pool(cycle, pool)
    return document


def cycle_document(report: CycleReport, number: int, ident: str) -> Document:
    """Return the whole cycle as the journal encodes it, every series in full."""
    return {**_header(report, ident), "cycle": ident, "document": encode(report.cycle, number, {})}


def samples_in(cycle: Cycle) -> int:
    """Return how many samples the series of a cycle hold."""
    seen = cycle.snapshot.observations.values()
    return sum(len(series) for one in seen for series in one.signals.values())


def summary_of(report: CycleReport, ident: str) -> Document:
    """Return what a list of cycles shows of one."""
    cycle = report.cycle
    changes = [decision for decision in cycle.plan.decisions.values() if decision.changes]
    blind = sum(bool(why_blind(cycle, one)) for one in cycle.plan.decisions.values())
    results: dict[str, int] = {}
    for outcome in cycle.outcomes:
        result = str(result_of(outcome))
        results[result] = results.get(result, 0) + 1
    return {
        "cycle": ident,
        "time": cycle.plan.now,
        "seconds": report.seconds,
        "lagSeconds": report.lag_seconds,
        "missed": report.missed,
        "mode": report.mode,
        "leader": report.leader,
        "workloads": len(cycle.plan.decisions),
        "blind": blind,
        "changed": len(changes),
        "changes": [
            {
                "workload": decision.workload,
                "from": decision.current,
                "to": decision.replicas,
                "reason": decision.reason,
                "text": decision.text,
            }
            for decision in changes[:CHANGES_SHOWN]
        ],
        "actions": results,
        "queries": sum(source.queries for source in report.sources.values()),
        "queryFailures": sum(source.failures for source in report.sources.values()),
        "reloadProblem": report.reload_problem,
        "journalProblem": report.journal_problem,
    }


def forecasts_of(decision: Decision) -> list[Document]:
    """Return every policy's forecast: `values` has one row for each quantile."""
    found = []
    for label, proposal in by_label(decision.proposals):
        answer = proposal.recommendation
        if answer is not None and answer.forecast is not None:
            forecast = answer.forecast
            found.append(
                {
                    "signal": forecast.signal,
                    "policy": label,
                    "times": forecast.times.tolist(),
                    "quantiles": list(forecast.quantiles),
                    "values": forecast.values.tolist(),
                }
            )
    return found


def _header(report: CycleReport, ident: str) -> Document:
    return {
        "version": VERSION,
        "cycle": ident,
        "time": report.cycle.plan.now,
        "intervalSeconds": report.interval_seconds,
        "mode": report.mode,
        "leader": report.leader,
    }


def _planned(cycle: Cycle, workload: ScaledWorkload, decision: Decision) -> Document:
    document = _named(workload)
    document["match"] = dict(workload.spec.match)
    document["labels"] = dict(workload.metadata.labels)
    document["current"] = decision.current
    document["desired"] = decision.replicas
    document["reason"] = decision.reason
    document["blind"] = why_blind(cycle, decision)
    document["signals"] = _signals(cycle.plan.now, decision.readings, workload.spec.signals)
    document["forecasts"] = forecasts_of(decision)
    return document


def _named(workload: ScaledWorkload) -> Document:
    target, bounds = workload.spec.target, workload.spec.replicas
    return {
        "namespace": workload.metadata.namespace,
        "name": workload.metadata.name,
        "target": {"apiVersion": target.api_version, "kind": target.kind, "name": target.name},
        "actuation": workload.spec.actuation,
        "min": bounds.min,
        "max": bounds.max,
    }


def _row(cycle: Cycle, workload: ScaledWorkload) -> Document:
    row = _named(workload)
    observation = cycle.snapshot.observations.get(workload.key)
    if observation is not None:
        status = observation.replicas
        gpus = status.desired * workload.spec.replica.gpus
        row["replicas"] = {
            "current": status.desired,
            "ready": status.ready,
            "starting": status.starting,
            "failing": status.failing,
            "rolling": status.rolling,
        }
        row["gpus"] = gpus
        row["costPerHour"] = gpus * workload.spec.replica.gpu_hour_price
        row["interventions"] = [
            one.kind for one in observation.interventions if one.holds(cycle.plan.now)
        ]
    decision = cycle.plan.decisions.get(workload.key)
    if decision is not None:
        row["combined"] = decision.combined
        row["desired"] = decision.replicas
        row["reason"] = decision.reason
        row["text"] = decision.text
        row["limitedBy"] = [step.rule for step in decision.steps]
        row["blind"] = why_blind(cycle, decision)
    return row


def _signals(now: float, readings: Iterable[Reading], specs: Mapping[str, SignalSpec]) -> Document:
    return {
        reading.signal: {
            "value": reading.value,
            # Rounded as ages are, so that the sample's own time comes back.
            "time": None if reading.age_seconds is None else round(now - reading.age_seconds, 6),
            "ageSeconds": reading.age_seconds,
            "state": reading.state,
            "usable": reading.usable,
            "why": reading.why,
            "role": specs[reading.signal].role,
            "maxAgeSeconds": specs[reading.signal].max_age,
        }
        for reading in readings
    }


def _policy(label: str, proposal: Proposal) -> Document:
    answer = proposal.recommendation
    return {
        "policy": label,
        "live": proposal.live,
        "failed": proposal.failed,
        "replicas": None if answer is None else answer.replicas,
        "raiseOnly": proposal.floor or proposal.ageing,
        "reason": "" if answer is None else answer.reason,
        "evidence": {} if answer is None else dict(answer.evidence),
        "why": proposal.why,
    }


def _gap(gap: Gap) -> Document:
    return {"reason": gap.reason, "detail": gap.detail}


def _intervention(one: Intervention) -> Document:
    return {"kind": one.kind, "text": one.text, "replicas": one.replicas, "until": one.until}


def _outcome(outcome: Outcome) -> Document:
    return {
        "before": outcome.action.before,
        "after": outcome.action.after,
        "result": result_of(outcome),
        "detail": outcome.detail,
    }


def _pool(cycle: Cycle, sized: NodePoolDecision) -> Document:
    status = cycle.snapshot.pools.get(sized.pool)
    return {
        "name": sized.pool,
        "current": sized.current,
        "ready": None if status is None else status.ready,
        "needed": sized.needed,
        "nodes": sized.nodes,
        "reason": sized.reason,
        "text": sized.text,
    }
