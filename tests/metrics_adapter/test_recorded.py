"""The requests that a real control plane was seen to send, sent again over TLS."""

import pytest

from tests.builders import NOON
from tests.metrics_adapter.cluster import HPA, FakeCluster, FakeController
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start
from tests.metrics_adapter.plans import a_row, a_signal
from tests.waiting import until

EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
COLLECTING = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
)
OPENAPI = {"Accept": "application/json", "X-Remote-User": "system:aggregator"}


def test_the_availability_check_is_answered(adapter: Running) -> None:
    headers = {"User-Agent": "Go-http-client/1.1", **AGGREGATOR}

    answer = adapter.get(EXTERNAL, headers)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.document["kind"] == "APIResourceList"
    assert answer.document["groupVersion"] == "external.metrics.k8s.io/v1beta1"
    assert {
        "name": "load",
        "singularName": "",
        "namespaced": True,
        "kind": "ExternalMetricValueList",
        "verbs": ["get"],
    } in answer.document["resources"]


def test_discovery_is_collected_aggregated(adapter: Running) -> None:
    answer = adapter.get("/apis", {"Accept": COLLECTING, **AGGREGATOR})

    assert answer.status == 200
    assert answer.headers["content-type"] == (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    )
    assert answer.document["apiVersion"] == "apidiscovery.k8s.io/v2"
    external, custom = answer.document["items"]
    assert external["metadata"]["name"] == "external.metrics.k8s.io"
    assert {
        "resource": "desired_replicas",
        "scope": "Namespaced",
        "singularResource": "",
        "responseKind": {"group": "", "version": "", "kind": "ExternalMetricValueList"},
        "verbs": ["get"],
    } in external["versions"][0]["resources"]
    assert external["versions"][0]["version"] == "v1beta1"
    assert custom["metadata"]["name"] == "custom.metrics.k8s.io"
    (deployments,) = custom["versions"][0]["resources"]
    assert deployments["resource"] == "deployments.apps"
    assert [one["subresource"] for one in deployments["subresources"]] == [
        "desired_replicas",
        "load",
    ]


def test_older_aggregated_discovery_is_answered_too(adapter: Running) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

    answer = adapter.get("/apis", {"Accept": accept, **AGGREGATOR})

    assert answer.headers["content-type"] == accept
    assert answer.document["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("/apis", "APIGroupList", id="groups"),
        pytest.param("/apis/external.metrics.k8s.io", "APIGroup", id="one group"),
        pytest.param(EXTERNAL, "APIResourceList", id="external metrics"),
        pytest.param(CUSTOM, "APIResourceList", id="custom metrics"),
    ],
)
def test_who_falls_back_to_single_documents_needs_no_group(
    adapter: Running, path: str, kind: str
) -> None:
    headers = {"Accept": "application/json", "X-Remote-User": "system:kube-aggregator"}

    answer = adapter.get(path, headers)

    assert answer.status == 200
    assert answer.document["kind"] == kind


def test_openapi_2_is_answered(adapter: Running) -> None:
    answer = adapter.get("/openapi/v2", OPENAPI)

    assert answer.status == 200
    assert answer.document["swagger"] == "2.0"
    assert f"{EXTERNAL}/namespaces/{{namespace}}/{{metric}}" in answer.document["paths"]


def test_openapi_3_names_its_documents_and_they_are_there(adapter: Running) -> None:
    index = adapter.get("/openapi/v3", OPENAPI).document["paths"]

    assert list(index) == [
        "apis/external.metrics.k8s.io/v1beta1",
        "apis/custom.metrics.k8s.io/v1beta2",
    ]
    for one in index.values():
        answer = adapter.get(one["serverRelativeURL"], OPENAPI)
        assert answer.status == 200
        assert answer.document["openapi"] == "3.0.0"


def test_a_value_is_answered_to_the_hpa(adapter: Running) -> None:
    path = f"{EXTERNAL}/namespaces/llm/load?labelSelector=model_name%3Dllama"

    answer = adapter.get(path, AS_HPA)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.document == {
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [
            {
                "metricName": "load",
                "metricLabels": {"model_name": "llama", "workload": "chat"},
                "timestamp": "2023-11-14T22:13:20Z",
                "value": "50",
            }
        ],
    }


def test_a_value_without_a_selector_is_every_workload_s(
    adapter: Running, controller: FakeController
) -> None:
    controller.publish(a_row("chat"), a_row("code", signals={"load": a_signal(7.5)}))
    until(lambda: adapter.adapter.newest.board and adapter.adapter.newest.board.cycle == "c-2")

    answer = adapter.get(f"{EXTERNAL}/namespaces/llm/load", AS_HPA)

    assert [item["value"] for item in answer.document["items"]] == ["50", "7500m"]


