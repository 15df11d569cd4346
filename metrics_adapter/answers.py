"""Values as documents: what the newest board says to one request."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from metrics_adapter.board import Board, Scaled, Value, resource_of, rfc3339, share
from metrics_adapter.newest import Newest
from metrics_adapter.pods import Pod
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
        board = self._known()
        group = board.groups.get((asked.namespace, asked.metric))
        if group is None:
            raise self._unknown(
                f"no workload in namespace {asked.namespace} has a metric {asked.metric}"
            )
        self._check_age()
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
        board = self._known()
        values = self._of_objects(board, asked)
        if not values:
            raise self._unknown(
                f"no workload in namespace {asked.namespace} scales {asked.resource} "
                f"{asked.name} and has a metric {asked.metric}"
            )
        self._check_age()
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
            ((_object(asked.namespace, value.target), value, value.quantity) for value in values),
        )

    def _of_objects(self, board: Board, asked: Custom) -> list[Value]:
        if asked.name != "*":
            of_one = board.objects.get((asked.namespace, asked.resource, asked.name), {})
            return of_one.get(asked.metric, [])
        group = board.groups.get((asked.namespace, asked.metric))
        found = group.values if group is not None else []
        return [value for value in found if resource_of(value.target) == asked.resource]

    def pods(
        self, asked: Custom, selector_text: str, metric_text: str, pods: Sequence[Pod]
    ) -> bytes:
        """Return a MetricValueList: one item for each pod of a workload that has the metric.

        Of a total (queue, arrivals, throughput) each pod shows an equal share, so that an average
        over pods comes out right; of a level (utilization, latency) each shows the whole.

        Args:
            asked: What is asked for.
            selector_text: Which pods, by their labels.
            metric_text: Which values, by their labels.
            pods: Every pod of the namespace.

        Raises:
            RefusalError: As for external metrics.
        """
        selector = read_selector("labelSelector", selector_text)
        metric_selector = read_selector("metricLabelSelector", metric_text)
        known = self.check_pods(asked)
        items: list[tuple[dict[str, str], Value, str]] = []
        for value in (one for one in known if metric_selector.matches(one.labels)):
            owned = [pod for pod in pods if pod.belongs_to(value.target)]
            chosen = [
                pod
                for pod in owned
                if asked.name in ("*", pod.name) and selector.matches(pod.labels)
            ]
            if chosen:
                self.check([value])
                quantity = share(value, len(owned))
                items += [
                    (_described(asked.namespace, "Pod", "v1", pod.name), value, quantity)
                    for pod in chosen
                ]
        if not items:
            raise RefusalError(404, f"no pod with a metric {asked.metric} matches the selector")
        return metric_values(asked.metric, metric_selector, items)

    def check_pods(self, asked: Custom) -> list[Value]:
        """Return the values that pods may show.

        Raises:
            RefusalError: There are none (404), or the plan is too old (503).
        """
        group = self._known().groups.get((asked.namespace, asked.metric))
        known = [one for one in group.values if one.shared is not None] if group else []
        if not known:
            raise self._unknown(
                f"no workload in namespace {asked.namespace} has a metric {asked.metric} that "
                "can be told of pods"
            )
        self._check_age()
        return known

    def _known(self) -> Board:
        """Return the newest board, however old: names are known from it.

        Raises:
            RefusalError: There is none (503).
        """
        board = self._newest.board
        if board is None:
            raise RefusalError(503, self._newest.lacks())
        return board

    def _check_age(self) -> None:
        lacks = self._newest.lacks()
        if lacks:
            raise RefusalError(503, lacks)

    def _unknown(self, message: str) -> UnknownMetricError:
        lacks = self._newest.lacks()
        return UnknownMetricError(503, lacks) if lacks else UnknownMetricError(404, message)

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


def _object(namespace: str, target: Scaled) -> dict[str, str]:
    return _described(namespace, target.kind, target.api_version, target.name)


def _described(namespace: str, kind: str, api_version: str, name: str) -> dict[str, str]:
    return {"kind": kind, "namespace": namespace, "name": name, "apiVersion": api_version}


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
