"""Behind a real kube-apiserver: our manifests, its aggregation layer, its front proxy, its rights.

There are no controllers, so no HPA asks; its account is impersonated, and asks the same.
"""

import base64
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from metrics_adapter.settings import AdapterSettings
from tests.builders import NOON
from tests.fakes.envtest import RealApiServer, why_absent
from tests.metrics_adapter.cluster import HPA, FakeController, raw, until
from tests.metrics_adapter.conftest import Running
from tests.metrics_adapter.plans import a_row, a_signal

pytestmark = pytest.mark.slow

MANIFESTS = Path(__file__).parents[2] / "manifests" / "metrics-api"
OURS = "inference-autoscaler"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AS_HPA = {
    "Impersonate-User": HPA,
    "Impersonate-Group": "system:serviceaccounts",
}


class AggregatingApiServer(RealApiServer):
    """One with an aggregation layer: it has a front proxy's certificate."""

    def __init__(self, folder: Path) -> None:
        self.front = trustme.CA()
        client = self.front.issue_cert(common_name="front-proxy-client")
        self.front.cert_pem.write_to_path(str(folder / "front.crt"))
        client.cert_chain_pems[0].write_to_path(str(folder / "proxy.crt"))
        client.private_key_pem.write_to_path(str(folder / "proxy.key"))
        super().__init__(folder, resources=())

    def _run(self, binary: Path, *flags: str) -> None:
        if binary.name == "kube-apiserver":
            folder = self._folder
            flags = (
                *flags,
                f"--requestheader-client-ca-file={folder / 'front.crt'}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={folder / 'proxy.crt'}",
                f"--proxy-client-key-file={folder / 'proxy.key'}",
                f"--client-ca-file={folder / 'ca.crt'}",
            )
        super()._run(binary, *flags)


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")))


