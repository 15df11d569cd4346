"""What a cycle does not carry itself: how long it took, what was asked of whom, who leads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from autoscaler.core.decision import Cycle
from autoscaler.core.workload import FleetSpec


class Mode(StrEnum):
    """What becomes of a decision."""

    LIVE = "live"
    """It is carried out, by the leader."""
    SHADOW = "shadow"
    """It is recorded only."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What one Prometheus was asked in one cycle.

    Attributes:
        queries: Queries that were run, those that failed included.
        failures: Queries that brought no answer.
        seconds: Time until their answers, summed over the queries.
        signals: Signals of workloads that the answers served. One query for each of them would
            have been the plain way: the difference is what was saved.
        problem: Why the source is down, in one line; empty while it answers.
        looks: Queries since the cycle before, to see whether a workload that sleeps is wanted; not
            among `queries`.
    """

    queries: int
    failures: int = 0
    seconds: float = 0.0
    signals: int = 0
    problem: str = ""
    looks: int = 0

    @property
    def saved(self) -> int:
        """Queries that sharing has saved."""
        return max(0, self.signals - self.queries)


@dataclass(frozen=True, slots=True)
class CycleReport:
    """A cycle, and what the service knows of it.

    Attributes:
        cycle: Snapshot, plan and outcomes.
        fleet: The policy files that decided it.
        started: When it began, Unix seconds.
        seconds: How long it took, from the first query to the last outcome.
        lag_seconds: How much later than planned it began.
        missed: Planned cycles since the one before that never ran.
        interval_seconds: Planned time between cycles.
        mode: What becomes of decisions.
        leader: Whether this process may act.
        sources: What each Prometheus was asked, by name.
        reload_problem: Why changed policy files are not in force; empty where they are.
        journal_problem: Why the cycle was not kept; empty where it was.
    """

    cycle: Cycle
    fleet: FleetSpec
    started: float
    seconds: float = 0.0
    lag_seconds: float = 0.0
    missed: int = 0
    interval_seconds: float = 15.0
    mode: Mode = Mode.LIVE
    leader: bool = True
    sources: Mapping[str, SourceReport] = field(default_factory=dict)
    reload_problem: str = ""
    journal_problem: str = ""

    @property
    def acts(self) -> bool:
        """Whether this process carried out what it decided."""
        return self.cycle.leading
