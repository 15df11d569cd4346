"""Events have two forms, core/v1 and events.k8s.io/v1, over one kept object (the core form)."""

from collections.abc import Mapping
from typing import Any

CORE_TO_NEW = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
NEW_TO_CORE = {new: core for core, new in CORE_TO_NEW.items()}


def kept(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the core form."""
    core = {NEW_TO_CORE.get(name, name): value for name, value in event.items()}
    return {**core, "apiVersion": "v1"}


def shown(event: Mapping[str, Any], api_version: str) -> dict[str, Any]:
    """Return the form of an API version."""
    if api_version == "v1":
        return dict(event)
    new = {CORE_TO_NEW.get(name, name): value for name, value in event.items()}
    return {**new, "apiVersion": api_version}
