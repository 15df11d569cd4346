"""A clock that is set back: what was decided before lies ahead, and must not count for as long."""

from dataclasses import replace

from autoscaler.core.past import Mark, Past
from autoscaler.core.planner import FleetState, plan_cycle
from tests.builders import NOON, Wants, a_fleet, a_snapshot, a_workload, seen

HOUR = 3600.0
AHEAD = Past(
    recommendations=(Mark(NOON + HOUR, 4),),
    scale_ups=(Mark(NOON + HOUR, 3), Mark(NOON - 60, 1, outdated=True)),
    scale_downs=(Mark(NOON + HOUR, 2),),
    turns=(NOON - 60, NOON + HOUR),
    starting=(Mark(NOON + HOUR, 1),),
    blind_since=NOON + HOUR,
    unproven_since=NOON + HOUR,
    desired=4,
)


def test_nothing_of_a_past_lies_ahead_of_now() -> None:
    past = AHEAD.until(NOON)

    assert past.recommendations == (Mark(NOON, 4),)
    assert past.scale_ups == (Mark(NOON, 3), Mark(NOON - 60, 1, outdated=True))
    assert past.scale_downs == (Mark(NOON, 2),)
    assert past.turns == (NOON - 60, NOON)
    assert past.starting == (Mark(NOON, 1),)
    assert (past.blind_since, past.unproven_since) == (NOON, NOON)


def test_what_is_not_known_stays_unknown() -> None:
    past = replace(AHEAD, blind_since=None, unproven_since=None).until(NOON)

    assert (past.blind_since, past.unproven_since) == (None, None)


def test_a_past_that_is_past_stays_as_it_is() -> None:
    assert AHEAD.until(NOON + HOUR) is AHEAD


def test_growth_is_not_held_up_by_changes_that_seem_to_come() -> None:
    behavior = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    workload = a_workload(Wants(replicas=9), behavior=behavior)
    fleet = a_fleet(workload)
    state = FleetState(
        {
            workload.key: Past(
                recommendations=(Mark(NOON + HOUR, 4),),
                scale_ups=(Mark(NOON + HOUR, 2),),
                desired=4,
            )
        }
    )

    held, state = plan_cycle(fleet, state, a_snapshot(seen(running=4), workload))
    later, _ = plan_cycle(fleet, state, a_snapshot(seen(running=4, at=NOON + 60), workload))

    assert held.decisions[workload.key].replicas == 4
    assert later.decisions[workload.key].replicas == 6
