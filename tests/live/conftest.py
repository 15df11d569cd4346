"""The stage: our Kubernetes API every day, the real one where it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.service import wall
from tests.fakes.envtest import real_api_server
from tests.fakes.kubernetes import ApiServer, FakeApiServer
from tests.fakes.prometheus import needed
from tests.live.stage import Stage

__all__ = ["real_api_server"]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeApiServer]:
    needed()
    with FakeApiServer(tmp_path, clock=wall) as server:
        yield server


@pytest.fixture
def stage(tmp_path: Path, fake: FakeApiServer) -> Iterator[Stage]:
    """A stage with our own server, which can be made to fail."""
    with Stage(tmp_path, fake) as found:
        yield found


@pytest.fixture(params=["ours", "real"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A stage with our own server, and one with the real server."""
    name = {"ours": "fake", "real": "real_api_server"}[request.param]
    server: ApiServer = request.getfixturevalue(name)
    with Stage(tmp_path, server) as found:
        yield found
