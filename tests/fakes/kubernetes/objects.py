"""Small Kubernetes objects for tests: each takes only what matters to the test."""

from collections.abc import Mapping
from typing import Any


def deployment(
    name: str = "chat",
    *,
    replicas: int | None = 1,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    kind: str = "Deployment",
    **spec: Any,
) -> dict[str, Any]:
    """Return a Deployment (or a StatefulSet or ReplicaSet) whose pods have the label `app`."""
    wish: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "engine", "image": "engine:1"}]},
        },
        **spec,
    }
    if kind == "StatefulSet":
        wish = {"serviceName": name, **wish}
    if replicas is not None:
        wish = {"replicas": replicas, **wish}
    return _object("apps/v1", kind, name, namespace, wish, labels=labels, annotations=annotations)


def pod(
    name: str,
    *,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    node: str | None = "node-1",
) -> dict[str, Any]:
    """Return a pod."""
    spec: dict[str, Any] = {"containers": [{"name": "engine", "image": "engine:1"}]}
    if node:
        spec["nodeName"] = node
    return _object("v1", "Pod", name, namespace, spec, labels=labels, annotations=annotations)


def lease(
    name: str = "leader",
    *,
    namespace: str = "default",
    holder: str = "a",
    renewed: str | None = None,
) -> dict[str, Any]:
    """Return a Lease of 15 seconds."""
    spec: dict[str, Any] = {"holderIdentity": holder, "leaseDurationSeconds": 15}
    if renewed:
        spec["renewTime"] = renewed
    return _object("coordination.k8s.io/v1", "Lease", name, namespace, spec)


def config_map(name: str, *, namespace: str = "default", **data: str) -> dict[str, Any]:
    """Return a ConfigMap."""
    obj = _object("v1", "ConfigMap", name, namespace, None)
    return {**obj, "data": data}


def autoscaler(
    name: str, target: str, *, namespace: str = "default", low: int = 1, high: int = 10
) -> dict[str, Any]:
    """Return an HPA of a Deployment."""
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    spec = {"scaleTargetRef": ref, "minReplicas": low, "maxReplicas": high}
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", name, namespace, spec)


def scaled_object(
    name: str, target: str, *, namespace: str = "default", kind: str = "Deployment"
) -> dict[str, Any]:
    """Return a KEDA ScaledObject of a Deployment."""
    spec = {"scaleTargetRef": {"kind": kind, "name": target}, "triggers": []}
    return _object("keda.sh/v1alpha1", "ScaledObject", name, namespace, spec)


def disruption_budget(
    name: str, *, app: str, allowed: int, namespace: str = "default", **spec: Any
) -> dict[str, Any]:
    """Return a PodDisruptionBudget that allows so many disruptions at present."""
    wish = {"selector": {"matchLabels": {"app": app}}, "maxUnavailable": 1, **spec}
    obj = _object("policy/v1", "PodDisruptionBudget", name, namespace, wish)
    status = {
        "disruptionsAllowed": allowed,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    }
    return {**obj, "status": status}


def role(name: str, *rules: Mapping[str, Any], namespace: str | None = None) -> dict[str, Any]:
    """Return a Role in a namespace, or a ClusterRole without one."""
    kind = "Role" if namespace else "ClusterRole"
    obj = _object("rbac.authorization.k8s.io/v1", kind, name, namespace, None)
    return {**obj, "rules": list(rules)}


def custom(
    api_version: str, kind: str, name: str, *, namespace: str | None = "default", **spec: Any
) -> dict[str, Any]:
    """Return an object of any kind with a spec."""
    return _object(api_version, kind, name, namespace, spec)


def _object(
    api_version: str,
    kind: str,
    name: str,
    namespace: str | None,
    spec: Mapping[str, Any] | None,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = dict(labels)
    if annotations:
        meta["annotations"] = dict(annotations)
    obj: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": meta}
    return obj if spec is None else {**obj, "spec": dict(spec)}
