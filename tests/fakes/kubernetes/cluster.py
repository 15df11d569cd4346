"""What the controllers of a cluster do with Deployments and their like, one step at a time.

Nothing happens by itself: `Cluster.step(now)` looks at every workload once and does what its
controller would have done by then. It works on any API server, ours or a real one.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from tests.fakes.kubernetes import selectors
from tests.fakes.kubernetes.client import ApiServer
from tests.fakes.kubernetes.pods import Node, Pod, cost, is_ready, path_of

MANAGER = "kube-controller-manager"
HASH = "pod-template-hash"


class Cluster:
    """The controllers of Deployments, StatefulSets and LeaderWorkerSets, and one node.

    Attributes:
        node: How fast pods start and end, how many have a place, which never start.
    """

    def __init__(
        self,
        api: ApiServer,
        *,
        namespace: str = "default",
        ready_after: float = 0.0,
        ends_after: float = 0.0,
        capacity: int | None = None,
    ) -> None:
        self.api = api
        self.node = Node(api, ready_after, ends_after, capacity)
        self._namespace = namespace
        self._made = 0

    def step(self, now: float, *, rounds: int = 2) -> None:
        """Do what is due at `now` (Unix seconds).

        One round is: every controller acts, the node acts, every status is written. Two rounds
        bring a new number to ready pods if these start at once.
        """
        if hasattr(self.api, "now"):
            self.api.now = now
        for _ in range(rounds):
            for workload in self._workloads():
                _CONTROLLERS[workload["kind"]](self, workload)
            self.node.step(self._pods(), now)
            for workload in self._workloads():
                self._status(workload)
            self._budgets()

    # --- what is there --------------------------------------------------------------------

    def _path(self, group: str, plural: str, name: str = "") -> str:
        ends = f"/{name}" if name else ""
        return f"{group}/namespaces/{self._namespace}/{plural}{ends}"

    def _workloads(self) -> list[dict[str, Any]]:
        return [
            {**obj, "kind": kind}
            for kind, (group, plural) in _PLACES.items()
            for obj in self.api.objects(self._path(group, plural))
        ]

    def _pods(self, workload: str = "") -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.api.objects(self._path("/api/v1", "pods"))
            if (pod["metadata"].get("labels") or {}).get("workload", "") != ""
            and workload in {"", pod["metadata"]["labels"]["workload"]}
        ]

    # --- Deployments ----------------------------------------------------------------------

    def deployment(self, workload: Mapping[str, Any]) -> None:
        """Move towards the wish; roll a new template out with surge and unavailability."""
        name, spec = workload["metadata"]["name"], workload["spec"]
        wish = spec["replicas"]
        template = _hash(spec["template"])
        living = [pod for pod in self._pods(name) if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in living if pod["metadata"]["labels"][HASH] == template]
        old = [pod for pod in living if pod["metadata"]["labels"][HASH] != template]
        rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
        surge = _share(rolling.get("maxSurge", "25%"), wish, up=True) if old else 0
        spare = _share(rolling.get("maxUnavailable", "25%"), wish, up=False)
        if old and not surge and not spare:
            spare = 1
        for _ in range(min(wish - len(new), wish + surge - len(living))):
            self._create(workload, f"{name}-{template}-{self._next()}", {HASH: template})
        self._end(new, len(new) - wish)
        if len(new) >= wish and not [pod for pod in new if not is_ready(pod)]:
            self._end(old, len(old))
        else:
            self._end([pod for pod in old if not is_ready(pod)], len(old))
            ready = [pod for pod in living if is_ready(pod)]
            self._end([pod for pod in old if is_ready(pod)], len(ready) - (wish - spare))

    # --- StatefulSets and LeaderWorkerSets ------------------------------------------------

    def stateful_set(self, workload: Mapping[str, Any]) -> None:
        """Make pods in order, each after the one before is ready; end the last first."""
        name, wish = workload["metadata"]["name"], workload["spec"]["replicas"]
        together = workload["spec"].get("podManagementPolicy") == "Parallel"
        living = {pod["metadata"]["name"]: pod for pod in self._pods(name)}
        for number in range(wish):
            pod = living.get(f"{name}-{number}")
            if pod is None:
                self._create(workload, f"{name}-{number}", {})
            if not together and (pod is None or not is_ready(pod)):
                break
        surplus = sorted((_number(each), each) for each in living if _number(each) >= wish)
        for _, each in reversed(surplus):
            self._end([living[each]], 1)

    def leader_worker_set(self, workload: Mapping[str, Any]) -> None:
        """Make groups of a leader and its workers, each a pod."""
        name, spec = workload["metadata"]["name"], workload["spec"]
        size = (spec.get("leaderWorkerTemplate") or {}).get("size", 1)
        wanted = {
            (f"{name}-{group}" if worker == 0 else f"{name}-{group}-{worker}"): (group, worker)
            for group in range(spec.get("replicas", 1))
            for worker in range(size)
        }
        living = {pod["metadata"]["name"]: pod for pod in self._pods(name)}
        label = "leaderworkerset.sh"
        for each, (group, worker) in wanted.items():
            if each not in living:
                labels = {
                    f"{label}/name": name,
                    f"{label}/group-index": str(group),
                    f"{label}/worker-index": str(worker),
                }
                self._create(workload, each, labels)
        for each, pod in living.items():
            if each not in wanted:
                self._end([pod], 1)

    # --- pods -----------------------------------------------------------------------------

    def _create(self, workload: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> None:
        meta = workload["metadata"]
        template = _template(workload)
        given = (template.get("metadata") or {}).get("labels") or {}
        owner = {
            "apiVersion": workload["apiVersion"],
            "kind": workload["kind"],
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": {**given, **labels, "workload": meta["name"]},
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
        self.api.add(pod, manager=MANAGER)

    def _end(self, pods: Iterable[Pod], count: int) -> None:
        """Delete so many pods: waiting before ready, cheap before dear, young before old."""
        ranked = sorted(
            pods,
            key=lambda pod: (
                "nodeName" in pod["spec"],
                is_ready(pod),
                cost(pod),
                -int(pod["metadata"]["resourceVersion"]) if not is_ready(pod) else 0,
                pod["metadata"]["creationTimestamp"],
            ),
        )
        for pod in ranked[: max(count, 0)]:
            if "deletionTimestamp" not in pod["metadata"]:
                self.api.end(path_of(pod))

    def _next(self) -> str:
        self._made += 1
        return f"{self._made:05d}"

    # --- status ---------------------------------------------------------------------------

    def _status(self, workload: Mapping[str, Any]) -> None:
        group, plural = _PLACES[workload["kind"]]
        name = workload["metadata"]["name"]
        pods: list[Pod] = [
            pod for pod in self._pods(name) if "deletionTimestamp" not in pod["metadata"]
        ]
        status: dict[str, Any] = {"observedGeneration": workload["metadata"]["generation"]}
        if workload["kind"] == "LeaderWorkerSet":
            leaders = "leaderworkerset.sh/worker-index=0"
            status["hpaPodSelector"] = f"leaderworkerset.sh/name={name},{leaders}"
            pods = _whole_groups(pods)
        ready = [pod for pod in pods if is_ready(pod)]
        status |= {
            "replicas": len(pods),
            "readyReplicas": len(ready),
            "updatedReplicas": len(pods),
        }
        if workload["kind"] == "Deployment":
            template = _hash(workload["spec"]["template"])
            new = [pod for pod in pods if pod["metadata"]["labels"][HASH] == template]
            status |= {
                "updatedReplicas": len(new),
                "availableReplicas": len(ready),
                "unavailableReplicas": max(workload["spec"]["replicas"] - len(ready), 0),
            }
        path = self._path(group, plural, name)
        self.api.write(f"{path}/status", {"status": status}, manager=MANAGER)

    def _budgets(self) -> None:
        for budget in self.api.objects(self._path("/apis/policy/v1", "poddisruptionbudgets")):
            matches = selectors.labels(selectors.as_text(budget["spec"].get("selector")))
            pods = [p for p in self._pods() if matches(p["metadata"].get("labels") or {})]
            healthy = sum(is_ready(pod) for pod in pods)
            spec = budget["spec"]
            if "minAvailable" in spec:
                least = _share(spec["minAvailable"], len(pods), up=True)
            else:
                least = len(pods) - _share(spec.get("maxUnavailable", 0), len(pods), up=True)
            status = {
                "disruptionsAllowed": max(healthy - least, 0),
                "currentHealthy": healthy,
                "desiredHealthy": max(least, 0),
                "expectedPods": len(pods),
            }
            path = self._path("/apis/policy/v1", "poddisruptionbudgets", budget["metadata"]["name"])
            self.api.write(f"{path}/status", {"status": status}, manager=MANAGER)


_PLACES = {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "LeaderWorkerSet": ("/apis/leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
}
_CONTROLLERS = {
    "Deployment": Cluster.deployment,
    "StatefulSet": Cluster.stateful_set,
    "LeaderWorkerSet": Cluster.leader_worker_set,
}


def _template(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = workload["spec"]
    found: Mapping[str, Any] = (
        spec["leaderWorkerTemplate"]["workerTemplate"]
        if workload["kind"] == "LeaderWorkerSet"
        else spec["template"]
    )
    return found


def _hash(template: Mapping[str, Any]) -> str:
    raw = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(raw).hexdigest()[:8]


def _share(amount: int | str, of: int, *, up: bool) -> int:
    """Return a number of pods; a percentage is rounded up or down."""
    if isinstance(amount, int):
        return amount
    part = float(amount.removesuffix("%")) * of / 100
    return math.ceil(part) if up else math.floor(part)


def _number(name: str) -> int:
    return int(name.rsplit("-", 1)[-1])


def _whole_groups(pods: Sequence[Pod]) -> list[Pod]:
    """Return the leaders; one is ready only where its whole group is."""
    label = "leaderworkerset.sh/"
    found: list[Pod] = []
    for pod in pods:
        labels = pod["metadata"]["labels"]
        if labels[f"{label}worker-index"] != "0":
            continue
        group = [
            other
            for other in pods
            if other["metadata"]["labels"][f"{label}group-index"] == labels[f"{label}group-index"]
        ]
        whole = all(is_ready(other) for other in group)
        found.append(pod if whole else {**pod, "status": {}})
    return found
