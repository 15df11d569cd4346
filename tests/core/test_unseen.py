"""A target that was not seen for a while: what comes after."""

from autoscaler.core.observation import Snapshot
from autoscaler.core.past import Mark, Past
from autoscaler.core.planner import FleetState, plan_cycle
from tests.builders import NOON, Wants, a_fleet, a_snapshot, a_workload, seen

BEHAVIOR = {"scaleDown": {"stabilizationWindowSeconds": 60}}


def test_after_an_outage_a_decrease_waits_for_a_whole_window() -> None:
    workload = a_workload(Wants(replicas=2), behavior=BEHAVIOR)
    fleet = a_fleet(workload)
    old = Past(recommendations=(Mark(NOON - 900, 2),), desired=6)
    state = FleetState({workload.key: old})

    _, state = plan_cycle(fleet, state, Snapshot(NOON, {}))
    back, state = plan_cycle(fleet, state, a_snapshot(seen(running=6, at=NOON + 15), workload))
    after, _ = plan_cycle(fleet, state, a_snapshot(seen(running=6, at=NOON + 60), workload))

    assert back.decisions[workload.key].replicas == 6
    assert after.decisions[workload.key].replicas == 2


def test_a_target_that_was_never_seen_leaves_nothing_to_remember() -> None:
    workload = a_workload(Wants(replicas=2), behavior=BEHAVIOR)

    _, state = plan_cycle(a_fleet(workload), FleetState(), Snapshot(NOON, {}))

    assert state.pasts[workload.key] == Past()


def test_after_a_long_sleep_a_decrease_waits_for_a_whole_window() -> None:
    workload = a_workload(Wants(replicas=2), behavior=BEHAVIOR)
    fleet = a_fleet(workload)
    state = FleetState({workload.key: Past(recommendations=(Mark(NOON - 901, 2),), desired=6)})

    woken, state = plan_cycle(fleet, state, a_snapshot(seen(running=6), workload))
    after, _ = plan_cycle(fleet, state, a_snapshot(seen(running=6, at=NOON + 60), workload))

    assert woken.decisions[workload.key].replicas == 6
    assert after.decisions[workload.key].replicas == 2
