"""What a kubelet and a scheduler do to pods, when a test says that time has passed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes import times
from tests.fakes.kubernetes.client import ApiServer

Pod = Mapping[str, Any]


def is_ready(pod: Pod) -> bool:
    """Tell whether the pod serves: ready, and not ending."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def cost(pod: Pod) -> int:
    """Return `controller.kubernetes.io/pod-deletion-cost`; 0 if absent."""
    annotations = pod["metadata"].get("annotations") or {}
    return int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))


def path_of(pod: Pod) -> str:
    """Return a pod's path."""
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


@dataclass(slots=True)
class Node:
    """One large node: pods start and end on it in a given time.

    Attributes:
        ready_after: Seconds from a pod's place on the node to readiness.
        ends_after: Seconds from a pod's deletion to its end.
        capacity: How many pods have a place; None: all.
        never_ready: Names of workloads whose pods that are not ready yet never become ready.
    """

    api: ApiServer
    ready_after: float = 0.0
    ends_after: float = 0.0
    capacity: int | None = None
    never_ready: set[str] = field(default_factory=set)
    _placed: dict[str, float] = field(default_factory=dict)
    _ending: dict[str, float] = field(default_factory=dict)

    def step(self, pods: Iterable[Pod], now: float) -> None:
        """End, place and ready the pods whose time has come."""
        present = list(pods)
        taken = 0
        for pod in present:
            uid, meta = pod["metadata"]["uid"], pod["metadata"]
            if "deletionTimestamp" in meta and self._ended(uid, now):
                self.api.drop(path_of(pod))
                continue
            taken += "nodeName" in pod["spec"]
        for pod in present:
            if "deletionTimestamp" in pod["metadata"]:
                continue
            if "nodeName" not in pod["spec"]:
                if self.capacity is not None and taken >= self.capacity:
                    self._unschedulable(pod, now)
                    continue
                self.api.bind(path_of(pod), "node-1")
                taken += 1
            self._start(pod, now)

    def _ended(self, uid: str, now: float) -> bool:
        return now >= self._ending.setdefault(uid, now) + self.ends_after

    def _start(self, pod: Pod, now: float) -> None:
        placed = self._placed.setdefault(pod["metadata"]["uid"], now)
        if is_ready(pod):
            return
        ready = now >= placed + self.ready_after and _workload(pod) not in self.never_ready
        phase = (pod.get("status") or {}).get("phase")
        if ready or phase != "Running":
            at = times.seconds(now if ready else placed)
            self._conditions(pod, "Running", placed, Ready=ready, PodScheduled=True, at=at)

    def _unschedulable(self, pod: Pod, now: float) -> None:
        if not (pod.get("status") or {}).get("conditions"):
            at = times.seconds(now)
            self._conditions(pod, "Pending", None, PodScheduled=False, at=at)

    def _conditions(
        self, pod: Pod, phase: str, started: float | None, *, at: str, **conditions: bool
    ) -> None:
        shown = [
            {"type": name, "status": str(holds), "lastTransitionTime": at}
            | ({"reason": "Unschedulable"} if name == "PodScheduled" and not holds else {})
            for name, holds in conditions.items()
        ]
        status: dict[str, Any] = {"phase": phase, "conditions": shown}
        if started is not None:
            status["startTime"] = times.seconds(started)
        self.api.write(f"{path_of(pod)}/status", {"status": status}, manager="kubelet")


def _workload(pod: Pod) -> str:
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get("workload", ""))
