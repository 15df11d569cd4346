"""The whole of a policy file: `kind: ScaledWorkload`, and the fleet of all of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from autoscaler.core.behavior import Behavior
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import Terms
from autoscaler.core.policy import Combiner, Policy
from autoscaler.core.spec import (
    DNS_LABEL,
    Actuation,
    Bounds,
    Fallback,
    OnMissing,
    Replica,
    SignalSpec,
    Slo,
    Spec,
    Target,
)

API_VERSION: Final = "inference-autoscaler.dev/v1alpha1"


class Metadata(Spec):
    """Name and namespace, as of any Kubernetes object."""

    name: Annotated[str, Field(pattern=DNS_LABEL, max_length=253)]
    """Unique among the policy files of its namespace."""

    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] = "default"
    """Where the target lies."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Free; not used to decide."""

    annotations: Mapping[str, str] = Field(default_factory=dict)
    """Free; not used to decide."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One policy of a file, with what every cycle must know of it.

    Attributes:
        policy: The policy.
        label: How the trail names it.
        place: How its memory is named, so that an edited file does not hand it to another
            algorithm.
        needs: Signals without which it is not asked.
        uses: All signals that it reads, in order of their names.
    """

    policy: Policy
    label: str
    place: str
    needs: frozenset[str]
    uses: tuple[str, ...]

    @classmethod
    def at(cls, place: int, policy: Policy) -> Self:
        """Return what is known of the policy at this place of the file."""
        name = f"{place}:{policy.type}"
        needs, uses = frozenset(policy.needs), tuple(sorted(policy.uses))
        return cls(policy, policy.label, name, needs, uses)


class WorkloadSpec(Spec):
    """What to watch, what to decide with, what to change."""

    target: Target
    """The object whose replicas are scaled."""

    actuation: Actuation = Actuation.NONE
    """none (watch only), scale (we patch) or hpa (an HPA follows)."""

    replicas: Bounds
    """The least and the most replicas."""

    replica: Replica = Replica()
    """What one replica needs and how long it takes to start."""

    slo: Slo = Slo()
    """What users were promised."""

    source: str = "default"
    """Name of the Prometheus to ask."""

    match: Mapping[str, str] = Field(default_factory=dict)
    """Label values that pick this workload's series; fills $match and $labels."""

    signals: Mapping[str, SignalSpec] = Field(default_factory=dict)
    """Measurements by name."""

    policies: Annotated[tuple[SerializeAsAny[Policy], ...], Field(min_length=1)]
    """Algorithms with their parameters, in order."""

    combine: str = "highest"
    """How recommendations become one number: highest, vote or first-live."""

    behavior: Behavior | None = None
    """The HPA v2 schema and defaults, and maxReversalsPerHour."""

    fallback: Fallback = Fallback()
    """What to run when nothing useful has been seen for a while."""

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """The policies, in file order, with what every cycle must know of them."""
        return tuple(Asked.at(place, policy) for place, policy in enumerate(self.policies))

    @cached_property
    def used(self) -> tuple[str, ...]:
        """The signals that any policy reads, in order of their names."""
        return tuple(sorted({name for asked in self.asked for name in asked.uses}))

    @cached_property
    def insisted(self) -> tuple[str, ...]:
        """The signals without which `fallback` applies even if policies still see."""
        fallback = OnMissing.FALLBACK
        return tuple(name for name, one in self.signals.items() if one.on_missing is fallback)


class ScaledWorkload(Spec):
    """One workload: its target, signals, policies and limits."""

    api_version: Literal["inference-autoscaler.dev/v1alpha1"] = API_VERSION
    """inference-autoscaler.dev/v1alpha1."""

    kind: Literal["ScaledWorkload"] = "ScaledWorkload"
    """ScaledWorkload."""

    metadata: Metadata
    """Name and namespace."""

    spec: WorkloadSpec
    """What to watch, what to decide with, what to change."""

    @model_validator(mode="after")
    def _target_lies_here(self) -> Self:
        stated = self.spec.target.namespace
        if stated is not None and stated != self.metadata.namespace:
            raise ValueError(
                f"target.namespace should equal metadata.namespace "
                f"({self.metadata.namespace}), not {stated}"
            )
        return self

    @cached_property
    def key(self) -> str:
        """namespace/name: how every other place names this workload."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @cached_property
    def terms(self) -> Terms:
        """What its policies may know of it."""
        spec = self.spec
        return Terms(spec.replicas, spec.replica, spec.slo, spec.behavior)

    def with_actuation(self, actuation: Actuation) -> "ScaledWorkload":
        """Return the same workload, changed by somebody else."""
        return self.model_copy(
            update={"spec": self.spec.model_copy(update={"actuation": actuation})}
        )


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """Every workload under our care, in file order.

    Attributes:
        workloads: The policy files.
        combiners: What each name in `spec.combine` stands for.
        pools: The node pools whose files were given.
    """

    workloads: tuple[ScaledWorkload, ...]
    combiners: Mapping[str, Combiner]
    pools: tuple[NodePool, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two workloads or pools of one key, and a combiner that nobody brought.

        Raises:
            ValueError: Two workloads or pools share a key, or `spec.combine` names no combiner.
        """
        counts = Counter(workload.key for workload in self.workloads)
        twice = sorted(key for key, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"workload {twice[0]} is defined twice")
        names = [pool.key for pool in self.pools]
        if len(set(names)) < len(names):
            raise ValueError(f"one of the node pools {', '.join(sorted(names))} is defined twice")
        for workload in self.workloads:
            if workload.spec.combine not in self.combiners:
                raise ValueError(f"{workload.key}: no combiner is called {workload.spec.combine!r}")

    def acted_on(self) -> "FleetSpec":
        """Return the same fleet with everything scaled by us, as a replay needs it."""
        return FleetSpec(
            tuple(workload.with_actuation(Actuation.SCALE) for workload in self.workloads),
            self.combiners,
            tuple(pool.with_actuation(Actuation.SCALE) for pool in self.pools),
        )
