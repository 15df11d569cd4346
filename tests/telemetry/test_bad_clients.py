"""What a bad client cannot do: hold a connection, take all of them, or break the server."""

import contextlib
import http.client
import socket
import time

import pytest

from autoscaler.telemetry import routes
from autoscaler.telemetry.latest import Latest
from tests.telemetry.conftest import Serve, get
from tests.telemetry.reports import a_report
from tests.waiting import has_ended, until


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-", id="half a header"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="no second request"),
    ],
)
def test_a_client_that_takes_its_time_is_cut_off(serve: Serve, sent: bytes) -> None:
    server = serve(header_seconds=0.2, answer_seconds=0.2)

    with socket.create_connection(server.address) as connection:
        connection.sendall(sent)

        assert closed_within(connection, 3)


def test_a_client_that_drips_its_header_is_cut_off(serve: Serve) -> None:
    server = serve(header_seconds=0.3)

    with socket.create_connection(server.address) as connection:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for letter in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"x" * 500:
                connection.sendall(bytes([letter]))
                time.sleep(0.02)

        assert time.monotonic() - started < 5


@pytest.mark.slow
def test_a_client_that_does_not_take_its_answer_is_cut_off(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_metrics_of", lambda _: b"x" * 50_000_000)
    server = serve(header_seconds=0.2, answer_seconds=0.3)
    latest.publish(a_report())

    with socket.create_connection(server.address) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: has_ended(connection))
        connection.settimeout(5)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(1_000_000):
                taken += len(block)

    assert 0 < taken < 50_000_000


def test_a_client_that_takes_a_long_answer_has_it_whole(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_metrics_of", lambda _: b"x" * 50_000_000)
    server = serve()
    latest.publish(a_report())

    assert len(get(server, "/metrics")[2]) == 50_000_000


def test_one_connection_too_many_is_closed_and_the_others_live(serve: Serve) -> None:
    server = serve(max_connections=2)
    first = http.client.HTTPConnection(*server.address, timeout=10)
    first.request("GET", "/healthz")
    first.getresponse().read()
    with socket.create_connection(server.address), socket.create_connection(server.address) as more:
        assert closed_within(more, 3)
        first.request("GET", "/healthz")
        assert first.getresponse().status == 200
    first.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", id="huge header"),
        pytest.param(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", id="huge path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", id="many headers"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS to a plain port"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="a version to come"),
        pytest.param(b"\x00" * 1000, id="nulls"),
        pytest.param(b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", id="a method of nobody"),
    ],
)
def test_nonsense_is_refused_without_a_traceback(serve: Serve, sent: bytes) -> None:
    server = serve(header_seconds=0.5)

    with socket.create_connection(server.address) as connection:
        connection.settimeout(5)
        answer = b""
        try:
            connection.sendall(sent)
            while block := connection.recv(65536):
                answer += block
        except ConnectionError:
            pass

    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"Traceback" not in answer
    assert len(answer) < 20_000
    assert get(server, "/healthz")[0] == 200
