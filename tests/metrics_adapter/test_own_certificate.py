"""Our own certificate in the cluster: one Secret for all replicas, known to the API server."""

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from autoscaler.core.errors import ObservationError
from metrics_adapter import own_certificate
from metrics_adapter.api_server import ApiServer, ApiServerSettings
from metrics_adapter.authority import DAY, Held, renewed, verifies
from metrics_adapter.incumbents import Owner
from metrics_adapter.own_certificate import OwnCertificate
from metrics_adapter.targets import CUSTOM, EXTERNAL
from tests.builders import NOON
from tests.metrics_adapter.cluster import FakeCluster
from tests.metrics_adapter.conftest import AGGREGATOR, Clock, Start
from tests.waiting import until

OWN = Owner("inference-autoscaler", "inference-autoscaler-metrics")
SECRET = "/api/v1/namespaces/inference-autoscaler/secrets/inference-autoscaler-metrics-tls"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"


def register(cluster: FakeCluster, group: str, owner: Owner = OWN, **spec: Any) -> str:
    return register_version(
        cluster, {EXTERNAL: "v1beta1", CUSTOM: "v1beta2"}[group], group, owner, **spec
    )


def register_version(
    cluster: FakeCluster, version: str, group: str, owner: Owner, **spec: Any
) -> str:
    path = f"{SERVICES}/{version}.{group}"
    cluster.objects[path] = {
        "metadata": {"name": f"{version}.{group}", "resourceVersion": "1"},
        "spec": {"service": {"namespace": owner.namespace, "name": owner.name}, **spec},
    }
    return path


