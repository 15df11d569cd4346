"""Observe, plan, act, record: one cycle, the same in every mode."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Protocol

from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome
from autoscaler.core.errors import ActuationError
from autoscaler.core.planner import FleetState, note_outcomes, plan_cycle
from autoscaler.core.ports import Actuator, Journal, Observer
from autoscaler.core.proposals import prepare
from autoscaler.core.workload import FleetSpec


class Spread(Protocol):
    """Calls a function with each of some actions, and returns the outcomes in their order."""

    def __call__(
        self,
        act: Callable[[Action | NodeAction], Outcome],
        actions: Iterable[Action | NodeAction],
        /,
    ) -> Iterable[Outcome]:
        """Return the outcomes."""
        ...


def always() -> bool:
    """Lead: there is nobody else."""
    return True


def never() -> bool:
    """Only watch: shadow mode and backtests decide and record, and change nothing."""
    return False


class Controller:
    """Runs cycles over a fleet; all it knows between them is `state`.

    Attributes:
        fleet: The policy files; another one counts from the next cycle on.
        state: What the decisions must remember.
        latest: The newest cycle; None before the first.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        *,
        observer: Observer,
        actuator: Actuator | None = None,
        journal: Journal | None = None,
        state: FleetState | None = None,
        leads: Callable[[], bool] = always,
        spread: Spread = map,
    ) -> None:
        """Compose a mode from its ends.

        Args:
            fleet: The policy files.
            observer: Sees the fleet.
            actuator: Changes the cluster; without one nothing is ever changed.
            journal: Keeps the cycles; without one nothing is kept.
            state: What earlier cycles left; a clean one if absent.
            leads: Whether we are the one that acts, asked once a cycle.
            spread: How to make changes that do not depend on each other: one after the other, or
                many at a time, as the `map` of an executor.
        """
        self.fleet = fleet
        self.state = state or FleetState()
        self.latest: Cycle | None = None
        self._observer = observer
        self._actuator = actuator
        self._journal = journal
        self._leads = leads if actuator is not None else never
        self._spread = spread

    @property
    def fleet(self) -> FleetSpec:
        return self._fleet

    @fleet.setter
    def fleet(self, fleet: FleetSpec) -> None:
        prepare(fleet)
        self._fleet = fleet

    def run_once(self, now: float) -> Cycle:
        """Run one cycle at `now` (Unix seconds)."""
        snapshot = self._observer.observe(self.fleet, now)
        leading = self._leads()
        plan, state = plan_cycle(self.fleet, self.state, snapshot, leading=leading)
        outcomes = tuple(self._acted(plan.actions(), now))
        cycle = Cycle(snapshot, plan, outcomes, leading)
        self.state = note_outcomes(self.fleet, state, cycle)
        self.latest = cycle
        if self._journal is not None:
            self._journal.record(cycle)
        return cycle

    def _acted(self, actions: Iterable[Action | NodeAction], now: float) -> Iterator[Outcome]:
        """Act in the plan's order; changes of one kind and direction are made side by side."""
        actuator = self._actuator
        if actuator is None:
            return

        def act(action: Action | NodeAction) -> Outcome:
            try:
                return actuator.act(action, now)
            except ActuationError as error:
                return Outcome(action, done=False, detail=str(error))

        for _, alike in groupby(actions, key=lambda one: (type(one), one.after > one.before)):
            yield from self._spread(act, list(alike))
