"""Observe, plan, act, record; a failure to act is an outcome and the next cycle tries again."""

from autoscaler.controller import Controller, Watching
from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome
from autoscaler.core.errors import ActuationError
from autoscaler.core.observation import Snapshot
from autoscaler.core.workload import FleetSpec
from tests.builders import NOON, Wants, a_fleet, a_snapshot, a_workload, seen

WORKLOAD = a_workload(Wants(replicas=5))


class Cluster:
    """A cluster of one workload whose replicas serve at once."""

    def __init__(self, *, refuses: int = 0) -> None:
        self.replicas = 2
        self.refusals = refuses

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        return a_snapshot(seen(self.replicas, at=now), fleet.workloads[0])

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        if self.refusals:
            self.refusals -= 1
            raise ActuationError("409 conflict")
        assert action.key == WORKLOAD.key
        self.replicas = action.after
        return Outcome(action, done=True)


class Pages:
    """A journal in memory."""

    def __init__(self) -> None:
        self.cycles: list[Cycle] = []

    def record(self, cycle: Cycle) -> None:
        self.cycles.append(cycle)


def test_a_cycle_sees_decides_acts_and_records() -> None:
    cluster, journal = Cluster(), Pages()
    controller = Controller(a_fleet(WORKLOAD), observer=cluster, actuator=cluster, journal=journal)

    cycle = controller.run_once(NOON)

    assert cluster.replicas == 5
    assert cycle.outcomes == (Outcome(Action(WORKLOAD.key, 2, 5), done=True),)
    assert journal.cycles == [cycle]
    assert controller.latest is cycle
    assert [mark.count for mark in controller.state.pasts[WORKLOAD.key].scale_ups] == [3]


def test_a_refusal_is_an_outcome_and_the_next_cycle_tries_again() -> None:
    cluster = Cluster(refuses=1)
    controller = Controller(a_fleet(WORKLOAD), observer=cluster, actuator=cluster)

    first = controller.run_once(NOON)
    assert first.outcomes == (
        Outcome(Action(WORKLOAD.key, 2, 5), done=False, detail="409 conflict"),
    )
    assert controller.state.pasts[WORKLOAD.key].scale_ups == ()

    controller.run_once(NOON + 15)
    assert cluster.replicas == 5


def test_watching_changes_nothing() -> None:
    cluster = Cluster()
    controller = Controller(a_fleet(WORKLOAD), observer=cluster, actuator=Watching())

    cycle = controller.run_once(NOON)

    assert cluster.replicas == 2
    assert cycle.plan.decisions[WORKLOAD.key].replicas == 5
    assert cycle.outcomes[0].detail == "watching only"


def test_a_restart_with_the_saved_state_decides_as_if_nothing_happened() -> None:
    workload = a_workload(
        Wants(replicas=1), behavior={"scaleDown": {"stabilizationWindowSeconds": 60}}
    )

    class Steady:
        def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
            return a_snapshot(seen(4, at=now), fleet.workloads[0])

    def controller(state: object = None) -> Controller:
        return Controller(
            a_fleet(workload),
            observer=Steady(),
            actuator=Watching(),
            state=state,  # type: ignore[arg-type]
        )

    steady, first_life = controller(), controller()
    for cycle in range(3):
        steady.run_once(NOON + 15 * cycle)
        first_life.run_once(NOON + 15 * cycle)
    second_life = controller(first_life.state)

    for cycle in range(3, 8):
        now = NOON + 15 * cycle
        assert second_life.run_once(now) == steady.run_once(now)
