"""What the API server remembers: objects, one counter of versions, and the recent changes.

Objects are never changed in place: a write stores a new one. Readers therefore need no copy.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

Object = Mapping[str, Any]
Kept = tuple[str, str]  # group and plural: all versions of a resource share their objects
Key = tuple[str, str]  # namespace and name


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object, and its JSON."""

    obj: Object
    raw: bytes

    @property
    def item(self) -> bytes:
        """Return the JSON without kind and apiVersion, as the lists of built-in kinds show it."""
        named = {"kind": self.obj["kind"], "apiVersion": self.obj["apiVersion"]}
        return b"{" + self.raw[len(orjson.dumps(named)) :]


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `before` or `after` is missing for a creation or a removal."""

    version: int
    kept: Kept
    key: Key
    before: Stored | None
    after: Stored | None


class Store:
    """Objects by resource, namespace and name; every write takes the next version.

    Safe to use from several threads.
    """

    def __init__(self, *, remembers: int = 20_000) -> None:
        self.lock = threading.RLock()
        self.version = 1
        self.compacted = 0
        """Changes up to this version are forgotten: a watch from before it gets 410."""
        self._objects: dict[Kept, dict[Key, Stored]] = {}
        self._changes: deque[Change] = deque()
        self._remembers = remembers
        self._listeners: list[Callable[[], None]] = []

    def listen(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every write."""
        self._listeners.append(changed)

    def get(self, kept: Kept, key: Key) -> Stored | None:
        with self.lock:
            return self._objects.get(kept, {}).get(key)

    def all(self, kept: Kept, namespace: str = "") -> list[tuple[Key, Stored]]:
        """Return the objects of a resource, sorted by namespace and name."""
        with self.lock:
            found = self._objects.get(kept, {})
            if namespace:
                return sorted(item for item in found.items() if item[0][0] == namespace)
            return sorted(found.items(), key=lambda item: item[0])

    def put(self, kept: Kept, key: Key, obj: dict[str, Any]) -> Stored:
        """Keep a new version of an object; its resourceVersion is written into it."""
        with self.lock:
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
            obj = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], **obj}
            stored = Stored(obj, orjson.dumps(obj))
            objects = self._objects.setdefault(kept, {})
            before = objects.get(key)
            objects[key] = stored
            self._remember(Change(self.version, kept, key, before, stored))
            return stored

    def remove(self, kept: Kept, key: Key) -> Stored:
        """Forget an object and return its last state, with the version of its removal."""
        with self.lock:
            self.version += 1
            before = self._objects[kept].pop(key)
            gone = dict(before.obj)
            gone["metadata"] = {**before.obj["metadata"], "resourceVersion": str(self.version)}
            last = Stored(gone, orjson.dumps(gone))
            self._remember(Change(self.version, kept, key, last, None))
            return last

    def since(self, version: int, kept: Kept) -> list[Change]:
        """Return the changes of a resource after a version, oldest first."""
        with self.lock:
            newer: list[Change] = []
            for change in reversed(self._changes):
                if change.version <= version:
                    break
                if change.kept == kept:
                    newer.append(change)
            return newer[::-1]

    def compact(self) -> int:
        """Forget all changes; return the version up to which they are gone."""
        with self.lock:
            self._changes.clear()
            self.compacted = self.version
            return self.compacted

    def _remember(self, change: Change) -> None:
        self._changes.append(change)
        while len(self._changes) > self._remembers:
            self.compacted = self._changes.popleft().version
        for changed in self._listeners:
            changed()
