"""Since when so many replicas serve: older samples speak of another size."""

import math
from dataclasses import dataclass
from typing import Self

from autoscaler.core.observation import Observation, Series
from autoscaler.core.swift import swift


@swift
@dataclass(frozen=True, slots=True)
class ServingSize:
    """The number of serving replicas, and when it changed.

    Attributes:
        ready: Replicas that serve.
        changed: When that last changed, Unix seconds; None if it was never seen to change.
        grew: When it last grew; None if it was never seen to grow.
    """

    ready: int
    changed: float | None = None
    grew: float | None = None

    @classmethod
    def follow(cls, observation: Observation) -> Self:
        """Return the present size, given what an earlier cycle kept under `size`."""
        ready, now = observation.replicas.ready, observation.now
        kept = (observation.memory or {}).get("size") or {"ready": ready}
        changed, grew = kept.get("changed"), kept.get("grew")
        if ready != kept["ready"]:
            changed = now
        if ready > kept["ready"]:
            grew = now
        return cls(ready, changed, grew)

    def as_memory(self) -> dict[str, float | None]:
        """Return JSON values that `follow` understands, to keep under `size`."""
        return {"ready": self.ready, "changed": self.changed, "grew": self.grew}

    def since_changed(self, series: Series) -> Series:
        """Return the samples that speak of the present size."""
        return series if self.changed is None else series.since(self.changed)

    def value_then(self, series: Series) -> float:
        """Return the newest sample when the number changed; minus infinity where none is known."""
        if self.changed is None:
            return -math.inf
        known = int(series.times.searchsorted(self.changed, side="right"))
        return float(series.values[known - 1]) if known else -math.inf

    def since_grew(self, series: Series) -> Series:
        """Return the samples since replicas were last added to those that serve."""
        return series if self.grew is None else series.since(self.grew)
