"""WATCH: the changes after a version as lines of JSON, bookmarks, and 410 for what is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from tests.fakes.kubernetes import status
from tests.fakes.kubernetes.address import Target
from tests.fakes.kubernetes.lists import PARTIAL, Selection, encode
from tests.fakes.kubernetes.store import Change, Store, Stored
from tests.fakes.kubernetes.writes import kept

END_OF_START = "k8s.io/initial-events-end"


def line(kind: str, raw: bytes) -> bytes:
    """Return one event of a watch."""
    return b'{"type":"' + kind.encode() + b'","object":' + raw + b"}\n"


def error_line(error: status.ApiError) -> bytes:
    """Return the event that ends a watch."""
    return line("ERROR", orjson.dumps(error.body()))


class Bell:
    """Wakes every watch of one event loop; may be rung from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self.bookmarks = 0
        """How often bookmarks were asked for by hand."""

    def ring(self) -> None:
        """Wake the watches."""
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until the bell rings, at most so long."""
        try:
            await asyncio.wait_for(self._rung.wait(), max(seconds, 0))
        except TimeoutError:
            return


class Watch:
    """One watch of a collection (or of one object)."""

    def __init__(
        self,
        store: Store,
        bell: Bell,
        target: Target,
        query: Mapping[str, str],
        *,
        partial: bool,
        bookmark_seconds: float,
    ) -> None:
        self._store = store
        self._bell = bell
        self._target = target
        self._query = query
        self._selection = Selection.of(target, query)
        self._partial = partial
        self._bookmark_seconds = bookmark_seconds
        self._at = 0

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the events until `timeoutSeconds` is over (30 minutes if it is not given)."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + float(self._query.get("timeoutSeconds") or 1800)
        wants_bookmarks = self._query.get("allowWatchBookmarks") in {"true", "1"}
        for each in self._start():
            yield each
        by_hand = self._bell.bookmarks
        bookmark_at = loop.time() + self._bookmark_seconds
        while True:
            waits = asyncio.ensure_future(self._bell.wait(min(ends, bookmark_at) - loop.time()))
            await asyncio.sleep(0)
            try:
                if self._at < self._store.compacted:
                    yield error_line(status.expired(self._at, self._store.compacted))
                    return
                for each in self._new():
                    yield each
                if wants_bookmarks and (
                    by_hand != self._bell.bookmarks or loop.time() >= bookmark_at
                ):
                    by_hand = self._bell.bookmarks
                    bookmark_at = loop.time() + self._bookmark_seconds
                    yield self._bookmark({})
                if loop.time() >= ends:
                    if wants_bookmarks:
                        yield self._bookmark({})
                    return
                await waits
            finally:
                waits.cancel()

    def _start(self) -> list[bytes]:
        """Return the present objects where these are asked for; note from where to go on."""
        asked = self._query.get("resourceVersion", "")
        initial = self._query.get("sendInitialEvents") in {"true", "1"}
        with self._store.lock:
            if asked not in {"", "0"} and not initial:
                self._at = int(asked)
                return []
            self._at = self._store.version
            found = self._store.all(kept(self._target.resource), self._target.namespace)
        lines = [
            self._event("ADDED", each) for key, each in found if self._selection.holds(each, key[0])
        ]
        if initial:
            lines.append(self._bookmark({END_OF_START: "true"}))
        return lines

    def _new(self) -> list[bytes]:
        with self._store.lock:
            changes = self._store.since(self._at, kept(self._target.resource))
            self._at = self._store.version
        return [each for change in changes for each in self._seen(change)]

    def _seen(self, change: Change) -> list[bytes]:
        namespace = change.key[0]
        had = self._selection.holds(change.before, namespace)
        has = self._selection.holds(change.after, namespace)
        if has and change.after:
            return [self._event("MODIFIED" if had else "ADDED", change.after)]
        if had and change.before:
            return [self._event("DELETED", _at_version(change.before, change.version))]
        return []

    def _event(self, kind: str, stored: Stored) -> bytes:
        return line(kind, encode(self._target.resource, stored, partial=self._partial))

    def _bookmark(self, annotations: Mapping[str, str]) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(self._at), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = dict(annotations)
        resource = self._target.resource
        obj: dict[str, Any] = {
            "kind": PARTIAL if self._partial else resource.kind,
            "apiVersion": "meta.k8s.io/v1" if self._partial else resource.api_version,
            "metadata": meta,
        }
        return line("BOOKMARK", orjson.dumps(obj))


def _at_version(stored: Stored, version: int) -> Stored:
    """Return the object with the version of the change: what leaves a selection has the new one."""
    meta = {**stored.obj["metadata"], "resourceVersion": str(version)}
    obj = {**stored.obj, "metadata": meta}
    return Stored(obj, orjson.dumps(obj))
