"""Who goes first when replicas are taken away: pods that do not serve, then the least loaded.

A ReplicaSet removes pods of a low deletion cost first. So before a decrease the pods to lose get
one, and who survives it loses it again. A cost that somebody else set is theirs, and then nothing
is touched. All of this is a courtesy to the users: it never holds a decrease up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.label_selectors import Selector
from autoscaler.adapters.kubernetes.pods import DELETION_COST, MARK, Pod, read_pod
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER, MERGE_PATCH, KubernetesError
from autoscaler.core.observation import Observation
from autoscaler.core.spec import Role
from autoscaler.core.workload import ScaledWorkload

DRAINED_KINDS: Final = frozenset({("apps", "Deployment"), ("apps", "ReplicaSet")})
"""Only a ReplicaSet heeds deletion costs."""

Loads = Callable[[str], Mapping[str, float]]
"""The load of each pod by name, for a workload's key; empty where it is not known."""

_LOWEST: Final = -1_000_000
_ROLES: Final = (Role.QUEUE, Role.THROUGHPUT, Role.ARRIVALS, Role.UTILIZATION)


def no_loads(workload: str) -> Mapping[str, float]:
    """Know no load."""
    return {}


def pod_loads(workload: ScaledWorkload, observation: Observation) -> Mapping[str, float]:
    """Return the newest load of each pod that was sampled.

    The first of queue, throughput, arrivals and utilization that has per-pod samples is taken.

    Args:
        workload: Its file, which says what each signal speaks of.
        observation: What was seen of it.
    """
    for role in _ROLES:
        for name, signal in workload.spec.signals.items():
            samples = observation.pod_samples.get(name)
            if signal.role is role and samples:
                return {pod: sample.value for pod, sample in samples.items()}
    return {}


@dataclass(frozen=True, slots=True)
class Costs:
    """Deletion costs to write.

    Attributes:
        low: Pods to lose, each with its cost; in the order in which they should go.
        reset: Pods whose cost is to be taken back.
        why: Why nothing is written at all; empty otherwise.
    """

    low: tuple[tuple[Pod, int], ...] = ()
    reset: tuple[Pod, ...] = ()
    why: str = ""


def choose(pods: Iterable[Pod], gone: int, loads: Mapping[str, float], most: int) -> Costs:
    """Choose who goes first.

    Pods that do not serve go first by themselves. Of the others, the least loaded go first;
    a pod without a sample counts as busier than all that have one; of equals, the youngest goes.

    Args:
        pods: The workload's pods.
        gone: How many will go.
        loads: The load of each pod by name.
        most: Pods that may be given a cost; beyond that, Kubernetes chooses.
    """
    alive = sorted((pod for pod in pods if pod.alive), key=lambda pod: pod.name)
    if any(pod.deletion_cost is not None and pod.marked is None for pod in alive):
        return Costs(why="somebody else sets the pods' deletion cost")
    serving = [pod for pod in alive if pod.serves]
    gone -= len(alive) - len(serving)
    ordered = sorted(
        serving, key=lambda pod: (loads.get(pod.name, float("inf")), -pod.created, pod.name)
    )
    leave = ordered[: max(0, min(gone, most))] if gone < len(serving) else []
    low = tuple((pod, _LOWEST + place) for place, pod in enumerate(leave))
    stay = {pod.name for pod in alive} - {pod.name for pod in leave}
    reset = tuple(pod for pod in alive if pod.marked is not None and pod.name in stay)
    return Costs(low, reset)


class Drain:
    """Writes deletion costs, and takes them back."""

    def __init__(
        self,
        connection: Connection,
        *,
        most_patches: int = 50,
        deadline_seconds: float = 5.0,
        keep_seconds: float = 120.0,
    ) -> None:
        """Bound what a courtesy may cost.

        Args:
            connection: Whom to ask.
            most_patches: Pods written to, for one decrease or one tidying.
            deadline_seconds: For all of them together.
            keep_seconds: A cost that is older than this has served, and is taken back.
        """
        self._connection = connection
        self._most = most_patches
        self._deadline = deadline_seconds
        self._keep = keep_seconds

    def prepare(
        self,
        namespace: str,
        selector: Selector | None,
        gone: int,
        *,
        loads: Mapping[str, float],
        now: float,
        may_write: Callable[[], bool],
    ) -> str:
        """Give the pods that should go first a low deletion cost.

        Args:
            namespace: Of the pods.
            selector: Picks them; None where it is not known.
            gone: How many will go.
            loads: The load of each pod by name.
            now: Unix seconds.
            may_write: Asked before each write: whether we still lead.

        Returns:
            What to tell where it could not be done; empty where it was.
        """
        if selector is None:
            return "no pod was given a deletion cost: its /scale does not tell its pods"
        end = self._connection.monotonic() + self._deadline
        try:
            answer = self._connection.get(
                f"/api/v1/namespaces/{namespace}/pods",
                (("labelSelector", selector.text),),
                deadline_seconds=self._deadline,
            )
            pods = [read_pod(body) for body in answer.get("items") or ()]
        except (KubernetesError, ValueError, TypeError, AttributeError) as error:
            return f"no pod was given a deletion cost: {error}"
        costs = choose(pods, gone, loads, self._most)
        if costs.why:
            return f"no pod was given a deletion cost: {costs.why}"
        wanted: list[tuple[Pod, str | None]] = [(pod, None) for pod in costs.reset]
        wanted += [(pod, str(cost)) for pod, cost in costs.low if pod.deletion_cost != str(cost)]
        return self._write(wanted, now, end, may_write)

    def tidy(self, pods: Sequence[Pod], now: float, may_write: Callable[[], bool]) -> str:
        """Take back costs of ours that have served: their pods survived, or nothing came of it.

        Args:
            pods: Any pods; those with an old mark of ours are written to.
            now: Unix seconds.
            may_write: Asked before each write: whether we still lead.

        Returns:
            What to tell where it could not be done; empty where it was.
        """
        old = [
            (pod, None)
            for pod in pods
            if pod.marked is not None and pod.alive and now - pod.marked > self._keep
        ]
        end = self._connection.monotonic() + self._deadline
        return self._write(old[: self._most], now, end, may_write) if old else ""

    def _write(
        self,
        wanted: Sequence[tuple[Pod, str | None]],
        now: float,
        end: float,
        may_write: Callable[[], bool],
    ) -> str:
        for number, (pod, cost) in enumerate(wanted):
            left = end - self._connection.monotonic()
            if left <= 0 or not may_write():
                return f"{number} of {len(wanted)} deletion costs were written in time"
            try:
                self._connection.ask(
                    "PATCH",
                    f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}",
                    query=(("fieldManager", FIELD_MANAGER),),
                    body=_annotated(cost, now),
                    content_type=MERGE_PATCH,
                    deadline_seconds=left,
                    retry=False,  # what is tried again may arrive when another leads
                )
            except KubernetesError as error:
                if error.status != 404:  # gone already is as good
                    return f"{number} of {len(wanted)} deletion costs were written: {error}"
        return ""


def _annotated(cost: str | None, now: float) -> Mapping[str, Any]:
    mark = None if cost is None else str(int(now))
    return {"metadata": {"annotations": {DELETION_COST: cost, MARK: mark}}}
