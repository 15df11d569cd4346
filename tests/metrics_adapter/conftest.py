"""A running adapter between a fake API server and a fake controller, all on loopback."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from metrics_adapter.process import wall
from metrics_adapter.service import Adapter
from metrics_adapter.settings import AdapterSettings
from tests.metrics_adapter.cluster import HPA, FakeCluster, FakeController
from tests.waiting import until

AGGREGATOR = {"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"}
AS_HPA = [
    ("Accept", "application/vnd.kubernetes.protobuf, */*"),
    ("X-Remote-User", HPA),
    ("X-Remote-Uid", "5c5d51f6-0000-4000-8000-000000000000"),
    ("X-Remote-Group", "system:serviceaccounts"),
    ("X-Remote-Group", "system:serviceaccounts:kube-system"),
    ("X-Remote-Group", "system:authenticated"),
    ("X-Remote-Extra-Authentication.kubernetes.io%2fcredential-Id", "JTI=1"),
]

Headers = dict[str, str] | list[tuple[str, str]] | None


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        assert self.document["kind"] == "Status"
        assert self.document["code"] == self.status
        return str(self.document["message"])


class Clock:
    """Seconds that rise when told."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class _Connection(http.client.HTTPSConnection):
    """Connects to an address and asks for a name there, as the API server does."""

    def __init__(self, name: str, address: tuple[str, int], context: ssl.SSLContext) -> None:
        context.check_hostname = True
        super().__init__(name, address[1], context=context, timeout=10)
        self._address, self._tls = address, context

    def connect(self) -> None:
        plain = socket.create_connection(self._address, timeout=10)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class Running:
    """An adapter in a thread, and ways to ask it."""

    def __init__(
        self,
        settings: AdapterSettings,
        serving: trustme.CA,
        front: trustme.CA,
        *,
        waits: bool = True,
        ago: float = 0.0,
    ) -> None:
        self.clock, self.wall = Clock(1000.0), Clock(wall() - ago)
        self.adapter = Adapter(settings, self.wall, self.clock)
        self._trusted = serving.cert_pem.bytes().decode()
        self._name = "localhost"
        self.front_proxy_client = front.issue_cert(common_name="front-proxy-client")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self.error: BaseException | None = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        if waits:
            started.result(20)

    def _run(self, started: "Future[None]") -> None:
        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            await self.adapter.run(self._stopping, lambda: started.set_result(None))

        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001
            self.error = error
            if not started.done():
                started.set_exception(error)

    @property
    def address(self) -> tuple[str, int]:
        return self.adapter.address

    def context(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._trusted)
        if certificate is not None:
            certificate.configure_cert(context)
        return context

    def trust(self, bundle: bytes, name: str) -> None:
        """Believe what these authorities signed, for this name."""
        self._trusted, self._name = bundle.decode(), name

    def connect(self, certificate: trustme.LeafCert | None) -> http.client.HTTPSConnection:
        return _Connection(self._name, self.address, self.context(certificate))

    def get(
        self, path: str, headers: Headers = None, *, method: str = "GET", proxied: bool = True
    ) -> Answer:
        """Ask as the API server does; `proxied=False`: as anybody else."""
        return self.ask(path, headers, self.front_proxy_client if proxied else None, method=method)

    def ask(
        self,
        path: str,
        headers: Headers,
        certificate: trustme.LeafCert | None,
        *,
        method: str = "GET",
    ) -> Answer:
        connection = self.connect(certificate)
        try:
            return request(connection, path, headers, method=method)
        finally:
            connection.close()

    def call(self, work: Callable[[], None]) -> None:
        """Do something in the adapter's own loop."""
        assert self._loop is not None
        done: Future[None] = Future()

        def do() -> None:
            work()
            done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result(10)

    def begin_stopping(self) -> None:
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it ends just now
                self._loop.call_soon_threadsafe(self._stopping.set)

    def ended(self) -> None:
        """Wait until it has ended by itself."""
        self._thread.join(20)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self.begin_stopping()
        self.ended()


def request(
    connection: http.client.HTTPSConnection, path: str, headers: Headers, *, method: str = "GET"
) -> Answer:
    connection.putrequest(method, path, skip_accept_encoding=True)
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    for name, value in pairs:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, found, answer.read())


@pytest.fixture(scope="session")
def front() -> trustme.CA:
    """The front proxy's authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def serving() -> trustme.CA:
    """The authority of the adapter's own certificate."""
    return trustme.CA()


@pytest.fixture
def cluster(tmp_path: Path, front: trustme.CA) -> Iterator[FakeCluster]:
    server = FakeCluster(tmp_path, front)
    yield server
    server.stop()


@pytest.fixture
def controller() -> Iterator[FakeController]:
    server = FakeController()
    yield server
    server.stop()


Start = Callable[..., Running]


@pytest.fixture
def start(
    tmp_path: Path,
    cluster: FakeCluster,
    controller: FakeController,
    serving: trustme.CA,
    front: trustme.CA,
) -> Iterator[Start]:
    with starting(tmp_path, cluster, controller, serving, front) as begin:
        yield begin


@pytest.fixture
def adapter(start: Start) -> Running:
    """One that follows a plan and knows the front proxy."""
    return start()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, serving: trustme.CA, front: trustme.CA
) -> Iterator[Running]:
    """One for all tests of a module, which change nothing of it."""
    folder = tmp_path_factory.mktemp("shared")
    cluster, controller = FakeCluster(folder, front), FakeController()
    with starting(folder, cluster, controller, serving, front) as begin:
        yield begin()
    controller.stop()
    cluster.stop()


@contextmanager
def starting(
    folder: Path,
    cluster: FakeCluster,
    controller: FakeController,
    serving: trustme.CA,
    front: trustme.CA,
) -> Iterator[Start]:
    running: list[Running] = []
    certificate = serving.issue_cert("localhost")
    cert_file, key_file = folder / "tls.crt", folder / "tls.key"
    certificate.cert_chain_pems[0].write_to_path(str(cert_file))
    certificate.private_key_pem.write_to_path(str(key_file))

    def begin(
        *,
        follows: bool = True,
        waits: bool = True,
        ago: float = 0.0,
        serving_settings: Any = None,
        **settings: Any,
    ) -> Running:
        document = {
            "controller": {"url": controller.url, "waitSeconds": 2},
            "apiServer": {
                "url": cluster.url,
                "caFile": cluster.ca_file,
                "tokenFile": cluster.token_file,
            },
            "serving": {
                "host": "127.0.0.1",
                "port": 0,
                "certFile": cert_file,
                "keyFile": key_file,
                "drainSeconds": 0,
                **(serving_settings or {}),
            },
            **settings,
        }
        adapter = Running(
            AdapterSettings.model_validate(document), serving, front, waits=waits, ago=ago
        )
        running.append(adapter)
        if follows:
            until(lambda: not adapter.adapter.lacks())
        return adapter

    try:
        yield begin
    finally:
        for one in running:
            one.stop()
