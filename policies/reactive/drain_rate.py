"""Requests per second that one busy replica completes: given, measured, or at least so many."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from autoscaler.core.swift import swift

ASSUMED = 1.0
"""Requests per second that a replica is taken to complete before anything faster was seen."""

LEAST = 0.001
"""Requests per second; what completes less than one in a quarter of an hour shows no rate."""

KEPT_SECONDS = 86400.0
"""How long a measured rate counts: a day has its quiet hours."""


@swift
@dataclass(frozen=True, slots=True)
class DrainRate:
    """Requests per second that one busy replica completes, and where that is known from.

    Attributes:
        value: Requests per second.
        source: given, measured, or at least (a lower bound).
        seen: When it was last measured, Unix seconds; minus infinity if never.
    """

    value: float
    source: str
    seen: float = -math.inf

    @property
    def sure(self) -> bool:
        """Whether it is more than a lower bound."""
        return self.source != "at least"

    @classmethod
    def recall(cls, memory: Mapping[str, Any], now: float) -> Self:
        """Return what an earlier cycle measured, unless that is too long ago."""
        kept: Mapping[str, Any] = memory.get("rate") or {}
        if now >= kept.get("seen", -math.inf) + KEPT_SECONDS:
            return cls(ASSUMED, "at least")
        return cls(kept["value"], kept["source"], kept["seen"])

    def as_memory(self) -> dict[str, float | str] | None:
        """Return JSON values that `recall` understands, to keep under `rate`."""
        if self.seen == -math.inf:
            return None
        return {"value": self.value, "source": self.source, "seen": self.seen}

    def completed(self, throughput: float, ready: int, now: float) -> "DrainRate":
        """Return what is known after busy replicas together completed `throughput` per second."""
        if ready == 0 or throughput / ready < LEAST:
            return self
        return DrainRate(throughput / ready, "measured", now)

    def drained(self, fall: float, ready: int, now: float) -> "DrainRate":
        """Return what is known after the queue fell by `fall` requests per second.

        It cannot fall faster than the replicas complete requests.
        """
        if self.sure or ready == 0 or fall / ready <= self.value:
            return self
        return DrainRate(fall / ready, "at least", now)
