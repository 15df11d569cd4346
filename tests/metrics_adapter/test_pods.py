"""Metrics of pods: each pod's share of what its workload has."""

from typing import Any

import pytest

from tests.metrics_adapter.cluster import FakeCluster, FakeController
from tests.metrics_adapter.conftest import AS_HPA, Running
from tests.metrics_adapter.plans import a_row, a_signal
from tests.waiting import until

PODS = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm/pods"


def pod(name: str, owner: str | None, **labels: str) -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": f"{owner}-6d4f", "controller": True}] if owner else []
    return {
        "metadata": {
            "name": name,
            "labels": {"pod-template-hash": "6d4f", **labels},
            "ownerReferences": owners,
        }
    }


@pytest.fixture
def with_pods(adapter: Running, cluster: FakeCluster, controller: FakeController) -> Running:
    cluster.objects["/api/v1/namespaces/llm/pods"] = {
        "items": [
            pod("chat-a", "chat", app="chat"),
            pod("chat-b", "chat", app="chat"),
            pod("code-a", "code", app="code"),
            pod("alone", None, app="chat"),
        ]
    }
    signals = {"queue": a_signal(50.0, role="queue"), "usage": a_signal(0.9, role="utilization")}
    controller.publish(
        a_row(signals={**signals, "odd": a_signal()}), a_row("code", signals=signals)
    )
    until(lambda: adapter.adapter.newest.board and adapter.adapter.newest.board.cycle == "c-2")
    return adapter


def told(adapter: Running, path: str) -> dict[str, str]:
    answer = adapter.get(f"{PODS}/{path}", AS_HPA)
    assert answer.status == 200, answer.body
    return {one["describedObject"]["name"]: one["value"] for one in answer.document["items"]}


def test_each_pod_shows_its_share_of_a_total_and_the_whole_of_a_level(with_pods: Running) -> None:
    assert told(with_pods, "*/queue?labelSelector=app%3Dchat") == {"chat-a": "25", "chat-b": "25"}
    assert told(with_pods, "*/usage?labelSelector=app%3Dchat") == {
        "chat-a": "900m",
        "chat-b": "900m",
    }
    assert told(with_pods, "code-a/queue") == {"code-a": "50"}
    assert told(with_pods, "*/queue?metricLabelSelector=workload%3Dcode") == {"code-a": "50"}


def test_pods_are_listed_once_for_all_who_ask(with_pods: Running, cluster: FakeCluster) -> None:
    for _ in range(3):
        told(with_pods, "*/queue?labelSelector=app%3Dchat")
    with_pods.clock.now += 5
    told(with_pods, "*/queue?labelSelector=app%3Dchat")

    assert [path for _, path, _ in cluster.asked].count("/api/v1/namespaces/llm/pods") == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("*/odd", "that can be told of pods", id="neither total nor level"),
        pytest.param("*/none", "that can be told of pods", id="no such metric"),
        pytest.param("none/queue", "no pod with a metric queue matches", id="no such pod"),
        pytest.param("alone/queue", "no pod with a metric queue matches", id="nobody's pod"),
        pytest.param("*/queue?labelSelector=a%3Db", "no pod with a metric", id="no match"),
    ],
)
def test_no_pod_is_a_status(with_pods: Running, path: str, message: str) -> None:
    answer = with_pods.get(f"{PODS}/{path}", AS_HPA)

    assert answer.status == 404
    assert message in answer.message


def test_pods_that_cannot_be_listed_are_a_status_and_asked_for_again(
    with_pods: Running, cluster: FakeCluster
) -> None:
    cluster.refuse = lambda method, path: 500 if path.endswith("/pods") else 0
    answer = with_pods.get(f"{PODS}/*/queue", AS_HPA)
    cluster.refuse = lambda method, path: 0

    assert (answer.status, answer.message) == (503, "the pods of llm could not be listed")
    assert told(with_pods, "chat-a/queue") == {"chat-a": "25"}
