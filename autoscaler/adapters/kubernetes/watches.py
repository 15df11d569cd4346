"""Several collections followed at once; those that nobody asks for any more are dropped."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.requests import KubernetesError
from autoscaler.adapters.kubernetes.watch import DEFAULT_WATCH, Watched, WatchLimits

T = TypeVar("T")


class Watches:
    """The collections that one reader needs, by path."""

    def __init__(
        self, connection: Connection, *, limits: WatchLimits = DEFAULT_WATCH, follow: bool = True
    ) -> None:
        """Nothing is asked before it is wanted.

        Args:
            connection: Whom to ask.
            limits: How to follow each collection.
            follow: Whether to watch in threads; else everything wanted is listed at each `settle`,
                which suits a process that looks once.
        """
        self._connection = connection
        self._limits = limits
        self._follow = follow
        self._watched: dict[str, Watched[Any]] = {}
        self._wanted: set[str] = set()

    def want(self, path: str, keep: Callable[[Mapping[str, Any]], T]) -> Watched[T]:
        """Return a collection that is, or will be, up to date after `settle`."""
        self._wanted.add(path)
        if path not in self._watched:
            watched = Watched(self._connection, path, keep, limits=self._limits)
            self._watched[path] = watched
            if self._follow:
                watched.start()
        return cast("Watched[T]", self._watched[path])

    def known(self, path: str) -> Watched[Any] | None:
        """Return a collection that is followed already; None where nobody wanted it."""
        return self._watched.get(path)

    def settle(self, seconds: float) -> None:
        """Wait for first answers, and stop what was not wanted since the last time.

        Args:
            seconds: How long to wait at most, for all of them together.
        """
        end = self._connection.monotonic() + seconds
        for path in self._watched.keys() - self._wanted:
            self._watched.pop(path).stop()
        self._wanted.clear()
        for watched in self._watched.values():
            if self._follow:
                watched.wait(end - self._connection.monotonic())
                continue
            try:
                watched.refresh()
                watched.trouble, watched.not_served = "", False
            except (KubernetesError, KeyError, TypeError, ValueError, AttributeError) as error:
                watched.fail(error)

    def close(self) -> None:
        """Stop everything."""
        self._wanted.clear()
        self.settle(0.0)
