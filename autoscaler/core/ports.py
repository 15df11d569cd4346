"""The seams: what a mode must bring. Live, shadow, demo, replay and backtest differ only here."""

from typing import Protocol

from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome
from autoscaler.core.observation import Snapshot
from autoscaler.core.workload import FleetSpec


class Observer(Protocol):
    """Sees the fleet."""

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        """Return what can be seen at `now` (Unix seconds); what fails is in `missing`."""
        ...


class Actuator(Protocol):
    """Changes the cluster."""

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        """Make one change. A failure is an outcome that is not done, never an exception."""
        ...


class Journal(Protocol):
    """Keeps the cycles."""

    def record(self, cycle: Cycle) -> None:
        """Keep one cycle."""
        ...
