"""What the API server refuses, for the kinds whose rules matter to an autoscaler."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.fakes.kubernetes import status, times
from tests.fakes.kubernetes.resources import Resource

Cause = tuple[str, str, str]
INT32_MAX = 2**31 - 1
CONFIG_MAP_BYTES: Final = 1 << 20
SUBDOMAIN: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def check(resource: Resource, obj: Mapping[str, Any]) -> None:
    """Refuse an object that the real API server refuses.

    Raises:
        ApiError: 400, a field of the wrong type; 422, a value that is not allowed.
    """
    name = obj["metadata"].get("name", "")
    _typed(resource, obj)
    causes = list(_causes(resource, obj))
    if causes:
        group = "" if resource.plural == "events" else resource.group
        raise status.invalid(group, resource.kind, name, *causes)


def _typed(resource: Resource, obj: Mapping[str, Any]) -> None:
    spec = obj.get("spec") or {}
    if resource.kind == "Lease":
        for field in ("acquireTime", "renewTime"):
            text = spec.get(field)
            if text is not None and not times.is_micro(text):
                raise status.unreadable(resource.kind, resource.version, _no_micro_time(text))
    if resource.group == "events.k8s.io" or resource.plural == "events":
        text = obj.get("eventTime")
        if text is not None and not times.is_micro(text):
            raise status.unreadable(resource.kind, resource.version, _no_micro_time(text))
    counts = {
        "Lease": ("leaseDurationSeconds", "leaseTransitions"),
        "Deployment": ("replicas",),
        "StatefulSet": ("replicas",),
        "ReplicaSet": ("replicas",),
        "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
    }.get(resource.kind, ())
    for field in counts:
        value = spec.get(field)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            shown = {str: "string", float: "number"}.get(type(value), type(value).__name__)
            why = (
                f"json: cannot unmarshal {shown} into Go struct field "
                f"{resource.kind}Spec.spec.{field} of type int32"
            )
            raise status.unreadable(resource.kind, resource.version, why)


def _no_micro_time(text: object) -> str:
    found = str(text)
    rest = found[19:]
    return (
        f'parsing time "{found}" as "2006-01-02T15:04:05.000000Z07:00": '
        f'cannot parse "{rest}" as ".000000"'
    )


def _causes(resource: Resource, obj: Mapping[str, Any]) -> list[Cause]:
    rule = _RULES.get((resource.group, resource.kind))
    # Roles and bindings may be called anything, such as system:admin.
    named = [] if resource.group.startswith("rbac.") else _name(str(obj["metadata"]["name"]))
    return [*named, *(rule(obj) if rule else [])]


def _name(name: str) -> list[Cause]:
    rule = (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
        "or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        f"used for validation is '{SUBDOMAIN}')"
    )
    broken = [
        *(["must be no more than 253 characters"] if len(name) > 253 else []),
        *([rule] if re.fullmatch(SUBDOMAIN, name) is None else []),
    ]
    return [
        ("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {why}') for why in broken
    ]


def _config_map(obj: Mapping[str, Any]) -> list[Cause]:
    size = sum(len(text.encode()) for text in (obj.get("data") or {}).values())
    size += sum(len(base64.b64decode(text)) for text in (obj.get("binaryData") or {}).values())
    if size <= CONFIG_MAP_BYTES:
        return []
    why = f"Too long: may not be more than {CONFIG_MAP_BYTES} bytes"
    return [("[]", "FieldValueTooLong", why)]


def _required(path: str) -> Cause:
    return path, "FieldValueRequired", "Required value"


def _at_least(path: str, value: int | None, least: int, says: str) -> list[Cause]:
    if value is None or value >= least:
        return []
    return [(path, "FieldValueInvalid", f"Invalid value: {value}: {says}")]


def _lease(obj: Mapping[str, Any]) -> list[Cause]:
    spec = obj.get("spec") or {}
    return [
        *_at_least(
            "spec.leaseDurationSeconds",
            spec.get("leaseDurationSeconds"),
            1,
            "must be greater than 0",
        ),
        *_at_least(
            "spec.leaseTransitions",
            spec.get("leaseTransitions"),
            0,
            "must be greater than or equal to 0",
        ),
    ]


def _pods_of(obj: Mapping[str, Any]) -> list[Cause]:
    spec = obj.get("spec") or {}
    causes = _at_least(
        "spec.replicas", spec.get("replicas"), 0, "must be greater than or equal to 0"
    )
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    if not spec.get("selector"):
        causes.append(_required("spec.selector"))
    template = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selector.items() <= template.items():
        causes.append(
            (
                "spec.template.metadata.labels",
                "FieldValueInvalid",
                f"Invalid value: {_shown(template)}: `selector` does not match template `labels`",
            )
        )
    if not ((spec.get("template") or {}).get("spec") or {}).get("containers"):
        causes.append(_required("spec.template.spec.containers"))
    return causes


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'"{key}":"{value}"' for key, value in labels.items()) + "}"


def _autoscaler(obj: Mapping[str, Any]) -> list[Cause]:
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    causes = _at_least("spec.minReplicas", low, 1, "must be greater than or equal to 1")
    causes += _at_least("spec.maxReplicas", high, 1, "must be greater than 0")
    if high < low:
        causes += _at_least(
            "spec.maxReplicas", high, low, "must be greater than or equal to `minReplicas`"
        )
    if not (spec.get("scaleTargetRef") or {}).get("name"):
        causes.append(_required("spec.scaleTargetRef.name"))
    return causes


def _core_event(obj: Mapping[str, Any]) -> list[Cause]:
    about = (obj.get("involvedObject") or {}).get("namespace", "")
    if about == obj["metadata"].get("namespace", "") or (
        not about and obj["metadata"].get("namespace") == "default"
    ):
        return []
    return [
        (
            "involvedObject.namespace",
            "FieldValueInvalid",
            f'Invalid value: "{about}": does not match event.namespace',
        )
    ]


def _event(obj: Mapping[str, Any]) -> list[Cause]:
    causes = [
        _required(field)
        for field in ("reportingController", "reportingInstance", "action", "reason", "eventTime")
        if not obj.get(field)
    ]
    if len(str(obj.get("note", ""))) > 1024:
        causes.append(
            ("message", "FieldValueInvalid", 'Invalid value: "": can have at most 1024 characters')
        )
    if obj.get("type") not in {"Normal", "Warning"}:
        causes.append(("type", "FieldValueInvalid", 'Invalid value: "": has invalid value: '))
    return causes


_RULES: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], list[Cause]]] = {
    ("coordination.k8s.io", "Lease"): _lease,
    ("", "ConfigMap"): _config_map,
    ("apps", "Deployment"): _pods_of,
    ("apps", "StatefulSet"): _pods_of,
    ("apps", "ReplicaSet"): _pods_of,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("", "Event"): _core_event,
    ("events.k8s.io", "Event"): _event,
}
