"""Pools that people have touched, or that are paused: nothing is taken back at once."""

from dataclasses import replace

from autoscaler.core.decision import Cycle, NodeAction, Outcome, Plan, Reason
from autoscaler.core.observation import NodePoolStatus, Snapshot
from autoscaler.core.planner import FleetState, note_outcomes, plan_cycle
from tests.builders import NOON, seen
from tests.core.test_node_pools import a_fleet_on, a_pool, on_pool

WORKLOAD = on_pool(wants=2, gpus=4)
FLEET = a_fleet_on(a_pool(), WORKLOAD)


def snapshot(nodes: int, at: float, paused: str = "") -> Snapshot:
    pools = {"h100": NodePoolStatus(nodes, nodes)}
    return Snapshot(at, {WORKLOAD.key: seen(2, at=at)}, {}, pools, paused)


def planned(state: FleetState, nodes: int, at: float, paused: str = "") -> tuple[Plan, FleetState]:
    plan, state = plan_cycle(FLEET, state, snapshot(nodes, at, paused))
    done = tuple(Outcome(action, done=True) for action in plan.actions())
    return plan, note_outcomes(FLEET, state, Cycle(snapshot(nodes, at), plan, done))


def settled() -> FleetState:
    """One node has been needed, and asked for, for a long time."""
    state = FleetState()
    for number in range(50):
        _, state = planned(state, 1, NOON + 15 * number)
    return state


LATER = NOON + 15 * 50


def test_nodes_that_a_person_asked_for_stay_as_long_as_needed_ones_would() -> None:
    state = settled()

    raised, state = planned(state, 6, LATER)
    still, state = planned(state, 6, LATER + 590)
    over, _ = planned(state, 6, LATER + 600)

    assert (raised.pools["h100"].nodes, still.pools["h100"].nodes) == (6, 6)
    assert over.pools["h100"].nodes == 1


def test_nodes_that_we_asked_for_ourselves_are_not_taken_for_a_persons() -> None:
    state = settled()
    grown = NodeAction("h100", 1, 3)
    cycle = Cycle(snapshot(1, LATER), Plan(LATER), (Outcome(grown, done=True),))
    state = note_outcomes(FLEET, state, cycle)

    plan, _ = planned(state, 3, LATER + 15)

    assert state.nodes_seen == {"h100": 3}
    assert plan.pools["h100"].nodes == 1


def test_while_everything_is_paused_pools_stay_as_they_are() -> None:
    plan, _ = planned(settled(), 3, LATER + 9000, paused="everything is paused by a person")

    sized = plan.pools["h100"]
    assert (sized.nodes, sized.reason) == (3, Reason.PAUSED)
    assert sized.text.endswith("everything is paused by a person")
    assert plan.actions() == ()


def test_after_a_gap_the_last_sizes_count_as_wanted() -> None:
    state = replace(settled(), nodes_seen={"h100": 4})

    resumed = state.resumed(FLEET, LATER + 900)

    assert resumed.nodes_needed["h100"][-1].count == 4
    assert resumed.pasts[WORKLOAD.key].recommendations[-1].time == LATER + 900
