"""A plateau: the latency that added replicas did not take away, so that no more are tried.

Scaling takes away waiting, and nothing else. Where a latency is that of the work itself (long
prompts), it is the same at any size, and a policy that answers it with replicas never ends. So the
average latency at a size is kept, and compared with that of the size before:

    T = T0 / (1 - a/n),   so   n/T = n/T0 - a/T0   and   T0 = (n1 - n) / (n1/T1 - n/T)

with T the average at n replicas, T1 that at n1 > n, and `a` the load in replicas. The first form
predicts T1 from T and the idle latency known so far. Where less than half of the predicted fall
came, and no clear rise (which would be load that grew), the replicas did not help; the last form
then tells the idle latency that the two averages stand for: T where they are equal.

Averages are needed, not samples: a p95 of few requests is mostly chance, and whoever raises at its
peaks and looks again afterwards sees it fall by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from autoscaler.core.observation import Memory
from autoscaler.core.swift import swift

HELPED = 0.5
"""Share of the predicted fall from which on replicas have helped."""

ALIKE = 1.25
"""Up to this many times a latency is about the same."""

CHANGED = 1.5
"""From this many times the plateau on, the latency has changed: the load is another."""

LONGEST_HOLD = 4.0
"""A plateau counts for at most this many times `rememberSeconds`."""


def idle_of(fewer: int, before: float, more: int, after: float) -> float:
    """Return the idle latency of two sizes by the convex form, seconds; at most the lower one."""
    gained = more / after - fewer / before
    least = min(before, after)
    return min(least, (more - fewer) / gained) if gained > 0 else least


@swift
@dataclass(frozen=True, slots=True)
class Level:
    """The average latency at one number of replicas; old samples count ever less.

    Attributes:
        ready: Replicas that served.
        mean: Seconds.
        seconds: How long was averaged over.
        seen: When last, Unix seconds.
    """

    ready: int
    mean: float
    seconds: float
    seen: float

    @classmethod
    def recall(cls, kept: Mapping[str, Any] | None) -> "Level | None":
        """Return what `as_memory` wrote."""
        return cls(kept["ready"], kept["mean"], kept["seconds"], kept["seen"]) if kept else None

    def as_memory(self) -> dict[str, float]:
        """Return JSON values that `recall` understands."""
        return {"ready": self.ready, "mean": self.mean, "seconds": self.seconds, "seen": self.seen}

    def add(self, latency: float, now: float, memory_seconds: float) -> "Level":
        """Return the average with a latency that held since it was last seen."""
        passed = max(0.0, now - self.seen)
        seconds = self.seconds + passed
        share = passed / max(passed, min(seconds, memory_seconds)) if passed else 0.0
        mean = (1.0 - share) * self.mean + share * latency
        return Level(self.ready, mean, seconds, now)


@swift
@dataclass(frozen=True, slots=True)
class Plateau:
    """A latency that was about the same at two sizes.

    Attributes:
        fewer: The smaller number of replicas.
        more: The larger one, which did not help.
        before: Average latency at `fewer`, seconds.
        after: The same at `more`.
        seen: When that was found, Unix seconds.
        hold_seconds: How long it counts from then.
    """

    fewer: int
    more: int
    before: float
    after: float
    seen: float
    hold_seconds: float

    @property
    def level(self) -> float:
        """The higher of both averages, seconds."""
        return max(self.before, self.after)

    @property
    def until(self) -> float:
        """When it no longer counts, Unix seconds."""
        return self.seen + self.hold_seconds

    @property
    def idle(self) -> float:
        """What an idle replica has, as both averages tell, seconds."""
        return idle_of(self.fewer, self.before, self.more, self.after)

    @classmethod
    def recall(cls, kept: Mapping[str, Any] | None) -> "Plateau | None":
        """Return what `as_memory` wrote."""
        if not kept:
            return None
        return cls(
            kept["fewer"],
            kept["more"],
            kept["before"],
            kept["after"],
            kept["seen"],
            kept["holdSeconds"],
        )

    def left(self, mean: float) -> bool:
        """Whether the average latency of the window is clearly above it."""
        return mean > CHANGED * self.level

    def as_memory(self) -> dict[str, float]:
        """Return JSON values that `recall` understands."""
        return {
            "fewer": self.fewer,
            "more": self.more,
            "before": self.before,
            "after": self.after,
            "seen": self.seen,
            "holdSeconds": self.hold_seconds,
        }


@swift
@dataclass(frozen=True, slots=True)
class Sizes:
    """The averages at the present size and at the one it grew from, and what they showed.

    Attributes:
        here: At the present size, once the latency speaks of it.
        smaller: At the size that it grew from.
        plateau: The last one found, whether or not it still counts.
    """

    here: Level | None = None
    smaller: Level | None = None
    plateau: Plateau | None = None

    @classmethod
    def recall(cls, memory: Memory) -> Self:
        """Return what an earlier cycle put into memory, or nothing known."""
        kept: Mapping[str, Any] = memory.get("sizes") or {}
        return cls(
            Level.recall(kept.get("here")),
            Level.recall(kept.get("smaller")),
            Plateau.recall(kept.get("plateau")),
        )

    def as_memory(self) -> dict[str, dict[str, float] | None]:
        """Return JSON values that `recall` understands, to keep under `sizes`."""
        return {
            "here": self.here.as_memory() if self.here else None,
            "smaller": self.smaller.as_memory() if self.smaller else None,
            "plateau": self.plateau.as_memory() if self.plateau else None,
        }

    def follow(
        self, ready: int, latency: float, now: float, memory_seconds: float, *, settling: bool
    ) -> "Sizes":
        """Return the averages with what is seen now; `settling`: it speaks of another size."""
        here, smaller = self.here, self.smaller
        if here is not None and here.ready != ready:
            # Several steps up are one: what counts is where they began.
            if ready > here.ready and smaller is None:
                smaller = here
            here = None
        if smaller is not None and (
            ready <= smaller.ready or now >= smaller.seen + LONGEST_HOLD * memory_seconds
        ):
            smaller = None
        if not settling and latency > 0:
            fresh = Level(ready, latency, 0.0, now)
            here = fresh if here is None else here.add(latency, now, memory_seconds)
        return Sizes(here, smaller, self.plateau)

    def undecided(self, enough_seconds: float) -> bool:
        """Whether replicas were added, and not watched for long enough to tell if they help."""
        return self.smaller is not None and (
            self.here is None or self.here.seconds < enough_seconds
        )

    def judge(self, idle: float, now: float, enough_seconds: float, hold_seconds: float) -> "Sizes":
        """Return it with a plateau, where the replicas that were added did not help.

        Args:
            idle: The latency of an idle replica, as far as known.
            now: Unix seconds.
            enough_seconds: How long the present size must have been watched.
            hold_seconds: How long a plateau counts; found again soon after, twice as long.
        """
        here, smaller, old = self.here, self.smaller, self.plateau
        if here is None or smaller is None or here.seconds < enough_seconds:
            return self
        if old is not None and now < old.until and old.more == here.ready:
            return self
        load = max(0.0, 1.0 - idle / smaller.mean) * smaller.ready / here.ready
        fall = smaller.mean - idle / (1.0 - load)
        fell = smaller.mean - here.mean
        if fall <= 0 or fell >= HELPED * fall:
            # They helped: the next step begins from here.
            return Sizes(here, None, old)
        if here.mean > ALIKE * smaller.mean:
            return self
        hold = hold_seconds
        if old is not None and old.fewer == smaller.ready and now < old.until + old.hold_seconds:
            hold = min(2.0 * old.hold_seconds, LONGEST_HOLD * hold_seconds)
        return Sizes(
            here,
            smaller,
            Plateau(smaller.ready, here.ready, smaller.mean, here.mean, now, hold),
        )
