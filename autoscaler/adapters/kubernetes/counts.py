"""The numbers of replicas as seen from cycle to cycle, and changes that nobody has signed.

What is written through `/scale` leaves no trace in some cases: a number set to zero, any number of
a custom resource, a number that nobody owned before. So who leads also remembers what it has tried
to write: a number that comes up without that, and that no managed field explains, was set by
somebody else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Seen:
    """One workload's number.

    Attributes:
        count: The number seen last.
        since: When it was first seen, Unix seconds.
        before: The number before, where somebody else changed it while we led.
        tried: Numbers that we have tried to write since this one was first seen.
    """

    count: int
    since: float
    before: int | None = None
    tried: set[int] = field(default_factory=set)


class Counts:
    """Remembers the number of each workload. For one thread that looks and one that acts."""

    def __init__(self, leads: Callable[[], bool] = lambda: True) -> None:
        """Know nothing yet.

        Args:
            leads: Whether we are the one that writes: whoever does not cannot tell an edit from
                the leader's writes.
        """
        self._leads = leads
        self._seen: dict[str, _Seen] = {}

    def tries(self, key: str, count: int) -> None:
        """Note that we are about to write a number; whether it arrives may never be known."""
        seen = self._seen.get(key)
        if seen is not None:
            seen.tried.add(count)

    def see(self, key: str, count: int, now: float) -> float:
        """Note the number of a workload, and return since when it stands (Unix seconds)."""
        seen = self._seen.get(key)
        if seen is None:
            self._seen[key] = seen = _Seen(count, now)
        elif seen.count != count:
            # A write of ours that was lost on the way may still arrive after the next one.
            ours = count in seen.tried or not self._leads()
            kept = seen.tried if ours else set()
            before = None if ours else seen.count
            self._seen[key] = seen = _Seen(count, now, before, kept - {count})
        elif not self._leads():
            seen.before = None
        return seen.since

    def unsigned(self, key: str) -> tuple[int, int, float] | None:
        """Return the number before, the number now, and when, of a change that was not ours."""
        seen = self._seen.get(key)
        if seen is None or seen.before is None:
            return None
        return seen.before, seen.count, seen.since
