"""What a live controller is composed of, seen from the service."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from autoscaler.core.decision import Cycle
from autoscaler.core.observation import Snapshot
from autoscaler.core.planner import FleetState
from autoscaler.core.ports import Actuator, Journal, Observer
from autoscaler.core.workload import FleetSpec
from autoscaler.state import StateStore
from autoscaler.telemetry.report import SourceReport


class Leadership(Protocol):
    """Whether we are the one that acts."""

    def is_leader(self) -> bool:
        """Whether we may write now."""
        ...

    @property
    def term(self) -> int | None:
        """Which leadership this is: another number when somebody led in between; None for none."""
        ...

    def start(self) -> None:
        """Stand for election."""
        ...

    def stop(self) -> bool:
        """Cease to lead, and give the lease back."""
        ...

    @property
    def trouble(self) -> str:
        """Why we do not lead, as far as it is known; empty where nothing is wrong."""
        ...


class LastingJournal(Journal, Protocol):
    """A journal that never ends."""

    @property
    def problem(self) -> str:
        """Why cycles are not kept at present; empty while they are."""
        ...

    def expect(self, fleet: FleetSpec, state: FleetState) -> None:
        """Hear what the next cycle is decided by."""
        ...


class Remembering(Protocol):
    """An end that remembers something of each workload between processes."""

    def kept(self) -> Mapping[str, Any]:
        """Return what the next process should know, by workload key: JSON."""
        ...

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what another process kept."""
        ...


class Looks(Protocol):
    """Sees workloads between cycles."""

    def look(self, fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        """Return what is new of some workloads: the last cycle's sight of them, newer samples."""
        ...

    def judged(self, woken: Collection[str]) -> None:
        """Hear that the last look was decided on, and which workloads it woke, by their keys."""
        ...


class NoLooks:
    """Nothing is ever new."""

    def look(self, fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        return Snapshot(now)

    def judged(self, woken: Collection[str]) -> None:
        """There is nothing to hear of."""


class Alone:
    """Leadership where there is nobody else."""

    def is_leader(self) -> bool:
        return True

    @property
    def term(self) -> int | None:
        return 0 if self.is_leader() else None

    def start(self) -> None:
        """There is nothing to begin."""

    def stop(self) -> bool:
        return True

    @property
    def trouble(self) -> str:
        return ""


def _nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a live controller is composed of.

    Attributes:
        observer: Sees the fleet.
        actuator: Changes the cluster; None in shadow mode.
        leadership: Whether we are the one that acts.
        replan: Is told when other policy files are in force.
        looks: Sees workloads that sleep between cycles.
        sources: What each Prometheus was asked in the last cycle, by name.
        store: Where state is kept between processes; None for nowhere.
        memories: Ends that remember something of each workload; kept with the state, by name.
        journal: Keeps the cycles; None where none are kept.
        announce: Tells the cluster (events) what was done, and tidies up.
        refused_seconds: For how long nobody has listened at the cluster's address.
        close: Ends threads and connections.
    """

    observer: Observer
    actuator: Actuator | None
    leadership: Leadership = field(default_factory=Alone)
    replan: Callable[[FleetSpec], None] = lambda fleet: None
    looks: Looks = field(default_factory=NoLooks)
    sources: Callable[[], dict[str, SourceReport]] = dict
    store: StateStore | None = None
    memories: Mapping[str, Remembering] = field(default_factory=dict)
    journal: LastingJournal | None = None
    announce: Callable[[FleetSpec, Cycle], None] = lambda fleet, cycle: None
    refused_seconds: Callable[[], float] = lambda: 0.0
    close: Callable[[], None] = _nothing
