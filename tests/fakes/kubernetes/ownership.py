"""Who owns which field: `managedFields`, kept as the real API server keeps them.

A field is a path of steps, written as in `fieldsV1`: `f:replicas` for a name, `k:{"name":"x"}` for
an item of a list with keys. A plain write takes over what it changes; an apply owns what it says.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.fakes.kubernetes.patches import MERGE_KEYS
from tests.fakes.kubernetes.status import ApiError

Path = tuple[str, ...]
Fields = frozenset[Path]

UNTRACKED = frozenset(
    {
        "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
        "managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid",
    }
)  # fmt: skip
ATOMIC = frozenset({"selector", "f:selector"})
"""Maps that have one owner as a whole."""


def fields_of(obj: Mapping[str, Any]) -> dict[Path, Any]:
    """Return every leaf that can be owned, with its value."""
    tracked = {name: value for name, value in obj.items() if name not in {"apiVersion", "kind"}}
    metadata = tracked.pop("metadata", None) or {}
    tracked["metadata"] = {k: v for k, v in metadata.items() if k not in UNTRACKED}
    found: dict[Path, Any] = {}
    _walk(tracked, (), found)
    return found


def _walk(value: Any, path: Path, found: dict[Path, Any]) -> None:
    last = path[-1].removeprefix("f:") if path else ""
    if isinstance(value, Mapping) and value and last not in ATOMIC:
        for name, inner in value.items():
            _walk(inner, (*path, f"f:{name}"), found)
    elif isinstance(value, list) and last in MERGE_KEYS and value:
        for item in value:
            keys = {key: item[key] for key in MERGE_KEYS[last] if key in item}
            step = f"k:{json.dumps(keys, separators=(',', ':'), sort_keys=True)}"
            _walk(item, (*path, step), found)
    elif path != ("f:metadata",):
        found[path] = value


def to_fields_v1(fields: Iterable[Path]) -> dict[str, Any]:
    """Return the nested form that `managedFields` shows."""
    tree: dict[str, Any] = {}
    for path in sorted(fields):
        branch = tree
        for step in path:
            branch = branch.setdefault(step, {})
            if step.startswith("k:"):
                branch.setdefault(".", {})
    return tree


def from_fields_v1(tree: Mapping[str, Any], path: Path = ()) -> Fields:
    """Return the paths of the leaves."""
    found: set[Path] = set()
    for step, inner in tree.items():
        if step == ".":
            continue
        within = from_fields_v1(inner, (*path, step))
        found |= within or {(*path, step)}
    return frozenset(found)


class Owners:
    """The entries of one object's `managedFields`."""

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self._entries: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._fields: dict[tuple[str, str, str], Fields] = {}
        self._split: list[dict[str, Any]] = []
        for entry in entries:
            key = (entry["manager"], entry["operation"], entry.get("subresource", ""))
            self._entries[key] = dict(entry)
            self._fields[key] = from_fields_v1(entry.get("fieldsV1", {}))

    def written(
        self,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        by: str,
        subresource: str,
        api_version: str,
        time: str,
    ) -> None:
        """A plain write: the writer takes over what changed, whoever had it."""
        old, new = fields_of(before), fields_of(after)
        changed = frozenset(p for p, value in new.items() if p not in old or old[p] != value)
        gone = frozenset(old) - frozenset(new)
        for key in list(self._fields):
            self._keep(key, self._fields[key] - changed - gone)
        if changed:
            key = (by, "Update", subresource)
            self._own(key, self._fields.get(key, frozenset()) | changed, api_version, time)

    def scaled(self, path: Path, *, changed: bool, zero: bool, by: str, api_version: str) -> None:
        """A plain write through `/scale`, with what the real server makes of it.

        The entry has no time. Zero is nobody's, because a Scale of zero does not show its number,
        and what was nobody's stays nobody's. The same number once more
        splits it from its owner, and the next write forgets the part that was split off.
        """
        holders = [key for key, fields in self._fields.items() if path in fields]
        for key in holders:
            if changed:
                self._keep(key, self._fields[key] - {path})
            elif key[1:] == ("Update", "") and self._fields[key] != {path}:
                self._keep(key, self._fields[key] - {path})
                entry = {name: v for name, v in self._entries[key].items() if name != "time"}
                self._split = [{**entry, "fieldsV1": to_fields_v1([path])}]
        if changed and holders and not zero:
            self._own((by, "Update", "scale"), frozenset({path}), api_version, None)

    def conflicts(
        self,
        live: Mapping[str, Any],
        wanted: Mapping[str, Any],
        *,
        by: str,
        through: str | None = None,
    ) -> list[tuple[str, Path]]:
        """Return (owner, field) for what an apply would take from others.

        `through`: the API version of the subresource that is written, for the message.
        """
        now, then = fields_of(live), fields_of(wanted)
        return [
            (_owner(self._entries[key], through), path)
            for key, fields in self._fields.items()
            if not (key[0] == by and key[1] == "Apply")
            for path in sorted(fields)
            if path in then and now.get(path) != then[path]
        ]

    def applied(
        self,
        live: Mapping[str, Any],
        wanted: Mapping[str, Any],
        *,
        by: str,
        subresource: str,
        api_version: str,
        time: str | None,
    ) -> Fields:
        """Take what `wanted` says; return what the manager gave up and nobody else owns."""
        now, then = fields_of(live), fields_of(wanted)
        key = (by, "Apply", subresource)
        before = self._fields.get(key, frozenset())
        taken = frozenset(p for p, value in then.items() if now.get(p) != value)
        for other in list(self._fields):
            if other != key:
                self._keep(other, self._fields[other] - taken)
        self._own(key, frozenset(then), api_version, time)
        others = frozenset[Path]().union(
            *(fields for other, fields in self._fields.items() if other != key)
        )
        return before - frozenset(then) - others

    def entries(self) -> list[dict[str, Any]]:
        """Return `managedFields`, oldest entry first."""
        shown = list(self._split)
        for key, entry in self._entries.items():
            shown.append({**entry, "fieldsType": "FieldsV1"})
            shown[-1]["fieldsV1"] = to_fields_v1(self._fields[key])
        return sorted(shown, key=lambda e: (e["operation"], e.get("time", ""), e["manager"]))

    def _keep(self, key: tuple[str, str, str], fields: Fields) -> None:
        if fields:
            self._fields[key] = fields
        else:
            del self._fields[key], self._entries[key]

    def _own(
        self, key: tuple[str, str, str], fields: Fields, api_version: str, time: str | None
    ) -> None:
        manager, operation, subresource = key
        entry = {"manager": manager, "operation": operation, "apiVersion": api_version}
        if key in self._fields and self._fields[key] == fields:
            time = self._entries[key].get("time")
        if time:
            entry["time"] = time
        if subresource:
            entry["subresource"] = subresource
        self._entries[key], self._fields[key] = entry, fields


