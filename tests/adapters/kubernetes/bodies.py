"""Objects with their status, as the API shows them: each takes only what matters to the test."""

from collections.abc import Mapping
from typing import Any

from tests.builders import NOON

NOON_TEXT = "2023-11-14T22:13:20Z"
"""The same as NOON."""


def a_pod(
    name: str = "chat-a",
    *,
    namespace: str = "llm",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    phase: str = "Running",
    ready: bool | None = True,
    containers: tuple[Mapping[str, Any], ...] = (),
    unschedulable: bool = False,
    created: str = NOON_TEXT,
    deleting: bool = False,
    **spec: Any,
) -> dict[str, Any]:
    """A pod of the workload chat that serves, unless it is said otherwise."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": dict(labels or {"app": "chat"}),
        "annotations": dict(annotations or {}),
        "creationTimestamp": created,
    }
    if deleting:
        metadata["deletionTimestamp"] = NOON_TEXT
    conditions = []
    if ready is not None:
        conditions.append({"type": "Ready", "status": str(ready), "lastTransitionTime": NOON_TEXT})
    if unschedulable:
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "lastTransitionTime": NOON_TEXT,
            }
        )
    wish = {"containers": [{"name": "engine", "image": "engine:1"}], **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": wish,
        "status": {
            "phase": phase,
            "startTime": NOON_TEXT,
            "conditions": conditions,
            "containerStatuses": list(containers),
        },
    }


def a_container(
    waiting: str = "", *, ready: bool = False, restarts: int = 0, exited: int | None = None
) -> dict[str, Any]:
    """The status of one container."""
    state: dict[str, Any] = {"running": {}}
    if waiting:
        state = {"waiting": {"reason": waiting}}
    if exited is not None:
        state = {"terminated": {"exitCode": exited}}
    return {"name": "engine", "ready": ready, "restartCount": restarts, "state": state}


def a_target(
    kind: str = "Deployment",
    *,
    name: str = "chat",
    namespace: str = "llm",
    replicas: int | None = 3,
    status: Mapping[str, Any] | None = None,
    api_version: str = "apps/v1",
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An object that is scaled; without a status, all its replicas serve."""
    wish: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "engine", "image": "engine:1"}]},
        },
        **spec,
    }
    if replicas is not None:
        wish["replicas"] = replicas
    settled = {
        "replicas": replicas,
        "readyReplicas": replicas,
        "updatedReplicas": replicas,
        "observedGeneration": 1,
    }
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "generation": 1, **(metadata or {})},
        "spec": wish,
        "status": dict(settled if status is None else status),
    }


def a_budget(
    allowed: int = 1,
    *,
    name: str = "chat",
    namespace: str = "llm",
    selector: Mapping[str, Any] | None = None,
    observed: int = 1,
) -> dict[str, Any]:
    """A PodDisruptionBudget of the workload chat."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {
            "selector": selector if selector is not None else {"matchLabels": {"app": "chat"}}
        },
        "status": {"disruptionsAllowed": allowed, "observedGeneration": observed},
    }


__all__ = ["NOON", "NOON_TEXT", "a_budget", "a_container", "a_pod", "a_target"]
