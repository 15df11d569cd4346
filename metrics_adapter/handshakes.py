"""Accepts connections and makes their TLS handshakes: so many at a time, each in good time.

A handshake takes milliseconds. Who opens connections and says nothing would otherwise hold memory
for as long as patience lasts: where there are too many, the one that has waited longest is closed,
and whoever means it gets through.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

MOST: Final = 256
"""Handshakes at one time."""
PAUSE_SECONDS: Final = 1.0
"""How long nobody is accepted after the system had no room."""

_log = structlog.get_logger("metrics_adapter.handshakes")


class Handshakes:
    """Listens, and hands every connection over once its handshake is done."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        *,
        seconds: float,
        most: int = 0,
    ) -> None:
        """Listen to nothing yet.

        Args:
            make: Makes the protocol of a connection.
            tls: What handshakes begin with.
            seconds: Time for one of them.
            most: So many at one time; 0 for the usual number.
        """
        self._make = make
        self._tls = tls
        self._seconds = seconds
        self._most = most or MOST
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._open: dict[asyncio.Task[None], None] = {}

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept connections from now on; return where.

        Raises:
            OSError: The address is taken or not ours.
        """
        bound = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, host, port, start_serving=False
        )
        self._sockets = [one.dup() for one in bound.sockets]
        bound.close()
        for one in self._sockets:
            one.settimeout(0)
            one.listen(512)
        self._accepting = [asyncio.create_task(self._accept(one)) for one in self._sockets]
        found: tuple[str, int] = self._sockets[0].getsockname()[:2]
        return found

    async def stop(self) -> None:
        """Accept nobody any more, and give up handshakes that are not done."""
        tasks = [*self._accepting, *self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._sockets:
            one.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    _log.error("connections not accepted", reason=str(error))
                    await asyncio.sleep(PAUSE_SECONDS)
                continue
            while len(self._open) >= self._most:
                longest = next(iter(self._open))
                self._open.pop(longest)
                longest.cancel()
            task = asyncio.create_task(self._shake(connection))
            self._open[task] = None
            task.add_done_callback(partial(self._ended, connection))
            await asyncio.sleep(0)  # those that are connected have their turn

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        if task.cancelled():  # perhaps before it began, so that nobody else closes it
            connection.close()

    async def _shake(self, connection: socket.socket) -> None:
        with suppress(OSError):  # its handshake failed, or took too long, or it went away
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=2.0,
            )
