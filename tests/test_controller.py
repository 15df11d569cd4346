"""Observe, plan, act, record; a failure to act is an outcome and the next cycle tries again."""

from collections.abc import Callable, Iterable
from typing import Literal

from autoscaler.controller import Controller, never
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
    controller = Controller(a_fleet(WORKLOAD), observer=cluster)

    cycle = controller.run_once(NOON)

    assert cluster.replicas == 2
    assert cycle.plan.decisions[WORKLOAD.key].replicas == 5
    assert (cycle.outcomes, cycle.leading) == ((), False)


def test_a_standby_that_takes_over_counts_the_last_change_of_the_leader_before() -> None:
    slowly = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    fleet = a_fleet(a_workload(Wants(replicas=9), behavior=slowly))
    cluster, leads = Cluster(), False
    standby = Controller(fleet, observer=cluster, actuator=cluster, leads=lambda: leads)
    watched = standby.run_once(NOON)
    cluster.replicas = 3  # the old leader's last act, which it could tell nobody
    leads = True

    took_over = standby.run_once(NOON + 15)

    assert (watched.leading, watched.outcomes) == (False, ())
    assert watched.plan.acting == frozenset()
    assert took_over.leading
    assert took_over.plan.decisions[WORKLOAD.key].replicas == 3
    assert cluster.replicas == 3
    standby.run_once(NOON + 76)
    assert cluster.replicas == 4


def test_changes_of_one_kind_and_direction_are_made_side_by_side_in_the_safe_order() -> None:
    up, down = a_workload(Wants(replicas=5), name="up"), a_workload(Wants(replicas=1), name="down")
    more = a_workload(Wants(replicas=7), name="more")
    calls: list[list[str]] = []

    class Many(Cluster):
        def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
            return Snapshot(now, {workload.key: seen(2, at=now) for workload in fleet.workloads})

        def act(self, action: Action | NodeAction, now: float) -> Outcome:
            return Outcome(action, done=True)

    def spread(
        act: Callable[[Action | NodeAction], Outcome], actions: Iterable[Action | NodeAction]
    ) -> Iterable[Outcome]:
        together = list(actions)
        calls.append([one.key for one in together])
        return map(act, together)

    cluster = Many()
    Controller(a_fleet(down, up, more), observer=cluster, actuator=cluster, spread=spread).run_once(
        NOON
    )

    assert calls == [["llm/up", "llm/more"], ["llm/down"]]


def test_who_never_leads_never_acts() -> None:
    cluster = Cluster()

    Controller(a_fleet(WORKLOAD), observer=cluster, actuator=cluster, leads=never).run_once(NOON)

    assert cluster.replicas == 2


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
            actuator=Cluster(refuses=99),
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


class Prepares(Wants):
    """A policy that has something to load, and may fail to."""

    type: Literal["wants"] = "wants"
    fails: bool = False

    def prepare(self) -> None:
        prepared.append(self.replicas)
        if self.fails:
            raise ImportError("no library")


prepared: list[int | None] = []


def test_policies_load_what_takes_long_before_any_cycle() -> None:
    prepared.clear()
    fleets = [a_fleet(a_workload(Prepares(replicas=count))) for count in (1, 2)]

    controller = Controller(fleets[0], observer=Cluster())
    assert prepared == [1]

    controller.run_once(NOON)
    controller.fleet = fleets[1]
    assert prepared == [1, 2]


def test_a_policy_that_cannot_load_stops_nobody() -> None:
    prepared.clear()
    fleet = a_fleet(a_workload(Prepares(replicas=1, fails=True), Prepares(replicas=7)))

    cycle = Controller(fleet, observer=Cluster()).run_once(NOON)

    assert prepared == [1, 7]
    assert cycle.plan.decisions[WORKLOAD.key].replicas == 7
