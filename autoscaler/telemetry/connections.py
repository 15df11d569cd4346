"""Limits on connections: how many, and how long each may keep us waiting.

aiohttp bounds the length of headers, and waits for them for ever. Here every connection has one
deadline at any time: to bring a request, to have it answered, to take the answer.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast


class Connections:
    """All open connections of a server."""

    def __init__(self, most: int, *, header_seconds: float, answer_seconds: float) -> None:
        """Allow `most` at a time."""
        self._most: Final = most
        self._header_seconds: Final = header_seconds
        self._answer_seconds: Final = answer_seconds
        self._open: dict[asyncio.BaseTransport, _Connection] = {}

    def guarding(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return what makes protocols within the limits out of what makes them without."""
        return lambda: _Connection(make(), self)

    def answering(self, transport: asyncio.BaseTransport | None, seconds: float) -> None:
        """A request is whole: it may wait so long, and is then answered in good time."""
        self._set(transport, seconds + 2 * self._answer_seconds)

    def answered(self, transport: asyncio.BaseTransport | None) -> None:
        """The answer is there: the client takes it, and comes again or goes."""
        self._set(transport, self._answer_seconds + self._header_seconds)

    def admit(self, connection: "_Connection", transport: asyncio.Transport) -> bool:
        """Whether one more connection may be served."""
        if len(self._open) >= self._most:
            return False
        self._open[transport] = connection
        connection.set_deadline(self._header_seconds)
        return True

    def forget(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is gone."""
        if transport is not None:
            self._open.pop(transport, None)

    def _set(self, transport: asyncio.BaseTransport | None, seconds: float) -> None:
        connection = self._open.get(transport) if transport is not None else None
        if connection is not None:
            connection.set_deadline(seconds)


class _Connection(asyncio.Protocol):
    """Passes everything on to the HTTP protocol, unless there is no room or no time left."""

    def __init__(self, inner: asyncio.Protocol, all_of_them: Connections) -> None:
        self._inner = inner
        self._all = all_of_them
        self._transport: asyncio.Transport | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        if not self._all.admit(self, stream):
            stream.abort()
            return
        self._transport = stream
        self._inner.connection_made(stream)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._all.forget(self._transport)
            if self._timer is not None:
                self._timer.cancel()
            self._inner.connection_lost(exc)

    def set_deadline(self, seconds: float) -> None:
        """Close the connection in so many seconds, unless told otherwise before."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        # A timer that comes too early finds the deadline moved: cheaper than one for each request.
        if self._timer is None or self._timer.when() > self._deadline:
            self._wake(loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._deadline, self._woken, loop)

    def _woken(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() < self._deadline:
            self._wake(loop)
        elif self._transport is not None:
            self._transport.abort()
