"""Alive and ready: what the probes of Kubernetes ask, answered with reasons."""

from dataclasses import dataclass
from typing import Final

from autoscaler.core.decision import Cycle
from autoscaler.telemetry.latest import Entry, Latest
from autoscaler.telemetry.sight import why_blind

LEAST_SECONDS: Final = 60.0
"""A cycle is not too old before this."""
FIRST_SECONDS: Final = 300.0
"""How long the first cycle may take: long windows are fetched whole."""
INTERVALS: Final = 4.0
"""Nor before this many planned intervals have gone by."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        good: Whether it is as it should be.
        text: What was found, in one line.
    """

    name: str
    good: bool
    text: str


def alive(latest: Latest) -> tuple[Check, ...]:
    """Return whether the loop of cycles has been heard of lately."""
    silent, most = latest.silent_seconds, _patience(latest.entry)
    text = f"last heard of {silent:.0f} s ago, allowed are {most:.0f} s"
    return (Check("loop", silent <= most, text),)


def ready(latest: Latest, *, stopping: bool) -> tuple[Check, ...]:
    """Return whether the newest cycle is there, young, and made with open eyes.

    Not ready while *every* workload is blind: then the controller itself sees nothing. One blind
    workload among many is told by its metric and in the text, and stops nobody from reading the
    plan of the others. Whoever does not lead is as ready as who does.
    """
    running = Check("running", not stopping, "stopping" if stopping else "running")
    entry = latest.entry
    if entry is None:
        return (running, Check("cycle", good=False, text="no cycle has run yet"))
    age, most = latest.monotonic() - entry.at, _patience(entry)
    text = f"the newest cycle is {age:.0f} s old, allowed are {most:.0f} s"
    return (running, Check("cycle", age <= most, text), _sight(entry.report.cycle))


def _patience(entry: Entry | None) -> float:
    if entry is None:
        return FIRST_SECONDS
    return max(LEAST_SECONDS, INTERVALS * entry.report.interval_seconds)


def _sight(cycle: Cycle) -> Check:
    decisions = cycle.plan.decisions
    blind = {key: why for key, one in decisions.items() if (why := why_blind(cycle, one))}
    if not blind:
        return Check("sight", good=True, text=f"all {len(decisions)} workloads are seen")
    key, why = next(iter(blind.items()))
    text = f"blind to {len(blind)} of {len(decisions)} workloads, such as {key}: {why}"
    return Check("sight", len(blind) < len(decisions), text)
