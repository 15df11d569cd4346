"""One target, judged from its object and what surrounds it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from autoscaler.adapters.kubernetes import inference_service
from autoscaler.adapters.kubernetes.budgets import BudgetIndex
from autoscaler.adapters.kubernetes.label_selectors import Selector
from autoscaler.adapters.kubernetes.pods import Pod, PodIndex, failing, ready_replicas
from autoscaler.adapters.kubernetes.target_objects import (
    Json,
    Scale,
    pod_selector,
    replica_status,
    template_labels,
)
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import Intervention, InterventionKind, PodStatus, ReplicaStatus
from autoscaler.core.workload import ScaledWorkload

Say = Callable[[ScaledWorkload, Json, int, float], tuple[Intervention, ...]]
"""Tells who else has a say in a workload: its file, its target's object, the replicas that this
asks for, Unix seconds."""


def nobody_else(
    workload: ScaledWorkload, body: Json, count: int, now: float
) -> tuple[Intervention, ...]:
    """Tell that nobody else has a say."""
    return ()


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """What was seen of one target.

    Attributes:
        replicas: Its replicas.
        pods: Its pods, where a policy asks for them.
        interventions: Who else has a say.
        body: Its object, trimmed.
    """

    replicas: ReplicaStatus
    pods: tuple[PodStatus, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    body: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds the targets in one cycle.

    Attributes:
        now: Unix seconds.
        pods: All pods.
        no_pods: Why the pods of a place are not known, by place; empty where they are. A place
            is a namespace, or empty for all of them.
        budgets: All disruption budgets.
        no_budgets: Why those are not known, likewise.
        scales: What `/scale` showed, or why not, of the targets that it was asked of.
        patience: Seconds that a node may take to come, by node pool.
        least_patience: The same where the pool is not known.
    """

    now: float
    pods: PodIndex
    no_pods: Mapping[str, str]
    budgets: BudgetIndex
    no_budgets: Mapping[str, str]
    scales: Mapping[str, Scale | str]
    patience: Mapping[str, float]
    least_patience: float

    def patience_with(self, workload: ScaledWorkload) -> float:
        """Seconds after which a pod that no node takes is failing."""
        return self.patience.get(workload.spec.replica.node_pool or "", self.least_patience)


def see(
    workload: ScaledWorkload, body: Json, around: Around, place: str, say: Say = nobody_else
) -> TargetSeen:
    """Judge one target.

    What is not known never lowers anything: without pods or budgets, decreases are forbidden and
    the reason is told.

    Args:
        workload: Its file.
        body: Its object, trimmed.
        around: What surrounds it.
        place: Which part of that is its own.
        say: Tells who else has a say.

    Raises:
        ObservationError: What is needed of it was not seen.
    """
    namespace, name = (workload.metadata.namespace, workload.spec.target.name)
    target = workload.spec.target
    scale = around.scales.get(workload.key)
    if isinstance(scale, str):
        raise ObservationError(scale)
    served = inference_service.is_inference_service(target.api_version, target.kind)
    selector = inference_service.pods_of(name) if served else pod_selector(body)
    if scale is not None and scale.selector is not None:
        selector = scale.selector
    no_pods = around.no_pods[place] or ("" if selector else "it does not tell its pods")
    untold = scale is not None and scale.total > 0 and "readyReplicas" not in body["status"]
    counted = served or untold
    wanted = counted or any(policy.needs_pods for policy in workload.spec.policies)
    if wanted and no_pods:
        raise ObservationError(f"its pods are needed and not known: {no_pods}")

    pods: tuple[Pod, ...] = ()
    if wanted:
        pods = _pods(around, namespace, selector)
    if served:
        replicas = inference_service.replica_status(body, pods)
    else:
        replicas = replica_status(body, scale, ready_replicas(pods) if counted else None)
    doubts: list[str] = []
    # Only who is not complete can have pods that fail: the others cost no look at pods.
    unsettled = replicas.ready < replicas.desired or replicas.rolling
    if unsettled and no_pods:
        doubts.append(f"failing pods would not be seen: {no_pods}")
    elif unsettled and not wanted:
        pods = _pods(around, namespace, selector)
    if around.no_budgets[place]:
        doubts.append(f"disruption budgets are not known: {around.no_budgets[place]}")
    labels = template_labels(body)
    if labels is None and not pods and not no_pods:
        pods = _pods(around, namespace, selector)
    seen = [labels] if labels is not None else [pod.labels for pod in pods]
    return TargetSeen(
        replicas=replace(
            replicas,
            failing=failing(pods, around.now, around.patience_with(workload)),
            disruptions_allowed=around.budgets.allowed(namespace, seen),
        ),
        pods=tuple(pod.status for pod in pods) if wanted else (),
        interventions=(
            *say(workload, body, replicas.desired, around.now),
            *(Intervention(InterventionKind.PAUSED_DOWN, doubt) for doubt in doubts),
        ),
        body=body,
    )


class Sights:
    """Judges the targets of a fleet, cycle by cycle. For one thread.

    A target that is settled (complete, and judged without a look at its pods) is judged anew only
    when its object, its file or a disruption budget has changed.
    """

    def __init__(self, say: Say = nobody_else) -> None:
        """Know of no target; `say` tells who else has a say."""
        self._say = say
        self._now = 0.0
        self._settled: dict[str, _Settled] = {}
        self._settled_before: dict[str, _Settled] = {}

    def see(self, workload: ScaledWorkload, body: Json, around: Around, place: str) -> TargetSeen:
        """Judge one target; as the function `see`."""
        if around.now != self._now:  # who is not asked about any more is forgotten
            self._now, self._settled_before, self._settled = around.now, self._settled, {}
        key = workload.key
        settled = self._settled_before.get(key)
        if settled is None or not settled.holds(workload, body, around, place):
            seen = see(workload, body, around, place, self._say)
            if _is_settled(workload, seen, around, place):
                self._settled[key] = _Settled(workload, around.budgets, seen)
            return seen
        self._settled[key] = settled
        said = self._say(workload, body, settled.seen.replicas.desired, around.now)
        if said == settled.seen.interventions:
            return settled.seen
        return replace(settled.seen, interventions=said)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A target that needed no look at pods, and the budgets that it was judged by."""

    workload: ScaledWorkload
    budgets: BudgetIndex
    seen: TargetSeen

    def holds(self, workload: ScaledWorkload, body: Json, around: Around, place: str) -> bool:
        return (
            body is self.seen.body
            and workload is self.workload
            and around.budgets is self.budgets
            and not around.no_budgets[place]
        )


def _is_settled(workload: ScaledWorkload, seen: TargetSeen, around: Around, place: str) -> bool:
    target, replicas = workload.spec.target, seen.replicas
    return not (
        around.no_budgets[place]
        or replicas.ready < replicas.desired
        or replicas.rolling
        or workload.key in around.scales
        or template_labels(seen.body) is None
        or inference_service.is_inference_service(target.api_version, target.kind)
        or any(policy.needs_pods for policy in workload.spec.policies)
    )


def _pods(around: Around, namespace: str, selector: Selector | None) -> tuple[Pod, ...]:
    return around.pods.of(namespace, selector) if selector is not None else ()
