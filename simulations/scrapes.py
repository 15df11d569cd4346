"""What a Prometheus would have stored: metrics of each replica and the gateway, by scrape."""

from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS, rate
from simulations.pool import Phase, ReplicaPool
from simulations.replica import Replica

PROMPT_TOKENS: Final = 0
OUTPUT_TOKENS: Final = 1
COMPLETIONS: Final = 2
TTFT: Final = slice(3, 3 + len(TTFT_BOUNDS))
ITL: Final = slice(TTFT.stop, TTFT.stop + len(ITL_BOUNDS))
E2E: Final = slice(ITL.stop, ITL.stop + len(E2E_BOUNDS))


def counters(replica: Replica) -> FloatArray:
    """Return a replica's counters: those named above, then the cumulative buckets."""
    return np.array(
        [
            replica.prompt_tokens,
            replica.output_tokens,
            replica.completions,
            *accumulate(replica.ttft.counts),
            *accumulate(replica.itl.counts),
            *accumulate(replica.e2e.counts),
        ],
        dtype=np.float64,
    )


@dataclass(frozen=True, slots=True)
class PodGauges:
    """One replica's gauges at one scrape.

    Attributes:
        ready: Whether it serves; it drains otherwise.
        waiting: Requests in its wait list.
        running: Sequences in its batch.
        kv_usage: Share of the KV cache that is taken, 0 to 1.
        busy: Share of the time since the scrape before that it computed, 0 to 1.
    """

    ready: bool
    waiting: int
    running: int
    kv_usage: float
    busy: float


class Scrapes:
    """The newest samples, kept for as long as a range looks back.

    Attributes:
        scrape_seconds: Time between scrapes.
        now: Time of the newest scrape, seconds since the simulation began.
        gauges: Gauges of the replicas that answered it, by pod name. Starting ones do not answer.
        gateway_queue: Requests that no replica had.
    """

    def __init__(self, scrape_seconds: float, keep_seconds: float) -> None:
        """Keep counters of the last `keep_seconds`."""
        self.scrape_seconds = scrape_seconds
        self.now = 0.0
        self.gauges: dict[str, PodGauges] = {}
        self.gateway_queue = 0
        self._keep_seconds = keep_seconds
        self._counters: dict[str, deque[tuple[float, FloatArray]]] = {}
        self._arrived: deque[tuple[float, FloatArray]] = deque()
        self._busy: dict[str, float] = {}

    def scrape(self, pool: ReplicaPool, arrived: int, now: float) -> None:
        """Store one sample of everything; the pool has advanced to `now`."""
        before, self.now = self.now, now
        self.gauges = {}
        busy = {}
        for member in pool.members:
            engine = member.engine
            if engine is None:
                continue
            name = member.name
            busy[name] = engine.busy_seconds(now)
            since = now - max(before, member.ready_at)
            self.gauges[name] = PodGauges(
                member.phase is Phase.READY,
                engine.waiting,
                engine.running,
                engine.kv_used / engine.profile.kv_tokens,
                (busy[name] - self._busy.get(name, 0.0)) / since if since > 0 else 0.0,
            )
            self._counters.setdefault(name, deque()).append((now, counters(engine)))
        self._busy = busy
        self.gateway_queue = len(pool.gateway)
        self._arrived.append((now, np.array([arrived], dtype=np.float64)))
        self._forget(now - self._keep_seconds)

    def rates(self, range_seconds: float) -> dict[str, FloatArray]:
        """Return each replica's counters per second over a range that ends at the newest scrape.

        A replica counts while two samples of it lie in the range, even after it is gone.
        """
        found = {
            name: _rate(samples, self.now, range_seconds)
            for name, samples in self._counters.items()
        }
        return {name: rates for name, rates in found.items() if rates is not None}

    def arrival_rate(self, range_seconds: float) -> float | None:
        """Return arrivals per second over a range; None before two scrapes lie in it."""
        rates = _rate(self._arrived, self.now, range_seconds)
        return None if rates is None else float(rates[0])

    def _forget(self, until: float) -> None:
        for samples in (self._arrived, *self._counters.values()):
            while samples and samples[0][0] <= until:
                samples.popleft()
        for name in [name for name, samples in self._counters.items() if not samples]:
            del self._counters[name]


def _rate(
    samples: deque[tuple[float, FloatArray]], now: float, range_seconds: float
) -> FloatArray | None:
    inside = [sample for sample in samples if sample[0] > now - range_seconds]
    if len(inside) < 2:
        return None
    return rate(
        [time for time, _ in inside], np.stack([value for _, value in inside]), now, range_seconds
    )
