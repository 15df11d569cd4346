"""Plans for tests, as the controller's own code writes them."""

from typing import Any

import orjson

from autoscaler.telemetry.views import json_of, plan_document
from metrics_adapter.board import Board, make_board
from metrics_adapter.plan import Plan, read_plan
from tests.builders import NOON
from tests.telemetry.reports import a_report


def a_signal(value: float | None = 50.0, **more: Any) -> dict[str, Any]:
    """A signal as the controller tells it."""
    return {
        "value": value,
        "time": None if value is None else NOON,
        "ageSeconds": 0.0,
        "state": "fresh",
        "usable": True,
        "why": "",
        **more,
    }


def a_row(name: str = "chat", namespace: str = "llm", **more: Any) -> dict[str, Any]:
    """A workload as the controller tells it."""
    return {
        "namespace": namespace,
        "name": name,
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "actuation": "hpa",
        "min": 1,
        "max": 20,
        "match": {"model_name": "llama"},
        "labels": {},
        "current": 2,
        "desired": 5,
        "reason": "recommended",
        "blind": "",
        "signals": {"load": a_signal()},
        "forecasts": [],
        **more,
    }


def a_document(*rows: dict[str, Any], cycle: str = "c-1", at: float = NOON, **more: Any) -> bytes:
    """A plan as it comes over the wire."""
    document = {
        "version": 1,
        "cycle": cycle,
        "time": at,
        "intervalSeconds": 15.0,
        "mode": "live",
        "leader": True,
        "workloads": list(rows or (a_row(),)),
        **more,
    }
    return orjson.dumps(document)


def a_plan(*rows: dict[str, Any], **more: Any) -> Plan:
    return read_plan(a_document(*rows, **more))


def a_board(*rows: dict[str, Any], before: Board | None = None, **more: Any) -> Board:
    return make_board(a_plan(*rows, **more), before)


def written_by_the_controller() -> bytes:
    """The document that the controller itself makes of a cycle."""
    return json_of(plan_document(a_report(), "boot-1"))
