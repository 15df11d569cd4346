"""Values as documents: what the newest board says to one request."""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from metrics_adapter.board import Board, Value, rfc3339
from metrics_adapter.newest import Newest
from metrics_adapter.selectors import EVERYTHING, Selector, SelectorError, parse
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import Custom, External

_EXTERNAL: Final = (
    b'{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1",'
    b'"metadata":{},"items":['
)


class UnknownMetricError(RefusalError):
    """No workload has a metric of this name: somebody else might."""


class Answers:
    """Answers from the newest board."""

    def __init__(self, newest: Newest) -> None:
        """Answer from `newest`."""
        self._newest = newest

    def external(self, asked: External, selector_text: str) -> bytes:
        """Return an ExternalMetricValueList: each value that the selector matches.

        Raises:
            RefusalError: The selector is none (400), nothing matches (404), or a value is
                missing, stale or of no use (503): a sum without it would be wrong.
        """
        selector = read_selector("labelSelector", selector_text)
        board = self.board()
        group = board.groups.get((asked.namespace, asked.metric))
        if group is None:
            raise UnknownMetricError(
                404, f"no workload in namespace {asked.namespace} has a metric {asked.metric}"
            )
        values = group.select(selector)
        if not values:
            raise RefusalError(
                404,
                f"no workload in namespace {asked.namespace} with a metric {asked.metric} "
                f"has labels {selector_text}",
            )
        self.check(values)
        return _EXTERNAL + b",".join([value.item for value in values]) + b"]}"

    def objects(self, asked: Custom, selector_text: str, metric_text: str) -> bytes:
        """Return a MetricValueList: one item for each scaled object.

        Raises:
            RefusalError: As for external metrics.
        """
        selector = read_selector("labelSelector", selector_text)
        metric_selector = read_selector("metricLabelSelector", metric_text)
        board = self.board()
        name = asked.namespace, asked.resource, asked.name, asked.metric
        values = board.objects.get(name)
        if values is None:
            raise UnknownMetricError(
                404,
                f"no workload in namespace {asked.namespace} scales {asked.resource} "
                f"{asked.name} and has a metric {asked.metric}",
            )
        if asked.name == "*":
            values = [value for value in values if selector.matches(value.object_labels)]
        values = [value for value in values if metric_selector.matches(value.labels)]
        if not values:
            raise RefusalError(
                404, f"no {asked.resource} with a metric {asked.metric} matches the selector"
            )
        self.check(values)
        return metric_values(
            asked.metric,
            metric_selector,
            (
                (
                    {
                        "kind": value.target.kind,
                        "namespace": asked.namespace,
                        "name": value.target.name,
                        "apiVersion": value.target.api_version,
                    },
                    value,
                    value.quantity,
                )
                for value in values
            ),
        )

    def board(self) -> Board:
        """Return the newest board.

        Raises:
            RefusalError: There is none, or its plan is too old (503).
        """
        board = self._newest.board
        lacks = self._newest.lacks()
        if board is None or lacks:
            raise RefusalError(503, lacks)
        return board

    def check(self, values: Iterable[Value]) -> None:
        """Return if every value may be answered now.

        Raises:
            RefusalError: One may not (503).
        """
        now = self._newest.now()
        for value in values:
            lacks = value.lacks(now)
            if lacks:
                raise RefusalError(503, f"{value.workload}: {lacks}")


def metric_values(
    metric: str, selector: Selector, items: Iterable[tuple[dict[str, str], Value, str]]
) -> bytes:
    """Return a MetricValueList of described objects with their value and quantity."""
    shown = _label_selector(selector)
    return orjson.dumps(
        {
            "kind": "MetricValueList",
            "apiVersion": "custom.metrics.k8s.io/v1beta2",
            "metadata": {},
            "items": [
                {
                    "describedObject": described,
                    "metric": {"name": metric, "selector": shown},
                    "timestamp": rfc3339(value.sampled),
                    "value": quantity,
                }
                for described, value, quantity in items
            ],
        }
    )


def read_selector(name: str, text: str) -> Selector:
    """Read a selector of a request.

    Raises:
        RefusalError: It is none (400).
    """
    try:
        return parse(text) if text else EVERYTHING
    except SelectorError as error:
        raise RefusalError(400, f"{name}: {error}") from error


def _label_selector(selector: Selector) -> dict[str, Any] | None:
    """Return a selector as a LabelSelector; None where it is empty or has no such form."""
    words = {"in": "In", "notin": "NotIn", "exists": "Exists", "absent": "DoesNotExist"}
    if not selector.requirements or any(one.operator not in words for one in selector.requirements):
        return None
    expressions = []
    for one in selector.requirements:
        expression: dict[str, Any] = {"key": one.key, "operator": words[one.operator]}
        if one.values:
            expression["values"] = sorted(one.values)
        expressions.append(expression)
    return {"matchExpressions": expressions}
