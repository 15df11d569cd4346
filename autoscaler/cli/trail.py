"""The trail of one decision, as lines for a person and as a document."""

from typing import TYPE_CHECKING, Any

from autoscaler.cli.words import bold, columns, utc

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.decision import (
        Cycle,
        Decision,
        NodePoolDecision,
        Outcome,
        Proposal,
        Reading,
    )


def trail(
    cycle: "Cycle",
    decision: "Decision",
    first: float | None,
    sized: "NodePoolDecision | None" = None,
) -> list[str]:
    """Return a decision as lines for a person, with that of its node pool beside it."""
    from autoscaler.telemetry.sight import said_once

    now = cycle.plan.now
    since = "" if first is None else f" ({now - first:+g} s since the first cycle)"
    lines = [f"{bold(decision.workload)} at {utc(now)}{since}"]
    lines += ["", *_head(decision), "", bold("replicas"), *_replicas(cycle, decision)]
    lines += ["", bold("signals"), *(_signals(decision) or ["  none"])]
    lines += ["", bold("policies"), *_proposals(decision)]
    lines += ["", bold("steps"), *_steps(decision)]
    lines += _actions(cycle, decision.workload)
    if sized is not None:
        change = _change(sized.current, sized.nodes)
        lines += ["", bold(f"node pool {sized.pool}"), *_nodes(cycle, sized)]
        lines += [f"  {bold(change)} ({sized.reason}): {sized.text}"]
        lines += _actions(cycle, sized.pool)
    return said_once(decision, "\n".join(lines), "as above").split("\n")


def _actions(cycle: "Cycle", key: str) -> list[str]:
    lines = []
    for outcome in _outcomes(cycle, key):
        done = "done" if outcome.done else "not done"
        detail = f": {outcome.detail}" if outcome.detail else ""
        lines += [
            "",
            f"{bold('action')}  {outcome.action.before} -> {outcome.action.after}, {done}{detail}",
        ]
    return lines


def _outcomes(cycle: "Cycle", key: str) -> list["Outcome"]:
    return [one for one in cycle.outcomes if one.action.key == key]


def _head(decision: "Decision") -> list[str]:
    change = _change(decision.current, decision.replicas)
    return [f"{bold(change)} ({decision.reason}): {decision.text}"]


def _change(before: int | None, after: int | None) -> str:
    if after is None or after == before:
        return f"stays at {_count(after)}"
    return f"{_count(before)} -> {_count(after)}"


def _nodes(cycle: "Cycle", sized: "NodePoolDecision") -> list[str]:
    seen = cycle.snapshot.pools.get(sized.pool)
    if seen is None:
        return ["  not seen"]
    return [f"  {seen.desired} asked for, {seen.ready} ready, {sized.needed} needed"]


def _count(replicas: int | None) -> str:
    return "unknown" if replicas is None else str(replicas)


def _replicas(cycle: "Cycle", decision: "Decision") -> list[str]:
    seen = cycle.snapshot.observations.get(decision.workload)
    if seen is None:
        gap = cycle.snapshot.missing.get(decision.workload)
        return [f"  not seen: {gap.reason} {gap.detail}".rstrip() if gap else "  not seen"]
    status = seen.replicas
    text = f"  {status.desired} asked for, {status.ready} ready, {status.starting} starting"
    if status.failing:
        text += f", {status.failing} failing"
    if status.rolling:
        text += ", a roll-out is under way"
    said = [one for one in seen.interventions if one.holds(cycle.plan.now)]
    return [text, *(f"  {one.kind}: {one.text}" for one in said)]


def _signals(decision: "Decision") -> list[str]:
    return columns([_signal(reading) for reading in decision.readings], indent="  ")


def _signal(reading: "Reading") -> tuple[str, ...]:
    return (
        reading.signal,
        str(reading.state),
        "-" if reading.value is None else f"{reading.value:.4g}",
        "" if reading.age_seconds is None else f"{reading.age_seconds:g} s old",
        reading.why,
    )


def _proposals(decision: "Decision") -> list[str]:
    rows = [(one.policy, _said(one), _why(one)) for one in decision.proposals]
    wanted = "nothing" if decision.combined is None else str(decision.combined)
    return [*columns(rows, indent="  "), *forecasts(decision), f"  together: {wanted}"]


def forecasts(decision: "Decision") -> list[str]:
    """Return the forecasts of a decision, a line each: the last time of the horizon."""
    return [
        f"  {one.policy} expects {forecast.signal} at {utc(float(forecast.times[-1]))}: "
        + ", ".join(
            f"p{level * 100:g} {values[-1]:.4g}"
            for level, values in zip(forecast.quantiles, forecast.values, strict=True)
        )
        for one in decision.proposals
        if one.recommendation is not None
        and (forecast := one.recommendation.forecast) is not None
        and len(forecast.times)
    ]


def _said(proposal: "Proposal") -> str:
    answer = proposal.recommendation
    if answer is None or answer.replicas is None:
        return "-"
    return f"{answer.replicas}{' or more' if proposal.ageing or proposal.floor else ''}"


def _why(proposal: "Proposal") -> str:
    answer = proposal.recommendation
    return " ".join(part for part in (answer.reason if answer else "", proposal.why) if part)


def _steps(decision: "Decision") -> list[str]:
    rows = [
        (step.rule, f"{step.before} -> {step.after}", str(step.reason), step.text)
        for step in decision.steps
    ]
    return columns(rows, indent="  ") or ["  no rule changed the number"]


def document_of(
    cycle: "Cycle", decision: "Decision", sized: "NodePoolDecision | None"
) -> dict[str, Any]:
    """Return a decision as a document, with that of its node pool beside it."""
    from pydantic import TypeAdapter

    from autoscaler.core.decision import Decision, NodePoolDecision, Outcome

    def outcomes(key: str) -> list[Any]:
        whole: list[Any] = TypeAdapter(list[Outcome]).dump_python(
            _outcomes(cycle, key), mode="json"
        )
        return whole

    document: dict[str, Any] = TypeAdapter(Decision).dump_python(decision, mode="json")
    document = {
        "time": utc(cycle.plan.now),
        **document,
        "outcomes": outcomes(decision.workload),
    }
    if sized is not None:
        pool: dict[str, Any] = TypeAdapter(NodePoolDecision).dump_python(sized, mode="json")
        document["node_pool"] = {**pool, "outcomes": outcomes(sized.pool)}
    return document
