"""Targets judged cycle by cycle: what has not changed is not judged again, what has always is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.budgets import BudgetIndex, read_budget
from autoscaler.adapters.kubernetes.pods import PodIndex, read_pod
from autoscaler.adapters.kubernetes.sight import Around, Sights, TargetSeen, see
from autoscaler.adapters.kubernetes.target_objects import Json, trim_target
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.workload import ScaledWorkload
from tests.adapters.kubernetes.bodies import NOON, a_budget, a_container, a_pod, a_target
from tests.builders import Wants, a_workload


class NeedsPods(Wants):
    """A policy that reads pods."""

    type: Any = "needs-pods"

    @property
    def needs_pods(self) -> bool:
        return True


FILES = (
    a_workload(Wants(replicas=2), name="chat"),
    a_workload(Wants(replicas=3), name="chat"),
    a_workload(NeedsPods(replicas=2), name="chat"),
)
BODIES = tuple(
    trim_target(body)
    for body in (
        a_target(replicas=2),
        a_target(replicas=2),
        a_target(replicas=3, status={"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3}),
        a_target(replicas=2, status={"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1}),
        a_target(replicas=4, template=None),
    )
)
BUDGETS = (
    BudgetIndex([]),
    BudgetIndex([read_budget(a_budget(allowed=1))]),
    BudgetIndex([read_budget(a_budget(allowed=2))]),
)
PODS = tuple(
    tuple(read_pod(pod) for pod in pods)
    for pods in (
        [a_pod("a"), a_pod("b")],
        [a_pod("a"), a_pod("b", ready=False, containers=(a_container("CrashLoopBackOff"),))],
    )
)
PAUSED = (Intervention(InterventionKind.PAUSED, "somebody paused it"),)


def around(now: float, budgets: BudgetIndex, pods: Any, unknown: str = "") -> Around:
    return Around(
        now=now,
        pods=PodIndex(lambda: pods),
        no_pods={"": ""},
        budgets=budgets,
        no_budgets={"": unknown},
        scales={},
        patience={},
        least_patience=600.0,
    )


def judged(how: Any, *args: Any) -> TargetSeen | str:
    try:
        found: TargetSeen = how(*args)
    except ObservationError as error:
        return str(error)
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FILES),
            st.sampled_from(BODIES),
            st.sampled_from(BUDGETS),
            st.sampled_from(PODS),
            st.sampled_from(["", "", "", "forbidden"]),
            st.sampled_from([(), PAUSED]),
        ),
        max_size=12,
    )
)
def test_whatever_changes_the_sight_is_that_of_the_first_look(steps: list[Any]) -> None:
    sights = Sights(lambda *_: said)
    for number, (workload, body, budgets, pods, unknown, said) in enumerate(steps):
        it = around(NOON + 15 * number, budgets, pods, unknown)

        def say(*_: Any, said: Any = said) -> Any:
            return said

        assert judged(sights.see, workload, body, it, "") == judged(
            see, workload, body, it, "", say
        )


def test_a_settled_target_is_the_same_sight_until_it_changes() -> None:
    asked: list[ScaledWorkload] = []

    def say(workload: ScaledWorkload, *_: Any) -> tuple[Intervention, ...]:
        asked.append(workload)
        return ()

    sights, (workload, *_), (body, other, *_) = Sights(say), FILES, BODIES

    def look(at: float, body: Json) -> TargetSeen:
        return sights.see(workload, body, around(at, BUDGETS[0], PODS[0]), "")

    first = look(NOON, body)

    assert look(NOON + 15, body) is first
    assert look(NOON + 30, body) is first
    assert look(NOON + 45, other) is not first
    assert len(asked) == 4


@pytest.mark.parametrize("rest", [15.0, 30.0])
def test_who_is_not_asked_about_for_a_cycle_is_forgotten(rest: float) -> None:
    sights, (workload, other, _), body = Sights(), FILES, BODIES[0]
    first = sights.see(workload, body, around(NOON, BUDGETS[0], PODS[0]), "")
    for at in (NOON + rest, NOON + 2 * rest):
        away = other.model_copy(
            update={"metadata": other.metadata.model_copy(update={"name": "x"})}
        )
        sights.see(away, body, around(at, BUDGETS[0], PODS[0]), "")

    again = sights.see(workload, body, around(NOON + 3 * rest, BUDGETS[0], PODS[0]), "")

    assert again == first
    assert again is not first
