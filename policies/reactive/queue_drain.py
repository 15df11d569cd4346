"""queue-drain: enough replicas that the backlog is gone within a deadline."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from autoscaler.core.observation import Observation, Series
from autoscaler.core.policy import MOST_REPLICAS, Policy, Recommendation, up
from autoscaler.core.spec import Number, Seconds
from policies.reactive.drain_rate import DrainRate
from policies.reactive.serving_size import ServingSize
from policies.reactive.starting import Starting
from policies.reactive.too_few import TooFew
from policies.reactive.window import covers, largest, mean, newest, newest_above, slope

LARGEST_STEP = 4
"""Without a rate that was given or measured, a step doubles what serves or adds four at most."""

LONGEST_JUDGED_SECONDS = 60.0
"""A backlog that stood, or a queue that was empty, for so long is no accident."""

LEAD_SHARE = 0.25
"""Share of the lead time that draining may take where that is longer than `drainSeconds`."""

FULL_LOAD = 0.8
"""Share of its measured rate that a replica may carry after a decrease."""


class QueueDrain(Policy):
    """Run enough replicas to drain the backlog within `drainSeconds`.

    While requests wait, every replica is busy. With arrivals of `a` per second, `n` serving
    replicas and a rate of `r` per busy replica, the backlog changes by `g = a - n*r` each second,
    and `g` is what the slope of the queue shows. To have the backlog `q` gone after D seconds,
    `N*r = a + q/D` is needed, so

        N = n + (g + q/D) / r

    which needs neither the arrivals nor, where the queue falls fast enough by itself, the rate.
    But a replica asked for now serves only after the lead time L, and what it then finds is not
    the backlog of now. With those on their way, that will have served for `s` replica-seconds by
    then, it is

        Q = max(0, q + g*L - r*s)   and so   N = n + (g + Q/D') / r,   D' = max(D, L/4)

    D' is D where starts are quick. Where they take minutes, the first in the queue have waited for
    L whatever is done; a quarter more is little to them, and draining L's worth of growth in D
    would take L/D times the replicas that carry the load afterwards: now it is four times at most.
    That is the need. Around it:

    - A few waiting requests are the engine's own admission, not a backlog: up to
      `quietQueuePerReplica` for each serving replica are left alone. Whole missing replicas are
      asked for at once; a fraction of one is rounded up once the backlog has stood for D seconds.
    - Replicas that are starting are part of N, and asking twice gives one answer: one asked for
      now has done nothing by L. Where those on their way will have drained the backlog within
      L + D', as far as the present growth tells, nothing more is asked for.
    - The rate is `requestsPerSecondPerReplica`; else what `throughput` shows while a backlog
      stands; else at least 1 request per second, or the fastest fall of the queue that was seen
      (the backlog cannot fall faster than replicas complete). Such a lower bound asks for too many
      rather than too few, so a step then at most doubles what serves.
    - An empty queue does not tell how much is spare. Quiet for the whole window, it proposes one
      replica fewer; the pace is the business of `spec.behavior`. Where the rate and `throughput`
      are known, it proposes what carries the largest throughput of the window at 80 % load, in one
      step, and zero when nothing was completed.
    - A count at which a backlog stood is not tried again for `rememberSeconds`, unless throughput
      has fallen by more than a fifth since: constant load settles instead of going one down, one
      up.
    """

    type: Literal["queue-drain"] = "queue-drain"

    signal: Annotated[str, Field(min_length=1)]
    """Requests waiting in the whole fleet, such as queue_length."""

    drain_seconds: Annotated[float, Number, Field(ge=1)] = 30.0
    """The backlog should be gone this many seconds after replicas for it serve; where the lead time
    is more than four times that, a quarter of it."""

    requests_per_second_per_replica: Annotated[float, Number, Field(ge=0.001)] | None = None
    """What one busy replica completes each second; learned if absent."""

    throughput: Annotated[str, Field(min_length=1)] | None = None
    """Completed requests per second in the whole fleet, such as requests_per_second."""

    quiet_queue_per_replica: Annotated[float, Number, Field(ge=0)] = 0.5
    """Waiting requests for each serving replica that are no backlog."""

    remember_seconds: Seconds = 1800.0
    """How long a count that proved too few is not tried again; doubles, up to four times."""

    @model_validator(mode="after")
    def _two_signals(self) -> Self:
        if self.throughput == self.signal:
            raise ValueError(f"throughput should be another signal than signal, not {self.signal}")
        return self

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    @property
    def uses(self) -> frozenset[str]:
        return self.needs | ({self.throughput} if self.throughput else set())

    def recommend(self, observation: Observation) -> Recommendation:
        now, replicas = observation.now, observation.replicas
        memory = observation.memory or {}
        queue = observation.signal(self.signal)
        size = ServingSize.follow(observation)
        growth = slope(newest(size.since_grew(queue), self.drain_seconds))
        quiet = self.quiet_queue_per_replica * replicas.ready
        backlog = max(0.0, queue.latest - quiet)
        standing = backlog > 0 and covers(newest_above(queue, quiet), self._judged_seconds)
        done = observation.signals.get(self.throughput) if self.throughput else None
        rate = self._rate(observation, done if standing else None, growth)
        load = None if done is None else largest(done)
        starting = Starting.recall(memory).update(replicas, now)
        too_few, load_then = TooFew.recall(memory), memory.get("load")

        if backlog > 0:
            lead = observation.lead_seconds
            served = rate.value * starting.replica_seconds(now, lead, lead)
            found = max(0.0, backlog + growth * lead - served)
            drain = max(self.drain_seconds, LEAD_SHARE * lead)
            short = (growth + found / drain) / rate.value
            wanted = self._wanted(short, replicas.ready, standing=standing, sure=rate.sure)
            settled = size.grew is None or len(size.since_grew(queue)) > 1
            if not settled and wanted > replicas.desired:
                wanted = replicas.desired
            elif settled and growth >= 0 and wanted > replicas.ready == replicas.desired:
                too_few = too_few.learn(replicas.ready, now, self.remember_seconds)
                load_then = load
            count, why = self._raise(wanted, drain, growth, rate, observation)
        elif replicas.desired > 0 and self._is_quiet(size.since_changed(queue), quiet):
            lighter = load is not None and load_then is not None and load < FULL_LOAD * load_then
            floor = 0 if lighter else too_few.floor(now)
            count, why = self._lower(replicas.desired, floor, load, rate)
        else:
            count, why = replicas.desired, self._why_unmoved(queue, replicas.desired)
        evidence = {
            self.signal: queue.latest,
            "growthPerSecond": growth,
            "requestsPerSecondPerReplica": rate.value,
            "ready": float(replicas.ready),
        }
        if load is not None:
            evidence["largestThroughput"] = load
        return Recommendation(
            count,
            f"{self.signal} is {queue.latest:g}: {why}",
            evidence,
            memory={
                "size": size.as_memory(),
                "starting": starting.as_memory(),
                "tooFew": too_few.as_memory(),
                "load": load_then,
                "rate": rate.as_memory(),
            },
        )

    def _rate(self, observation: Observation, busy: Series | None, growth: float) -> DrainRate:
        """What a busy replica completes; `busy`: the throughput, where all replicas are busy."""
        if self.requests_per_second_per_replica is not None:
            return DrainRate(self.requests_per_second_per_replica, "given")
        now, ready = observation.now, observation.replicas.ready
        rate = DrainRate.recall(observation.memory or {}, now)
        if busy is not None:
            rate = rate.completed(busy.latest, ready, now)
        return rate.drained(-growth, ready, now)

    @property
    def _judged_seconds(self) -> float:
        return min(self.drain_seconds, LONGEST_JUDGED_SECONDS)

    def _is_quiet(self, queue: Series, quiet: float) -> bool:
        return covers(queue, self._judged_seconds) and mean(queue) <= quiet

    def _wanted(self, short: float, ready: int, *, standing: bool, sure: bool) -> int:
        """The replicas to drain the backlog in time, if `short` more would do it."""
        if ready == 0:
            missing = max(1, up(short))
        elif standing:
            missing = up(short)
        else:
            missing = math.floor(min(max(short, 0.0), MOST_REPLICAS) + 1e-9)
        wanted = min(ready + missing, MOST_REPLICAS)
        return wanted if sure else min(wanted, max(2 * ready, ready + LARGEST_STEP))

    def _raise(
        self,
        wanted: int,
        drain: float,
        growth: float,
        rate: DrainRate,
        observation: Observation,
    ) -> tuple[int, str]:
        """Never lower while a backlog stands."""
        replicas = observation.replicas
        moves = f"it grows by {growth:.3g}/s" if growth >= 0 else f"it falls by {-growth:.3g}/s"
        if wanted <= replicas.desired:
            on_way = f" and {replicas.starting} are starting" if replicas.starting else ""
            why = f"{moves} with {replicas.ready} ready{on_way}: no more are missing"
            return replicas.desired, why
        later = f" once they serve in {observation.lead_seconds:g} s" * (
            observation.lead_seconds > 0
        )
        why = (
            f"{moves} with {replicas.ready} ready: {wanted} drain it in {drain:g} s{later} "
            f"at {rate.value:.3g} requests/s each ({rate.source})"
        )
        return wanted, why

    def _lower(
        self, desired: int, floor: int, load: float | None, rate: DrainRate
    ) -> tuple[int, str]:
        if load is not None and rate.sure:
            least = up(load / (FULL_LOAD * rate.value))
            why = f"{load:.3g} requests/s need {least} at {rate.value:.3g}/s each ({rate.source})"
        elif load == 0:
            least, why = desired - 1, "nothing waited or was completed in the window: one fewer"
        else:
            least, why = max(1, desired - 1), "nothing waited in the window: one fewer, at least 1"
        count = min(desired, max(least, floor))
        return count, why if count <= least else f"{why}, but {floor - 1} lately proved too few"

    def _why_unmoved(self, queue: Series, desired: int) -> str:
        if desired == 0:
            return "nothing waits and nothing runs"
        if not covers(queue, self._judged_seconds):
            return f"the samples reach back less than {self._judged_seconds:g} s"
        return "a backlog was there within the window"
