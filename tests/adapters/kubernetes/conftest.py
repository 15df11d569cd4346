"""A fake API server for each test, and a connection to it that does not dawdle."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.adapters.kubernetes.connection import Connection, Limits
from tests.fakes.kubernetes import FakeApiServer, custom
from tests.fakes.kubernetes.resources import EVERYTHING, ScalePaths

HASTY = Limits(
    connect_seconds=2.0,
    read_seconds=0.5,
    deadline_seconds=3.0,
    first_wait_seconds=0.01,
    longest_wait_seconds=0.05,
)
"""A test waits for nothing that will not come."""

MORE = (
    *EVERYTHING,
    custom("karpenter.sh", "v1", "nodeclaims", "NodeClaim", namespaced=False),
    custom("example.com", "v1", "engines", "Engine", scale=ScalePaths("spec.size", "status.size")),
    custom("example.com", "v1", "tellers", "Teller", scale=ScalePaths(selector="status.selector")),
    custom("example.com", "v1", "stones", "Stone"),
)
"""What the cluster serves: also kinds that nobody has heard of."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApiServer]:
    with FakeApiServer(tmp_path, resources=MORE) as server:
        yield server


@pytest.fixture
def connection(api: FakeApiServer) -> Iterator[Connection]:
    opened = Connection.open(api.kubeconfig_path, limits=HASTY)
    yield opened
    opened.close()
