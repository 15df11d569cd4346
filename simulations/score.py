"""How a replay went: who waited, who got what was promised, and what it cost."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from autoscaler.core.spec import Slo
from simulations.cluster import SimulatedCluster
from simulations.request import End, Request


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of those requests that have the number, in seconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles | None":
        """Return them, by linear interpolation; None where there is no value."""
        if not values:
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
        ttft: Seconds from arrival to first token, of those that got one.
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


def score(cluster: SimulatedCluster) -> Score:
    """Judge what has happened in a cluster so far.

    Raises:
        ValueError: No request has arrived.
    """
    requests, spec = cluster.requests, cluster.workload.spec
    if not requests:
        raise ValueError("no request has arrived: there is nothing to judge")
    slo, seconds = spec.slo, cluster.seconds
    ends = Counter(request.end for request in requests)
    met = [_met(request, slo) for request in requests]
    replica_seconds = cluster.pool.replica_seconds(seconds)
    gpu_hours = replica_seconds * spec.replica.gpus / 3600
    nodes = cluster.nodes
    node_gpu_hours = nodes.gpu_seconds(seconds) / 3600 if nodes is not None else None
    paid = gpu_hours if node_gpu_hours is None else node_gpu_hours
    price = spec.replica.gpu_hour_price
    return Score(
        requests=len(requests),
        finished=ends[End.FINISHED],
        unfinished=ends[End.UNFINISHED],
        failed=ends[End.FAILED],
        ttft_attainment=_share(requests, slo.ttft_p95_seconds, _ttft),
        itl_attainment=_share(requests, slo.itl_p95_seconds, _itl),
        e2e_attainment=_share(requests, slo.e2e_p95_seconds, _e2e),
        attainment=sum(met) / len(met),
        worst_minute_attainment=_worst_minute(requests, met),
        ttft=Percentiles.of(_known(requests, _ttft)),
        itl=Percentiles.of(_known(requests, _itl)),
        e2e=Percentiles.of(_known(requests, _e2e)),
        waited_seconds=sum(_waited(request, seconds) for request in requests),
        gpu_hours=gpu_hours,
        cost=paid * price if price else None,
        replica_hours=replica_seconds / 3600,
        mean_replicas=replica_seconds / seconds,
        max_replicas=cluster.pool.most,
        scale_events=len(cluster.changes),
        reversals=_reversals(cluster.changes),
        preemptions=sum(request.preemptions for request in requests),
        seconds=seconds,
        node_gpu_hours=node_gpu_hours,
        pending_hours=cluster.pool.pending_seconds(seconds) / 3600 if nodes is not None else None,
        max_nodes=nodes.most if nodes is not None else None,
        node_changes=len(cluster.node_changes) if nodes is not None else None,
    )


def _ttft(request: Request) -> float | None:
    return request.ttft_seconds


def _itl(request: Request) -> float | None:
    return request.itl_seconds


def _e2e(request: Request) -> float | None:
    return request.e2e_seconds


_Duration = Callable[[Request], float | None]


def _meets(request: Request, limit: float | None, duration: _Duration) -> bool:
    """Whether a request finished within a limit; one that it has no duration for, it meets."""
    if request.end is not End.FINISHED:
        return False
    seconds = duration(request)
    return limit is None or seconds is None or seconds <= limit


def _met(request: Request, slo: Slo) -> bool:
    return (
        _meets(request, slo.ttft_p95_seconds, _ttft)
        and _meets(request, slo.itl_p95_seconds, _itl)
        and _meets(request, slo.e2e_p95_seconds, _e2e)
    )


def _share(requests: Sequence[Request], limit: float | None, duration: _Duration) -> float | None:
    if limit is None:
        return None
    return sum(_meets(request, limit, duration) for request in requests) / len(requests)


def _worst_minute(requests: Sequence[Request], met: Sequence[bool]) -> float:
    minutes = [int(request.arrival // 60) for request in requests]
    arrived = Counter(minutes)
    good = Counter(minute for minute, fine in zip(minutes, met, strict=True) if fine)
    return min(good[minute] / count for minute, count in arrived.items())


def _known(requests: Sequence[Request], duration: _Duration) -> list[float]:
    return [seconds for request in requests if (seconds := duration(request)) is not None]


def _waited(request: Request, end: float) -> float:
    if request.failed:
        return 0.0
    return (end if request.admitted is None else request.admitted) - request.arrival


def _reversals(changes: Sequence[tuple[float, int, int]]) -> int:
    directions = [after > before for _, before, after in changes]
    return sum(one is not other for one, other in pairwise(directions))
