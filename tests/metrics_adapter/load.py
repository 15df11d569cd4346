"""A client that asks at a rate, over TLS, on a few connections that stay."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

CONNECTIONS: Final = 8


class _Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: Callable[["_Client", bytes], None]) -> None:
        self._free = free
        self._seen = bytearray()
        self._whole = 0
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await self._lost.wait()

    def ask(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        seen = self._seen
        seen += data
        if not self._whole:
            head = seen.find(b"\r\n\r\n")
            if head < 0:
                return
            length = seen[:head].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._whole = head + 4 + int(length)
        if len(seen) >= self._whole:
            answer = bytes(seen)
            seen.clear()
            self._whole = 0
            self._free(self, answer)


class Load:
    """Asks at a rate (infinite: as fast as answers come), from one thread."""

    def __init__(self, requests: Iterator[bytes], count: int, rate: float) -> None:
        self._requests = requests
        self._count = count
        self._rate = rate
        self._idle: deque[_Client] = deque()
        self._due: deque[float] = deque()
        self._of: dict[_Client, float] = {}
        self._sent = 0
        self._done = asyncio.Event()
        self.took: list[float] = []
        self.statuses: dict[bytes, int] = {}

    async def run(self, port: int, folder: Path) -> float:
        """Ask all; return how many seconds it took."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(folder / "ca.crt")
        context.load_cert_chain(folder / "client.pem")
        loop = asyncio.get_running_loop()
        open_ones = [
            await loop.create_connection(
                lambda: _Client(self._answered), "127.0.0.1", port, ssl=context,
                server_hostname="localhost",
            )
            for _ in range(CONNECTIONS)
        ]  # fmt: skip
        self._idle.extend(client for _, client in open_ones)
        begun = time.perf_counter()
        for number in range(self._count if self._rate < float("inf") else 0):
            due = begun + number / self._rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self._due.append(due)
            self._send()
        if self._rate == float("inf"):
            self._due.extend([begun] * self._count)
            for _ in range(CONNECTIONS):
                self._send()
        await self._done.wait()
        lasted = time.perf_counter() - begun
        for _, client in open_ones:
            await client.close()
        return lasted

    def _send(self) -> None:
        if self._idle and self._due:
            client = self._idle.popleft()
            self._of[client] = self._due.popleft()
            client.ask(next(self._requests))

    def _answered(self, client: _Client, answer: bytes) -> None:
        self.took.append(time.perf_counter() - self._of.pop(client))
        status = answer[9:12]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self._idle.append(client)
        self._send()
        if len(self.took) == self._count:
            self._done.set()
