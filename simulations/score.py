"""How a replay went: who waited, who got what was promised, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict

import numpy as np

from autoscaler.core.observation import FloatArray
from autoscaler.core.spec import Slo
from simulations.cluster import SimulatedCluster
from simulations.fast.tally import Durations, Tally
from simulations.outcomes import Outcomes
from simulations.pool import ReplicaPool


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of those requests that have the number, in seconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float] | FloatArray) -> "Percentiles | None":
        """Return them, by linear interpolation; None where there is no value."""
        if not len(values):
            return None
        p50, p95, p99 = np.percentile(np.asarray(values, dtype=np.float64), [50, 95, 99]).tolist()
        return cls(p50, p95, p99)


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of one replay.

    Attainments are shares of all requests that arrived: an unfinished or failed one misses every
    limit. An attainment is None where the policy file sets no such limit.

    Attributes:
        requests: Requests that arrived.
        finished: Got all their tokens.
        unfinished: Still waited or ran at the end.
        failed: Refused, because no replica could ever hold them.
        ttft_attainment: First token within `slo.ttftP95Seconds` of arrival.
        itl_attainment: Mean time between tokens within `slo.itlP95Seconds`; an answer of one token
            has none and meets it.
        e2e_attainment: Last token within `slo.e2eP95Seconds` of arrival.
        attainment: All limits that are set, and finished.
        worst_minute_attainment: The same, of the requests that arrived in the worst minute.
        ttft: Seconds from arrival to first token, of those that got one. These percentiles and
            the two below are exact where `SimulatedCluster.outcomes` are kept; else within 1.6 %.
        itl: Mean seconds between tokens, of finished requests with more than one.
        e2e: Seconds from arrival to last token, of finished requests.
        waited_seconds: Time from arrival until the prompt began to be read (or the end), summed
            over all requests.
        gpu_hours: GPUs of replicas times hours from allocation to release, starting and draining
            included.
        cost: GPU-hours times `gpuHourPrice`: those of the nodes where nodes are simulated, for
            idle GPUs are paid too, else those of the replicas. None without a price.
        replica_hours: The same hours, counted in replicas.
        mean_replicas: Replicas that held GPUs, on average over the time simulated.
        max_replicas: The most at one time.
        scale_events: Changes of the number of replicas that were made.
        reversals: Changes against the direction of the one before.
        preemptions: How often a sequence lost its place in the KV cache.
        seconds: Time simulated.
        node_gpu_hours: GPUs of nodes times hours from being ordered until gone; like the others
            below, None where nodes are not simulated.
        pending_hours: Hours that replicas waited for a node, summed over them.
        max_nodes: The most nodes that were paid for at one time.
        node_changes: Changes of the number of nodes that were made.
        too_long: Of the failed, those whose prompt and answer exceed the model's context.
    """

    requests: int
    finished: int
    unfinished: int
    failed: int
    ttft_attainment: float | None
    itl_attainment: float | None
    e2e_attainment: float | None
    attainment: float
    worst_minute_attainment: float
    ttft: Percentiles | None
    itl: Percentiles | None
    e2e: Percentiles | None
    waited_seconds: float
    gpu_hours: float
    cost: float | None
    replica_hours: float
    mean_replicas: float
    max_replicas: int
    scale_events: int
    reversals: int
    preemptions: int
    seconds: float
    node_gpu_hours: float | None = None
    pending_hours: float | None = None
    max_nodes: int | None = None
    node_changes: int | None = None
    too_long: int = 0


def score(cluster: SimulatedCluster) -> Score:
    """Judge what has happened in a cluster so far.

    Raises:
        ValueError: No request has arrived.
    """
    spec, seconds, pool = cluster.workload.spec, cluster.seconds, cluster.pool
    if not pool.arrived:
        raise ValueError("no request has arrived: there is nothing to judge")
    served = _served(cluster)
    replica_seconds = pool.replica_seconds(seconds)
    gpu_hours = replica_seconds * spec.replica.gpus / 3600
    nodes = cluster.nodes
    node_gpu_hours = nodes.gpu_seconds(seconds) / 3600 if nodes is not None else None
    paid = gpu_hours if node_gpu_hours is None else node_gpu_hours
    price = spec.replica.gpu_hour_price
    return Score(
        **served,
        gpu_hours=gpu_hours,
        cost=paid * price if price else None,
        replica_hours=replica_seconds / 3600,
        mean_replicas=replica_seconds / seconds,
        max_replicas=pool.most,
        scale_events=len(cluster.changes),
        reversals=_reversals(cluster.changes),
        seconds=seconds,
        node_gpu_hours=node_gpu_hours,
        pending_hours=pool.pending_seconds(seconds) / 3600 if nodes is not None else None,
        max_nodes=nodes.most if nodes is not None else None,
        node_changes=len(cluster.node_changes) if nodes is not None else None,
        too_long=cluster.too_long,
    )


