"""What the server makes of a given object before it keeps it: names, defaults, checks."""

import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from tests.fakes.kubernetes import event_forms, scale, status, validation
from tests.fakes.kubernetes.address import Target
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.status import ApiError


def admitted(target: Target, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked copy with names and defaults."""
    resource = target.resource
    obj: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        **orjson.loads(orjson.dumps(given)),
    }
    if (obj["apiVersion"], obj["kind"]) != (resource.api_version, resource.kind):
        raise ApiError(
            400,
            f"the API version in the data ({obj['apiVersion']}) does not match the expected "
            f"API version ({resource.api_version})",
        )
    meta = obj["metadata"] = dict(obj.get("metadata") or {})
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
    name = meta.setdefault("name", target.name)
    if target.name and name != target.name:
        raise ApiError(
            400,
            f"the name of the object ({name}) does not match the name on the URL ({target.name})",
        )
    if not name:
        cause = (
            "metadata.name",
            "FieldValueRequired",
            "Required value: name or generateName is required",
        )
        raise status.invalid(resource.group, resource.kind, "", cause)
    if resource.namespaced:
        if meta.setdefault("namespace", target.namespace) != target.namespace:
            raise ApiError(
                400,
                "the namespace of the provided object does not match the namespace sent on "
                "the request",
            )
    else:
        meta.pop("namespace", None)
    for path, value in resource.defaults.items():
        if scale.value_at(obj, path) is None:
            scale.set_at(obj, path, value)
    validation.check(resource, obj)
    return event_forms.kept(obj) if resource.plural == "events" else obj


def without_status(resource: Resource, obj: dict[str, Any]) -> None:
    """Take off the status: it is written under `/status` only."""
    if "status" in resource.subresources:
        obj.pop("status", None)
        if resource.kind == "Pod":
            obj["status"] = {"phase": "Pending"}
        elif not resource.custom:
            obj["status"] = {}
