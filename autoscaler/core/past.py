"""What one workload's decisions must remember between cycles: explicit, frozen, restorable."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from autoscaler.core.observation import Memory
from autoscaler.core.swift import swift

HOUR_SECONDS = 3600.0
"""What the flap budget looks back."""


def age(now: float, time: float) -> float:
    """Return how long ago `time` was, in seconds.

    Rounded to the microsecond, so that "exactly 15 s ago" is 15 whatever the float.
    """
    return round(now - time, 6)


@swift
@dataclass(frozen=True, slots=True)
class Mark:
    """A count at a time: a recommendation, or a change that was made.

    Attributes:
        time: Unix seconds.
        count: Replicas.
        outdated: It was once found older than every period that asks for it, so that the next
            change may take its place (see `history`).
    """

    time: float
    count: int
    outdated: bool = False


_TIME = attrgetter("time")


@swift
@dataclass(frozen=True, slots=True)
class Past:
    """The history of one workload, oldest first.

    Attributes:
        recommendations: What the policies together wanted, before any rule, as far as a
            stabilization window can still ask for it (see `history`).
        scale_ups: Replicas added; `count` is positive.
        scale_downs: Replicas removed; `count` is positive.
        turns: When the direction of change reversed, Unix seconds.
        direction: Sign of the last change: 1, -1, or 0 before the first.
        desired: Replicas found in the last cycle; None before the first.
        asleep: Whether 0 replicas are our own doing. None while that is not known: at the first
            sight, and where they became 0 while we did not act.
        starting: Replicas asked for that do not serve yet, by when they were asked for.
        blind_since: Since when no policy could see enough; None while one can.
        memories: What each policy wants to find again, by its place in the file.
        unproven_since: When decisions began without a past that could be trusted; None where
            the past is whole.
        restored: Whether this past was written down by an earlier process and not used since.
    """

    recommendations: tuple[Mark, ...] = ()
    scale_ups: tuple[Mark, ...] = ()
    scale_downs: tuple[Mark, ...] = ()
    turns: tuple[float, ...] = ()
    direction: int = 0
    desired: int | None = None
    asleep: bool | None = None
    starting: tuple[Mark, ...] = ()
    blind_since: float | None = None
    memories: Mapping[str, Memory] = field(default_factory=dict)
    unproven_since: float | None = None
    restored: bool = False

    @property
    def newest(self) -> float:
        """When the newest recommendation was made, Unix seconds; minus infinity without any."""
        return max(map(_TIME, self.recommendations), default=-math.inf)

    def recalling(
        self, recommendations: tuple[Mark, ...], memories: Mapping[str, Memory] | None = None
    ) -> "Past":
        """Return this past with other recommendations, and other memories if they are given.

        What `replace` does, without its detours: this is done for every workload in every cycle.
        """
        return Past(
            recommendations,
            self.scale_ups,
            self.scale_downs,
            self.turns,
            self.direction,
            self.desired,
            self.asleep,
            self.starting,
            self.blind_since,
            self.memories if memories is None else memories,
            self.unproven_since,
            self.restored,
        )

    def until(self, now: float) -> "Past":
        """Return this past with nothing in it that lies ahead.

        Where a clock was set back, what seems to come happened just now at the latest: else it
        would count for as long as the clock was wrong.
        """
        if self.newest <= now:
            return self
        return replace(
            self,
            recommendations=_by(now, self.recommendations),
            scale_ups=_by(now, self.scale_ups),
            scale_downs=_by(now, self.scale_downs),
            turns=tuple(min(time, now) for time in self.turns),
            starting=_by(now, self.starting),
            blind_since=None if self.blind_since is None else min(self.blind_since, now),
            unproven_since=None if self.unproven_since is None else min(self.unproven_since, now),
        )

    def turned(self, now: float, before: int, after: int) -> "Past":
        """Return this past with where one more change went; reversals of an hour are kept."""
        if before == after:
            return self
        direction = 1 if after > before else -1
        turns = tuple(time for time in self.turns if age(now, time) <= HOUR_SECONDS)
        reverses = self.direction * direction < 0
        return replace(
            self,
            turns=(*turns, now) if reverses else turns,
            direction=direction,
        )


def _by(now: float, marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    return tuple(replace(mark, time=min(mark.time, now)) for mark in marks)