def test_the_number_decided_is_a_metric(adapter: Running) -> None:
    path = f"{EXTERNAL}/namespaces/llm/desired_replicas?labelSelector=workload%3Dchat"

    (item,) = adapter.get(path, AS_HPA).document["items"]

    assert item["value"] == "5"


def test_an_object_s_value_is_answered_to_the_hpa(adapter: Running) -> None:
    path = f"{CUSTOM}/namespaces/llm/deployments.apps/chat/load?metricLabelSelector=workload%3Dchat"

    answer = adapter.get(path, AS_HPA)

    assert answer.status == 200
    assert answer.document == {
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta2",
        "metadata": {},
        "items": [
            {
                "describedObject": {
                    "kind": "Deployment",
                    "namespace": "llm",
                    "name": "chat",
                    "apiVersion": "apps/v1",
                },
                "metric": {
                    "name": "load",
                    "selector": {
                        "matchExpressions": [
                            {"key": "workload", "operator": "In", "values": ["chat"]}
                        ]
                    },
                },
                "timestamp": "2023-11-14T22:13:20Z",
                "value": "50",
            }
        ],
    }


def test_every_object_of_a_kind_can_be_asked_for(
    adapter: Running, controller: FakeController
) -> None:
    controller.publish(a_row("chat", labels={"team": "a"}), a_row("code", labels={"team": "b"}))
    until(lambda: adapter.adapter.newest.board and adapter.adapter.newest.board.cycle == "c-2")

    answer = adapter.get(
        f"{CUSTOM}/namespaces/llm/deployments.apps/*/load?labelSelector=team%3Db", AS_HPA
    )

    assert [one["describedObject"]["name"] for one in answer.document["items"]] == ["code"]


def test_a_stale_value_is_a_status_with_a_message_and_no_retry_after(
    adapter: Running, controller: FakeController
) -> None:
    stale = a_signal(50.0, time=NOON - 400, state="stale", why="newest sample is 400 s old")
    controller.publish(a_row(signals={"load": stale}))
    until(lambda: adapter.adapter.newest.board and adapter.adapter.newest.board.cycle == "c-2")

    answer = adapter.get(f"{EXTERNAL}/namespaces/llm/load", AS_HPA)

    assert answer.status == 503
    assert "retry-after" not in answer.headers
    assert answer.document == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "llm/chat: load is stale: newest sample is 400 s old",
        "reason": "ServiceUnavailable",
        "code": 503,
    }


def test_an_old_plan_answers_nothing_but_discovery(adapter: Running) -> None:
    adapter.clock.now += 61

    value = adapter.get(f"{EXTERNAL}/namespaces/llm/load", AS_HPA)
    listed = adapter.get(EXTERNAL, AGGREGATOR)
    ready = adapter.get("/readyz")

    assert value.status == 503
    assert value.message == "the newest plan is 61 s old, at most 60 s"
    assert [one["name"] for one in listed.document["resources"]] == ["desired_replicas", "load"]
    assert ready.status == 503
    assert ready.message == "the newest plan is 61 s old, at most 60 s"


def test_without_any_plan_discovery_is_answered_and_values_are_not(
    start: Start, controller: FakeController
) -> None:
    controller.publish_bytes(b'{"version":1,"error":"no cycle has run yet"}', 503)
    adapter = start(follows=False)
    until(lambda: "503" in adapter.adapter.newest.problem)
    until(lambda: adapter.adapter.lacks().startswith("no plan yet"))

    assert adapter.get(EXTERNAL, AGGREGATOR).document["resources"] == []
    value = adapter.get(f"{EXTERNAL}/namespaces/llm/load", AS_HPA)
    assert value.status == 503
    assert value.message.startswith("no plan yet: http://127.0.0.1:")
    assert "no cycle has run yet" in value.message


def test_one_question_of_rights_covers_every_metric_of_the_hpa(
    adapter: Running, cluster: FakeCluster
) -> None:
    for metric in ("load", "desired_replicas", "load"):
        assert adapter.get(f"{EXTERNAL}/namespaces/llm/{metric}", AS_HPA).status == 200

    (review,) = cluster.reviews()
    assert review == {
        "user": HPA,
        "uid": "5c5d51f6-0000-4000-8000-000000000000",
        "groups": [
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            "system:authenticated",
        ],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
        "resourceAttributes": {
            "verb": "list",
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "resource": "*",
        },
    }
