"""Disruption budgets: how many pods may go at once."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.budgets import Budget, BudgetIndex, read_budget
from autoscaler.adapters.kubernetes.label_selectors import Condition, Selector
from tests.adapters.kubernetes.bodies import a_budget

CHAT = {"app": "chat", "tier": "gpu"}


def allowed(*bodies: Mapping[str, Any], labels: Mapping[str, str] = CHAT) -> int | None:
    return BudgetIndex(map(read_budget, bodies)).allowed("llm", [labels])


@pytest.mark.parametrize(
    ("bodies", "answer"),
    [
        pytest.param((), None, id="no budget"),
        pytest.param((a_budget(2),), 2, id="one"),
        pytest.param((a_budget(2), a_budget(0, name="b")), 0, id="the least of several"),
        pytest.param((a_budget(2, namespace="other"),), None, id="of another namespace"),
        pytest.param(
            (a_budget(2, selector={"matchLabels": {"app": "other"}}),), None, id="of other pods"
        ),
        pytest.param((a_budget(1, selector={}),), 1, id="an empty selector picks all pods"),
        pytest.param(
            (a_budget(1, selector={"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),),
            1,
            id="a selector of conditions alone",
        ),
        pytest.param((a_budget(5, observed=0),), 0, id="a form that nobody has looked at yet"),
        pytest.param((a_budget(-1),), 0, id="below nothing is nothing"),
    ],
)
def test_how_many_may_go(bodies: tuple[Mapping[str, Any], ...], answer: int | None) -> None:
    assert allowed(*bodies) == answer


def test_without_a_selector_no_pod_is_picked() -> None:
    body = a_budget(1)
    del body["spec"]["selector"]

    assert allowed(body) is None


def test_a_budget_without_a_status_lets_nothing_go() -> None:
    body = a_budget(1)
    del body["status"]

    assert allowed(body) == 0


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))
budgets = st.builds(
    Budget,
    st.sampled_from(["llm", "other"]),
    st.none()
    | st.builds(
        Selector,
        labels.map(lambda wanted: tuple(sorted(wanted.items()))),
        st.lists(st.builds(Condition, st.sampled_from("abc"), st.just("Exists")), max_size=1).map(
            tuple
        ),
    ),
    st.integers(0, 5),
)


@given(budgets=st.lists(budgets), pods=st.lists(labels, max_size=3))
def test_the_index_answers_as_trying_each_budget_would(
    budgets: list[Budget], pods: list[dict[str, str]]
) -> None:
    expected = [
        budget.allowed
        for budget in budgets
        for pod in pods
        if budget.namespace == "llm" and budget.selector and budget.selector.matches(pod)
    ]

    assert BudgetIndex(budgets).allowed("llm", pods) == min(expected, default=None)
