"""Remember which number of replicas did not suffice, so that it is not tried again at once.

A policy that sees only a symptom (a queue, a latency) cannot know how many replicas are too few
until it has tried. Under constant load it would try for ever: one down, trouble, one up. So the
count that failed is remembered, and for a while nothing lowers the workload to it again. When the
time is over it is tried once more; where that fails too, the next wait is twice as long, up to
four times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from autoscaler.core.observation import Memory
from autoscaler.core.swift import swift

LONGEST_HOLD = 4.0
"""The wait grows to at most this many times `rememberSeconds`."""


@swift
@dataclass(frozen=True, slots=True)
class TooFew:
    """A number of replicas that did not suffice, and for how long that counts.

    Attributes:
        count: The number that was too few; -1 where nothing is known.
        seen: When that was last seen, Unix seconds.
        hold_seconds: How long it counts from then.
    """

    count: int = -1
    seen: float = 0.0
    hold_seconds: float = 0.0

    @classmethod
    def recall(cls, memory: Memory | None) -> Self:
        """Return what an earlier cycle put into memory, or nothing known."""
        kept: Mapping[str, Any] = (memory or {}).get("tooFew") or {}
        return cls(kept.get("count", -1), kept.get("seen", 0.0), kept.get("holdSeconds", 0.0))

    def as_memory(self) -> dict[str, float]:
        """Return JSON values that `recall` understands, to keep under `tooFew`."""
        return {"count": self.count, "seen": self.seen, "holdSeconds": self.hold_seconds}

    def floor(self, now: float) -> int:
        """Return the fewest replicas that are not known to be too few."""
        return self.count + 1 if now < self.seen + self.hold_seconds else 0

    def learn(self, count: int, now: float, remember_seconds: float) -> "TooFew":
        """Return what is known after `count` replicas did not suffice at `now`."""
        expired = self.seen + self.hold_seconds
        if self.count > count and now < expired:
            return self
        hold = remember_seconds
        if self.count == count and now < expired:
            hold = self.hold_seconds
        elif self.count == count and now < expired + self.hold_seconds:
            hold = min(2.0 * self.hold_seconds, LONGEST_HOLD * remember_seconds)
        return TooFew(count, now, hold)
