"""Small worlds for tests: each builder takes only what matters to the test."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from autoscaler.core.behavior import Behavior
from autoscaler.core.observation import (
    Gap,
    Observation,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Series,
    Snapshot,
)
from autoscaler.core.policy import Combiner, Policy, Recommendation, Verdict, Vote, up
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec, ScaledWorkload

NOON = 1_700_000_000.0
"""A time for every test: Unix seconds."""


class Wants(Policy):
    """Wants a fixed count, whatever it sees."""

    type: Literal["wants"] = "wants"
    replicas: int | None
    floor: bool = False

    def recommend(self, observation: Observation) -> Recommendation:
        return Recommendation(
            self.replicas, f"wants {self.replicas}", raise_only=self.floor, memory={"asked": True}
        )


class PerReplica(Policy):
    """Wants one replica for each whole `target` of its signal, rounded up."""

    type: Literal["per-replica"] = "per-replica"
    signal: str = "load"
    target: float = 10.0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    def recommend(self, observation: Observation) -> Recommendation:
        load = observation.signal(self.signal).latest
        return Recommendation(
            up(load / self.target), f"{self.signal} is {load:g}", evidence={self.signal: load}
        )


class Raises(Policy):
    """A broken plug-in."""

    type: Literal["raises"] = "raises"

    def recommend(self, observation: Observation) -> Recommendation:
        raise RuntimeError("division by cucumber")


class Counts(Policy):
    """Counts how often it was asked, in its memory."""

    type: Literal["counts"] = "counts"

    def recommend(self, observation: Observation) -> Recommendation:
        asked = 1 + int((observation.memory or {}).get("asked", 0))
        return Recommendation(asked, f"asked {asked} times", memory={"asked": asked})


def largest(votes: Sequence[Vote], current: int) -> Verdict:
    """The simplest combiner: the largest opinion."""
    opinions = [vote.replicas for vote in votes if vote.replicas is not None]
    if not opinions:
        return Verdict(None, "nobody has an opinion")
    return Verdict(max(opinions), f"the largest of {len(opinions)}")


def a_workload(
    *policies: Policy,
    name: str = "chat",
    minimum: int = 1,
    maximum: int = 20,
    actuation: Actuation = Actuation.SCALE,
    signals: Mapping[str, Mapping[str, Any]] | None = None,
    behavior: Mapping[str, Any] | None = None,
    **spec: Any,
) -> ScaledWorkload:
    """A policy file: no stabilization and no rate limits unless `behavior` says so."""
    if behavior is None:
        everything = [{"type": "Pods", "value": 1000, "periodSeconds": 1}]
        behavior = {
            "scaleUp": {"policies": everything},
            "scaleDown": {"stabilizationWindowSeconds": 0, "policies": everything},
        }
    document = {
        "target": {"name": name},
        "actuation": actuation,
        "replicas": {"min": minimum, "max": maximum},
        "signals": {key: {"query": "q", **value} for key, value in (signals or {}).items()},
        "policies": list(policies) or [Wants(replicas=1)],
        "behavior": Behavior.model_validate(behavior),
        **spec,
    }
    return ScaledWorkload.model_validate(
        {"metadata": {"name": name, "namespace": "llm"}, "spec": document}
    )


def a_fleet(*workloads: ScaledWorkload, combine: Combiner = largest) -> FleetSpec:
    """These workloads, under one combiner."""
    return FleetSpec(workloads, {"highest": combine})


def seen(
    running: int = 1,
    *,
    at: float = NOON,
    desired: int | None = None,
    signals: Mapping[str, Series | float] | None = None,
    missing: Mapping[str, Gap] | None = None,
    failing: int = 0,
    pods: tuple[PodStatus, ...] = (),
    pod_samples: Mapping[str, Mapping[str, PodSample]] | None = None,
) -> Observation:
    """What was seen of one workload: a bare number is a fresh sample taken at `at`."""
    series = {
        name: value if isinstance(value, Series) else Series.of([(at, value)])
        for name, value in (signals or {}).items()
    }
    replicas = ReplicaStatus(
        desired=running if desired is None else desired, ready=running, failing=failing
    )
    return Observation(
        now=at,
        replicas=replicas,
        signals=series,
        missing=missing or {},
        pods=pods,
        pod_samples=pod_samples or {},
    )


def a_snapshot(observation: Observation, workload: ScaledWorkload) -> Snapshot:
    """A snapshot of one workload."""
    return Snapshot(observation.now, {workload.key: observation})