class _Served(TypedDict):
    """The part of a score that tells how requests were served."""

    requests: int
    finished: int
    unfinished: int
    failed: int
    ttft_attainment: float | None
    itl_attainment: float | None
    e2e_attainment: float | None
    attainment: float
    worst_minute_attainment: float
    ttft: Percentiles | None
    itl: Percentiles | None
    e2e: Percentiles | None
    waited_seconds: float
    preemptions: int


def _served(cluster: SimulatedCluster) -> _Served:
    slo, seconds, outcomes = cluster.workload.spec.slo, cluster.seconds, cluster.outcomes
    if outcomes is not None:
        return _counted(outcomes, slo, seconds)
    if isinstance(cluster.pool, ReplicaPool):
        raise AssertionError("the plain engine keeps every outcome")  # for the type checker
    return _tallied(cluster.pool.tally(seconds), slo)


def _counted(outcomes: Outcomes, slo: Slo, end: float) -> _Served:
    """Judge every single request."""
    requests, done = len(outcomes), outcomes.done
    ttft, itl, e2e = outcomes.ttft_met(slo), outcomes.itl_met(slo), outcomes.e2e_met(slo)
    met = ttft & itl & e2e
    finished, failed = int(done.sum()), int(outcomes.failed.sum())
    until = np.where(np.isnan(outcomes.admitted), end, outcomes.admitted)
    minutes = (outcomes.arrival // 60).astype(np.int64)
    arrived, good = np.bincount(minutes), np.bincount(minutes, weights=met)
    busy = arrived > 0
    return _Served(
        requests=requests,
        finished=finished,
        unfinished=requests - finished - failed,
        failed=failed,
        ttft_attainment=None if slo.ttft_p95_seconds is None else int(ttft.sum()) / requests,
        itl_attainment=None if slo.itl_p95_seconds is None else int(itl.sum()) / requests,
        e2e_attainment=None if slo.e2e_p95_seconds is None else int(e2e.sum()) / requests,
        attainment=int(met.sum()) / requests,
        worst_minute_attainment=float((good[busy] / arrived[busy]).min()),
        ttft=Percentiles.of(_known(outcomes.ttft)),
        itl=Percentiles.of(_known(outcomes.itl)),
        e2e=Percentiles.of(_known(outcomes.e2e)),
        waited_seconds=float((until - outcomes.arrival)[~outcomes.failed].sum()),
        preemptions=int(outcomes.preemptions.sum()),
    )


def _tallied(tally: Tally, slo: Slo) -> _Served:
    """Judge by what was counted on the way: percentiles are within 1.6 %, the rest is exact."""
    requests = tally.requests
    return _Served(
        requests=requests,
        finished=tally.finished,
        unfinished=tally.unfinished,
        failed=tally.failed,
        ttft_attainment=None if slo.ttft_p95_seconds is None else tally.ttft_met / requests,
        itl_attainment=None if slo.itl_p95_seconds is None else tally.itl_met / requests,
        e2e_attainment=None if slo.e2e_p95_seconds is None else tally.e2e_met / requests,
        attainment=tally.met / requests,
        worst_minute_attainment=tally.worst_minute,
        ttft=_about(tally.ttft),
        itl=_about(tally.itl),
        e2e=_about(tally.e2e),
        waited_seconds=tally.waited_seconds,
        preemptions=tally.preemptions,
    )


def _about(durations: Durations) -> Percentiles | None:
    p50, p95, p99 = (durations.percentile(percent) for percent in (50, 95, 99))
    return None if p50 is None or p95 is None or p99 is None else Percentiles(p50, p95, p99)


def _known(seconds: FloatArray) -> FloatArray:
    known: FloatArray = seconds[~np.isnan(seconds)]
    return known


def _reversals(changes: Sequence[tuple[float, int, int]]) -> int:
    directions = [after > before for _, before, after in changes]
    return sum(one is not other for one, other in pairwise(directions))