def _owner(entry: Mapping[str, Any], through: str | None) -> str:
    manager = f'"{entry["manager"]}"'
    if within := entry.get("subresource"):
        manager += f' with subresource "{within}"'
    if entry["operation"] == "Update":
        manager += f" using {through or entry['apiVersion']}"
    return manager


def dotted(path: Path) -> str:
    """Return a path as messages write it: `.spec.replicas`."""
    return "".join(
        f".{step.removeprefix('f:')}" if step.startswith("f:") else f"[{step[2:]}]" for step in path
    )


def refuse(conflicts: list[tuple[str, Path]]) -> ApiError:
    """Return the 409 of an apply without `force`."""
    owners = sorted({owner for owner, _ in conflicts})
    many = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    if len(owners) == 1:
        where = [dotted(path) for _, path in conflicts]
        said = where[0] if len(where) == 1 else "\n" + "\n".join(f"- {each}" for each in where)
        message = f"Apply failed with {many}: {many.split()[1]} with {owners[0]}: {said}"
    else:
        lines = "".join(
            f"\nconflicts with {owner}:\n"
            + "\n".join(f"- {dotted(path)}" for whose, path in conflicts if whose == owner)
            for owner in owners
        )
        message = f"Apply failed with {many}:{lines.lstrip()}"
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {owner}",
            "field": dotted(path),
        }
        for owner, path in conflicts
    ]
    return ApiError(409, message, "Conflict", {"causes": causes})


def remove(obj: dict[str, Any], paths: Iterable[Path]) -> None:
    """Remove owned fields from an object, in place; an item without fields goes too."""
    for path in paths:
        holder: Any = obj
        for step in path[:-1]:
            holder = _step(holder, step)
        if isinstance(holder, dict):
            holder.pop(path[-1].removeprefix("f:"), None)
        if holder == {} and path[-2].startswith("k:"):
            items: Any = obj
            for step in path[:-2]:
                items = _step(items, step)
            items.remove(holder)


def _step(holder: Any, step: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(step.removeprefix("f:"))
    if isinstance(holder, list) and step.startswith("k:"):
        keys = json.loads(step[2:])
        found = [item for item in holder if keys.items() <= item.items()]
        return found[0] if found else None
    return None
