"""LIST: selectors, pages that agree with each other, and answers with metadata only."""

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.fakes.kubernetes import selectors
from tests.fakes.kubernetes.address import Target
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.status import ApiError
from tests.fakes.kubernetes.store import Store, Stored
from tests.fakes.kubernetes.writes import as_seen, kept

PARTIAL = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection are meant."""

    target: Target
    labels: selectors.Matches
    fields: selectors.Matches

    @classmethod
    def of(cls, target: Target, query: Mapping[str, str]) -> "Selection":
        """Read the selectors of a query."""
        wanted = query.get("fieldSelector", "")
        if target.name:
            wanted = f"metadata.name={target.name}"
        return cls(
            target,
            selectors.labels(query.get("labelSelector", "")),
            selectors.fields(wanted, target.resource.selectable),
        )

    def holds(self, stored: Stored | None, namespace: str) -> bool:
        """Tell whether an object is meant; an absent one is not."""
        if stored is None or self.target.namespace not in {"", namespace}:
            return False
        return self.labels(stored.obj["metadata"].get("labels") or {}) and self.fields(stored.obj)


def encode(resource: Resource, stored: Stored, *, partial: bool) -> bytes:
    """Return an object's JSON in the form that was asked for."""
    if partial:
        return orjson.dumps(
            {
                "kind": PARTIAL,
                "apiVersion": "meta.k8s.io/v1",
                "metadata": stored.obj["metadata"],
            }
        )
    if stored.obj["apiVersion"] == resource.api_version:
        return stored.raw
    return orjson.dumps(as_seen(resource, stored.obj))


def _item(resource: Resource, stored: Stored, *, partial: bool) -> bytes:
    if partial or resource.custom:
        return encode(resource, stored, partial=partial)
    if stored.obj["apiVersion"] == resource.api_version:
        return stored.item
    seen = as_seen(resource, stored.obj)
    return orjson.dumps({name: seen[name] for name in seen if name not in {"kind", "apiVersion"}})


class Pages:
    """Answers LIST; the rest of a limited list waits under its `continue` token."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest: dict[str, tuple[int, list[Stored]]] = {}

    def compact(self) -> None:
        """Let all `continue` tokens expire."""
        self._rest.clear()

    def list(self, target: Target, query: Mapping[str, str], *, partial: bool) -> bytes:
        """Return the body of a list.

        Raises:
            ApiError: 400, a selector or a number that is none; 410, an expired token.
        """
        if token := query.get("continue"):
            found = self._rest.get(_opened(token))
            if found is None:
                raise ApiError(
                    410,
                    "The provided continue parameter is too old to display a consistent list "
                    "result. You can start a new list without the continue parameter.",
                )
            version, stored = found
        else:
            selection = Selection.of(target, query)
            with self._store.lock:
                version = self._store.version
                everything = self._store.all(kept(target.resource), target.namespace)
            self._not_ahead(query, version)
            stored = [each for key, each in everything if selection.holds(each, key[0])]
        limit = _number(query.get("limit"))
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        if limit and len(stored) > limit:
            stored, rest = stored[:limit], stored[limit:]
            key = uuid.uuid4().hex
            self._rest[key] = (version, rest)
            meta["continue"] = base64.urlsafe_b64encode(key.encode()).decode()
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = len(rest)
        kind = f"{PARTIAL if partial else target.resource.kind}List"
        version_name = "meta.k8s.io/v1" if partial else target.resource.api_version
        head = orjson.dumps({"kind": kind, "apiVersion": version_name, "metadata": meta})
        items = b",".join(_item(target.resource, each, partial=partial) for each in stored)
        return head[:-1] + b',"items":[' + items + b"]}"

    def _not_ahead(self, query: Mapping[str, str], version: int) -> None:
        asked = _number(query.get("resourceVersion"))
        if asked > version:
            raise ApiError(
                504,
                f"Timeout: Too large resource version: {asked}, current: {version}",
                details={
                    "causes": [
                        {
                            "reason": "ResourceVersionTooLarge",
                            "message": "Too large resource version",
                        }
                    ],
                    "retryAfterSeconds": 1,
                },
            )


def _opened(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise ApiError(400, "continue key is not valid: illegal base64 data") from error


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError as error:
        raise ApiError(400, f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
