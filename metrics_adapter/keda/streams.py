"""Who waits to be told of which workload."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from metrics_adapter.keda.refusals import RefusedError


class Streams:
    """The open streams, by what they wait for. All of it belongs to one event loop."""

    def __init__(self, most: int) -> None:
        """Let at most so many be open at one time."""
        self._most = most
        self._open: dict[str, list[asyncio.Event]] = {}
        self._count = 0
        self.closed = False

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def waiting(self, on: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever `on` is told of, and at the end of all.

        Raises:
            RefusedError: RESOURCE_EXHAUSTED: too many are open already.
        """
        if self._count >= self._most:
            raise RefusedError(
                "RESOURCE_EXHAUSTED", f"{self._most} streams are open already, the most allowed"
            )
        event = asyncio.Event()
        if self.closed:
            event.set()
        self._count += 1
        self._open.setdefault(on, []).append(event)
        try:
            yield event
        finally:
            self._count -= 1
            self._open[on].remove(event)
            if not self._open[on]:
                del self._open[on]

    def tell(self, of: Iterable[str]) -> None:
        """Wake those who wait for one of these."""
        for name in of:
            for event in self._open.get(name, ()):
                event.set()

    def close(self) -> None:
        """Wake everybody for the last time."""
        self.closed = True
        self.tell(list(self._open))
