"""run --once, and explain against a live cluster or a running controller."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.compose import live_service
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.past import Mark, Past
from autoscaler.core.planner import FleetState
from autoscaler.service import wall
from autoscaler.settings import read_settings
from autoscaler.state import dump_state
from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from tests.cli.conftest import Ran
from tests.fakes.kubernetes import FakeApiServer, objects
from tests.fakes.kubernetes.client import write_kubeconfig
from tests.fakes.prometheus_double import Asked, Line, PrometheusDouble, always

Run = Callable[..., Ran]
TARGET = "/apis/apps/v1/namespaces/llm/deployments/chat"
POLICY = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {name: chat, namespace: llm}
spec:
  target: {kind: Deployment, name: chat}
  actuation: scale
  replicas: {min: 1, max: 9}
  match: {model_name: chat}
  signals:
    queue_length: {role: queue, query: "sum by ($labels) (vllm:num_requests_waiting{$match})"}
  policies:
    - {type: target-tracking, signal: queue_length, target: 10}
"""


def waiting(requests: float) -> Callable[[Asked], list[Line]]:
    return lambda asked: [Line({"model_name": "chat"}, always(requests))]


@pytest.fixture
def prometheus() -> Iterator[PrometheusDouble]:
    with PrometheusDouble(waiting(35)) as double:
        yield double


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApiServer]:
    with FakeApiServer(tmp_path) as server:
        server.add(objects.config_map("other", namespace="ours"))
        server.add(objects.deployment("chat", namespace="llm", replicas=2))
        yield server


@pytest.fixture
def live(prometheus: PrometheusDouble, api: FakeApiServer) -> tuple[str, ...]:
    Path("policy.yaml").write_text(POLICY)
    return ("--prometheus", prometheus.url, "--kubeconfig", str(api.kubeconfig_path))


def replicas(api: FakeApiServer) -> int:
    found: int = api.peek(TARGET)["spec"]["replicas"]
    return found


@pytest.fixture
def once(run: Run, live: tuple[str, ...]) -> Callable[..., Ran]:
    def command(*more: str) -> Ran:
        lease = "leaseSeconds=3", "renewSeconds=2", "retrySeconds=0.2", "leaseRequestSeconds=1"
        quickly = [part for pair in lease for part in ("--set", pair)]
        return run("run", "policy.yaml", "--once", "--namespace", "ours", *live, *quickly, *more)

    return command


def test_once_scales_prints_why_and_gives_the_lease_back(
    once: Callable[..., Ran], api: FakeApiServer
) -> None:
    ran = once()

    assert ran.code == 0, ran.err
    assert replicas(api) == 4
    lines = ran.out.split("\n")
    assert lines[0].split() == ["workload", "current", "replicas", "reason", "done"]
    assert lines[1].split() == ["llm/chat", "2", "4", "recommended", "yes"]
    assert "llm/chat: " in ran.out
    lease = api.peek("/apis/coordination.k8s.io/v1/namespaces/ours/leases/inference-autoscaler")
    assert not lease["spec"].get("holderIdentity")


def test_once_in_shadow_mode_changes_nothing(once: Callable[..., Ran], api: FakeApiServer) -> None:
    ran = once("--shadow", "--json")

    assert ran.code == 0
    assert replicas(api) == 2
    assert api.requests.writes == []
    assert json.loads(ran.out)["workloads"][0]["replicas"] == "4"
    assert json.loads(ran.out)["mode"] == "shadow"


def test_once_fails_where_nothing_is_seen(
    once: Callable[..., Ran], api: FakeApiServer, prometheus: PrometheusDouble
) -> None:
    prometheus.answer = lambda asked: []

    ran = once()

    assert ran.code == 1
    assert replicas(api) == 2
    assert "no series" in ran.out


def test_once_fails_where_the_lease_cannot_be_had(
    once: Callable[..., Ran], api: FakeApiServer
) -> None:
    with api.faults.during(path="/leases", status=403):
        ran = once()

    assert ran.code == 1
    assert replicas(api) == 2
    assert "nothing was changed: " in ran.err
    assert "leases" in ran.err


def test_once_fails_where_the_change_is_refused(
    once: Callable[..., Ran], api: FakeApiServer
) -> None:
    api.faults.add(method="PATCH", path="/scale", status=403)

    ran = once()

    assert ran.code == 1
    assert "no: " in ran.out
    assert "grant the verb patch" in ran.out


