"""The requests that a real control plane was seen to send, sent again over TLS."""

from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running

EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"


def test_the_availability_check_is_answered(adapter: Running) -> None:
    headers = {"User-Agent": "Go-http-client/1.1", **AGGREGATOR}

    answer = adapter.get(EXTERNAL, headers)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.document["kind"] == "APIResourceList"
    assert {
        "name": "load",
        "singularName": "",
        "namespaced": True,
        "kind": "ExternalMetricValueList",
        "verbs": ["get"],
    } in answer.document["resources"]


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
