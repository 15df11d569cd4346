"""KServe's InferenceService: its count, its pods, its change."""

from collections.abc import Mapping
from typing import Any

import pytest

from autoscaler.adapters.kubernetes import inference_service
from autoscaler.adapters.kubernetes.pods import read_pod
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import ReplicaStatus
from tests.adapters.kubernetes.bodies import a_pod


def a_service(**predictor: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "chat", "namespace": "llm", "resourceVersion": "7"},
        "spec": {"predictor": predictor},
    }


@pytest.mark.parametrize(
    ("predictor", "count"),
    [
        pytest.param({"minReplicas": 3}, 3, id="given"),
        pytest.param({}, 1, id="left out"),
        pytest.param({"minReplicas": 0}, 0, id="asleep"),
    ],
)
def test_the_wish_is_the_least_number(predictor: Mapping[str, Any], count: int) -> None:
    assert inference_service.wished(a_service(**predictor)) == count


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (a_service(minReplicas="3"), "spec.predictor.minReplicas should be an integer of 0 or mo"),
        (a_service(minReplicas=-1), "not -1"),
        ({"metadata": {}, "spec": {}}, "it has no spec.predictor"),
    ],
)
def test_a_wish_that_is_none_is_told(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        inference_service.wished(body)


@pytest.mark.parametrize(
    ("predictor", "patch"),
    [
        pytest.param({"minReplicas": 2}, {"minReplicas": 5}, id="no limit given"),
        pytest.param({"maxReplicas": 8}, {"minReplicas": 5}, id="the limit is higher"),
        pytest.param(
            {"maxReplicas": 4},
            {"minReplicas": 5, "maxReplicas": 5},
            id="the limit is lower and is raised",
        ),
        pytest.param({"maxReplicas": 0}, {"minReplicas": 5}, id="0 is no limit"),
    ],
)
def test_a_change(predictor: Mapping[str, Any], patch: Mapping[str, Any]) -> None:
    assert inference_service.change(a_service(**predictor), 5) == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"predictor": patch},
    }


def test_ready_are_the_pods_that_serve_but_no_more_than_the_wish() -> None:
    revision = {"serving.knative.dev/revision": "chat-1"}
    pods = [read_pod(a_pod(name, labels=revision)) for name in "abc"]
    pods.append(read_pod(a_pod("d", labels=revision, deleting=True)))

    status = inference_service.replica_status(a_service(minReplicas=2), pods)

    assert status == ReplicaStatus(desired=2, ready=2, total=3)


def test_pods_of_two_revisions_are_a_roll_out() -> None:
    pods = [read_pod(a_pod(name, labels={"pod-template-hash": name})) for name in "ab"]

    assert inference_service.replica_status(a_service(), pods).rolling


def test_its_pods_are_those_of_its_predictor() -> None:
    assert inference_service.pods_of("chat").text == (
        "component=predictor,serving.kserve.io/inferenceservice=chat"
    )


def test_only_kserves_own_kind_is_one() -> None:
    assert inference_service.is_inference_service("serving.kserve.io/v1beta1", "InferenceService")
    assert not inference_service.is_inference_service("ome.io/v1beta1", "InferenceService")
    assert not inference_service.is_inference_service("serving.kserve.io/v1beta1", "Runtime")
