"""Node pools, planned with the pods that they carry: how many nodes, and how many to ask for.

A pool grows in the same cycle in which a workload asks for more replicas than its nodes can hold,
before the pods are there to be counted. It shrinks only to the most that was needed within
`scaleDownSeconds`, so that a node is never given back for a lull shorter than its price.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from autoscaler.core.decision import NodePoolDecision, Reason
from autoscaler.core.observation import NodePoolStatus
from autoscaler.core.past import Mark, age
from autoscaler.core.spec import DNS_LABEL, Actuation, Number, Spec

API_VERSION: Final = "inference-autoscaler.dev/v1alpha1"


class NodeBounds(Spec):
    """The least and the most nodes, enforced on every path."""

    min: Annotated[NonNegativeInt, Number] = 0
    """Fewest nodes."""

    max: Annotated[PositiveInt, Number]
    """Most nodes: what your quota allows."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min should be at most max, not {self.min} > {self.max}")
        return self


class NodePoolMetadata(Spec):
    """Name of a node pool; nodes have no namespace."""

    name: Annotated[str, Field(pattern=DNS_LABEL, max_length=253)]
    """What `spec.replica.nodePool` of a workload names."""


class PoolTarget(Spec):
    """The object that makes the nodes, in the cluster that the pool is sized in."""

    api_version: Annotated[str, Field(min_length=1)]
    """Group and version, such as cluster.x-k8s.io/v1beta2 or karpenter.sh/v1."""

    kind: Annotated[str, Field(min_length=1)]
    """MachineDeployment, MachinePool, anything else with /scale, or Karpenter's NodePool."""

    name: Annotated[str, Field(pattern=DNS_LABEL, max_length=253)]
    """The object's name."""

    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] | None = None
    """Where it lies; absent for Karpenter's NodePool, which lies in none."""

    @property
    def karpenter(self) -> bool:
        """Whether Karpenter makes the nodes."""
        return self.kind == "NodePool" and self.api_version.startswith("karpenter.sh/")

    @model_validator(mode="after")
    def _lies_somewhere(self) -> Self:
        if self.karpenter and self.namespace is not None:
            raise ValueError(f"namespace should be absent for a NodePool, not {self.namespace}")
        if not self.karpenter and self.namespace is None:
            raise ValueError(f"namespace should be given for a {self.kind}")
        return self


class NodePoolSpec(Spec):
    """Nodes of one kind that are sized together."""

    actuation: Literal[Actuation.NONE, Actuation.SCALE] = Actuation.NONE
    """none (watch only) or scale (we size the pool)."""

    target: PoolTarget | None = None
    """The object that makes the nodes; needed where the live controller sizes or watches them."""

    gpus_per_node: Annotated[PositiveInt, Number]
    """GPUs of one node."""

    nodes: NodeBounds
    """The least and the most nodes."""

    provisioning_seconds: Annotated[float, Number, Field(ge=0, le=86400)] = 300.0
    """Seconds from asking for a node until pods can start on it."""

    scale_down_seconds: Annotated[float, Number, Field(ge=0, le=86400)] = 600.0
    """Shrink only to the most nodes that were needed within this many seconds."""


class NodePool(Spec):
    """One pool of nodes: its GPUs, bounds and delays."""

    api_version: Literal["inference-autoscaler.dev/v1alpha1"] = API_VERSION
    """inference-autoscaler.dev/v1alpha1."""

    kind: Literal["NodePool"] = "NodePool"
    """NodePool."""

    metadata: NodePoolMetadata
    """Name."""

    spec: NodePoolSpec
    """What the nodes offer, how many there may be, how long they take."""

    @property
    def key(self) -> str:
        """How every other place names this pool."""
        return self.metadata.name

    def with_actuation(self, actuation: Literal[Actuation.NONE, Actuation.SCALE]) -> "NodePool":
        """Return the same pool, sized by somebody else."""
        return self.model_copy(
            update={"spec": self.spec.model_copy(update={"actuation": actuation})}
        )


