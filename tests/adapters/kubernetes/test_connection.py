"""The connection over real HTTP: deadlines, retries, TLS, and errors that say what to do."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException
from urllib3.exceptions import ConnectTimeoutError, ProtocolError

from autoscaler.adapters.kubernetes.connection import Connection, Limits, _plain
from autoscaler.adapters.kubernetes.requests import MERGE_PATCH, KubernetesError
from autoscaler.core.errors import ConfigError
from tests.adapters.kubernetes.conftest import HASTY
from tests.fakes.kubernetes import Break, FakeApiServer, objects
from tests.fakes.kubernetes.client import write_kubeconfig

CHAT = "/apis/apps/v1/namespaces/default/deployments/chat"


@pytest.fixture(autouse=True)
def chat(api: FakeApiServer) -> None:
    api.add(objects.deployment("chat", replicas=3))


def patient(
    api: FakeApiServer, waits: list[float], limits: Limits = HASTY, chance: float = 1.0
) -> Connection:
    """A connection that notes its waits instead of waiting."""
    configuration = Configuration(host=api.address)
    return Connection(configuration, limits=limits, pause=waits.append, chance=lambda: chance)


def test_an_object_is_plain_json(connection: Connection) -> None:
    found = connection.get(CHAT)

    assert found["spec"]["replicas"] == 3


def test_a_merge_patch_says_who_writes(api: FakeApiServer, connection: Connection) -> None:
    connection.ask(
        "PATCH",
        f"{CHAT}/scale",
        query=(("fieldManager", "inference-autoscaler"),),
        body={"spec": {"replicas": 5}},
        content_type=MERGE_PATCH,
    )

    (request,) = api.requests.writes
    assert request.headers["Content-Type"] == MERGE_PATCH
    assert request.headers["User-Agent"] == "inference-autoscaler"
    assert api.peek(CHAT)["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 429}, id="429"),
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"breaks": Break.RESET}, id="connection reset"),
        pytest.param({"breaks": Break.HALF}, id="half an answer"),
        pytest.param({"breaks": Break.MALFORMED}, id="no JSON"),
        pytest.param(
            {"breaks": Break.HANG}, id="no answer within the time-out", marks=pytest.mark.slow
        ),
    ],
)
def test_what_passes_is_asked_again(
    api: FakeApiServer, connection: Connection, fault: dict[str, Any]
) -> None:
    armed = api.faults.add(times=2, **fault)

    assert connection.get(CHAT)["spec"]["replicas"] == 3
    assert armed.hits == 2


def test_waits_double_with_jitter_up_to_a_limit(api: FakeApiServer) -> None:
    waits: list[float] = []
    limits = Limits(first_wait_seconds=0.1, longest_wait_seconds=0.5)
    connection = patient(api, waits, limits, chance=0.5)
    api.faults.add(status=503, times=5)

    connection.get(CHAT)

    assert waits == pytest.approx([0.075, 0.15, 0.3, 0.375, 0.375])
    connection.close()


def test_the_server_says_how_long_to_wait(api: FakeApiServer) -> None:
    waits: list[float] = []
    connection = patient(api, waits)
    api.faults.add(status=429, retry_after=2)

    connection.get(CHAT)

    assert waits == pytest.approx([2.01])
    connection.close()


def test_nobody_waits_beyond_the_deadline(api: FakeApiServer) -> None:
    waits: list[float] = []
    connection = patient(api, waits)
    api.faults.add(status=429, retry_after=60, message="too many")

    with pytest.raises(KubernetesError) as failed:
        connection.get(CHAT)

    assert waits == []
    assert str(failed.value) == (
        "get deployments.apps default/chat: 429, the API server asks us to slow down (too many)"
    )
    connection.close()


def test_after_the_deadline_the_tries_are_told(api: FakeApiServer, connection: Connection) -> None:
    with (
        api.faults.during(status=503, message="starting"),
        pytest.raises(KubernetesError) as failed,
    ):
        connection.get(CHAT, deadline_seconds=1.5)

    # The last try may have been cut off in the middle.
    text = (
        r"get deployments\.apps default/chat: (503, starting|no answer from .*) \(tried \d+ times"
    )
    assert re.match(text, str(failed.value))


def test_what_does_not_pass_is_asked_once(api: FakeApiServer, connection: Connection) -> None:
    with pytest.raises(KubernetesError, match="404, there is no such object") as failed:
        connection.get(f"{CHAT}2")

    assert failed.value.status == 404
    assert len(api.requests) == 1


def test_a_single_try_may_be_asked_for(api: FakeApiServer, connection: Connection) -> None:
    api.faults.add(status=503)

    with pytest.raises(KubernetesError):
        connection.ask("GET", CHAT, retry=False)

    assert len(api.requests) == 1


def test_a_creation_that_may_have_happened_is_not_repeated(
    api: FakeApiServer, connection: Connection
) -> None:
    api.faults.add(method="POST", breaks=Break.LOST)
    path = "/api/v1/namespaces/default/configmaps"

    with pytest.raises(KubernetesError, match="no answer from"):
        connection.ask("POST", path, body=objects.config_map("c"))

    assert len(api.objects(path)) == 1


def test_a_role_that_lacks_a_right_is_explained(api: FakeApiServer) -> None:
    role = objects.role(
        "r", {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}
    )
    account = api.account("default", "autoscaler", role)
    connection = Connection.open(account.kubeconfig_path, limits=HASTY)

    assert connection.get(CHAT)["spec"]["replicas"] == 3
    with pytest.raises(KubernetesError) as failed:
        connection.get(f"{CHAT}/scale")

    assert (
        "403, not allowed: grant the verb get on deployments.apps/scale in namespace default "
        in (str(failed.value))
    )
    assert account.token is not None
    assert account.token not in str(failed.value)
    connection.close()


def test_a_token_is_never_in_a_message(api: FakeApiServer, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", api.address, token="s3cret-token")
    connection = Connection.open(path, limits=HASTY)
    api.faults.add(status=400, message="malformed header: Bearer s3cret-token")

    with pytest.raises(KubernetesError) as failed:
        connection.get(CHAT)

    assert "s3cret" not in str(failed.value)
    assert "malformed header: ***" in str(failed.value)
    connection.close()


def test_an_address_where_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    path = write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{port}")
    connection = Connection.open(path, limits=HASTY)

    with pytest.raises(KubernetesError) as failed:
        connection.get(CHAT, deadline_seconds=0.1)

    assert f"no answer from http://127.0.0.1:{port}: connection refused" in str(failed.value)
    assert not failed.value.sent
    connection.close()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        pytest.param(Break.RESET, "connection reset by peer", id="reset"),
        pytest.param(Break.HANG, "no answer in time", id="silence"),
    ],
)
def test_what_broke_is_said_in_the_same_few_words_each_time(
    api: FakeApiServer, connection: Connection, breaks: Break, said: str
) -> None:
    for _ in range(2):
        with (
            api.faults.during(breaks=breaks),
            pytest.raises(KubernetesError) as failed,
        ):
            connection.ask("GET", CHAT, retry=False, deadline_seconds=0.1)

        assert str(failed.value).endswith(f"no answer from {api.address}: {said}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(ConnectTimeoutError(), "no connection in time", id="no connection"),
        pytest.param(ProtocolError("Connection broken"), "", id="a break without a cause"),
        pytest.param(ValueError("odd"), "", id="anything else"),
    ],
)
def test_few_words_are_found_where_the_reason_is_known(error: Exception, said: str) -> None:
    assert _plain(error) == said


def test_many_threads_share_a_connection(api: FakeApiServer, connection: Connection) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(connection.get(CHAT)["spec"]["replicas"]))
        for _ in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [3] * 32


@contextmanager
def a_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does one thing to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)

        def serve() -> None:
            while True:
                try:
                    came, _ = listening.accept()
                except OSError:
                    return
                with came:
                    try:
                        answer(came)
                    except OSError:
                        continue  # the client went away, as the test wants

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_server_that_drips_does_not_outlast_the_deadline(tmp_path: Path) -> None:
    def drip(came: socket.socket) -> None:
        came.recv(4096)
        came.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            came.sendall(b" ")
            time.sleep(0.05)

    with a_server(drip) as port:
        path = write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{port}")
        connection = Connection.open(path, limits=HASTY)
        began = time.monotonic()

        with pytest.raises(KubernetesError, match="did not end within the deadline"):
            connection.get(CHAT, deadline_seconds=0.3)

        assert time.monotonic() - began < 10
        connection.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def greet(came: socket.socket) -> None:
        context.wrap_socket(came, server_side=True).close()

    with a_server(greet) as port:
        path = write_kubeconfig(tmp_path / "k", f"https://127.0.0.1:{port}")
        connection = Connection.open(path, limits=HASTY)

        with pytest.raises(KubernetesError, match=r"(?i)certificate verify failed"):
            connection.get(CHAT, deadline_seconds=0.1)

        assert connection.verified
        connection.close()


def test_only_the_kubeconfig_can_switch_verification_off(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1")
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path.write_text(yaml.safe_dump(content))

    connection = Connection.open(path)

    assert not connection.verified
    connection.close()


def test_nobody_listening_is_remembered_until_somebody_answers(api: FakeApiServer) -> None:
    now = [100.0]
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    hurried = replace(HASTY, first_wait_seconds=0.4, longest_wait_seconds=5.0, unsent_seconds=1.0)
    configuration = Configuration(host="http://127.0.0.1:1")
    connection = Connection(
        configuration,
        limits=hurried,
        monotonic=lambda: now[0],
        pause=pause,
        chance=lambda: 1.0,
    )

    assert (connection.failure, connection.refused_seconds) == ("", 0.0)
    with pytest.raises(KubernetesError, match=r"connection refused \(tried 2 times"):
        connection.get(CHAT, deadline_seconds=60.0)
    now[0] += 5.0

    assert waits == [0.4], "the next wait would be beyond the second that is given"
    assert connection.failure == "no answer from http://127.0.0.1:1: connection refused"
    assert connection.refused_seconds == pytest.approx(5.4)

    connection._client.configuration.host = api.address
    connection.get(CHAT)
    assert (connection.failure, connection.refused_seconds) == ("", 0.0)
    connection.close()


def test_who_listens_and_breaks_off_is_not_nobody(api: FakeApiServer) -> None:
    api.faults.add(times=1, breaks=Break.RESET)
    connection = patient(api, [])

    with pytest.raises(KubernetesError):
        connection.ask("GET", CHAT, retry=False)

    assert connection.failure.startswith(f"no answer from {api.address}: ")
    assert connection.refused_seconds == 0.0
    connection.close()


def test_without_a_kubeconfig_it_says_which_was_looked_for_and_how_to_name_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise ConfigException("Invalid kube-config file. No configuration found.")

    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    monkeypatch.setattr("autoscaler.adapters.kubernetes.connection.load_kube_config", nothing)

    with pytest.raises(ConfigError) as told:
        Connection.open()

    assert str(told.value) == (
        "/nowhere/config, as we are in no pod: no usable Kubernetes configuration: Invalid "
        "kube-config file. No configuration found; --kubeconfig names another "
        "(`autoscaler backtest` needs no cluster)"
    )


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such: no usable Kubernetes configuration: "):
        Connection.open(tmp_path / "no-such")


def test_a_context_that_is_not_there(api: FakeApiServer) -> None:
    with pytest.raises(ConfigError, match=r"no usable Kubernetes configuration: .*staging"):
        Connection.open(api.kubeconfig_path, "staging")


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "ca.crt").write_text("a certificate")
    module = "kubernetes.config.incluster_config"
    monkeypatch.setattr(f"{module}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{module}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")

    connection = Connection.open()

    assert connection.host == "https://127.0.0.1:6443"
    assert connection.verified
    connection.close()


def test_a_token_that_cannot_be_renewed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(configuration: Any) -> None:
        raise OSError("token: permission denied")

    configuration: Any = Configuration(
        host="http://127.0.0.1:1", api_key={"BearerToken": "bearer abc"}
    )
    configuration.refresh_api_key_hook = fail
    connection = Connection(configuration, limits=HASTY)

    with pytest.raises(KubernetesError, match="no request could be made: token: permission den"):
        connection.get(CHAT, deadline_seconds=0.1)
    connection.close()


def test_outside_of_a_cluster_the_usual_kubeconfig_counts(
    api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(api.kubeconfig_path)
    )

    connection = Connection.open()

    assert connection.host == api.address
    connection.close()


def test_a_line_without_an_end_is_not_kept(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.kubernetes.connection._LONGEST_LINE", 100)

    def endless(came: socket.socket) -> None:
        came.recv(4096)
        came.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)

    with a_server(endless) as port:
        connection = Connection(Configuration(host=f"http://127.0.0.1:{port}"), limits=HASTY)
        stream = connection.follow("/api/v1/pods", (), read_seconds=1.0)

        with pytest.raises(KubernetesError, match=r"watch pods: .*a line longer than 100 bytes"):
            list(stream.lines())
        connection.close()


def test_a_watch_that_ends_within_a_line_is_broken() -> None:
    def cut(came: socket.socket) -> None:
        came.recv(4096)
        came.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"type": "BOOKMARK"}\n{"ty')

    with a_server(cut) as port:
        connection = Connection(Configuration(host=f"http://127.0.0.1:{port}"), limits=HASTY)
        lines = connection.follow("/api/v1/pods", (), read_seconds=1.0).lines()

        assert next(lines) == b'{"type": "BOOKMARK"}'
        with pytest.raises(KubernetesError, match="the answer ended within a line"):
            next(lines)
        connection.close()
