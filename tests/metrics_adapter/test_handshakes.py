"""Who may connect, and how many may be about to."""

import asyncio
import errno
import socket
import ssl
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from metrics_adapter import handshakes
from metrics_adapter.handshakes import Handshakes


class Greets(asyncio.Protocol):
    """Says one word to whoever connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"welcome")
        transport.close()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of the server, and of a client."""
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    return ours, theirs


async def greeting(address: tuple[str, int], tls: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname="localhost")
    found = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return found


def test_a_system_without_room_is_told_and_asked_again(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many files are open; somebody went away before he was accepted: the next one gets in."""
    monkeypatch.setattr(handshakes, "PAUSE_SECONDS", 0.01)
    ours, theirs = contexts
    problems = [OSError(errno.ECONNABORTED, "gone"), OSError(errno.EMFILE, "no room")]

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        real = loop.sock_accept

        async def accept(listening: socket.socket) -> Any:
            if problems:
                raise problems.pop(0)
            return await real(listening)

        monkeypatch.setattr(loop, "sock_accept", accept)
        server = Handshakes(Greets, ours, seconds=10)
        address = await server.listen("127.0.0.1", 0)
        found = await greeting(address, theirs)
        await server.stop()
        return found

    with capture_logs() as logs:
        assert asyncio.run(run()) == b"welcome"

    assert [one["event"] for one in logs] == ["connections not accepted"]
    assert "no room" in logs[0]["reason"]


def test_whoever_connects_without_a_handshake_is_closed_when_it_stops(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def run() -> bytes:
        server = Handshakes(Greets, contexts[0], seconds=60)
        address = await server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*address)
        await asyncio.sleep(0.05)
        await server.stop()
        found = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return found

    assert asyncio.run(run()) == b""


def test_of_too_many_that_say_nothing_the_first_goes_and_one_that_means_it_gets_in(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = contexts

    async def run() -> list[bytes]:
        server = Handshakes(Greets, ours, seconds=60, most=2)
        address = await server.listen("127.0.0.1", 0)
        silent = [await asyncio.open_connection(*address) for _ in range(5)]
        found = [await greeting(address, theirs)]
        found += [await asyncio.wait_for(reader.read(), 10) for reader, _ in silent[:3]]
        await server.stop()
        for _, writer in silent:
            writer.close()
        return found

    assert asyncio.run(run()) == [b"welcome", b"", b"", b""]


def test_an_address_that_is_taken_is_an_error(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def run() -> None:
        first = Handshakes(Greets, contexts[0], seconds=60)
        host, port = await first.listen("127.0.0.1", 0)
        try:
            await Handshakes(Greets, contexts[0], seconds=60).listen(host, port)
        finally:
            await first.stop()

    with pytest.raises(OSError, match="in use"):
        asyncio.run(run())