def test_a_source_that_is_not_configured_is_refused_at_the_start(
    run: Run, live: tuple[str, ...], api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_eu(name: str) -> str:
        text = POLICY.replace("name: chat", f"name: {name}")
        return text.replace("  actuation", "  source: eu\n  actuation")

    Path("policy.yaml").write_text(f"{POLICY}---\n{at_eu('far')}---\n{at_eu('farther')}")
    monkeypatch.setenv("AUTOSCALER_PROMETEUS", "http://prometheus:9090")

    ran = run("run", "policy.yaml", *live[2:])

    warning, default, eu = ran.err.splitlines()
    assert ran.code == 2
    assert warning.startswith("warning: AUTOSCALER_PROMETEUS: no setting has this name")
    assert default == (
        "policy.yaml:4: spec.source: 'default' is not configured: llm/chat would see nothing; "
        "configured are: none; --prometheus takes its address"
    )
    assert eu == (
        "policy.yaml:19: spec.source: 'eu' is not configured: llm/far and 1 more would see "
        "nothing; configured are: none; `sources` lists such ones"
    )


def test_once_gives_up_soon_where_nobody_listens_and_says_what_happened(
    run: Run, prometheus: PrometheusDouble, tmp_path: Path
) -> None:
    with socket.socket() as one:  # bound, and nobody listens: every connection is refused
        one.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{one.getsockname()[1]}"
        Path("policy.yaml").write_text(POLICY)
        kubeconfig = write_kubeconfig(tmp_path / "nobody", host)
        ends = "--prometheus", prometheus.url, "--kubeconfig", str(kubeconfig)
        began = time.monotonic()

        ran = run("run", "policy.yaml", "--once", *ends, "--set", "leaseSeconds=600")

    assert ran.code == 1
    assert f"no answer from {host}: connection refused" in ran.out
    assert "nothing was changed: get leases" in ran.err
    # The lease alone would have been waited for ten minutes.
    assert time.monotonic() - began < 120


def test_a_prometheus_that_is_gone_is_told_once_for_all_policies(
    once: Callable[..., Ran], live: tuple[str, ...]
) -> None:
    Path("policy.yaml").write_text(
        f"{POLICY}    - {{type: watermark, signal: queue_length, high: 9, low: 1}}\n"
    )
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        ran = once("--prometheus", f"http://127.0.0.1:{one.getsockname()[1]}")

    said = ran.out.partition("llm/chat: ")[2]
    assert ran.code == 1
    assert said.count("connection refused") == 1
    assert "(the same)" in said


def test_wrong_settings_are_told_before_anything_is_asked(
    run: Run, live: tuple[str, ...], api: FakeApiServer
) -> None:
    ran = run("run", "policy.yaml", *live, "--set", "interval=3")

    assert (ran.code, ran.err) == (
        2, "--set interval: no setting has this name; did you mean 'intervalSeconds'?\n"
    )  # fmt: skip
    assert api.requests.writes == []


def test_explain_looks_at_the_live_cluster_and_changes_nothing(
    run: Run, live: tuple[str, ...], api: FakeApiServer
) -> None:
    ran = run("explain", "chat", "--policy", "policy.yaml", *live)

    assert ran.code == 0, ran.err
    assert "llm/chat at " in ran.out
    assert "2 -> 4 (recommended)" in ran.out
    assert api.requests.writes == []
    assert replicas(api) == 2


def test_explain_shows_the_decrease_that_the_controller_would_make(
    run: Run, live: tuple[str, ...], api: FakeApiServer, prometheus: PrometheusDouble
) -> None:
    now = wall()
    past = Past(recommendations=(Mark(now - 900, 1),), desired=2, asleep=False)
    store = ClusterStore(Connection.open(api.kubeconfig_path), "ours", "inference-autoscaler-state")
    store.save(dump_state(FleetState({"llm/chat": past}), now))
    prometheus.answer = waiting(5)
    written = len(api.requests.writes)

    ran = run("explain", "chat", "--policy", "policy.yaml", *live, "--namespace", "ours", "--json")

    assert ran.code == 0, ran.err
    decision = json.loads(ran.out)
    assert (decision["current"], decision["combined"]) == (2, 1)
    assert "not known" not in decision["text"]
    assert len(api.requests.writes) == written


def test_explain_of_an_unknown_workload_names_those_that_are_known(
    run: Run, live: tuple[str, ...]
) -> None:
    ran = run("explain", "cat", "--policy", "policy.yaml", *live)

    assert (ran.code, ran.err) == (
        2, "policy.yaml: no workload is called 'cat'; there are: llm/chat\n"
    )  # fmt: skip


@pytest.fixture
def controller(live: tuple[str, ...]) -> Iterator[TelemetryServer]:
    """A controller that has run one cycle in shadow mode, with its server."""
    flags = {"prometheus": live[1], "kubeconfig": live[3], "shadow": True}
    Path("token").write_text("open sesame\n")
    service = live_service(read_settings(flags=flags), PolicyFiles([Path("policy.yaml")]))
    server = TelemetryServer(service.latest, ServerSettings(port=0, token_file=Path("token")))
    server.start()
    service.tick()
    yield server
    server.stop()
    service.stop()


def test_explain_asks_a_running_controller(run: Run, controller: TelemetryServer) -> None:
    ran = run("explain", "llm/chat", "--url", controller.url, "--token-file", "token")

    assert ran.code == 0, ran.err
    assert "2 -> 4 (recommended)" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(("cat", "--token-file", "token"), 2, "cat", id="an unknown workload"),
        pytest.param(("chat",), 1, "401", id="no token"),
        pytest.param(("chat", "--token-file", "absent"), 2, "no such file", id="no token file"),
    ],
)
def test_what_a_controller_refuses_is_told(
    run: Run, controller: TelemetryServer, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ran = run("explain", *arguments, "--url", controller.url)

    assert ran.code == code
    assert says in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param((), 2, "one of --journal, --url and --policy", id="nowhere to look"),
        pytest.param(("--url", "ftp://x"), 2, "should begin with http", id="no address"),
        pytest.param(("--url", "http://127.0.0.1:9"), 1, "no answer", id="nobody there"),
    ],
)
def test_explain_says_where_it_cannot_look(
    run: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ran = run("explain", "chat", *arguments)

    assert ran.code == code
    assert says in ran.err
