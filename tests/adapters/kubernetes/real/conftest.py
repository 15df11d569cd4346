"""Both API servers under one name: what the product does to one it does to the other.

Nothing but the address changes. The real one is there where `KUBEBUILDER_ASSETS` says so.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.service import wall
from tests.adapters.kubernetes.conftest import MORE
from tests.adapters.kubernetes.real.place import ENGINE, Place
from tests.adapters.kubernetes.real.tool import PROGRAM, Kubectl
from tests.fakes.conftest import place as namespace
from tests.fakes.envtest import RealApiServer, real_api_server
from tests.fakes.kubernetes import ApiServer, FakeApiServer

__all__ = ["namespace", "real_api_server"]


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[FakeApiServer]:
    """Our own server, at the time of day: what it stamps is compared with the real one's."""
    with FakeApiServer(tmp_path, clock=wall, resources=MORE) as server:
        yield server


@pytest.fixture
def real(real_api_server: RealApiServer) -> ApiServer:
    real_api_server.define(ENGINE)
    return real_api_server


@pytest.fixture(params=["ours", pytest.param("real", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest) -> ApiServer:
    found: ApiServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def connection(server: ApiServer) -> Iterator[Connection]:
    opened = Connection.open(server.kubeconfig_path)
    yield opened
    opened.close()


@pytest.fixture
def place(server: ApiServer, namespace: str, connection: Connection) -> Place:
    return Place(server, namespace, connection, Kinds(connection))


@pytest.fixture
def kubectl(place: Place, tmp_path: Path) -> Kubectl:
    if PROGRAM is None:
        pytest.skip("kubectl is not installed")
    return Kubectl(place, tmp_path)
