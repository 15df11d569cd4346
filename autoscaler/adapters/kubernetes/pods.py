"""Pods: what a policy may know of them, which of them are failing, and to whom they belong."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes.label_selectors import Selector
from autoscaler.adapters.kubernetes.times import read_time
from autoscaler.core import quantity
from autoscaler.core.observation import PodStatus

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""A ReplicaSet removes pods of lower cost first."""
MARK: Final = "inference-autoscaler.dev/deletion-cost-set-at"
"""Beside a deletion cost that we set: when, Unix seconds. A cost without it is somebody else's."""
MANY_RESTARTS: Final = 2
"""A container that is not ready after this many restarts is crashing, even while it runs again."""

_BROKEN: Final = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "PostStartHookError",
    }
)
"""Reasons of a waiting container that do not pass by waiting (kubelet's container states)."""
_GROUP: Final = "leaderworkerset.sigs.k8s.io/group-index"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, without what nobody asks for.

    Attributes:
        namespace: Where it lies.
        labels: Its labels.
        status: What policies may know.
        broken: Why it will not come up by waiting; empty if it may.
        unschedulable_since: Since when no node takes it, Unix seconds; None while one may.
        created: Unix seconds.
        deletion_cost: Its deletion cost, if one is set.
        marked: When we set that cost, Unix seconds; None if it is not ours.
    """

    namespace: str
    labels: Mapping[str, str]
    status: PodStatus
    broken: str = ""
    unschedulable_since: float | None = None
    created: float = 0.0
    deletion_cost: str | None = None
    marked: float | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.status.name

    @property
    def alive(self) -> bool:
        """Whether it may still serve: neither ended nor being deleted."""
        return not self.status.deleting and self.status.phase not in {"Succeeded", "Failed"}

    @property
    def serves(self) -> bool:
        """Whether it is alive and ready."""
        return self.alive and self.status.ready is True

    @property
    def replica(self) -> str:
        """What it is a part of: its group in a LeaderWorkerSet, else itself."""
        return self.labels.get(_GROUP, self.name)


def read_pod(body: Mapping[str, Any]) -> Pod:
    """Read one pod of the API's JSON; what is absent or odd counts as not known."""
    metadata, spec, status = body.get("metadata") or {}, body.get("spec"), body.get("status")
    spec, status = spec or {}, status or {}
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    annotations = metadata.get("annotations") or {}
    marked = str(annotations.get(MARK, ""))
    created = read_time(metadata.get("creationTimestamp")) or 0.0
    return Pod(
        namespace=metadata.get("namespace", ""),
        labels=metadata.get("labels") or {},
        status=PodStatus(
            name=metadata.get("name", ""),
            phase=status.get("phase", "Unknown"),
            ready={"True": True, "False": False}.get(ready.get("status", "")),
            deleting="deletionTimestamp" in metadata,
            started=read_time(status.get("startTime")),
            ready_changed=read_time(ready.get("lastTransitionTime")),
            requests=_requests(spec),
        ),
        broken=_broken(status),
        unschedulable_since=(
            read_time(scheduled.get("lastTransitionTime")) or created if stuck else None
        ),
        created=created,
        deletion_cost=annotations.get(DELETION_COST),
        marked=float(marked) if marked.isdecimal() else None,
    )


def failing(pods: Iterable[Pod], now: float, unschedulable_seconds: float) -> int:
    """Count the replicas that will not come up by waiting.

    A pod counts that crashes, cannot pull its image, cannot be made from its configuration, or
    has found no node for `unschedulable_seconds`. A group of pods that is one replica counts once.

    Args:
        pods: The workload's pods.
        now: Unix seconds.
        unschedulable_seconds: How long a node may take to come.
    """
    return len(
        {
            pod.replica
            for pod in pods
            if pod.alive
            and not pod.serves
            and (
                pod.broken
                or (
                    pod.unschedulable_since is not None
                    and now - pod.unschedulable_since >= unschedulable_seconds
                )
            )
        }
    )


def ready_replicas(pods: Iterable[Pod]) -> int:
    """Count the pods that serve."""
    return sum(pod.serves for pod in pods)


class PodIndex:
    """Finds the pods of many workloads at the cost of a few passes over all of them."""

    def __init__(self, pods: Callable[[], Sequence[Pod]]) -> None:
        """Nothing is read before the first question.

        Args:
            pods: Gives all pods of the namespaces in question.
        """
        self._read = pods
        self._pods: Sequence[Pod] | None = None
        self._shapes: dict[tuple[str, ...], dict[tuple[str, ...], list[Pod]]] = {}

    def of(self, namespace: str, selector: Selector) -> tuple[Pod, ...]:
        """Return the pods that a selector picks in a namespace, by name.

        One pass over all pods is made for each distinct set of labels that selectors compare,
        whatever the number of workloads.
        """
        shape = tuple(key for key, _ in selector.equal)
        if shape not in self._shapes:
            self._shapes[shape] = self._by(shape)
        values = (namespace, *(value for _, value in selector.equal))
        found = [
            pod
            for pod in self._shapes[shape].get(values, ())
            if all(condition.holds(pod.labels) for condition in selector.conditions)
        ]
        return tuple(sorted(found, key=lambda pod: pod.name))

    def _by(self, shape: tuple[str, ...]) -> dict[tuple[str, ...], list[Pod]]:
        if self._pods is None:
            self._pods = self._read()
        found: dict[tuple[str, ...], list[Pod]] = {}
        for pod in self._pods:
            labels = pod.labels
            try:
                values = (pod.namespace, *[labels[key] for key in shape])
            except KeyError:
                continue
            found.setdefault(values, []).append(pod)
        return found


def _broken(status: Mapping[str, Any]) -> str:
    """Say what is wrong with a container that is not ready, if it does not pass by waiting."""
    containers = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for container in containers:
        state = container.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason", "")
        if waiting in _BROKEN:
            return f"{container.get('name')}: {waiting}"
        done = (state.get("terminated") or {}).get("exitCode") == 0
        restarts = container.get("restartCount") or 0
        if not container.get("ready") and not done and restarts >= MANY_RESTARTS:
            return f"{container.get('name')}: {restarts} restarts and not ready"
    return ""


def _requests(spec: Mapping[str, Any]) -> Mapping[str, float]:
    """Sum what the containers request; a resource that one of them leaves out is left out.

    Sidecars (restartable init containers) count, and a request of the pod as a whole goes before
    the sum, as for the HPA.
    """
    sidecars = [
        container
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    ]
    each = [
        (container.get("resources") or {}).get("requests") or {}
        for container in (*(spec.get("containers") or ()), *sidecars)
    ]
    everywhere = set(each[0]).intersection(*each[1:]) if each else set()
    whole = (spec.get("resources") or {}).get("requests") or {}
    found: dict[str, float] = {}
    for name in sorted(everywhere | set(whole)):
        try:
            parts = [whole[name]] if name in whole else [requests[name] for requests in each]
            found[name] = sum(quantity.parse(str(part)).approximate for part in parts)
        except ValueError:
            continue  # not a quantity: not known
    return found
