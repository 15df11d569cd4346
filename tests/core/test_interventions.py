"""People and other controllers have a say: which of them counts, and what is left of the number."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decision import Reason
from autoscaler.core.interventions import intervened
from autoscaler.core.observation import Intervention, InterventionKind, Observation
from autoscaler.core.past import Past
from autoscaler.core.planner import decide, plan_cycle, unproven
from autoscaler.core.spec import Bounds
from tests.builders import NOON, Wants, a_fleet, a_snapshot, a_workload, largest, seen

KIND = InterventionKind
BOUNDS = Bounds(min=2, max=10)


def said(
    kind: InterventionKind, replicas: int | None = None, until: float | None = None
) -> Intervention:
    return Intervention(kind, f"{kind} it is", replicas, until)


def told(current: int, *interventions: Intervention) -> Observation:
    return replace(seen(current), interventions=interventions)


@pytest.mark.parametrize(
    ("intervention", "wanted", "left", "reason"),
    [
        pytest.param(said(KIND.SUSPENDED), 9, 5, Reason.SUSPENDED, id="suspended up"),
        pytest.param(said(KIND.SUSPENDED), 3, 5, Reason.SUSPENDED, id="suspended down"),
        pytest.param(said(KIND.PAUSED), 9, 5, Reason.PAUSED, id="paused up"),
        pytest.param(said(KIND.PAUSED), 3, 5, Reason.PAUSED, id="paused down"),
        pytest.param(said(KIND.EDITED), 3, 5, Reason.EDITED, id="edited lately"),
        pytest.param(said(KIND.PAUSED_DOWN), 9, 9, Reason.PAUSED, id="decreases paused, up"),
        pytest.param(said(KIND.PAUSED_DOWN), 3, 5, Reason.PAUSED, id="decreases paused, down"),
        pytest.param(said(KIND.REPLICAS, 7), 3, 7, Reason.OVERRIDDEN, id="set by hand"),
        pytest.param(said(KIND.REPLICAS, 99), 3, 10, Reason.OVERRIDDEN, id="set above the maximum"),
        pytest.param(said(KIND.REPLICAS, 0), 3, 2, Reason.OVERRIDDEN, id="set below the minimum"),
        pytest.param(said(KIND.REPLICAS), 3, 5, Reason.OVERRIDDEN, id="set to nothing readable"),
    ],
)
def test_each_kind_leaves_its_number(
    intervention: Intervention, wanted: int, left: int, reason: Reason
) -> None:
    count, why, text = intervened(wanted, 5, NOON, BOUNDS, (intervention,))

    assert (count, why) == (left, reason)
    assert text == intervention.text


def test_what_is_only_told_changes_nothing() -> None:
    absent = said(KIND.EXPECTED_MISSING)

    assert intervened(9, 5, NOON, BOUNDS, (absent,))[0] == 9


def test_an_override_ends_when_it_says() -> None:
    override = said(KIND.REPLICAS, 7, until=NOON)

    assert intervened(9, 5, NOON - 1, BOUNDS, (override,))[0] == 7
    assert intervened(9, 5, NOON, BOUNDS, (override,))[0] == 9


@given(st.permutations(list(KIND)), st.integers(0, 12))
def test_the_strongest_counts_in_whatever_order_they_are_told(
    kinds: list[InterventionKind], wanted: int
) -> None:
    interventions = tuple(said(kind, 7) for kind in kinds)

    assert intervened(wanted, 5, NOON, BOUNDS, interventions)[:2] == (5, Reason.SUSPENDED)


@pytest.mark.parametrize("found", [1, 5, 30])
@pytest.mark.parametrize("kind", [KIND.SUSPENDED, KIND.PAUSED, KIND.EDITED])
def test_what_is_left_alone_is_left_alone_outside_the_bounds_too(
    kind: InterventionKind, found: int
) -> None:
    workload = a_workload(Wants(replicas=8), minimum=2, maximum=20)

    decision, _ = decide(workload, told(found, said(kind)), Past(), largest)

    assert decision.replicas == found
    assert decision.text.endswith(f"{kind} it is")


def test_a_workload_that_was_turned_off_is_woken_by_a_number_set_by_hand() -> None:
    decision, _ = decide(
        a_workload(Wants(replicas=1)), told(0, said(KIND.REPLICAS, 3)), Past(), largest
    )

    assert (decision.replicas, decision.reason) == (3, Reason.OVERRIDDEN)


@pytest.mark.parametrize(
    ("found", "allowed", "wanted", "decided"),
    [
        pytest.param(10, 2, 3, 8, id="two at once"),
        pytest.param(10, 0, 3, 10, id="none"),
        pytest.param(10, -1, 3, 10, id="less than none"),
        pytest.param(10, 9, 3, 3, id="more than needed"),
        pytest.param(10, 0, 12, 12, id="growth is free"),
        pytest.param(10, None, 3, 3, id="no budget"),
        pytest.param(25, 2, 3, 23, id="above the maximum, two at once"),
    ],
)
def test_no_more_go_at_once_than_the_disruption_budget_lets(
    found: int, allowed: int | None, wanted: int, decided: int
) -> None:
    observation = seen(found)
    replicas = replace(observation.replicas, disruptions_allowed=allowed)

    decision, _ = decide(
        a_workload(Wants(replicas=wanted)),
        replace(observation, replicas=replicas),
        Past(),
        largest,
    )

    assert decision.replicas == decided
    if decided not in (wanted, 25):
        assert decision.reason is Reason.DISRUPTION_BUDGET or "PodDisruptionBudget" in decision.text


@pytest.mark.parametrize(
    ("behavior", "window"),
    [
        pytest.param(None, 300.0, id="windows of 0: still the 300 s of the HPA"),
        pytest.param(
            {"scaleDown": {"stabilizationWindowSeconds": 600}}, 600.0, id="the file's own window"
        ),
        pytest.param(
            {
                "scaleDown": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Pods", "value": 9, "periodSeconds": 1200}],
                }
            },
            1200.0,
            id="the longest period",
        ),
    ],
)
def test_without_a_state_it_may_only_raise_for_one_whole_window(
    behavior: dict[str, object] | None, window: float
) -> None:
    workload = a_workload(Wants(replicas=3), behavior=behavior)
    fleet = a_fleet(workload)
    state = unproven(fleet, NOON)

    plan, state = plan_cycle(fleet, state, a_snapshot(seen(9, at=NOON + window - 1), workload))
    held = plan.decisions[workload.key]
    raising = decide(
        a_workload(Wants(replicas=12), behavior=behavior),
        seen(9, at=NOON + window),
        state.pasts[workload.key],
        largest,
    )[0]

    assert (held.replicas, held.reason) == (9, Reason.BLIND_NO_LOWERING)
    assert "what was decided before is not known" in held.text
    assert raising.replicas == 12

    later = NOON + 2 * window
    _, state = plan_cycle(fleet, state, a_snapshot(seen(9, at=later), workload))
    assert state.pasts[workload.key].unproven_since is None
    plan, _ = plan_cycle(fleet, state, a_snapshot(seen(9, at=later + window + 1), workload))
    assert (plan.decisions[workload.key].replicas or 9) < 9


def test_a_change_that_nobody_noted_counts_after_a_restore() -> None:
    slowly = {
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        }
    }
    workload = a_workload(Wants(replicas=1), behavior=slowly)
    before = Past(desired=5, restored=True)

    decision, past = decide(workload, seen(4), before, largest)

    assert decision.replicas == 4
    assert decision.reason is Reason.RATE_LIMITED
    assert not past.restored


@pytest.mark.parametrize("minimum", [0, 1])
def test_zero_by_hand_stays_zero_whatever_became_of_the_process(minimum: int) -> None:
    """A person sets 0 while a standby watches, which then takes the lead."""
    workload = a_workload(Wants(replicas=3), minimum=minimum)
    _, standby = decide(workload, seen(4), Past(), largest, leading=False)
    _, standby = decide(workload, seen(0), standby, largest, leading=False)

    took_over, _ = decide(workload, seen(0), replace(standby, restored=True), largest)
    restarted, _ = decide(workload, seen(0), Past(desired=4, asleep=False, restored=True), largest)

    # With a minimum of 0 nobody can tell whether the last leader put it to sleep: demand wakes it.
    expected = (3, Reason.RECOMMENDED) if minimum == 0 else (0, Reason.TURNED_OFF)
    assert (took_over.replicas, took_over.reason) == expected
    assert (restarted.replicas, restarted.reason) == expected


def test_what_a_person_woke_and_turned_off_again_does_not_wake() -> None:
    workload = a_workload(Wants(replicas=3), minimum=0)
    past = Past(desired=0, asleep=True)

    _, past = decide(workload, seen(3), past, largest)
    off, _ = decide(workload, seen(0), past, largest)

    assert (off.replicas, off.reason) == (0, Reason.TURNED_OFF)


def test_a_number_set_by_hand_keeps_disruption_budgets_and_a_pause_of_decreases() -> None:
    workload = a_workload(Wants(replicas=10))
    observation = told(10, said(KIND.REPLICAS, 2))
    budgeted = replace(observation, replicas=replace(observation.replicas, disruptions_allowed=3))
    doubted = told(10, said(KIND.REPLICAS, 2), said(KIND.PAUSED_DOWN))
    raised = told(10, said(KIND.REPLICAS, 12), said(KIND.PAUSED_DOWN))

    assert decide(workload, budgeted, Past(), largest)[0].replicas == 7
    assert decide(workload, doubted, Past(), largest)[0].replicas == 10
    assert decide(workload, raised, Past(), largest)[0].replicas == 12
