"""The parts of the process: which of them run, and what the failure of one means."""

import socket
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from autoscaler.core.errors import ConfigError
from metrics_adapter.authority import DAY
from metrics_adapter.targets import CUSTOM
from tests.metrics_adapter.cluster import FakeCluster, raw
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Start
from tests.waiting import until

LIST = "/apis/external.metrics.k8s.io/v1beta1"


def test_a_group_that_is_not_served_is_not_there(start: Start) -> None:
    adapter = start(groups=[CUSTOM])

    assert adapter.get(LIST, AGGREGATOR).status == 404
    assert adapter.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 404
    assert adapter.get("/apis/custom.metrics.k8s.io/v1beta2", AGGREGATOR).status == 200


def test_without_any_api_the_plan_is_followed_all_the_same(
    start: Start, cluster: FakeCluster
) -> None:
    adapter = start(groups=[])

    assert adapter.adapter.newest.board is not None
    assert cluster.asked == []


@pytest.mark.parametrize("own", [True, False], ids=["own certificate", "certificate in files"])
def test_without_any_api_probes_are_answered_and_nothing_else(
    start: Start, cluster: FakeCluster, own: bool
) -> None:
    """The Deployment's probes are the same; without an answer the kubelet would restart it."""
    files = {"certFile": None, "keyFile": None} if own else {}
    adapter = start(groups=[], serving_settings=files)
    kubelet = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    kubelet.check_hostname, kubelet.verify_mode = False, ssl.CERT_NONE

    def answer(path: str, *headers: str) -> tuple[int, bytes]:
        lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *headers]
        found = raw(adapter.address, kubelet, "\r\n".join([*lines, "", ""]).encode())
        return int(found.split()[1]), found

    assert answer("/livez")[0] == answer("/readyz")[0] == 200
    assert answer("/apis")[0] == 403
    assert answer(f"{LIST}/namespaces/llm/load")[0] == 403
    assert answer("/apis", "Authorization: Bearer adapter-token")[0] == 401

    adapter.clock.now += 100
    code, said = answer("/readyz")
    assert code == 503
    assert b"the newest plan is 100 s old" in said
    assert answer("/livez")[0] == 200
    assert cluster.asked == []


def test_the_certificate_for_probes_is_renewed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_adapter.probes.LOOK_SECONDS", 0.02)
    with capture_logs() as logs:
        adapter = start(groups=[], serving_settings={"certFile": None, "keyFile": None})
        adapter.wall.now += 21 * DAY
        until(lambda: any(one["event"] == "certificate loaded" for one in logs))


def test_keda_is_served_beside_the_apis_or_without_them(start: Start) -> None:
    with capture_logs() as logs:
        start(groups=[], keda={"port": 0})
        until(lambda: any(one["event"] == "serving KEDA" for one in logs))

    (told,) = [one for one in logs if one["event"] == "serving KEDA"]
    host, _, port = told["address"].rpartition(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=5):
        pass


def test_a_part_that_fails_ends_the_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that follows nothing any more must not look alive."""

    async def broken(self: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("metrics_adapter.follower.Follower.run", broken)
    adapter = start(follows=False, waits=False)
    adapter.ended()

    assert isinstance(adapter.error, RuntimeError)
    assert isinstance(adapter.error.__cause__, ZeroDivisionError)


def test_a_mistake_in_the_settings_of_a_part_ends_the_process(start: Start, tmp_path: Path) -> None:
    controller = {"url": "https://127.0.0.1:1", "caFile": tmp_path / "none"}
    adapter = start(follows=False, waits=False, controller=controller)
    adapter.ended()

    assert isinstance(adapter.error, ConfigError)
