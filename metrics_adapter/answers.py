"""Values as documents: what the newest board says to one request."""

from collections.abc import Generator, Sequence
from typing import Any, Final

import orjson

from autoscaler.core.integers import INT64_MAX
from metrics_adapter.board import Board, resource_of
from metrics_adapter.newest import Newest
from metrics_adapter.pods import Owned
from metrics_adapter.selectors import EVERYTHING, Selector, SelectorError, parse
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import Custom, External
from metrics_adapter.values import DESIRED, Scaled, Value, rfc3339, share

_EXTERNAL: Final = (
    b'{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1",'
    b'"metadata":{},"items":['
)
_CUSTOM: Final = (
    b'{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2",'
    b'"metadata":{},"items":['
)
LARGEST_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of the items of one answer: those of 20,000 objects."""

Steps = Generator[None, None, bytes]
"""Small steps of work that end with the answer; between them others have their turn."""


class UnknownMetricError(RefusalError):
    """No workload has a metric of this name: somebody else might."""


class Answers:
    """Answers from the newest board; whatever plan comes meanwhile."""

    def __init__(self, newest: Newest) -> None:
        """Answer from `newest`."""
        self._newest = newest

    def external(self, asked: External, selector_text: str) -> Steps:
        """Return an ExternalMetricValueList: each value that the selector matches.

        Raises:
            RefusalError: The selector is none (400), nothing matches (404), or a value is
                missing, stale or of no use (503): a sum without it would be wrong.
        """
        selector = read_selector("labelSelector", selector_text)
        board = self._known(asked.metric)
        group = board.groups.get((asked.namespace, asked.metric))
        if group is None:
            raise self._unknown(
                f"no workload in namespace {asked.namespace} has a metric {asked.metric}"
            )
        self._check_age()
        candidates = tuple(group.candidates(selector))
        now = self._newest.now()
        items, total = [], 0.0
        for value in candidates:
            if selector.matches(value.labels):
                _check(value, now)
                items.append(value.item)
                total += value.number
            yield
        if not items:
            raise RefusalError(
                404,
                f"no workload in namespace {asked.namespace} with a metric {asked.metric} "
                f"has labels {selector_text}",
            )
        _check_sum(total)
        return _EXTERNAL + b",".join(items) + b"]}"

    def objects(self, asked: Custom, selector_text: str, metric_text: str) -> Steps:
        """Return a MetricValueList: one item for each scaled object.

        Raises:
            RefusalError: As for external metrics.
        """
        selector = read_selector("labelSelector", selector_text)
        metric_selector = read_selector("metricLabelSelector", metric_text)
        candidates = self._of_objects(self._known(asked.metric), asked)
        values = []
        for value in candidates:
            if resource_of(value.target) == asked.resource:
                values.append(value)
            yield
        if not values:
            raise self._unknown(
                f"no workload in namespace {asked.namespace} scales {asked.resource} "
                f"{asked.name} and has a metric {asked.metric}"
            )
        self._check_age()
        now = self._newest.now()
        page = Page(asked.metric, metric_selector)
        for value in values:
            chosen = asked.name != "*" or selector.matches(value.object_labels)
            if chosen and metric_selector.matches(value.labels):
                _check(value, now)
                page.add(_object(asked.namespace, value.target), value, value.quantity)
            yield
        if not page:
            raise RefusalError(
                404, f"no {asked.resource} with a metric {asked.metric} matches the selector"
            )
        return page.body()

    def _of_objects(self, board: Board, asked: Custom) -> tuple[Value, ...]:
        if asked.name != "*":
            of_one = board.objects.get((asked.namespace, asked.resource, asked.name), {})
            return tuple(of_one.get(asked.metric, ()))
        group = board.groups.get((asked.namespace, asked.metric))
        return tuple(group.values) if group is not None else ()

    def pods(self, asked: Custom, selector_text: str, metric_text: str, pods: Owned) -> Steps:
        """Return a MetricValueList: one item for each pod of a workload that has the metric.

        Of a total (queue, arrivals, throughput) each pod shows an equal share, so that an average
        over pods comes out right; of a level (utilization, latency) each shows the whole.

        Args:
            asked: What is asked for.
            selector_text: Which pods, by their labels.
            metric_text: Which values, by their labels.
            pods: Those of the namespace, by their controller.

        Raises:
            RefusalError: As for external metrics.
        """
        selector = read_selector("labelSelector", selector_text)
        metric_selector = read_selector("metricLabelSelector", metric_text)
        known = self.check_pods(asked)
        now = self._newest.now()
        page, total = Page(asked.metric, metric_selector), 0.0
        for value in known:
            told = value.shared is not None
            owned = pods.get((value.target.kind, value.target.name), ()) if told else ()
            if owned and metric_selector.matches(value.labels):
                quantity = share(value, len(owned))
                number = value.number / len(owned) if value.shared else value.number
                for pod in owned:
                    if asked.name in ("*", pod.name) and selector.matches(pod.labels):
                        _check(value, now)
                        described = _described(asked.namespace, "Pod", "v1", pod.name)
                        page.add(described, value, quantity)
                        total += number
                    yield
            yield
        if not page:
            raise RefusalError(404, f"no pod with a metric {asked.metric} matches the selector")
        _check_sum(total)
        return page.body()

    def check_pods(self, asked: Custom) -> Sequence[Value]:
        """Return values of which pods may show those that are shared or not; some are.

        Raises:
            RefusalError: There are none (404), or the plan is too old (503).
        """
        group = self._known(asked.metric).groups.get((asked.namespace, asked.metric))
        if group is None or not group.of_pods:
            raise self._unknown(
                f"no workload in namespace {asked.namespace} has a metric {asked.metric} that "
                "can be told of pods"
            )
        self._check_age()
        return tuple(group.values)

    def _known(self, metric: str) -> Board:
        """Return the newest board, however old: names are known from it.

        Raises:
            RefusalError: There is none (503). Any name but one may then be somebody else's.
        """
        board = self._newest.board
        if board is None:
            refusal = RefusalError if metric == DESIRED else UnknownMetricError
            raise refusal(503, self._newest.lacks())
        return board

    def _check_age(self) -> None:
        lacks = self._newest.lacks()
        if lacks:
            raise RefusalError(503, lacks)

    def _unknown(self, message: str) -> UnknownMetricError:
        lacks = self._newest.lacks()
        return UnknownMetricError(503, lacks) if lacks else UnknownMetricError(404, message)


def _check(value: Value, now: float) -> None:
    lacks = value.lacks(now)
    if lacks:
        raise RefusalError(503, f"{value.workload}: {lacks}")


def _check_sum(total: float) -> None:
    """Refuse values whose sum, which the HPA makes in thousandths in 64 bits, would overflow."""
    if total * 1000.0 >= float(INT64_MAX):
        raise RefusalError(503, f"the values that match add up to {total:g}: no HPA can add them")


def _object(namespace: str, target: Scaled) -> dict[str, str]:
    return _described(namespace, target.kind, target.api_version, target.name)


def _described(namespace: str, kind: str, api_version: str, name: str) -> dict[str, str]:
    return {"kind": kind, "namespace": namespace, "name": name, "apiVersion": api_version}


class Page:
    """A MetricValueList as it grows."""

    def __init__(self, metric: str, selector: Selector) -> None:
        """Begin an empty one, of a metric selected so."""
        shown = orjson.dumps({"name": metric, "selector": _label_selector(selector)})
        self._metric = orjson.Fragment(shown)
        # Not a list of items: orjson's hold on to 4 KiB each, and all would go at once.
        self._items = bytearray()

    def __bool__(self) -> bool:
        """Whether it has any item."""
        return bool(self._items)

    def add(self, described: dict[str, str], value: Value, quantity: str) -> None:
        """Add the quantity that an object shows of a value.

        Raises:
            RefusalError: The answer would grow too large (400).
        """
        item = orjson.dumps(
            {
                "describedObject": described,
                "metric": self._metric,
                "timestamp": rfc3339(value.sampled),
                "value": quantity,
            }
        )
        if len(self._items) + len(item) > LARGEST_ANSWER:
            raise RefusalError(400, "the answer would be too large: select fewer, in fewer words")
        self._items += b"," * bool(self._items) + item

    def body(self) -> bytes:
        """Return the document."""
        return _CUSTOM + self._items + b"]}"


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