def without_target(pools: Iterable[NodePool]) -> tuple[tuple[str, str], ...]:
    """Say which pools cannot be sized live, because nothing says where: key and reason.

    Replays need no target; so this is not a rule of the file, but asked by who starts live.
    """
    why = (
        "spec.target: should name the object that makes the nodes (apiVersion, kind, name, "
        "namespace) where actuation is scale, and is missing"
    )
    return tuple(
        (pool.key, why)
        for pool in pools
        if pool.spec.actuation is Actuation.SCALE and pool.spec.target is None
    )


@dataclass(frozen=True, slots=True)
class Demand:
    """What one workload asks of a pool.

    Attributes:
        replicas: How many of its replicas need a place.
        gpus: GPUs of each.
    """

    replicas: int
    gpus: int


def nodes_needed(demands: Iterable[Demand], gpus_per_node: int) -> int:
    """Return the nodes that hold all replicas.

    A replica that fits a node is never split. One that is larger than a node takes whole nodes
    (a multi-node group). The rest is packed first-fit, largest first, which is exact
    where the sizes divide each other and at most 11/9 of the least possible, and one, elsewhere
    (first-fit decreasing; Johnson 1973, Dósa 2007).

    Args:
        demands: Replicas by their size.
        gpus_per_node: GPUs of one node, 1 or more.
    """
    whole = 0
    free: list[int] = []
    for demand in sorted(demands, key=lambda demand: demand.gpus, reverse=True):
        if demand.gpus >= gpus_per_node:
            whole += demand.replicas * -(-demand.gpus // gpus_per_node)
            continue
        left = demand.replicas
        for place, gpus in enumerate(free):
            fit = min(left, gpus // demand.gpus)
            free[place] -= fit * demand.gpus
            left -= fit
        each = gpus_per_node // demand.gpus
        while left > 0:
            fit = min(left, each)
            free.append(gpus_per_node - fit * demand.gpus)
            left -= fit
    return whole + len(free)


def size_node_pool(
    pool: NodePool,
    status: NodePoolStatus,
    demands: Sequence[Demand],
    past: tuple[Mark, ...],
    *,
    now: float,
    unseen: str = "",
) -> tuple[NodePoolDecision, tuple[Mark, ...]]:
    """Decide how many nodes a pool should have.

    Args:
        pool: The pool's file.
        status: What was found.
        demands: What its workloads ask for, by the plan of this cycle.
        past: The nodes needed in earlier cycles.
        now: Unix seconds.
        unseen: Why its workloads are not all known; then the pool does not shrink.

    Returns:
        The decision, and the needs to remember.
    """
    spec = pool.spec
    needed = nodes_needed(demands, spec.gpus_per_node)
    # As with replicas: what runs when we first look counts as needed.
    earlier = past or (Mark(now, status.desired),)
    kept = (mark for mark in earlier if age(now, mark.time) < spec.scale_down_seconds)
    remembered = (*kept, Mark(now, needed))
    wanted, reason, text = needed, Reason.RECOMMENDED, f"{_said(demands)} need {needed} nodes"
    highest = max(mark.count for mark in remembered)
    if needed < status.desired and highest > needed:
        wanted, reason = min(highest, status.desired), Reason.STABILIZED
        text += f"; up to {highest} were needed in the last {spec.scale_down_seconds:g} s"
    if unseen and wanted < status.desired:
        wanted, reason = status.desired, Reason.BLIND_NO_LOWERING
        text += f"; no decrease: {unseen}"
    nodes = min(max(wanted, spec.nodes.min), spec.nodes.max)
    if nodes < wanted:
        reason = Reason.AT_MAXIMUM
        text += f"; nodes.max is {spec.nodes.max}, {wanted - nodes} too few"
    elif nodes > wanted:
        reason = Reason.AT_MINIMUM
        text += f"; nodes.min is {spec.nodes.min}"
    elif nodes == status.desired and reason is Reason.RECOMMENDED:
        reason = Reason.AT_TARGET
    decision = NodePoolDecision(pool.key, status.desired, needed, nodes, reason, text)
    return decision, remembered


def _said(demands: Sequence[Demand]) -> str:
    said = [f"{demand.replicas} replicas of {demand.gpus} GPUs" for demand in demands]
    return " and ".join(said) or "no replicas"
