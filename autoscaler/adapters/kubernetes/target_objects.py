"""Objects that are scaled: trimmed to what is needed, and read as a count of replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes.label_selectors import Selector, of_object, of_text
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import ReplicaStatus

Json = Mapping[str, Any]
"""A JSON object as the API server sent it."""

USUAL: Final = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "ReplicaSet"),
        ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"),
        ("argoproj.io", "Rollout"),
        ("cluster.x-k8s.io", "MachineDeployment"),
        ("cluster.x-k8s.io", "MachinePool"),
        ("cluster.x-k8s.io", "MachineSet"),
    }
)
"""Kinds known to keep their count in `spec.replicas` and `status.replicas`. Where others keep it
stands in their CRD, so they are asked through `/scale`."""

_TELL_UPDATED: Final = frozenset({"Deployment", "LeaderWorkerSet", "Rollout"})
"""Kinds that count the replicas of the newest template, and leave a zero out."""
_LONGEST: Final = 1024
_STATUS: Final = (
    "replicas", "readyReplicas", "updatedReplicas", "observedGeneration", "currentRevision",
    "updateRevision", "hpaPodSelector", "selector",
)  # fmt: skip
_OWNED: Final[Json] = {
    "f:spec": {"f:replicas": {}, "f:predictor": {"f:minReplicas": {}}},
    "f:metadata": {"f:annotations": {"f:inference-autoscaler.dev/*": {}}},
}


def trim_target(body: Json) -> Json:
    """Return what we need of a scaled object: about a tenth of a Deployment.

    Kept: names, labels, short annotations, who owns the count, the count, the selector, the
    labels of its pods, how it rolls out, and the status's counts and conditions.
    """
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    kept = {
        key: metadata[key]
        for key in (
            "name", "namespace", "uid", "generation", "resourceVersion", "labels",
            "creationTimestamp", "deletionTimestamp", "ownerReferences",
        )
        if key in metadata
    }  # fmt: skip
    kept["annotations"] = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if len(value) <= _LONGEST
    }
    kept["managedFields"] = _owners(metadata.get("managedFields") or ())
    wish = {
        key: spec[key]
        for key in ("replicas", "selector", "paused", "limits", "updateStrategy")
        if key in spec
    }
    if isinstance(predictor := spec.get("predictor"), Mapping):
        wish["predictor"] = {
            key: predictor[key] for key in ("minReplicas", "maxReplicas") if key in predictor
        }
    template = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if template:
        wish["template"] = {"metadata": {"labels": template}}
    conditions = [
        {key: each.get(key) for key in ("type", "status", "reason")}
        for each in status.get("conditions") or ()
    ]
    return {
        **{key: body[key] for key in ("apiVersion", "kind") if key in body},
        "metadata": kept,
        "spec": wish,
        "status": {
            **{key: status[key] for key in _STATUS if key in status},
            "conditions": conditions,
        },
    }


def _owners(entries: Sequence[Json]) -> list[Json]:
    """Keep who owns the count or one of our annotations, and no other field."""
    kept: list[Json] = []
    for entry in entries:
        owned = _part(entry.get("fieldsV1"), _OWNED)
        if owned:
            kept.append({**entry, "fieldsV1": owned})
    return kept


def _part(fields: object, wanted: Json) -> dict[str, Any]:
    """Return the part of a field set that is wanted; `prefix*` stands for many."""
    if not isinstance(fields, Mapping):
        return {}
    found: dict[str, Any] = {}
    for key, below in fields.items():
        for name, deeper in wanted.items():
            if key == name or (name[-1] == "*" and key.startswith(name[:-1])):
                part = _part(below, deeper)
                # An empty set means the whole of it, with all that lies below.
                if part or below == {}:
                    found[key] = part
    return found


@dataclass(frozen=True, slots=True)
class Scale:
    """What `/scale` shows.

    Attributes:
        desired: `spec.replicas`.
        total: `status.replicas`.
        selector: Picks the pods; None where it is not told.
        version: `metadata.resourceVersion`: what a write is held against.
    """

    desired: int
    total: int
    selector: Selector | None
    version: str


def read_scale(body: Json) -> Scale:
    """Read an autoscaling/v1 Scale.

    Raises:
        ObservationError: It is none.
    """
    spec, status = body.get("spec"), body.get("status") or {}
    if body.get("kind") != "Scale" or not isinstance(spec, Mapping | None):
        raise ObservationError(f"its /scale answers with a {body.get('kind')}, not a Scale")
    return Scale(
        # The API leaves a zero out.
        desired=_count((spec or {}).get("replicas"), 0),
        total=_count(status.get("replicas"), 0),
        selector=of_text(status.get("selector")),
        version=str((body.get("metadata") or {}).get("resourceVersion", "")),
    )


def wished(body: Json) -> int:
    """Return `spec.replicas`; absent, it is 1 by the API's default.

    Raises:
        ObservationError: It is no count.
    """
    return _count(body["spec"].get("replicas"), 1)


def replica_status(
    body: Json, scale: Scale | None = None, ready: int | None = None
) -> ReplicaStatus:
    """Read the replicas of a trimmed object.

    Pods above the wish, as a rolling update makes them, are not capacity: they go when it ends. So
    `ready` is never more than `desired`, and `desired` is the wish, never the number of pods that
    exist: an autoscaler that starts from that climbs with each roll-out (kubernetes#72775).

    Args:
        body: The object.
        scale: Its `/scale`, for kinds whose fields are not known.
        ready: Pods that serve, where the object does not tell.

    Raises:
        ObservationError: A count is none.
    """
    status = body["status"]
    desired = wished(body) if scale is None else scale.desired
    total = _count(status.get("replicas"), 0) if scale is None else scale.total
    serving = _count(status.get("readyReplicas"), 0) if ready is None else ready
    return ReplicaStatus(
        desired=desired,
        ready=min(serving, desired),
        total=total,
        rolling=_rolls(body, total),
    )


def _rolls(body: Json, total: int) -> bool:
    """Say whether replicas of an older template are being replaced."""
    status, conditions = body["status"], body["status"]["conditions"]
    if any(each["type"] == "UpdateInProgress" and each["status"] == "True" for each in conditions):
        return True
    generation, observed = body["metadata"].get("generation"), status.get("observedGeneration")
    if str(observed if observed is not None else generation) != str(generation):
        return True  # its controller has not seen the newest template yet, or is not running
    updated = _count(status.get("updatedReplicas"), 0)
    if body.get("kind") == "StatefulSet" or "updateRevision" in status:
        strategy = body["spec"].get("updateStrategy") or {}
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        return (
            strategy.get("type") != "OnDelete"
            and status.get("updateRevision") != status.get("currentRevision")
            and updated < total - partition
        )
    tells = "updatedReplicas" in status or body.get("kind") in _TELL_UPDATED
    return tells and updated < total


def pod_selector(body: Json) -> Selector | None:
    """Return what picks the object's pods; None where it is not told."""
    selector = body["spec"].get("selector")
    if isinstance(selector, Mapping):
        return of_object(selector)
    status = body["status"]
    if body.get("kind") == "LeaderWorkerSet":
        # The selector for the HPA picks leaders only; a crashing worker fails its replica too.
        name = body["metadata"]["name"]
        return Selector((("leaderworkerset.sigs.k8s.io/name", name),))
    return of_text(status.get("hpaPodSelector")) or of_text(status.get("selector"))


def template_labels(body: Json) -> Mapping[str, str] | None:
    """Return the labels that its pods get; None where the object does not tell."""
    labels = ((body["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    return labels if isinstance(labels, Mapping) else None


def _count(value: object, absent: int) -> int:
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ObservationError(f"a replica count should be an integer of 0 or more, not {value!r}")
    return value
