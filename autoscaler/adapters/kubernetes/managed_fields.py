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
    return value if isinstance(value, Mapping) else {}


def owners(target: Json, path: Sequence[str]) -> tuple[Owner, ...]:
    """Return who owns a field, newest first; those without a time last.

    Args:
        target: The whole object.
        path: Of the field, such as ("spec", "replicas").
    """
    entries = mapping(target.get("metadata")).get("managedFields")
    found = [
        Owner(
            manager=str(entry.get("manager") or ""),
            applied=entry.get("operation") == "Apply",
            time=read_time(entry.get("time")),
            subresource=str(entry.get("subresource") or ""),
        )
        for entry in (entries if isinstance(entries, Sequence) else ())
        if isinstance(entry, Mapping) and _owns(mapping(entry.get("fieldsV1")), path)
    ]
    return tuple(sorted(found, key=_newest_first))


def _newest_first(owner: Owner) -> tuple[float, str]:
    return (float("inf") if owner.time is None else -owner.time, owner.manager)


def _owns(fields: Json, path: Sequence[str]) -> bool:
    node: object = fields
    for part in path:
        node = mapping(node).get(f"f:{part}")
        if node is None:
            return False
        if node == {}:  # owned as a whole: what is below it is owned too
            return True
    return True
