"""Patches: merge (RFC 7386), JSON (RFC 6902) and what strategic merge adds to the first."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.kubernetes.status import ApiError

MERGE_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
}
"""Lists of objects that are told apart by these fields; all other lists are replaced whole."""


def merge(target: Any, patch: Any, *, strategic: bool = False) -> Any:
    """Return the target with a merge patch applied; null removes, lists are replaced.

    With `strategic`, the lists of `MERGE_KEYS` are merged item by item, and `$patch: delete` and
    `$patch: replace` are understood.
    """
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    if strategic and patch.get("$patch") == "replace":
        result = {}
    for name, value in patch.items():
        if name == "$patch":
            continue
        if value is None:
            result.pop(name, None)
        elif strategic and name in MERGE_KEYS and isinstance(value, list):
            result[name] = _merge_items(result.get(name) or [], value, MERGE_KEYS[name][0])
        else:
            result[name] = merge(result.get(name), value, strategic=strategic)
    return result


def _merge_items(items: Sequence[Any], patches: Sequence[Any], key: str) -> list[Any]:
    merged = {item.get(key): item for item in items}
    for patch in patches:
        name = patch.get(key)
        if patch.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), patch, strategic=True)
    return list(merged.values())


def json_patch(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """Return the target with a JSON patch applied.

    Raises:
        ApiError: 422, a `test` did not hold or a path does not exist; 400, not an operation.
    """
    document = {"": copy.deepcopy(target)}
    for operation in operations:
        try:
            _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            said = "the server rejected our request due to an error in our request"
            raise ApiError(422, said, details={}) from error
    return document[""]


def _operate(document: Any, operation: Mapping[str, Any]) -> None:
    kind, path = operation["op"], operation["path"]
    match kind:
        case "add":
            _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(document, path)
        case "replace":
            _look(document, path)
            _replace(document, path, copy.deepcopy(operation["value"]))
        case "move":
            value = _look(document, operation["from"])
            _remove(document, operation["from"])
            _add(document, path, value)
        case "copy":
            _add(document, path, copy.deepcopy(_look(document, operation["from"])))
        case "test":
            found = _look(document, path)
            if found != operation["value"]:
                raise ValueError(f"testing value {path} failed")
        case _:
            raise ApiError(400, f"unknown operation {kind!r}")


def _parts(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]


def _parent(document: Any, path: str) -> tuple[Any, Any]:
    *above, last = _parts(path)
    for part in above:
        document = document[int(part)] if isinstance(document, list) else document[part]
    if isinstance(document, list) and last != "-":
        return document, int(last)
    return document, last


def _look(document: Any, path: str) -> Any:
    parent, last = _parent(document, path)
    return parent[last]


def _remove(document: Any, path: str) -> None:
    parent, last = _parent(document, path)
    del parent[last]


def _replace(document: Any, path: str, value: Any) -> None:
    parent, last = _parent(document, path)
    parent[last] = value


def _add(document: Any, path: str, value: Any) -> None:
    parent, last = _parent(document, path)
    if not isinstance(parent, list):
        parent[last] = value
    elif last == "-":
        parent.append(value)
    else:
        parent.insert(last, value)
