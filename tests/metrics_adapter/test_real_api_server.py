"""Behind a real kube-apiserver: our manifests, its aggregation layer, its front proxy, its rights.

No controllers run, so no HPA asks: its account is impersonated, and asks the same. Where there is a
kube-controller-manager, test_real_hpa.py lets the real one ask.
"""

import asyncio
import base64
import ssl
from collections.abc import Iterator

import pytest
import trustme

from metrics_adapter.api_server import ApiServer
from metrics_adapter.incumbents import Owner, Registration, advice, look, look_beside
from metrics_adapter.targets import CUSTOM as CUSTOM_GROUP
from tests.builders import NOON
from tests.fakes.envtest import why_absent
from tests.metrics_adapter.aggregating import (
    OURS,
    SERVICES,
    AggregatingApiServer,
    adapter_behind,
    collection,
    documents,
)
from tests.metrics_adapter.cluster import HPA, FakeController, raw
from tests.metrics_adapter.conftest import Running
from tests.metrics_adapter.plans import a_row, a_signal
from tests.waiting import until

pytestmark = pytest.mark.slow

EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
AS_HPA = {
    "Impersonate-User": HPA,
    "Impersonate-Group": "system:serviceaccounts",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AggregatingApiServer]:
    if reason := why_absent():
        pytest.skip(reason)
    server = AggregatingApiServer(tmp_path_factory.mktemp("aggregating"))
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
    running = adapter_behind(api, controller, tmp_path_factory.mktemp("adapter"))
    yield running
    running.stop()


def test_the_apis_become_available_with_our_own_authority(
    api: AggregatingApiServer, adapter: Running
) -> None:
    for name in ("v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"):
        until(lambda name=name: api.available(name))  # type: ignore[misc]
        spec = api.get(f"{SERVICES}/{name}")["spec"]
        assert spec["caBundle"]
        assert "insecureSkipTLSVerify" not in spec


def test_a_value_comes_through_the_api_server(api: AggregatingApiServer, adapter: Running) -> None:
    until(lambda: api.available("v1beta1.external.metrics.k8s.io"))

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
    until(lambda: api.available("v1beta2.custom.metrics.k8s.io"))

    answer = api.request(
        "GET", f"{CUSTOM}/namespaces/llm/deployments.apps/chat/load", headers=AS_HPA
    )

    assert answer.status == 200, answer.body
    assert answer.json["items"][0]["value"] == "50"


def test_a_stale_value_reaches_who_asked_with_our_message(
    api: AggregatingApiServer, adapter: Running, controller: FakeController
) -> None:
    until(lambda: api.available("v1beta1.external.metrics.k8s.io"))
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

    until(lambda: {"load", "desired_replicas"} <= metrics(), seconds=90)


def test_what_we_say_of_ourselves_is_collected(api: AggregatingApiServer, adapter: Running) -> None:
    """The API server merges our OpenAPI documents into its own: it found nothing wrong in them."""
    path = f"{EXTERNAL}/namespaces/{{namespace}}/{{metric}}"

    def known(version: str) -> bool:
        answer = api.request("GET", f"/openapi/{version}")
        return answer.status == 200 and path in answer.json["paths"]

    until(lambda: known("v2"), seconds=90)
    until(lambda: known(f"v3{EXTERNAL}"), seconds=90)


def test_namespaces_can_be_deleted_as_far_as_discovery_goes(
    api: AggregatingApiServer, adapter: Running
) -> None:
    """Old plan or not, the group answers: an unavailable one would block every deletion."""
    adapter.clock.now += 1000

    assert api.request("GET", EXTERNAL).status == 200
    value = api.request("GET", f"{EXTERNAL}/namespaces/llm/load", headers=AS_HPA)
    assert value.status == 503
    assert value.json["message"].startswith("the newest plan is 10")
    assert api.available("v1beta1.external.metrics.k8s.io")
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


def test_whoever_is_registered_at_an_older_version_alone_is_seen_with_our_rights(
    api: AggregatingApiServer, adapter: Running
) -> None:
    """Of two versions of a group the API server prefers ours, so HPAs ask the other no more."""
    until(lambda: api.available("v1beta2.custom.metrics.k8s.io"))
    name = "v1beta1.custom.metrics.k8s.io"
    api.create(
        SERVICES,
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": "custom.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"namespace": "llm", "name": "prometheus-adapter", "port": 443},
            },
        },
    )

    def versions() -> list[str]:
        found = api.get("/apis/custom.metrics.k8s.io")
        return [
            found["preferredVersion"]["version"],
            *(one["version"] for one in found["versions"]),
        ]

    async def seen() -> tuple[Registration | None, list[Registration]]:
        asked = ApiServer(adapter.adapter.settings.api_server)
        try:
            return await look(asked, CUSTOM_GROUP), await look_beside(asked, CUSTOM_GROUP)
        finally:
            await asked.close()

    try:
        until(lambda: versions() == ["v1beta2", "v1beta2", "v1beta1"])
        ours, beside = asyncio.run(seen())
    finally:
        api.request("DELETE", f"{SERVICES}/{name}")

    own = Owner(OURS, f"{OURS}-metrics")
    assert ours is not None
    assert (ours.owner, ours.priority) == (own, 200)
    assert ours.bundle_writers == ("inference-autoscaler-adapter",)
    assert [(one.owner, one.priority) for one in beside] == [
        (Owner("llm", "prometheus-adapter"), 100)
    ]
    text = advice(ours, own, CUSTOM_GROUP, delegates=False, beside=beside)
    assert text.startswith(f"APIService {name} belongs to prometheus-adapter")


def test_whoever_is_passed_on_to_finds_our_account_allowed_with_the_manifest_for_it(
    api: AggregatingApiServer, adapter: Running
) -> None:
    """He asks the API server about our account, as custom-metrics adapters do."""
    account = f"system:serviceaccount:{OURS}:{OURS}-metrics"

    def may(**attributes: str) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": account,
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {"namespace": "llm", **attributes},
            },
        }
        found = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(found["status"]["allowed"])

    def external() -> bool:
        return may(verb="list", group="external.metrics.k8s.io", resource="s0-cron")

    def custom() -> bool:
        return may(
            verb="get",
            group="custom.metrics.k8s.io",
            resource="pods",
            subresource="http_requests",
            name="*",
        )

    assert (external(), custom()) == (False, False)

    for document in documents("delegates.yaml"):
        api.create(collection(document), document)

    until(lambda: external() and custom(), seconds=30)
    assert not may(verb="list", group="", resource="secrets")
    assert not may(verb="delete", group="external.metrics.k8s.io", resource="s0-cron")


def _cycle(adapter: Running) -> str:
    board = adapter.adapter.newest.board
    return board.cycle if board else ""
