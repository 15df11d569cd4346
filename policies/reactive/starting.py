"""Replicas that are starting: since when, and so how much they can do by a given time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from autoscaler.core.observation import ReplicaStatus
from autoscaler.core.swift import swift


@swift
@dataclass(frozen=True, slots=True)
class Starting:
    """Replicas asked for that do not serve yet, by when they were first seen missing.

    Attributes:
        batches: (Unix seconds, count) pairs, oldest first.
    """

    batches: tuple[tuple[float, int], ...] = ()

    @classmethod
    def recall(cls, memory: Mapping[str, Any]) -> Self:
        """Return what an earlier cycle put into memory, or nothing known."""
        return cls(tuple([(time, count) for time, count in memory.get("starting", ())]))

    def as_memory(self) -> list[list[float]]:
        """Return JSON values that `recall` understands, to keep under `starting`."""
        return [[time, count] for time, count in self.batches]

    @property
    def total(self) -> int:
        """How many are starting."""
        return sum([count for _, count in self.batches])

    def update(self, replicas: ReplicaStatus, now: float) -> "Starting":
        """Return what is starting now: the oldest are taken to serve first.

        Failing replicas are not on their way and do not count.
        """
        found = max(0, replicas.starting - replicas.failing)
        added = found - self.total
        if added >= 0:
            return Starting((*self.batches, (now, added))) if added else self
        kept: list[tuple[float, int]] = []
        for time, count in reversed(self.batches):
            keep = min(count, found - sum(number for _, number in kept))
            if keep > 0:
                kept.insert(0, (time, keep))
        return Starting(tuple(kept))

    def replica_seconds(self, now: float, lead_seconds: float, horizon_seconds: float) -> float:
        """Return the replica-seconds that they serve until `now + horizon_seconds`.

        Those that are overdue count for nothing: nobody knows when they will come.
        """
        return sum(
            count * (horizon_seconds - (time + lead_seconds - now))
            for time, count in self.batches
            if now <= time + lead_seconds
        )
