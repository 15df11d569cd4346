"""autoscaler explain."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.words import bold, columns, emit, emit_json, read_time, utc

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.decision import (
        Cycle,
        Decision,
        NodePoolDecision,
        Outcome,
        Proposal,
        Reading,
    )

LAST = "last"
_SECONDS = re.compile(r"\+[0-9]+(\.[0-9]+)?(e\+?[0-9]{1,2})?", re.IGNORECASE)


def explain(
    workload: Annotated[str, typer.Argument(help="Name, or namespace/name.")],
    journal: Annotated[
        Path,
        typer.Option(help="The file of cycles that a replay wrote, or a live journal's folder."),
    ],
    at: Annotated[
        str,
        typer.Option(
            help="When: an ISO 8601 time, seconds since the first cycle (+600), or last. The "
            "nearest cycle at or before it is shown."
        ),
    ] = LAST,
    as_json: Annotated[bool, typer.Option("--json", help="Print the trail as JSON.")] = False,
) -> None:
    """Say why a workload has the number it has.

    Prints the whole trail of one decision: signals, policies, rules, action; and what was decided
    of its node pool.
    """
    from autoscaler.core.errors import ConfigError
    from autoscaler.journal import journal_files, read_header, read_journal

    files = journal_files(journal)
    header = read_header(files[-1])
    key = _key(journal, workload, header)
    cycles = (cycle for file in files for cycle in read_journal(file))
    cycle, first, line = _nearest(cycles, at, journal)
    decision = cycle.plan.decisions.get(key)
    if decision is None:
        raise ConfigError(f"{journal}:{line}: holds no decision for {key}, which the header names")
    sized = cycle.plan.pools.get(_pool(header, key))
    if as_json:
        emit_json(_document(cycle, decision, sized))
    else:
        emit("\n".join(trail(cycle, decision, first, sized)))


def _pool(header: dict[str, Any], key: str) -> str:
    """Return the name of a workload's node pool; empty where it has none."""
    workload = next(one for one in header["workloads"] if _key_of(one) == key)
    return str(workload["spec"].get("replica", {}).get("nodePool", ""))


def _key_of(workload: dict[str, Any]) -> str:
    metadata = workload["metadata"]
    return f"{metadata.get('namespace', 'default')}/{metadata['name']}"


def _key(journal: Path, name: str, header: dict[str, Any]) -> str:
    from autoscaler.core.errors import ConfigError

    known = [_key_of(workload) for workload in header["workloads"]]
    found = [key for key in known if name in (key, key.partition("/")[2])]
    if len(found) == 1:
        return found[0]
    rule = "several workloads are called" if found else "no workload is called"
    raise ConfigError(f"{journal}: {rule} {name!r}; there are: {', '.join(known)}")


def _nearest(cycles: Iterator["Cycle"], at: str, journal: Path) -> tuple["Cycle", float, int]:
    """Return the newest cycle not after a time, the time of the first cycle, and its own line."""
    from autoscaler.core.errors import ConfigError

    found: Cycle | None = None
    first = until = math.nan
    line = 1
    for cycle in cycles:
        now = cycle.plan.now
        if math.isnan(first):
            first, until = now, _until(at, now)
        if now > until:
            break
        found = cycle
        line += 1
    if math.isnan(first):
        raise ConfigError(f"{journal}: holds no cycle")
    if found is None:
        raise ConfigError(f"{journal}: no cycle at or before {at}; the first is at {utc(first)}")
    return found, first, line


def _until(at: str, first: float) -> float:
    from autoscaler.core.errors import ConfigError

    if at == LAST:
        return math.inf
    if _SECONDS.fullmatch(at):
        return first + float(at)
    time = read_time(at)
    if time is None:
        raise ConfigError(
            f"--at: should be a time such as 2026-01-05T00:10:00Z, seconds such as +600, or last, "
            f"not {at!r}"
        )
    return time


def trail(
    cycle: "Cycle", decision: "Decision", first: float, sized: "NodePoolDecision | None" = None
) -> list[str]:
    """Return a decision as lines for a person, with that of its node pool beside it."""
    now = cycle.plan.now
    lines = [f"{bold(decision.workload)} at {utc(now)} ({now - first:+g} s since the first cycle)"]
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
    return lines


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
    return [text]


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
    return [*columns(rows, indent="  "), f"  together: {wanted}"]


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


def _document(
    cycle: "Cycle", decision: "Decision", sized: "NodePoolDecision | None"
) -> dict[str, Any]:
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
