"""Beside another adapter: who owns an API, and what its operator is told of it."""

import pytest
from structlog.testing import capture_logs

from metrics_adapter.incumbents import Owner, Registration, advice
from metrics_adapter.targets import CUSTOM, EXTERNAL
from tests.metrics_adapter.cluster import FakeCluster
from tests.metrics_adapter.conftest import Start
from tests.metrics_adapter.test_own_certificate import OWN, register, register_version
from tests.waiting import until

KEDA = Owner("keda", "keda-operator-metrics-apiserver")
OURS = "APIService v1beta1.external.metrics.k8s.io"


def registered(owner: Owner | None, *, insecure: bool = False) -> Registration:
    return Registration("/", "v1beta1.external.metrics.k8s.io", owner, "", insecure)


@pytest.mark.parametrize(
    ("seen", "delegates", "text"),
    [
        pytest.param(registered(OWN), False, "", id="ours"),
        pytest.param(
            registered(OWN, insecure=True), False, "skips the check of our certificate", id="blind"
        ),
        pytest.param(None, False, f"{OURS} is not there: apply manifests/", id="nobody's"),
        pytest.param(registered(None), False, "names no Service: delete", id="the API server's"),
        pytest.param(registered(KEDA), False, "belongs to KEDA (keda/keda-op", id="keda"),
        pytest.param(
            registered(KEDA),
            False,
            "with delegates.external set and KEDA's certificate rotation off (--enable-cert-rot",
            id="keda writes over us",
        ),
        pytest.param(
            registered(Owner("monitoring", "prometheus-adapter")),
            False,
            "take it over by our manifest with delegates.external set to it",
            id="prometheus-adapter",
        ),
        pytest.param(
            registered(Owner("dd", "datadog-cluster-agent-metrics-api")),
            True,
            "belongs to the Datadog agent (dd/datadog-cluster-agent-metrics-api), so no request "
            "comes to us; take it over by our manifest, or",
            id="datadog",
        ),
        pytest.param(registered(Owner("a", "b")), True, "belongs to a/b, so", id="somebody's"),
    ],
)  # fmt: skip
def test_who_owns_an_api_decides_what_to_do(
    seen: Registration | None, delegates: bool, text: str
) -> None:
    found = advice(seen, OWN, EXTERNAL, delegates=delegates)

    assert text in found
    assert bool(found) == bool(text)
    assert "\n" not in found


PROMETHEUS = Owner("monitoring", "prometheus-adapter")
OLDER = "APIService v1beta1.custom.metrics.k8s.io"


def of_custom(owner: Owner | None, version: str, priority: int) -> Registration:
    return Registration("/", f"{version}.custom.metrics.k8s.io", owner, "", False, priority)


@pytest.mark.parametrize(
    ("seen", "older", "delegates", "text"),
    [
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 100),
            False,
            f"{OLDER} belongs to prometheus-adapter (monitoring/prometheus-adapter), but HPAs ask "
            "v1beta2.custom.metrics.k8s.io, which is ours: its metrics are lost to them until "
            "delegates.custom is set",
            id="its metrics are lost",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 100),
            True,
            "",
            id="passed on",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 300),
            True,
            "has the higher versionPriority, 300 over 200 of v1beta2.custom.metrics.k8s.io",
            id="it is preferred",
        ),
        pytest.param(
            None,
            of_custom(PROMETHEUS, "v1beta1", 100),
            False,
            "before you apply manifests/metrics-api/apiservice.yaml set delegates.custom to it",
            id="before ours is there",
        ),
        pytest.param(
            None,
            of_custom(PROMETHEUS, "v1beta1", 100),
            True,
            "APIService v1beta2.custom.metrics.k8s.io is not there: apply",
            id="before ours is there, passed on",
        ),
        pytest.param(
            of_custom(PROMETHEUS, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 100),
            False,
            "APIService v1beta2.custom.metrics.k8s.io belongs to prometheus-adapter",
            id="both are its own",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(OWN, "v1beta1", 100),
            False,
            f"{OLDER} names our Service, which serves v1beta2.custom.metrics.k8s.io alone: delete",
            id="a version that we do not serve",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(None, "v1beta1", 100),
            False,
            f"{OLDER} names no Service: delete it",
            id="the API server's",
        ),
    ],
)
def test_who_owns_another_version_decides_what_to_do(
    seen: Registration | None, older: Registration, delegates: bool, text: str
) -> None:
    found = advice(seen, OWN, CUSTOM, delegates=delegates, beside=[older])

    assert text in found
    assert bool(found) == bool(text)
    assert "\n" not in found


def test_an_incumbent_of_an_older_version_is_told_at_the_start(
    start: Start, cluster: FakeCluster
) -> None:
    register(cluster, EXTERNAL)
    register(cluster, CUSTOM, versionPriority=200)
    register_version(cluster, "v1beta1", CUSTOM, PROMETHEUS, versionPriority=100)
    with capture_logs() as logs:
        start()
        until(lambda: any(one["event"] == "metrics API not in order" for one in logs))

    (told,) = [one for one in logs if one["event"] == "metrics API not in order"]
    assert told["reason"].startswith(f"{OLDER} belongs to prometheus-adapter")


def test_an_incumbent_is_told_at_the_start(start: Start, cluster: FakeCluster) -> None:
    register(cluster, EXTERNAL, KEDA)
    register(cluster, CUSTOM)
    with capture_logs() as logs:
        start()
        until(lambda: any(one["event"] == "metrics API not in order" for one in logs))

    (told,) = [one for one in logs if one["event"] == "metrics API not in order"]
    assert told["reason"].startswith(f"{OURS} belongs to KEDA")


def test_an_incumbent_that_leaves_is_told(
    start: Start, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_adapter.service.ADVISE_SECONDS", 0.02)
    cluster.refuse = lambda method, path: 403 if "apiservices" in path else 0
    with capture_logs() as logs:
        start(groups=[EXTERNAL])
        until(lambda: any("it is not known who owns" in str(one) for one in logs))
        cluster.refuse = lambda method, path: 0
        register(cluster, EXTERNAL)
        until(lambda: any(one["event"] == "metrics API in order" for one in logs))
