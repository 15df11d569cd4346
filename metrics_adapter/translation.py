"""What another adapter answered: checked, and in the words of the version that we serve.

The two versions of custom.metrics.k8s.io differ in their items alone: v1beta1 has `metricName`,
`selector` and `window` where v1beta2 has `metric` (`name`, `selector`) and `windowSeconds`
(k8s.io/metrics, pkg/apis/custom_metrics: types.go of both, conversion.go of v1beta1).
"""

from collections.abc import Generator
from typing import Any, Final

import orjson

from autoscaler.core.errors import ObservationError
from autoscaler.core.integers import INT64_MAX
from autoscaler.core.quantity import parse
from metrics_adapter.discovery import list_kind
from metrics_adapter.reply import read
from metrics_adapter.targets import CUSTOM, VERSIONS

OLDER: Final = {CUSTOM: "v1beta1"}
"""Versions whose answers are translated into ours."""
_OF_OLDER: Final = frozenset({"metricName", "selector", "window"})

Steps = Generator[None, None, bytes]
"""Small steps of work that end with the answer; between them others have their turn."""


def translated(status: int, body: bytes, group: str, version: str, metric: str) -> Steps:
    """Return an answer as we give it: with 200 a list of values in our version, else its `Status`.

    Of a list only the items are passed on, each checked as our own values are.

    Args:
        status: Of the answer.
        body: Of the answer.
        group: What was asked.
        version: In which it was asked.
        metric: The name that was asked for.

    Raises:
        ObservationError: It is neither, or an item is not what was asked for, or its value none
            that an HPA may be shown.
    """
    if status != 200 and not 400 <= status < 600:
        raise ObservationError(f"its answer ({status}) is none that can be passed on")
    if status != 200:
        kind, _ = yield from read(status, body, "items", lambda item: None)
        if kind != "Status":
            raise ObservationError(f"its answer ({status}) is no Status")
        return body
    items = bytearray()

    def add(item: Any) -> None:
        made = orjson.dumps(_item(item, group, version, metric))
        items.extend(b"," * bool(items) + made)

    kind, listed = yield from read(status, body, "items", add)
    if not listed or kind == "Status":
        raise ObservationError(f"its answer ({status}) is no list of values")
    head = f'{{"kind":"{list_kind(group)}","apiVersion":"{group}/{VERSIONS[group]}",'
    return head.encode() + b'"metadata":{},"items":[' + items + b"]}"


def _item(item: object, group: str, version: str, metric: str) -> dict[str, Any]:
    """Return an item in our version.

    Raises:
        ObservationError: It is of another metric, or its value is none that may be shown.
    """
    if not isinstance(item, dict):
        raise ObservationError("an item of its answer is no object")
    known: dict[str, Any] = item
    ours = version == VERSIONS[group]
    told = known.get("metric") if ours and group == CUSTOM else {"name": known.get("metricName")}
    if not isinstance(told, dict) or told.get("name") != metric:
        raise ObservationError(f"an item of its answer is not of {metric}")
    lacks = _lacks(known.get("value"))
    if lacks:
        raise ObservationError(f"an item of its answer has a value of {metric} that {lacks}")
    return known if ours else _of_older(known)


def _of_older(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item of v1beta1 as one of v1beta2."""
    window = item.get("window")
    return {
        **{name: known for name, known in item.items() if name not in _OF_OLDER},
        "metric": {"name": item["metricName"], "selector": item.get("selector")},
        **({} if window is None else {"windowSeconds": window}),
    }


def _lacks(value: Any) -> str:
    """Return why a value must not be shown to an HPA; empty where it may.

    What is no number would be a zero there, and what is below zero or overflows its maximum.
    """
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return "is none"
    text = str(value)
    try:
        quantity = parse(text)
    except ValueError:
        return "is no quantity"
    if not any(map(str.isdigit, text)):  # Kubernetes reads it as zero
        return "is no quantity"
    if quantity.digits < 0:
        return "is below zero"
    if quantity.approximate * 1000.0 >= float(INT64_MAX):
        return "has more than 64 bits"
    return ""
