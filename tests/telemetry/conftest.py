"""A server on loopback for each test, the newest cycles that it shows, and a client of it."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from autoscaler.telemetry.latest import Latest

Serve = Callable[..., TelemetryServer]
Answer = tuple[int, dict[str, str], bytes]


class Clock:
    """Seconds that rise when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def latest(clock: Clock) -> Latest:
    return Latest(clock)


@pytest.fixture
def serve(latest: Latest) -> Iterator[Serve]:
    servers: list[TelemetryServer] = []

    def start(refresh_seconds: float = 10.0, **settings: Any) -> TelemetryServer:
        server = TelemetryServer(
            latest, ServerSettings(port=0, **settings), refresh_seconds=refresh_seconds
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def get(server: TelemetryServer, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def document(server: TelemetryServer, path: str, **headers: str) -> Any:
    status, _, body = get(server, path, **headers)
    assert status == 200, body
    return json.loads(body)
