"""Both API servers under one name: what a test says of one must be true of the other."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.envtest import real_api_server
from tests.fakes.kubernetes import ApiServer, FakeApiServer

__all__ = ["real_api_server"]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeApiServer]:
    """Our own server."""
    with FakeApiServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["ours", pytest.param("real", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest) -> ApiServer:
    """Ours, and the real one where it is installed."""
    name = {"ours": "fake", "real": "real_api_server"}[request.param]
    found: ApiServer = request.getfixturevalue(name)
    return found


@pytest.fixture
def place(server: ApiServer) -> str:
    """A namespace of this test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    server.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name
