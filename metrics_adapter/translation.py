"""What another adapter answered: checked, and in the words of the version that we serve.

The two versions of custom.metrics.k8s.io differ in their items alone: v1beta1 has `metricName`,
`selector` and `window` where v1beta2 has `metric` (`name`, `selector`) and `windowSeconds`
(k8s.io/metrics, pkg/apis/custom_metrics: types.go of both, conversion.go of v1beta1).
"""

import math
from collections.abc import Callable, Generator
from typing import Any, Final

import orjson

from autoscaler.core.errors import ObservationError
from metrics_adapter.json_text import JsonText

_OLDER: Final = frozenset({"metricName", "selector", "window"})

Steps = Generator[None, None, bytes]
"""Small steps of work that end with the answer; between them others have their turn."""


def checked(status: int, body: bytes) -> Steps:
    """Return an answer as it is, if it may be passed on: an object with 200, else a `Status`.

    Raises:
        ObservationError: It may not.
    """
    yield from _read(status, body, lambda item: None)
    return body


def translated(status: int, body: bytes, api_version: str) -> Steps:
    """Return a MetricValueList of v1beta1 as one of `api_version`; a `Status` as it is.

    Raises:
        ObservationError: It is neither, or an item has no name or no value.
    """
    items: list[bytes] = []
    document = yield from _read(status, body, lambda item: items.append(orjson.dumps(_item(item))))
    if status != 200:
        return body
    if document.get("items", "") not in ([], None):
        raise ObservationError(f"its answer ({status}) is no list of values")
    head = {"kind": "MetricValueList", "apiVersion": api_version}
    metadata = document.get("metadata") or {}
    return orjson.dumps({**head, "metadata": metadata})[:-1] + (
        b',"items":[' + b",".join(items) + b"]}"
    )


def _read(
    status: int, body: bytes, use: Callable[[Any], None]
) -> Generator[None, None, dict[str, Any]]:
    """Read an answer and use each item of it; return all the rest."""
    if status != 200 and not 400 <= status < 600:
        raise ObservationError(f"its answer ({status}) is none that can be passed on")
    document: dict[str, Any] = {}
    try:
        text = JsonText(body)
        for name in text.names():
            if name == "items" and text.takes("["):
                document[name] = []
                for item in text.items():
                    use(item)
                    yield
            else:
                document[name] = text.value()
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise ObservationError(f"its answer ({status}) is no object in JSON") from error
    if status != 200 and document.get("kind") != "Status":
        raise ObservationError(f"its answer ({status}) is no Status")
    return document


def _item(item: Any) -> dict[str, Any]:
    """Return an item of v1beta1 as one of v1beta2.

    Raises:
        ObservationError: It has no name, or nothing for a value, which an HPA takes for zero.
    """
    name = item.get("metricName") if isinstance(item, dict) else None
    if not isinstance(name, str) or not name:
        raise ObservationError("an item of its answer does not name its metric")
    if not _is_number(item.get("value")):
        raise ObservationError(f"an item of its answer has no value of {name}")
    window = item.get("window")
    return {
        **{key: known for key, known in item.items() if key not in _OLDER},
        "metric": {"name": name, "selector": item.get("selector")},
        **({} if window is None else {"windowSeconds": window}),
    }


def _is_number(value: Any) -> bool:
    """Whether something may be a quantity: a text, or a finite number."""
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
