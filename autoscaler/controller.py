"""Observe, plan, act, record: one cycle, the same in every mode."""

from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome
from autoscaler.core.errors import ActuationError
from autoscaler.core.planner import FleetState, note_outcomes, plan_cycle
from autoscaler.core.ports import Actuator, Journal, Observer
from autoscaler.core.workload import FleetSpec


class Watching:
    """The actuator of shadow mode: changes nothing, and says so."""

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        return Outcome(action, done=False, detail="watching only")


class Controller:
    """Runs cycles over a fleet; all it knows between them is `state`.

    Attributes:
        fleet: The policy files.
        state: What the decisions must remember.
        latest: The newest cycle; None before the first.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        *,
        observer: Observer,
        actuator: Actuator,
        journal: Journal | None = None,
        state: FleetState | None = None,
    ) -> None:
        """Compose a mode from its ends; without a journal nothing is kept."""
        self.fleet = fleet
        self.state = state or FleetState()
        self.latest: Cycle | None = None
        self._observer = observer
        self._actuator = actuator
        self._journal = journal

    def run_once(self, now: float) -> Cycle:
        """Run one cycle at `now` (Unix seconds)."""
        snapshot = self._observer.observe(self.fleet, now)
        plan, state = plan_cycle(self.fleet, self.state, snapshot)
        outcomes = tuple(self._act(action, now) for action in plan.actions())
        cycle = Cycle(snapshot, plan, outcomes)
        self.state = note_outcomes(self.fleet, state, cycle)
        self.latest = cycle
        if self._journal is not None:
            self._journal.record(cycle)
        return cycle

    def _act(self, action: Action | NodeAction, now: float) -> Outcome:
        try:
            return self._actuator.act(action, now)
        except ActuationError as error:
            return Outcome(action, done=False, detail=str(error))
