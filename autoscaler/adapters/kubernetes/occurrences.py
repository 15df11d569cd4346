"""What of a cycle is worth an Event: each change, each refusal, where a hold begins and ends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from autoscaler.adapters.kubernetes.scalers import Reference
from autoscaler.core.decision import Action, Cycle, NodeAction, Reason
from autoscaler.core.node_pools import PoolTarget
from autoscaler.core.observation import InterventionKind, Observation
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec, ScaledWorkload

RESCALE: Final = "Rescale"
HOLD: Final = "Hold"
HELD_BY: Final = {
    InterventionKind.SUSPENDED: ("Suspended", True),
    InterventionKind.PAUSED: ("Paused", False),
    InterventionKind.REPLICAS: ("ReplicasOverridden", False),
    InterventionKind.EDITED: ("EditRespected", False),
    InterventionKind.PAUSED_DOWN: ("ScaleDownPaused", False),
    InterventionKind.EXPECTED_MISSING: ("FollowerMissing", True),
}
"""Reason of the Event, and whether it is a warning, by intervention."""
HELD_FOR: Final = {
    Reason.BLIND: "SignalsMissing",
    Reason.POLICY_FAILED: "PolicyFailed",
    Reason.BROKEN_ROLLOUT: "ReplicasDoNotStart",
}
"""Reason of the Event, all warnings, by what a decision was made for."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing that happened to an object.

    Attributes:
        about: The object.
        reason: Why, in one CamelCase word.
        note: What happened and why, in one sentence.
        action: What was tried: Rescale or Hold.
        warning: Whether a person should look.
    """

    about: Reference
    reason: str
    note: str
    action: str
    warning: bool = False


Holds = Mapping[str, Mapping[str, str]]
"""What held each workload in the last cycle: by its key, reason of the Event to its note."""

_NOTHING: Final[Mapping[str, str]] = {}


def occurrences(
    fleet: FleetSpec, cycle: Cycle, before: Holds
) -> tuple[tuple[Occurrence, ...], Holds]:
    """Return what happened in a cycle, and what holds now. Pure.

    A hold is told when it begins and when it ends, not while it lasts.

    Args:
        fleet: The policy files.
        cycle: The cycle; one that was not the leader's says nothing.
        before: What held in the cycle before.
    """
    if not cycle.leading:
        return (), before
    told = list(_changed(fleet, cycle))
    now: dict[str, Mapping[str, str]] = {}
    for workload in fleet.workloads:
        if workload.spec.actuation is Actuation.NONE:
            continue
        key = workload.key
        was, seen = before.get(key, _NOTHING), cycle.snapshot.observations.get(key)
        if seen is None:
            now[key] = was  # nothing has begun or ended
            continue
        holds = _holds(cycle, key, seen)
        if not holds and not was:
            now[key] = _NOTHING
            continue
        now[key] = {reason: note for reason, (note, _) in holds.items()}
        about = reference_of(workload)
        for reason, (note, warning) in holds.items():
            if reason not in was:
                told.append(Occurrence(about, reason, note, HOLD, warning))
        if was and not holds:
            over = " and ".join(sorted(was))
            told.append(Occurrence(about, "Resumed", f"no longer held: {over} is over", HOLD))
    return tuple(told), now


def reference_of(workload: ScaledWorkload) -> Reference:
    """Return the object that a workload scales."""
    target = workload.spec.target
    return Reference(target.api_version, target.kind, workload.metadata.namespace, target.name)


def _holds(cycle: Cycle, key: str, seen: Observation) -> dict[str, tuple[str, bool]]:
    held: dict[str, tuple[str, bool]] = {}
    for one in seen.interventions:
        if one.holds(cycle.snapshot.now):
            reason, warning = HELD_BY[one.kind]
            held.setdefault(reason, (one.text, warning))
    decision = cycle.plan.decisions.get(key)
    if decision is not None and decision.reason in HELD_FOR:
        held[HELD_FOR[decision.reason]] = (decision.text, True)
    return held


def _changed(fleet: FleetSpec, cycle: Cycle) -> Iterator[Occurrence]:
    if not cycle.outcomes:
        return
    workloads = {workload.key: workload for workload in fleet.workloads}
    pools = {pool.key: pool.spec.target for pool in fleet.pools}
    for outcome in cycle.outcomes:
        action = outcome.action
        if isinstance(action, Action):
            workload = workloads.get(action.workload)
            about = None if workload is None else reference_of(workload)
        else:
            about = _reference_to(pools.get(action.pool))
        if about is None:
            continue
        change = f"{action.before} -> {action.after} {_things(action)}"
        if outcome.done:
            why = _why(cycle, action)
            yield Occurrence(about, "SuccessfulRescale", f"{change}: {why}", RESCALE)
        else:
            note = f"{change} failed: {outcome.detail}"
            yield Occurrence(about, "FailedRescale", note, RESCALE, warning=True)


def _reference_to(target: PoolTarget | None) -> Reference | None:
    if target is None:
        return None
    return Reference(target.api_version, target.kind, target.namespace or "", target.name)


def _things(action: Action | NodeAction) -> str:
    return "replicas" if isinstance(action, Action) else "nodes"


def _why(cycle: Cycle, action: Action | NodeAction) -> str:
    if isinstance(action, Action):
        return cycle.plan.decisions[action.workload].text
    return cycle.plan.pools[action.pool].text
