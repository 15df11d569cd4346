"""The `/scale` of a resource: `autoscaling/v1 Scale`, read from and written into the object."""

from collections.abc import Mapping
from typing import Any

from tests.fakes.kubernetes import selectors
from tests.fakes.kubernetes.resources import Resource, ScalePaths
from tests.fakes.kubernetes.status import ApiError, invalid, unreadable


def value_at(obj: Any, path: str) -> Any:
    """Return what stands at a dotted path, or None."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, Mapping) else None
    return obj


def set_at(obj: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path, in place; maps on the way are copied, not changed."""
    *above, last = path.split(".")
    for part in above:
        obj[part] = dict(obj.get(part) or {})
        obj = obj[part]
    obj[last] = value


def read(resource: Resource, obj: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """Return the Scale of an object. A spec of zero replicas is shown as an empty spec.

    Raises:
        ApiError: 500, a custom resource without the field that holds the wish (when `strict`).
    """
    paths = _paths(resource)
    wish = value_at(obj, paths.spec)
    if wish is None and resource.custom and strict:
        said = f'the spec replicas field ".{paths.spec}" does not exist'
        raise ApiError(500, f"Internal error occurred: {said}")
    meta = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status = {"replicas": value_at(obj, paths.status) or 0}
    if paths.selector and (text := selectors.as_text(value_at(obj, paths.selector))):
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in names if name in meta},
        "spec": {"replicas": wish} if wish else {},
        "status": status,
    }


def write(resource: Resource, obj: Mapping[str, Any], scale: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the object with the wish of a Scale.

    Raises:
        ApiError: 400, another object's Scale; 422, the number is not a count.
    """
    name = obj["metadata"]["name"]
    said = (scale.get("metadata") or {}).get("name", name)
    if said != name:
        raise ApiError(
            400,
            f"the name of the object ({said}) does not match the name on the URL ({name})",
        )
    wish = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(wish, int) or isinstance(wish, bool):
        shown = {str: "string", float: "number"}.get(type(wish), type(wish).__name__)
        why = (
            f"json: cannot unmarshal {shown} into Go struct field "
            "ScaleSpec.spec.replicas of type int32"
        )
        raise unreadable("Scale", "v1", why)
    if wish < 0:
        rule = "should be a non-negative integer"
        group, kind, where = resource.group, resource.kind, f".{_paths(resource).spec}"
        if not resource.custom:
            rule = "must be greater than or equal to 0"
            group, kind, where = "autoscaling", "Scale", "spec.replicas"
        said = f"Invalid value: {wish}: {rule}"
        raise invalid(group, kind, name, (where, "FieldValueInvalid", said))
    changed = dict(obj)
    set_at(changed, _paths(resource).spec, wish)
    return changed


def wish_of(resource: Resource, obj: Mapping[str, Any]) -> Any:
    """Return the number that is wished for."""
    return value_at(obj, _paths(resource).spec)


def owned(resource: Resource) -> tuple[str, ...]:
    """Return the wish's path in `managedFields`."""
    return tuple(f"f:{part}" for part in _paths(resource).spec.split("."))


def _paths(resource: Resource) -> ScalePaths:
    assert resource.scale is not None
    return resource.scale
