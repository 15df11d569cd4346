"""Scaled objects: what is kept of them, and how many replicas they have."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.label_selectors import Selector
from autoscaler.adapters.kubernetes.managed_fields import owners
from autoscaler.adapters.kubernetes.target_objects import (
    pod_selector,
    read_scale,
    replica_status,
    template_labels,
    trim_target,
)
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import ReplicaStatus
from tests.adapters.kubernetes.bodies import a_target


def status_of(**changes: Any) -> ReplicaStatus:
    return replica_status(trim_target(a_target(**changes)))


def test_a_settled_deployment() -> None:
    assert status_of() == ReplicaStatus(desired=3, ready=3, total=3)


def test_the_wish_is_one_where_it_is_left_out() -> None:
    assert status_of(replicas=None, status={}).desired == 1


def test_surge_pods_are_no_capacity_and_no_wish() -> None:
    rolling = {
        "replicas": 5,
        "readyReplicas": 5,
        "updatedReplicas": 2,
        "observedGeneration": 1,
    }

    assert status_of(replicas=4, status=rolling) == ReplicaStatus(
        desired=4, ready=4, total=5, rolling=True
    )


@pytest.mark.parametrize(
    ("changes", "rolling"),
    [
        pytest.param(
            {"status": {"replicas": 3, "observedGeneration": 1}},
            True,
            id="no pod of the newest template yet",
        ),
        pytest.param(
            {"metadata": {"generation": 2}},
            True,
            id="the controller has not seen the newest wish",
        ),
        pytest.param(
            {
                "kind": "StatefulSet",
                "status": {
                    "replicas": 3,
                    "updatedReplicas": 1,
                    "currentRevision": "a",
                    "updateRevision": "b",
                },
            },
            True,
            id="a StatefulSet between two revisions",
        ),
        pytest.param(
            {
                "kind": "StatefulSet",
                "updateStrategy": {"rollingUpdate": {"partition": 2}},
                "status": {
                    "replicas": 3,
                    "updatedReplicas": 1,
                    "currentRevision": "a",
                    "updateRevision": "b",
                },
            },
            False,
            id="a canary that stays",
        ),
        pytest.param(
            {
                "kind": "StatefulSet",
                "updateStrategy": {"type": "OnDelete"},
                "status": {
                    "replicas": 3,
                    "updatedReplicas": 1,
                    "currentRevision": "a",
                    "updateRevision": "b",
                },
            },
            False,
            id="pods that are replaced by hand",
        ),
        pytest.param(
            {
                "kind": "StatefulSet",
                "status": {"replicas": 3, "currentRevision": "a", "updateRevision": "a"},
            },
            False,
            id="a StatefulSet at rest",
        ),
        pytest.param(
            {
                "kind": "LeaderWorkerSet",
                "status": {
                    "replicas": 3,
                    "updatedReplicas": 3,
                    "conditions": [{"type": "UpdateInProgress", "status": "True"}],
                },
            },
            True,
            id="a LeaderWorkerSet that says so",
        ),
        pytest.param({"kind": "ReplicaSet", "status": {"replicas": 3}}, False, id="a ReplicaSet"),
        pytest.param(
            {"kind": "Rollout", "status": {"replicas": 3, "updatedReplicas": 3,
                                           "observedGeneration": "1"}},
            False,
            id="a generation as text",
        ),
    ],
)  # fmt: skip
def test_rolling(changes: dict[str, Any], rolling: bool) -> None:
    assert status_of(**changes).rolling is rolling


@pytest.mark.parametrize("count", [-1, "3", 2.5, True])
def test_a_count_that_is_none_is_told(count: Any) -> None:
    with pytest.raises(ObservationError, match="should be an integer of 0 or more, not "):
        status_of(replicas=count)


@given(desired=st.integers(0, 50), ready=st.integers(0, 80), total=st.integers(0, 80))
def test_ready_is_never_more_than_the_wish(desired: int, ready: int, total: int) -> None:
    status = status_of(replicas=desired, status={"replicas": total, "readyReplicas": ready})

    assert status.desired == desired
    assert status.ready == min(ready, desired)
    assert status.total == total


def test_what_is_kept_is_small_and_suffices() -> None:
    field: Any = {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}
    note: Any = {
        "f:metadata": {"f:annotations": {"f:inference-autoscaler.dev/paused": {}, "f:x": {}}}
    }
    whole = a_target(
        metadata={
            "annotations": {"inference-autoscaler.dev/paused": "true", "long": "x" * 2000},
            "managedFields": [
                {"manager": "helm", "operation": "Apply", "fieldsV1": field},
                {"manager": "kubectl", "operation": "Update", "fieldsV1": note},
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}},
                {"manager": "odd", "operation": "Update"},
            ],
        },
        strategy={"type": "RollingUpdate"},
    )

    kept = trim_target(whole)

    assert kept["metadata"]["annotations"] == {"inference-autoscaler.dev/paused": "true"}
    assert [owner.manager for owner in owners(kept, ("spec", "replicas"))] == ["helm"]
    paused = ("metadata", "annotations", "inference-autoscaler.dev/paused")
    assert [owner.manager for owner in owners(kept, paused)] == ["kubectl"]
    assert len(kept["metadata"]["managedFields"]) == 2
    assert "strategy" not in kept["spec"]
    assert len(orjson.dumps(kept)) < len(orjson.dumps(whole)) / 2


def test_the_labels_of_its_pods() -> None:
    assert template_labels(trim_target(a_target())) == {"app": "chat"}
    assert template_labels(trim_target(a_target(template={}))) is None


@pytest.mark.parametrize(
    ("body", "selector"),
    [
        pytest.param(a_target(), "app=chat", id="matchLabels"),
        pytest.param(
            a_target("LeaderWorkerSet", selector=None),
            "leaderworkerset.sigs.k8s.io/name=chat",
            id="all pods of a group, not its leader alone",
        ),
        pytest.param(
            a_target("Engine", selector=None, status={"hpaPodSelector": "engine=a"}),
            "engine=a",
            id="a status that tells it to the HPA",
        ),
        pytest.param(
            a_target("Engine", selector=None, status={"selector": "engine=b"}),
            "engine=b",
            id="a status that tells it",
        ),
        pytest.param(a_target("Engine", selector=None, status={}), None, id="nobody tells"),
    ],
)
def test_what_picks_its_pods(body: Mapping[str, Any], selector: str | None) -> None:
    found = pod_selector(trim_target(body))

    assert (found.text if found else None) == selector


def test_a_scale_leaves_its_zeros_out() -> None:
    scale = read_scale({"kind": "Scale", "metadata": {"resourceVersion": "7"}, "spec": {}})

    assert (scale.desired, scale.total, scale.selector, scale.version) == (0, 0, None, "7")


def test_a_scale_tells_its_pods() -> None:
    body = {
        "kind": "Scale",
        "spec": {"replicas": 3},
        "status": {"replicas": 4, "selector": "app=chat"},
    }

    assert read_scale(body).selector == Selector((("app", "chat"),))
    assert read_scale(body).total == 4


@pytest.mark.parametrize("body", [{"kind": "Deployment"}, {"kind": "Scale", "spec": 3}, {}])
def test_what_is_no_scale_is_told(body: dict[str, Any]) -> None:
    with pytest.raises(ObservationError, match="not a Scale"):
        read_scale(body)
