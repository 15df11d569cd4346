"""A small closed loop: a fluid queue with cold starts, seen at scrapes, scaled by one policy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from autoscaler.core.observation import Memory, Observation, ReplicaStatus, Series, Terms
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.core.spec import Bounds, Replica, Slo
from tests.builders import NOON

STEP_SECONDS = 15.0
TICKS, TICK_SECONDS = 3, 5.0


OBJECTIVES = Slo(ttft_p95_seconds=2.0, itl_p95_seconds=0.1, e2e_p95_seconds=30.0)


def samples(*values: float, at: float = NOON, step: float = STEP_SECONDS) -> Series:
    """Samples at equal steps, the newest taken at `at`."""
    first = at - step * (len(values) - 1)
    return Series.of((first + step * place, value) for place, value in enumerate(values))


def shown(
    ready: int,
    *,
    desired: int | None = None,
    failing: int = 0,
    at: float = NOON,
    lead: float = 240.0,
    memory: Memory | None = None,
    slo: Slo = OBJECTIVES,
    **signals: Series | float,
) -> Observation:
    """What a policy is shown; a bare number is one sample taken at `at`."""
    return Observation(
        now=at,
        replicas=ReplicaStatus(ready if desired is None else desired, ready, failing=failing),
        signals={
            name: value if isinstance(value, Series) else samples(value, at=at)
            for name, value in signals.items()
        },
        memory=memory,
        lead_seconds=lead,
        terms=Terms(Bounds(max=1000), Replica(), slo),
    )


def asked_twice(
    policy: Policy, ready: int, **signals: Series | float
) -> tuple[Recommendation, Recommendation]:
    """The answer to a sight, and to the same sight once that answer has been asked for."""
    seen: dict[str, Any] = {**signals}
    first = policy.recommend(shown(ready, **seen))
    assert first.replicas is not None
    again = shown(ready, desired=first.replicas, memory=first.memory, **seen)
    return first, policy.recommend(again)


@dataclass
class World:
    """Requests arrive at a rate; each serving replica completes `rate` of them per second.

    Latency is idle / (1 - utilisation) while the fleet keeps up; else the time to work the queue
    off comes on top.
    """

    arrivals: Callable[[float], float]
    rate: float = 2.0
    ready: int = 1
    cold_start: float = 120.0
    window: float = 120.0
    maximum: int = 40
    minimum: int = 1
    idle_latency: float = 0.2
    now: float = NOON
    queue: float = 0.0
    done: float = 0.0
    asked: list[float] = field(default_factory=list)
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)

    @property
    def desired(self) -> int:
        return self.ready + len(self.asked)

    def advance(self) -> None:
        """Five seconds at a time, for one scrape interval."""
        start = self.now
        for tick in range(TICKS):
            now = start + TICK_SECONDS * tick
            come = [due for due in self.asked if due <= now]
            self.ready += len(come)
            self.asked = [due for due in self.asked if due > now]
            arrive, able = self.arrivals(now - NOON), self.ready * self.rate
            self.done = min(able, self.queue / TICK_SECONDS + arrive)
            self.queue = max(0.0, self.queue + TICK_SECONDS * (arrive - able))
        self.now = start + STEP_SECONDS
        self.scrape()

    def scrape(self) -> None:
        load = self.arrivals(self.now - NOON)
        able = max(self.ready * self.rate, 1e-9)
        busy = min(load / able, 1.0)
        latency = self.idle_latency / (1.0 - min(busy, 0.98)) + self.queue / able
        for name, value in {
            "queue_length": self.queue,
            "requests_per_second": self.done,
            "arrivals_per_second": load,
            "ttft_p95": latency,
            "kv_usage": busy if self.ready else 0.0,
        }.items():
            kept = [pair for pair in self.samples.get(name, []) if pair[0] > self.now - self.window]
            self.samples[name] = [*kept, (self.now, value)]

    def observe(self, policy: Policy, memory: Memory | None) -> Observation:
        return Observation(
            now=self.now,
            replicas=ReplicaStatus(desired=self.desired, ready=self.ready),
            signals={name: Series.of(self.samples[name]) for name in policy.uses},
            memory=memory,
            lead_seconds=self.cold_start,
            terms=Terms(Bounds(max=self.maximum), Replica(), OBJECTIVES),
        )

    def scale(self, count: int) -> None:
        while self.desired > count and self.asked:
            self.asked.pop()
        self.ready = min(self.ready, count)
        self.asked += [self.now + self.cold_start] * (count - self.desired)

    def run(self, policy: Policy, seconds: float) -> list[int]:
        """Let the policy scale, without any rule but the bounds; return the size at each cycle."""
        memory: Memory | None = None
        for _ in range(int(seconds / STEP_SECONDS)):
            self.advance()
            answer = policy.recommend(self.observe(policy, memory))
            memory = answer.memory
            if answer.replicas is not None:
                floor = self.desired if answer.raise_only else self.minimum
                self.scale(min(max(answer.replicas, floor), self.maximum))
            self.sizes.append(self.desired)
            self.waiting.append(self.queue)
        return self.sizes


def reversals(sizes: list[int]) -> int:
    """How often the direction of change turned."""
    moves = [after - before for before, after in pairwise(sizes)]
    signs = [1 if move > 0 else -1 for move in moves if move]
    return sum(1 for before, after in pairwise(signs) if before != after)