def asking(cluster: FakeCluster, work: Callable[[ApiServer], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        api = ApiServer(
            ApiServerSettings(
                url=cluster.url, ca_file=cluster.ca_file, token_file=cluster.token_file
            )
        )
        try:
            return await work(api)
        finally:
            await api.close()

    return asyncio.run(run())


def take(cluster: FakeCluster, now: float = NOON) -> Held:
    held: Held = asking(
        cluster, lambda api: OwnCertificate(api, OWN, (EXTERNAL, CUSTOM), lambda: now).take()
    )
    return held


def bundle(cluster: FakeCluster, path: str) -> bytes:
    return base64.b64decode(cluster.objects[path]["spec"]["caBundle"])


def test_the_first_replica_makes_it_and_tells_the_api_server(cluster: FakeCluster) -> None:
    paths = [register(cluster, EXTERNAL), register(cluster, CUSTOM)]

    held = take(cluster)

    assert cluster.objects[SECRET]["type"] == "kubernetes.io/tls"
    assert [bundle(cluster, path) for path in paths] == [held.trusted, held.trusted]
    assert "insecureSkipTLSVerify" not in str(cluster.objects)


def test_the_next_replica_takes_what_is_there_and_writes_nothing(cluster: FakeCluster) -> None:
    register(cluster, EXTERNAL)
    held = take(cluster)
    cluster.asked.clear()

    assert take(cluster) == held
    assert {method for method, _, _ in cluster.asked} == {"GET"}


def test_of_two_that_renew_at_once_both_serve_what_was_written_first(cluster: FakeCluster) -> None:
    take(cluster)
    faster = renewed(None, ["x"], NOON)
    real = cluster._object

    def overtaken(request: Any, path: str, body: Any) -> None:
        if request.command == "PUT" and path == SECRET:
            cluster._object = real  # type: ignore[method-assign]
            take(cluster, NOON + 21 * DAY)
        real(request, path, body)

    cluster._object = overtaken  # type: ignore[method-assign]

    held = take(cluster, NOON + 21 * DAY)

    assert base64.b64decode(cluster.objects[SECRET]["data"]["tls.crt"]) == held.certificate
    assert faster.certificate != held.certificate


def test_a_secret_without_use_is_made_anew(cluster: FakeCluster) -> None:
    take(cluster)
    cluster.objects[SECRET]["data"]["tls.key"] = base64.b64encode(b"rubbish").decode()

    with capture_logs() as logs:
        held = take(cluster)

    assert logs[0]["event"] == "certificate made anew"
    assert verifies(held.certificate, held.bundle)


def test_an_empty_secret_is_filled(cluster: FakeCluster) -> None:
    cluster.objects[SECRET] = {"metadata": {"name": "x", "resourceVersion": "1"}}

    held = take(cluster)

    assert base64.b64decode(cluster.objects[SECRET]["data"]["tls.crt"]) == held.certificate


def test_the_apiservice_of_somebody_else_is_left_alone(cluster: FakeCluster) -> None:
    path = register(cluster, EXTERNAL, Owner("keda", "keda-operator-metrics-apiserver"))

    take(cluster)

    assert "caBundle" not in cluster.objects[path]["spec"]


def looks(
    cluster: FakeCluster, times: int, between: Callable[[int], None], *, seconds: float = 30.0
) -> None:
    """Look after the certificate so many times; something happens after each."""
    clock = Clock(NOON)

    async def work(api: ApiServer) -> None:
        certificate = OwnCertificate(api, OWN, (EXTERNAL,), clock)
        for number in range(times):
            await certificate.take()
            between(number)
            clock.now += seconds

    asking(cluster, work)


def written(cluster: FakeCluster) -> int:
    return sum(method == "PATCH" for method, _, _ in cluster.asked)


def test_who_writes_over_our_authority_again_and_again_is_let_be_and_told(
    cluster: FakeCluster,
) -> None:
    """KEDA's rotation writes its own under this name, whatever stands there; we would, too."""
    path = register(cluster, EXTERNAL)

    def keda_writes(number: int) -> None:
        cluster.objects[path]["spec"]["caBundle"] = "S0VEQQ=="
        cluster.objects[path]["metadata"]["managedFields"] = [
            {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:service": {}}}},
            {"manager": "keda", "fieldsV1": {"f:spec": {"f:caBundle": {}}}},
        ]

    with capture_logs() as logs:
        looks(cluster, 12, keda_writes)

    assert written(cluster) == 1 + own_certificate.MOST_REWRITES
    (told,) = [one for one in logs if one["event"] == "authority not told"]
    assert told["apiservice"] == f"v1beta1.{EXTERNAL}"
    assert told["reason"].startswith("keda writes another caBundle over ours, 3 times within 60 mi")
    assert "--enable-cert-rotation=false" in told["reason"]


def test_who_no_longer_writes_over_our_authority_is_noticed_within_the_hour(
    cluster: FakeCluster,
) -> None:
    path = register(cluster, EXTERNAL)

    def writes_for_a_while(number: int) -> None:
        if number < 12:
            cluster.objects[path]["spec"]["caBundle"] = "S0VEQQ=="

    with capture_logs() as logs:
        looks(cluster, 14, writes_for_a_while, seconds=600.0)

    assert [one["event"] for one in logs].count("authority not told") == 2
    assert b"CERTIFICATE" in bundle(cluster, path)


def blank(cluster: FakeCluster, path: str) -> Callable[[int], None]:
    """What a manifest without a caBundle does when it replaces what is there."""
    return lambda number: cluster.objects[path]["spec"].update(caBundle="")


def test_a_manifest_that_is_applied_again_is_no_quarrel(cluster: FakeCluster) -> None:
    path = register(cluster, EXTERNAL)

    with capture_logs() as logs:
        looks(cluster, 9, blank(cluster, path), seconds=1300.0)

    assert written(cluster) == 9
    assert "authority not told" not in {one["event"] for one in logs}


def test_who_takes_our_authority_out_again_and_again_is_let_be_and_told(
    cluster: FakeCluster,
) -> None:
    path = register(cluster, EXTERNAL)

    with capture_logs() as logs:
        looks(cluster, 120, blank(cluster, path))

    assert written(cluster) == 1 + own_certificate.MOST_REWRITES
    (told,) = [one for one in logs if one["event"] == "authority not told"]
    assert told["reason"].startswith("somebody else takes our caBundle out, 3 times within 60 min")


def test_our_own_renewal_is_no_quarrel(cluster: FakeCluster) -> None:
    """Two replicas renew in turn for years; each finds what the other wrote."""
    path = register(cluster, EXTERNAL)
    clock = Clock(NOON)
    seen = set()

    async def work(api: ApiServer) -> None:
        replicas = [OwnCertificate(api, OWN, (EXTERNAL,), clock) for _ in range(2)]
        for number in range(80):
            held = await replicas[number % 2].take()
            seen.add(held.trusted)
            assert bundle(cluster, path) == held.trusted
            clock.now += 15 * DAY

    with capture_logs() as logs:
        asking(cluster, work)

    assert len(seen) > 2
    assert "authority not told" not in {one["event"] for one in logs}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_the_api_server_refuses_is_told(cluster: FakeCluster, method: str) -> None:
    cluster.refuse = lambda asked, path: 403 if asked == method and "secrets" in path else 0

    with pytest.raises(ObservationError, match=f"{method} /api/v1/.*: out of order"):
        take(cluster)


def test_a_secret_that_others_change_all_the_time_is_told(cluster: FakeCluster) -> None:
    cluster.refuse = lambda method, path: 409 if method == "POST" else 0

    with pytest.raises(ObservationError, match="changes all the time"):
        take(cluster)


def test_it_serves_with_its_own_certificate_and_renews_it(
    start: Start, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_certificate, "LOOK_SECONDS", 0.05)
    path = register(cluster, EXTERNAL)
    adapter = start(ago=21 * DAY, serving_settings={"certFile": None, "keyFile": None})
    name = "inference-autoscaler-metrics.inference-autoscaler.svc"
    adapter.trust(bundle(cluster, path), name)

    assert adapter.get("/apis", AGGREGATOR).status == 200

    first = cluster.objects[SECRET]["data"]["tls.crt"]
    adapter.wall.now += 21 * DAY
    until(lambda: cluster.objects[SECRET]["data"]["tls.crt"] != first)
    assert adapter.get("/apis", AGGREGATOR).status == 200
    cluster.broken = True
    assert adapter.get("/apis", AGGREGATOR).status == 200


def test_without_the_api_server_it_waits_for_its_first_certificate(
    start: Start, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_adapter.service.RETRY_SECONDS", 0.05)
    register(cluster, EXTERNAL)
    cluster.broken = True
    adapter = start(
        follows=False, waits=False, serving_settings={"certFile": None, "keyFile": None}
    )
    until(lambda: len(cluster.asked) > 2)
    assert adapter.address == ("", 0)

    cluster.broken = False
    until(lambda: not adapter.adapter.lacks())


def test_it_can_be_stopped_while_it_waits_for_its_first_certificate(
    start: Start, cluster: FakeCluster
) -> None:
    cluster.broken = True
    adapter = start(
        follows=False, waits=False, serving_settings={"certFile": None, "keyFile": None}
    )
    until(lambda: cluster.asked)

    adapter.stop()


def test_a_certificate_in_files_is_followed(
    start: Start, serving: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_adapter.service.REFRESH_SECONDS", 0.05)
    adapter = start()
    files = adapter.adapter.settings.serving
    assert files.cert_file is not None
    assert files.key_file is not None
    good = files.cert_file.read_bytes()
    open_before = adapter.connect(adapter.front_proxy_client)
    open_before.connect()

    renewed_pair = serving.issue_cert("localhost", "another.name")
    files.cert_file.write_bytes(b"half a certificate")
    asyncio.run(asyncio.sleep(0.2))
    assert adapter.get("/apis", AGGREGATOR).status == 200
    files.key_file.write_bytes(renewed_pair.private_key_pem.bytes())
    files.cert_file.write_bytes(renewed_pair.cert_chain_pems[0].bytes())

    def served() -> bool:
        connection = adapter.connect(None)
        connection.connect()
        certificate = connection.sock.getpeercert() or {}
        connection.close()
        return "another.name" in str(certificate.get("subjectAltName"))

    until(served)
    assert good != files.cert_file.read_bytes()
    assert adapter.get("/apis", AGGREGATOR).status == 200
    open_before.close()
