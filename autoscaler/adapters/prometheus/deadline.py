"""A deadline for a whole HTTP call.

A socket's timeout starts anew with every byte: a server that drips its answer is never late.
Here one thread per source closes the socket under the call when its time is over.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from urllib3.connection import HTTPConnection


class Call:
    """One call under way, and the connection that it uses.

    Attributes:
        deadline: Monotonic seconds.
        cut: Whether the deadline passed and the connection was closed.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.cut = False
        self._connection: HTTPConnection | None = None

    def uses(self, connection: HTTPConnection) -> None:
        """Note which connection carries the call."""
        self._connection = connection

    def end(self) -> None:
        """Close the connection under the call, whatever it waits for."""
        self.cut = True
        opened = self._connection.sock if self._connection is not None else None
        if opened is not None:
            # Of the plain socket: TLS would first say goodbye, and could wait for that.
            with suppress(OSError):  # closed already: the call ended at the same moment
                socket.socket.shutdown(opened, socket.SHUT_RDWR)


class Watchdog:
    """Ends calls at their deadline; one thread, started with the first call."""

    def __init__(self, name: str, *, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._calls: set[Call] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def watching(self, deadline: float) -> Iterator[Call]:
        """Watch one call; whatever connection it names is closed at the deadline."""
        call = Call(deadline)
        with self._changed:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"deadline-{self._name}", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        try:
            yield call
        finally:
            with self._changed:
                self._calls.discard(call)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = self._monotonic()
                for call in [call for call in self._calls if call.deadline <= now]:
                    self._calls.discard(call)
                    call.end()
                earliest = min((call.deadline for call in self._calls), default=None)
                self._changed.wait(None if earliest is None else max(0.001, earliest - now))
