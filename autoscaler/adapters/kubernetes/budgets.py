"""PodDisruptionBudgets: how many pods of a workload may go at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.adapters.kubernetes.label_selectors import Selector, of_object


@dataclass(frozen=True, slots=True)
class Budget:
    """One PodDisruptionBudget.

    Attributes:
        namespace: Where it lies.
        selector: Picks its pods; None picks none.
        allowed: Pods that may go now.
    """

    namespace: str
    selector: Selector | None
    allowed: int


def read_budget(body: Mapping[str, Any]) -> Budget:
    """Read one policy/v1 PodDisruptionBudget of the API's JSON.

    Until its controller has seen its newest form nothing may go, as for an eviction.
    """
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    allowed = int(status.get("disruptionsAllowed") or 0)
    return Budget(
        namespace=metadata.get("namespace", ""),
        selector=of_object(spec.get("selector")),
        allowed=max(0, allowed) if current else 0,
    )


class BudgetIndex:
    """Finds the budgets of many workloads without trying each on each.

    Attributes:
        budgets: All of them.
    """

    def __init__(self, budgets: Iterable[Budget]) -> None:
        """Sort the budgets by one label that each of them demands.

        Args:
            budgets: All of the namespaces in question.
        """
        self.budgets = list(budgets)
        self._by_label: dict[tuple[str, str, str], list[Budget]] = {}
        self._others: dict[str, list[Budget]] = {}
        for budget in self.budgets:
            if budget.selector is None:
                continue
            if budget.selector.equal:
                key, value = budget.selector.equal[0]
                self._by_label.setdefault((budget.namespace, key, value), []).append(budget)
            else:
                self._others.setdefault(budget.namespace, []).append(budget)

    def allowed(self, namespace: str, pods: Iterable[Mapping[str, str]]) -> int | None:
        """Return how many may go: the least that a budget of these pods allows.

        Args:
            namespace: Of the pods.
            pods: The labels of each; those of their template do for all.

        Returns:
            None where no budget picks any of them.
        """
        found = [
            budget.allowed
            for labels in pods
            for budget in self._candidates(namespace, labels)
            if budget.selector is not None and budget.selector.matches(labels)
        ]
        return min(found, default=None)

    def _candidates(self, namespace: str, labels: Mapping[str, str]) -> Iterable[Budget]:
        for key, value in labels.items():
            yield from self._by_label.get((namespace, key, value), ())
        yield from self._others.get(namespace, ())
