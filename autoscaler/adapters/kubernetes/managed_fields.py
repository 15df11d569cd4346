"""Who wrote which field of an object, and when: `metadata.managedFields`.

A manager owns the fields that it set last. A write with a new value takes a field away from every
other manager; a server-side apply that agrees shares it. So whoever owns `spec.replicas` is who
set the present number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER
from autoscaler.adapters.kubernetes.times import read_time

Json = Mapping[str, Any]
"""A JSON object as the API server sent it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One manager that owns a field.

    Attributes:
        manager: Its name, which it chose itself.
        applied: By server-side apply, which declares a field and will restore it; else it was
            only written.
        time: When this manager's set of fields or one of its values changed last, Unix seconds
            of the API server's clock; None where it is not told.
        subresource: Through which one, such as scale; empty for the object itself.
    """

    manager: str
    applied: bool
    time: float | None
    subresource: str = ""

    @property
    def ours(self) -> bool:
        """Whether we are it."""
        return self.manager == FIELD_MANAGER


def mapping(value: object) -> Json:
    """Return a JSON object as it is, and anything else as an empty one."""
    if type(value) is dict:  # nearly always, and a tenth of the price
        return value
    return value if isinstance(value, Mapping) else {}


def owners(target: Json, path: Sequence[str]) -> tuple[Owner, ...]:
    """Return who owns a field, newest first; those without a time last.

    Args:
        target: The whole object.
        path: Of the field, such as ("spec", "replicas").
    """
    listed = mapping(target.get("metadata")).get("managedFields")
    entries = [one for one in (listed if isinstance(listed, Sequence) else ()) if mapping(one)]
    fields = [mapping(one.get("fieldsV1")) for one in entries]
    # An empty set stands for a map that is owned with all that is in it, or for one that was only
    # made: where anybody owns a field in it by name, it is the latter.
    owned = [_names(one, path) for one in fields]
    if not any(owned):
        owned = [_covers(one, path) for one in fields]
    found = [
        Owner(
            manager=str(entry.get("manager") or ""),
            applied=entry.get("operation") == "Apply",
            time=read_time(entry.get("time")),
            subresource=str(entry.get("subresource") or ""),
        )
        for entry, its in zip(entries, owned, strict=True)
        if its
    ]
    return tuple(sorted(found, key=_newest_first))


def _newest_first(owner: Owner) -> tuple[float, str]:
    return (float("inf") if owner.time is None else -owner.time, owner.manager)


def _names(fields: Json, path: Sequence[str]) -> bool:
    node: object = fields
    for part in path:
        node = mapping(node).get(f"f:{part}")
    return node is not None


def _covers(fields: Json, path: Sequence[str]) -> bool:
    node: object = fields
    for part in path:
        node = mapping(node).get(f"f:{part}")
        if node == {}:
            return True
    return False
