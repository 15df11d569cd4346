"""Serves requests with either simulator and keeps what became of each."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.fast.pool import FastPool
from simulations.pool import ReplicaPool
from simulations.profiles import Profile
from simulations.request import Request
from simulations.trace import Trace

AGES: Final = 1e9
"""Seconds after which all has been answered, or never will be."""


@dataclass(frozen=True, slots=True)
class Served:
    """What became of each request; times in seconds since the simulation began.

    Attributes:
        trace: The requests.
        admitted: When its prompt began to be read; shape (n,).
        first_token: Shape (n,).
        finished: Shape (n,).
        preemptions: How often a sequence lost its place in the KV cache, over all requests.
        steps: Engine steps.
    """

    trace: Trace
    admitted: FloatArray
    first_token: FloatArray
    finished: FloatArray
    preemptions: int
    steps: int

    @property
    def waits(self) -> FloatArray:
        """Seconds from arrival until the prompt began to be read."""
        return self.admitted - self.trace.arrivals

    @property
    def ttft(self) -> FloatArray:
        """Seconds from arrival to first token."""
        return self.first_token - self.trace.arrivals

    @property
    def e2e(self) -> FloatArray:
        """Seconds from arrival to last token."""
        return self.finished - self.trace.arrivals

    @property
    def itl(self) -> FloatArray:
        """Mean seconds between tokens; NaN for an answer of one token."""
        gaps = (self.trace.output_tokens - 1).astype(np.float64)
        gaps[gaps == 0] = np.nan
        return (self.finished - self.first_token) / gaps


def served_plainly(profile: Profile, replicas: int, trace: Trace) -> Served:
    """Serve every request, step by step."""
    pool = ReplicaPool("truth", profile, replicas, lambda: 0.0)
    columns = (trace.arrivals, trace.prompt_tokens, trace.output_tokens)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    requests = [Request(index, *row) for index, row in enumerate(rows)]
    for request in requests:
        pool.advance(request.arrival)
        pool.arrive(request, request.arrival)
    pool.advance(requests[-1].arrival + AGES)
    engines = [member.engine for member in pool.members if member.engine is not None]
    return Served(
        trace,
        np.array([request.admitted for request in requests], dtype=np.float64),
        np.array([request.first_token for request in requests], dtype=np.float64),
        np.array([request.finished for request in requests], dtype=np.float64),
        sum(engine.preemptions for engine in engines),
        sum(engine.steps for engine in engines),
    )


def served_fast(profile: Profile, replicas: int, trace: Trace) -> tuple[Served, FastPool]:
    """Serve every request stretch by stretch; return the pool too."""
    pool = FastPool("truth", profile, replicas, lambda: 0.0, detailed=True)
    pool.offer(trace.arrivals, trace.prompt_tokens, trace.output_tokens)
    end = float(trace.arrivals[-1])
    pool.advance(end)
    while pool.waiting or pool.running:
        end = 2 * end + 60.0
        pool.advance(end)
    details = pool.details
    return Served(
        trace,
        details["admitted"].copy(),
        details["first_token"].copy(),
        details["finished"].copy(),
        int(details["preemptions"].sum()),
        pool.steps,
    ), pool
