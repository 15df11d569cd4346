"""One collection of objects, kept up to date by list and watch, with the age of what is known.

The official client's informer keeps typed objects, asks for no bookmarks and reconnects without
waiting. Here the objects are trimmed as they are read, and how old the knowledge is can always be
told: a watch that hangs looks like one where nothing happens, unless somebody counts the seconds.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import orjson

from autoscaler.adapters.kubernetes.connection import Connection, Stream
from autoscaler.adapters.kubernetes.requests import KubernetesError, asked

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """How a collection is followed.

    Attributes:
        watch_seconds: Length of one watch. The server sends a bookmark before its end, so this
            is also how often we hear of a quiet collection. Jittered by a fifth.
        silence_seconds: Beyond the end of a watch, before it counts as broken.
        relist_after_seconds: Without any word from the server for this long, list again.
        page: Objects in one answer of a list.
        first_wait_seconds: After a failure; it doubles with each further one.
        longest_wait_seconds: Between two tries.
    """

    watch_seconds: float = 30.0
    silence_seconds: float = 10.0
    relist_after_seconds: float = 60.0
    page: int = 500
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 15.0


DEFAULT_WATCH: Final = WatchLimits()


class Watched(Generic[T]):
    """The objects of one collection, each trimmed to what is needed of it.

    Only one thread writes; any may read.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        keep: Callable[[Mapping[str, Any]], T],
        *,
        limits: WatchLimits = DEFAULT_WATCH,
    ) -> None:
        """Nothing is asked before `start` or `refresh`.

        Args:
            connection: Whom to ask.
            path: A collection, such as /apis/apps/v1/namespaces/llm/deployments.
            keep: Makes what is kept of an object; must not hold on to the object.
            limits: How to follow it.
        """
        self.path = path
        self.trouble = ""
        self.not_served = False
        self._what = asked("GET", path)
        self._connection = connection
        self._keep = keep
        self._limits = limits
        self._objects: dict[tuple[str, str], T] = {}
        self._odd: dict[tuple[str, str], str] = {}
        self._writing = threading.Lock()
        self._version = ""
        self._heard: float | None = None
        self._failures = 0
        self._listed = threading.Event()
        self._ended = threading.Event()
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object, as last seen; None where there is none, or it could not be read."""
        return self._objects.get((namespace, name))

    def odd(self, namespace: str, name: str) -> str:
        """Say why an object could not be read; empty where that is not so."""
        return self._odd.get((namespace, name), "")

    def all(self) -> tuple[T, ...]:
        """Return every object, as last seen."""
        with self._writing:
            return tuple(self._objects.values())

    @property
    def age(self) -> float:
        """Seconds since the server last confirmed what we know; infinite before the first list."""
        heard = self._heard
        return float("inf") if heard is None else max(0.0, self._connection.monotonic() - heard)

    def unusable(self, max_age_seconds: float) -> str:
        """Say why what is known must not be used; empty while it may be."""
        age = self.age
        if age <= max_age_seconds:
            return ""
        trouble = f": {self.trouble}" if self.trouble else ""
        if age == float("inf"):
            return f"{self._what} has not been answered yet{trouble}"
        return (
            f"{self._what} was last confirmed {age:.0f} s ago, "
            f"more than {max_age_seconds:g} s{trouble}"
        )

    def start(self) -> None:
        """Follow the collection in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name=f"watch {self.path}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the first list, or until it has failed once; say whether there is one."""
        self._listed.wait(max(0.0, seconds))
        return self._heard is not None

    def stop(self) -> None:
        """End the watch and its thread."""
        self._ended.set()
        stream = self._stream
        if stream is not None:
            stream.stop()
        if self._thread is not None:
            self._thread.join(timeout=self._connection.limits.read_seconds)

    def refresh(self) -> None:
        """List everything once, without following.

        Raises:
            KubernetesError: The list failed; what was known stays.
        """
        objects: dict[tuple[str, str], T] = {}
        odd: dict[tuple[str, str], str] = {}
        limit = ("limit", str(self._limits.page))
        query: tuple[tuple[str, str], ...] = (limit,)
        began = self._connection.monotonic()  # every page shows the state of the first
        while True:
            page = self._connection.get(self.path, query)
            metadata = page.get("metadata") or {}
            for body in page.get("items") or ():
                self._store(body, objects, odd)
            if not metadata.get("continue"):
                break
            query = (limit, ("continue", metadata["continue"]))
        with self._writing:
            self._objects, self._odd = objects, odd
        self._version = metadata.get("resourceVersion", "")
        self._heard = began

    def _store(
        self,
        body: Mapping[str, Any],
        objects: dict[tuple[str, str], T],
        odd: dict[tuple[str, str], str],
    ) -> None:
        """Keep one object; one that cannot be read must not take the others with it."""
        key = _key(body)
        odd.pop(key, None)
        try:
            objects[key] = self._keep(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            objects.pop(key, None)
            odd[key] = f"cannot be read: {type(error).__name__}: {error}"

    def fail(self, error: Exception) -> None:
        """Note why the last request failed."""
        self.trouble = str(error)
        self.not_served = isinstance(error, KubernetesError) and error.status == 404

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self._round()
            except (KubernetesError, KeyError, TypeError, ValueError, AttributeError) as error:
                if isinstance(error, KubernetesError) and error.status == 410:
                    self._version = ""
                    if not self._failures:
                        self._failures = 1
                        continue  # list again at once; but not in a loop
                self.fail(error)
                self._listed.set()
                self._pause()

    def _round(self) -> None:
        """List if there is need, then watch to the end of one watch."""
        if not self._version or self.age > self._limits.relist_after_seconds:
            self.refresh()
            self.trouble, self.not_served = "", False
            self._listed.set()
        spread = 0.8 + 0.4 * self._connection.chance()
        seconds = max(1, round(self._limits.watch_seconds * spread))
        began = self._connection.monotonic()
        stream = self._connection.follow(
            self.path,
            (
                ("resourceVersion", self._version),
                ("allowWatchBookmarks", "true"),
                ("timeoutSeconds", str(seconds)),
            ),
            read_seconds=seconds + self._limits.silence_seconds,
        )
        self._stream = stream
        if self._ended.is_set():
            stream.stop()
        heard = self._take(stream.lines())
        if heard or self._connection.monotonic() - began >= 1.0:
            self._failures = 0
        else:
            # A server (or a proxy) that ends every watch at once must not be asked in a loop.
            self._pause()

    def _take(self, lines: Iterator[bytes]) -> bool:
        heard = False
        for line in lines:
            event = orjson.loads(line)
            body = event["object"]
            if event["type"] == "ERROR":
                raise KubernetesError(
                    f"{self._what}: the watch says {body.get('message')}",
                    asked=self._what,
                    status=body.get("code"),
                )
            with self._writing:
                if event["type"] == "DELETED":
                    self._objects.pop(_key(body), None)
                    self._odd.pop(_key(body), None)
                elif event["type"] != "BOOKMARK":
                    self._store(body, self._objects, self._odd)
            self._version = body["metadata"]["resourceVersion"]
            self._heard = self._connection.monotonic()
            heard, self._failures, self.trouble = True, 0, ""
        return heard

    def _pause(self) -> None:
        self._failures += 1
        longest = min(
            self._limits.longest_wait_seconds,
            self._limits.first_wait_seconds * 2.0 ** min(self._failures - 1, 16),
        )
        self._ended.wait(longest * (0.5 + 0.5 * self._connection.chance()))


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body["metadata"]
    return (metadata.get("namespace", ""), metadata["name"])
