"""How a workload's replicas changed, by whomever, and whether new ones come up."""

from dataclasses import replace

from autoscaler.core.behavior import Behavior
from autoscaler.core.history import note_change, remember
from autoscaler.core.observation import ReplicaStatus
from autoscaler.core.past import Mark, Past, age

PATIENCE = 3.0
"""Cold starts after which a replica that does not serve is overdue."""

LEAST_PATIENCE_SECONDS = 300.0
"""A replica is never overdue sooner than this."""


FORGOTTEN_SECONDS = 900.0
"""Without a decision for so long (a clock that was put right, a machine that slept) no window tells
anything. Longer than any interval between cycles."""


def notice(
    past: Past, replicas: ReplicaStatus, now: float, *, behavior: Behavior | None, ours: bool
) -> Past:
    """Note how replicas changed since the last cycle.

    Args:
        past: What earlier cycles left.
        replicas: What was found now.
        now: Unix seconds.
        behavior: The workload's `spec.behavior`.
        ours: Whether we change this workload ourselves. Then `note_outcomes` counts the changes;
            else whatever changed counts, whoever did it. So does what changed while no process
            of ours was there to see: the last one may have ended between a change and its note.
    """
    if now - past.newest > FORGOTTEN_SECONDS:
        # As the HPA does: the size found at first is the first recommendation, so that a
        # restart does not forget that the workload was large.
        past = remember(past, now, replicas.desired, behavior)
    if (past.restored or not ours) and past.desired is not None:
        past = note_change(past, now, past.desired, replicas.desired, behavior)
    asleep = past.asleep
    if replicas.desired > 0:
        asleep = False
    elif past.desired and (past.restored or not ours):
        asleep = None
    starting = _starting(past, replicas, now)
    known = past.desired, past.asleep, past.starting, past.restored
    if known == (replicas.desired, asleep, starting, False):
        return past
    return replace(past, desired=replicas.desired, asleep=asleep, starting=starting, restored=False)


def _starting(past: Past, replicas: ReplicaStatus, now: float) -> tuple[Mark, ...]:
    """Keep, by when they were asked for, the replicas that do not serve yet: oldest serve first."""
    known = sum(mark.count for mark in past.starting)
    if replicas.starting > known:
        return (*past.starting, Mark(now, replicas.starting - known))
    served, left = known - replicas.starting, []
    for mark in past.starting:
        gone = min(served, mark.count)
        served -= gone
        if gone < mark.count:
            left.append(Mark(mark.time, mark.count - gone))
    return tuple(left)


def why_broken(past: Past, replicas: ReplicaStatus, now: float, cold_start: float) -> str:
    """Say, if so, that too many replicas do not come up for more of them to help.

    A quarter of the ready ones may be stuck: one bad node does not stop a large fleet.

    Args:
        past: As `notice` left it.
        replicas: What was found now.
        now: Unix seconds.
        cold_start: Seconds that a replica is expected to take.

    Returns:
        A sentence, or nothing where growth may go on.
    """
    patience = max(LEAST_PATIENCE_SECONDS, PATIENCE * cold_start)
    overdue = sum(mark.count for mark in past.starting if age(now, mark.time) > patience)
    failing = min(replicas.failing, replicas.starting)
    stuck = max(overdue, failing)
    if stuck <= replicas.ready // 4:
        return ""
    return (
        f"{stuck} of {replicas.starting} starting replicas do not come up "
        f"({failing} failing, {overdue} not ready after {patience:g} s)"
    )
