"""What a Prometheus would have stored: metrics of each replica and the gateway, by scrape."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.observation import FloatArray
from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS, rate
from simulations.replica import Replica
from simulations.trace import IntArray

BoolArray = NDArray[np.bool_]

PROMPT_TOKENS: Final = 0
OUTPUT_TOKENS: Final = 1
COMPLETIONS: Final = 2
TTFT: Final = slice(3, 3 + len(TTFT_BOUNDS))
ITL: Final = slice(TTFT.stop, TTFT.stop + len(ITL_BOUNDS))
E2E: Final = slice(ITL.stop, ITL.stop + len(E2E_BOUNDS))
COUNTERS: Final = E2E.stop
"""How many counters a replica has."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a scrape sees of the replicas that answer it, one row each. Starting ones do not.

    Attributes:
        numbers: Which replicas (their `Member.number`), rising; shape (n,).
        ready: Whether each serves; it drains otherwise; shape (n,).
        ready_at: Since when it serves; shape (n,).
        waiting: Requests in its wait list; shape (n,).
        running: Sequences in its batch; shape (n,).
        kv_usage: Share of the KV cache that is taken, 0 to 1; shape (n,).
        busy_seconds: How long it has computed so far; shape (n,).
        counters: As `counters` returns them; shape (n, COUNTERS).
    """

    numbers: IntArray
    ready: BoolArray
    ready_at: FloatArray
    waiting: FloatArray
    running: FloatArray
    kv_usage: FloatArray
    busy_seconds: FloatArray
    counters: FloatArray


class Scraped(Protocol):
    """What can be scraped: the replicas of one workload, and the gateway before them."""

    @property
    def gateway_queue(self) -> int:
        """Requests that no replica has."""
        ...

    def seen(self, now: float) -> Seen:
        """Return what a scrape sees; time has passed until `now`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Counters per second, of the replicas that have two samples in a range.

    Attributes:
        numbers: Which replicas; shape (n,).
        counters: Per second; shape (n, COUNTERS).
    """

    numbers: IntArray
    counters: FloatArray


_FEW_REPLICAS: Final = 16


class Scrapes:
    """The newest samples, kept for as long as a range looks back.

    They lie in a ring: a row for each scrape, in it a slot for each replica that has answered one
    of them.

    Attributes:
        scrape_seconds: Time between scrapes.
        now: Time of the newest scrape, seconds since the simulation began.
        seen: What the newest scrape saw.
        gateway_queue: Requests that no replica had.
    """

    def __init__(self, scrape_seconds: float, keep_seconds: float) -> None:
        """Keep counters of the last `keep_seconds`."""
        self.scrape_seconds = scrape_seconds
        self.now = 0.0
        self.seen = _nobody()
        self.gateway_queue = 0
        self._scrapes = 0
        kept = int(keep_seconds / scrape_seconds) + 2
        self._times = np.zeros(kept)
        self._arrived = np.zeros((kept, 1, 1))
        self._counters = np.zeros((kept, _FEW_REPLICAS, COUNTERS))
        # By slot: whose it is, and its first and newest scrapes. A free slot has no scrape at all.
        self._numbers = np.full(_FEW_REPLICAS, -1, dtype=np.int64)
        self._first = np.zeros(_FEW_REPLICAS, dtype=np.int64)
        self._newest = np.full(_FEW_REPLICAS, -1, dtype=np.int64)
        self._busy_seconds = np.zeros(_FEW_REPLICAS)
        self._before = 0.0
        self._busy_before = np.zeros(0)
        self._answering: IntArray = np.zeros(0, dtype=np.int64)
        self._slots: IntArray = np.zeros(0, dtype=np.int64)
        self._slots_since = 0
        self._rates: dict[float, Rates] = {}

    def scrape(self, pool: Scraped, arrived: int, now: float) -> None:
        """Store one sample of everything; the pool has advanced to `now`."""
        self._before, self.now = self.now, now
        at, kept = self._scrapes, len(self._times)
        self._scrapes += 1
        self._rates.clear()
        seen = self.seen = pool.seen(now)
        if seen.numbers is not self._answering:
            slots = self._slots_for(seen.numbers, at)
            if not np.array_equal(slots, self._slots):
                self._slots, self._slots_since = slots, at
            self._answering = seen.numbers
        slots = self._slots
        self._busy_before = self._busy_seconds[slots]
        self._busy_seconds[slots] = seen.busy_seconds
        self._newest[slots] = at
        self._counters[at % kept, slots] = seen.counters
        self.gateway_queue = pool.gateway_queue
        self._arrived[at % kept] = arrived
        self._times[at % kept] = now

    @property
    def busy(self) -> FloatArray:
        """Share of the time since the scrape before that each replica seen computed, 0 to 1."""
        since = self.now - np.maximum(self._before, self.seen.ready_at)
        spent = self.seen.busy_seconds - self._busy_before
        return np.divide(spent, since, out=np.zeros(len(since)), where=since > 0)

    def rates(self, range_seconds: float) -> Rates:
        """Return each replica's counters per second over a range that ends at the newest scrape.

        A replica counts while two samples of it lie in the range, even after it is gone.
        """
        found = self._rates.get(range_seconds)
        if found is None:
            found = self._rates[range_seconds] = self._rates_over(range_seconds)
        return found

    def arrival_rate(self, range_seconds: float) -> float | None:
        """Return arrivals per second over a range; None before two scrapes lie in it."""
        first, newest = self._first_within(range_seconds), self._scrapes - 1
        if newest <= first:
            return None
        slot = np.zeros(1, dtype=np.int64)
        return float(self._rate(self._arrived, slot, first, newest, range_seconds).item())

    def _rates_over(self, range_seconds: float) -> Rates:
        begin, newest = self._first_within(range_seconds), self._scrapes - 1
        if self._slots_since <= begin < newest:  # nobody has come or gone meanwhile
            slots = np.sort(self._slots)
            rates = self._rate(self._counters, slots, begin, newest, range_seconds)
            return Rates(self._numbers[slots], rates)
        first = np.maximum(self._first, begin)
        (slots,) = (self._newest > first).nonzero()
        spans = list(zip(first[slots].tolist(), self._newest[slots].tolist(), strict=True))
        rates = np.empty((len(slots), COUNTERS))
        for span in set(spans):
            rows = np.flatnonzero([one == span for one in spans])
            rates[rows] = self._rate(self._counters, slots[rows], *span, range_seconds)
        return Rates(self._numbers[slots], rates)

    def _rate(
        self,
        samples: FloatArray,
        slots: IntArray,
        first: int,
        newest: int,
        range_seconds: float,
    ) -> FloatArray:
        """Return the rates between two scrapes, of the slots that have both."""
        kept = len(self._times)
        return rate(
            float(self._times[first % kept]),
            float(self._times[newest % kept]),
            newest - first + 1,
            samples[first % kept, slots],
            samples[newest % kept, slots],
            self.now,
            range_seconds,
        )

    def _first_within(self, range_seconds: float) -> int:
        """Return the number of the first scrape in a range; a range is open where it begins."""
        kept = len(self._times)
        at = max(
            0, self._scrapes - kept, self._scrapes - 2 - int(range_seconds / self.scrape_seconds)
        )
        while at < self._scrapes and self._times[at % kept] <= self.now - range_seconds:
            at += 1
        return at

    def _slots_for(self, numbers: IntArray, at: int) -> IntArray:
        """Return where each replica's samples lie; a new one gets a slot that nobody needs."""
        known = {int(self._numbers[slot]): int(slot) for slot in self._slots}
        fresh = [number for number in numbers.tolist() if number not in known]
        (free,) = np.nonzero(self._newest < at - len(self._times) + 1)
        while len(free) < len(fresh):
            free = np.concatenate((free, self._with_more_slots()))
        for number, slot in zip(fresh, free[: len(fresh)].tolist(), strict=True):
            known[number] = slot
            self._numbers[slot], self._first[slot] = number, at
            self._busy_seconds[slot] = 0.0
        return np.array([known[number] for number in numbers.tolist()], dtype=np.int64)

    def _with_more_slots(self) -> IntArray:
        """Double the room for replicas; return the new slots."""
        before = len(self._numbers)
        self._numbers = np.concatenate((self._numbers, np.full(before, -1)))
        self._first = np.concatenate((self._first, np.zeros(before, dtype=np.int64)))
        self._newest = np.concatenate((self._newest, np.full(before, -1)))
        self._busy_seconds = np.concatenate((self._busy_seconds, np.zeros(before)))
        self._counters = np.concatenate((self._counters, np.zeros_like(self._counters)), axis=1)
        return np.arange(before, 2 * before)


def _nobody() -> Seen:
    """Return what is seen before the first scrape."""
    nothing = np.zeros(0)
    return Seen(
        numbers=np.zeros(0, dtype=np.int64),
        ready=np.zeros(0, dtype=np.bool_),
        ready_at=nothing,
        waiting=nothing,
        running=nothing,
        kv_usage=nothing,
        busy_seconds=nothing,
        counters=np.zeros((0, COUNTERS)),
    )