def collection(document: dict[str, Any]) -> str:
    meta = document["metadata"]
    group = document["apiVersion"]
    root = "/api/v1" if group == "v1" else f"/apis/{group}"
    where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{root}{where}/{document['kind'].lower()}s"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AggregatingApiServer]:
    if reason := why_absent():
        pytest.skip(reason)
    server = AggregatingApiServer(tmp_path_factory.mktemp("aggregating"))
    server.create("/api/v1/namespaces", {"metadata": {"name": OURS}})
    server.create("/api/v1/namespaces", {"metadata": {"name": "llm"}})
    for document in documents("rbac.yaml"):
        server.create(collection(document), document)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def controller() -> Iterator[FakeController]:
    server = FakeController()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def adapter(
    api: AggregatingApiServer, controller: FakeController, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The adapter with its own account, its own certificate, and both APIs registered."""
    folder = tmp_path_factory.mktemp("adapter")
    accounts = f"/api/v1/namespaces/{OURS}/serviceaccounts"
    path = f"{accounts}/{OURS}-metrics/token"
    token = api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})
    (folder / "token").write_text(token["status"]["token"])
    settings = {
        "controller": {"url": controller.url, "waitSeconds": 2},
        "apiServer": {
            "url": api.address,
            "caFile": api.ca_path,
            "tokenFile": folder / "token",
        },
        "serving": {"host": "127.0.0.1", "port": _free_port(), "drainSeconds": 0},
    }
    port = settings["serving"]["port"]  # type: ignore[index]
    for document in documents("service.yaml"):
        document["spec"] = {"type": "ExternalName", "externalName": "localhost"}
        api.create(collection(document), document)
    for document in documents("apiservice.yaml"):
        document["spec"]["service"]["port"] = port
        api.create(collection(document), document)
    running = Running(AdapterSettings.model_validate(settings), trustme.CA(), api.front)
    until(lambda: not running.adapter.lacks())
    yield running
    running.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def available(api: AggregatingApiServer, name: str) -> bool:
    status = api.get(f"{SERVICES}/{name}").get("status", {})
    return any(
        one["type"] == "Available" and one["status"] == "True"
        for one in status.get("conditions", [])
    )


def test_the_apis_become_available_with_our_own_authority(
    api: AggregatingApiServer, adapter: Running
) -> None:
    for name in ("v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"):
        until(lambda name=name: available(api, name), 60)  # type: ignore[misc]
        spec = api.get(f"{SERVICES}/{name}")["spec"]
        assert spec["caBundle"]
        assert "insecureSkipTLSVerify" not in spec


def test_a_value_comes_through_the_api_server(api: AggregatingApiServer, adapter: Running) -> None:
    until(lambda: available(api, "v1beta1.external.metrics.k8s.io"), 60)

    answer = api.request(
        "GET",
        f"{EXTERNAL}/namespaces/llm/load",
        headers=AS_HPA,
        labelSelector="workload=chat",
    )

    assert answer.status == 200, answer.body
    (item,) = answer.json["items"]
    assert (item["value"], item["timestamp"]) == ("50", "2023-11-14T22:13:20Z")


def test_an_object_s_value_comes_through_the_api_server(
    api: AggregatingApiServer, adapter: Running
) -> None:
    until(lambda: available(api, "v1beta2.custom.metrics.k8s.io"), 60)

    answer = api.request(
        "GET", f"{CUSTOM}/namespaces/llm/deployments.apps/chat/load", headers=AS_HPA
    )

    assert answer.status == 200, answer.body
    assert answer.json["items"][0]["value"] == "50"


def test_a_stale_value_reaches_who_asked_with_our_message(
    api: AggregatingApiServer, adapter: Running, controller: FakeController
) -> None:
    until(lambda: available(api, "v1beta1.external.metrics.k8s.io"), 60)
    stale = a_signal(state="stale", why="newest sample is 400 s old", time=NOON - 400)
    controller.publish(a_row(signals={"load": stale}))
    until(lambda: _cycle(adapter) == "c-2")

    answer = api.request("GET", f"{EXTERNAL}/namespaces/llm/load", headers=AS_HPA)

    assert answer.status == 503
    assert answer.json["message"] == "llm/chat: load is stale: newest sample is 400 s old"
    controller.publish(a_row())
    until(lambda: _cycle(adapter) == "c-3")


def test_who_may_not_does_not_come_through(api: AggregatingApiServer, adapter: Running) -> None:
    answer = api.request(
        "GET", f"{EXTERNAL}/namespaces/llm/load", headers={"Impersonate-User": "bob"}
    )

    assert answer.status == 403


def test_discovery_is_collected(api: AggregatingApiServer, adapter: Running) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    def metrics() -> set[str]:
        found = api.request("GET", "/apis", headers={"Accept": accept}).json
        return {
            resource["resource"]
            for group in found["items"]
            if group["metadata"]["name"] == "external.metrics.k8s.io"
            for version in group["versions"]
            if version["freshness"] == "Current"
            for resource in version["resources"]
        }

    until(lambda: {"load", "desired_replicas"} <= metrics(), 90)


def test_namespaces_can_be_deleted_as_far_as_discovery_goes(
    api: AggregatingApiServer, adapter: Running
) -> None:
    """Old plan or not, the group answers: an unavailable one would block every deletion."""
    adapter.clock.now += 1000

    assert api.request("GET", EXTERNAL).status == 200
    value = api.request("GET", f"{EXTERNAL}/namespaces/llm/load", headers=AS_HPA)
    assert value.status == 503
    assert value.json["message"].startswith("the newest plan is 10")
    assert available(api, "v1beta1.external.metrics.k8s.io")
    adapter.clock.now -= 1000


def test_a_strange_certificate_is_refused(api: AggregatingApiServer, adapter: Running) -> None:
    held = api.get(f"{SERVICES}/v1beta1.external.metrics.k8s.io")["spec"]["caBundle"]
    assert held
    context = adapter.context(trustme.CA().issue_cert(common_name="front-proxy-client"))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    found = raw(
        adapter.address,
        context,
        b"GET /apis HTTP/1.1\r\nHost: a\r\nX-Remote-User: admin\r\n"
        b"X-Remote-Group: system:masters\r\nConnection: close\r\n\r\n",
    )

    assert found == b""


def test_tokens_and_rights_are_those_of_the_cluster(
    api: AggregatingApiServer, adapter: Running
) -> None:
    path = f"/api/v1/namespaces/{OURS}/serviceaccounts/{OURS}-metrics/token"
    token = api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})
    held = api.get(f"/api/v1/namespaces/{OURS}/secrets/{OURS}-metrics-tls")["data"]["ca.crt"]
    adapter.trust(base64.b64decode(held), f"{OURS}-metrics.{OURS}.svc")
    headers = {"Authorization": f"Bearer {token['status']['token']}"}

    assert adapter.get(EXTERNAL, headers, proxied=False).status == 200
    assert adapter.get(f"{EXTERNAL}/namespaces/llm/load", headers, proxied=False).status == 403
    rubbish = {"Authorization": "Bearer rubbish"}
    assert adapter.get(EXTERNAL, rubbish, proxied=False).status == 401
    anonymous = adapter.get(f"{EXTERNAL}/namespaces/llm/load", {}, proxied=False)
    assert anonymous.status == 403


def _cycle(adapter: Running) -> str:
    board = adapter.adapter.newest.board
    return board.cycle if board else ""
