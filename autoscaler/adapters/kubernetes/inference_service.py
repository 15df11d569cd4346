"""KServe's InferenceService: replicas by `predictor.minReplicas`, in Standard and Knative mode.

It has no `/scale`. KServe makes a Deployment or a Knative service of it, whose pods carry its
name, and keeps at least `minReplicas` of them running.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from autoscaler.adapters.kubernetes.label_selectors import Selector
from autoscaler.adapters.kubernetes.pods import Pod, ready_replicas
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import ReplicaStatus

KIND: Final = "InferenceService"
GROUP: Final = "serving.kserve.io"
_REVISION: Final = ("serving.knative.dev/revision", "pod-template-hash")


def is_inference_service(api_version: str, kind: str) -> bool:
    """Whether a target is one of KServe's."""
    return kind == KIND and api_version.startswith(f"{GROUP}/")


def pods_of(name: str) -> Selector:
    """Return what picks the pods of its predictor, in either mode."""
    return Selector((("component", "predictor"), (f"{GROUP}/inferenceservice", name)))


def wished(body: Mapping[str, Any]) -> int:
    """Return `predictor.minReplicas`; absent, KServe takes it as 1.

    Raises:
        ObservationError: It is no count.
    """
    return _count(_predictor(body).get("minReplicas"), 1, "minReplicas")


def replica_status(body: Mapping[str, Any], pods: Iterable[Pod]) -> ReplicaStatus:
    """Read its replicas from its object and its pods.

    Args:
        body: The object.
        pods: Its predictor's pods, by `pods_of`.

    Raises:
        ObservationError: A count is none.
    """
    alive = [pod for pod in pods if pod.alive]
    desired = wished(body)
    revisions = {
        next((pod.labels[key] for key in _REVISION if key in pod.labels), "") for pod in alive
    }
    return ReplicaStatus(
        desired=desired,
        ready=min(ready_replicas(alive), desired),
        total=len(alive),
        rolling=len(revisions) > 1,
    )


def change(body: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """Return the merge patch that asks for a number of replicas.

    `maxReplicas` is raised with it where it is lower; 0 means no limit there. The patch holds
    only for the version of the object that was read.

    Args:
        body: The object.
        replicas: How many.

    Raises:
        ObservationError: `maxReplicas` is no count.
    """
    predictor: dict[str, int] = {"minReplicas": int(replicas)}
    most = _count(_predictor(body).get("maxReplicas"), 0, "maxReplicas")
    if 0 < most < replicas:
        predictor["maxReplicas"] = int(replicas)
    version = body["metadata"].get("resourceVersion", "")
    return {"metadata": {"resourceVersion": version}, "spec": {"predictor": predictor}}


def _predictor(body: Mapping[str, Any]) -> Mapping[str, Any]:
    predictor = (body.get("spec") or {}).get("predictor")
    if not isinstance(predictor, Mapping):
        raise ObservationError("it has no spec.predictor")
    return predictor


def _count(value: object, absent: int, field: str) -> int:
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ObservationError(
            f"spec.predictor.{field} should be an integer of 0 or more, not {value!r}"
        )
    return value
