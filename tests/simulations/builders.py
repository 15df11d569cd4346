"""Small worlds for the simulator's tests: each says only what matters to the test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autoscaler.core.decision import Action, NodeAction
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import Observation
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.core.spec import Bounds, Replica, SignalSpec, Slo, Target
from autoscaler.core.workload import FleetSpec, Metadata, ScaledWorkload, WorkloadSpec
from policies.combine.highest import combine
from simulations.cluster import SimulatedCluster
from simulations.profiles import Profile
from simulations.request import Request
from simulations.trace import Trace

START = 1_767_571_200.0
TRACES = Path(__file__).parents[3] / "shared" / "traces"


class Fixed(Policy):
    """Always wants the same count, and to be shown the pods."""

    type: Literal["fixed"] = "fixed"
    replicas: int = 1

    @property
    def needs_pods(self) -> bool:
        return True

    def recommend(self, observation: Observation) -> Recommendation:
        return Recommendation(self.replicas, "as told")


def a_profile(**changes: Any) -> Profile:
    """Every step takes 10 ms, whatever is in it; a step has 100 tokens, the KV cache 1000."""
    numbers: dict[str, Any] = {
        "name": "test",
        "gpus": 1,
        "step_seconds": 0.010,
        "token_seconds": 0.0,
        "free_tokens": 0,
        "sequence_seconds": 0.0,
        "kv_token_seconds": 0.0,
        "kv_token_seconds_mixed": 0.0,
        "attended_seconds": 0.0,
        "kv_tokens": 1000,
        "max_sequences": 8,
        "step_tokens": 100,
        "overhead_seconds": 0.0,
    }
    return Profile(**(numbers | changes))


def a_trace(*requests: tuple[float, int, int]) -> Trace:
    """Rows of arrival, prompt tokens, output tokens."""
    arrivals, prompts, outputs = zip(*requests, strict=True)
    return Trace("test", np.array(arrivals), np.array(prompts), np.array(outputs))


def a_request(index: int = 0, arrival: float = 0.0, prompt: int = 10, output: int = 1) -> Request:
    return Request(index, arrival, prompt, output)


def a_workload(
    *signals: str,
    minimum: int = 1,
    maximum: int = 10,
    cold_start: float = 30.0,
    window: int = 120,
    step: int = 15,
    measures: str | None = None,
    policies: Sequence[Policy] = (Fixed(),),
    profile: str | None = None,
    slo: Slo | None = None,
    node_pool: str | None = None,
    gpus: int | None = None,
) -> ScaledWorkload:
    return ScaledWorkload(
        metadata=Metadata(name="chat", namespace="llm"),
        spec=WorkloadSpec(
            target=Target(name="chat"),
            replicas=Bounds(min=minimum, max=maximum),
            replica=Replica(
                gpus=gpus or (4 if profile else 2),
                node_pool=node_pool,
                cold_start_seconds=cold_start,
                gpu_hour_price=3.0,
                profile=profile,
            ),
            slo=slo or Slo(),
            signals={
                name: SignalSpec(
                    query="up", window_seconds=window, step_seconds=step, measures=measures
                )
                for name in signals
            },
            policies=tuple(policies),
        ),
    )


def a_pool(
    name: str = "h100",
    *,
    gpus: int = 8,
    minimum: int = 0,
    maximum: int = 10,
    provisioning: float = 60.0,
    scale_down: float = 120.0,
) -> NodePool:
    """A pool of at most 10 nodes of 8 GPUs, each ready after a minute."""
    spec = {
        "gpusPerNode": gpus,
        "nodes": {"min": minimum, "max": maximum},
        "provisioningSeconds": provisioning,
        "scaleDownSeconds": scale_down,
    }
    return NodePool.model_validate({"metadata": {"name": name}, "spec": spec})


def fleet(*workloads: ScaledWorkload, pools: Sequence[NodePool] = ()) -> FleetSpec:
    return FleetSpec(workloads, {"highest": combine}, tuple(pools))


def seen(cluster: SimulatedCluster, seconds: float) -> Observation:
    snapshot = cluster.observe(fleet(cluster.workload), START + seconds)
    return snapshot.observations["llm/chat"]


def samples(cluster: SimulatedCluster, seconds: float, signal: str) -> list[tuple[float, float]]:
    """The samples of a signal, by seconds since the start."""
    series = seen(cluster, seconds).signals[signal]
    return [(t - START, v) for t, v in zip(series.times, series.values, strict=True)]


def scale(cluster: SimulatedCluster, seconds: float, after: int) -> None:
    before = cluster.pool.desired
    outcome = cluster.act(Action("llm/chat", before, after), START + seconds)
    assert outcome.done


def scale_nodes(cluster: SimulatedCluster, seconds: float, after: int) -> None:
    assert cluster.nodes is not None
    cluster.advance(START + seconds)
    before = cluster.nodes.status.desired
    outcome = cluster.act(NodeAction(cluster.nodes.pool.key, before, after), START + seconds)
    assert outcome.done
