"""The numbers of replicas as seen from cycle to cycle, and changes that nobody has signed.

What is written through `/scale` leaves no trace in some cases: a number set to zero, any number of
a custom resource, a number that nobody owned before. So who leads also remembers what it has tried
to write: a number that comes up without that, and that no managed field explains, was set by
somebody else.

Only who led when the number before was seen, and still leads, can tell that: behind a change of
leaders the one before may have written it. What is remembered is kept between processes, for a
number that stood before a restart is not new after it.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError


@dataclass(slots=True)
class _Seen:
    """One workload's number.

    Attributes:
        uid: `metadata.uid` of the object that had it: another one starts anew.
        count: The number seen last.
        since: When it was first seen, Unix seconds.
        before: The number before, where somebody else changed it while we led.
        tried: Numbers that we have tried to write since this one was first seen.
        led: Whether we led when it was seen last.
    """

    uid: str
    count: int
    since: float
    before: int | None = None
    tried: set[int] = field(default_factory=set)
    led: bool = False


_Kept = tuple[str, int, float, int | None, list[int]]
_KEPT: Final = TypeAdapter(dict[str, _Kept])


class Counts:
    """Remembers the number of each workload. For several threads."""

    def __init__(self, leads: Callable[[], bool] = lambda: True) -> None:
        """Know nothing yet.

        Args:
            leads: Whether we are the one that writes: whoever does not cannot tell an edit from
                the leader's writes.
        """
        self._leads = leads
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def use(self, keys: Iterable[str]) -> None:
        """Forget every workload but these."""
        wanted = set(keys)
        with self._lock:
            self._seen = {key: seen for key, seen in self._seen.items() if key in wanted}

    def tries(self, key: str, count: int) -> None:
        """Note that we are about to write a number; whether it arrives may never be known."""
        with self._lock:
            seen = self._seen.get(key)
            if seen is not None:
                seen.tried.add(count)

    def see(self, key: str, uid: str, count: int, now: float) -> float:
        """Note the number of a workload's object; return since when it stands (Unix seconds).

        Args:
            key: The workload's.
            uid: `metadata.uid` of the object.
            count: The number.
            now: Unix seconds.
        """
        leads = self._leads()
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or seen.uid != uid:
                seen = _Seen(uid, count, now)
            elif seen.count != count:
                # A write of ours that was lost on the way may still arrive after the next one.
                ours = count in seen.tried or not (leads and seen.led)
                kept = seen.tried if ours else set()
                before = None if ours else seen.count
                seen = _Seen(uid, count, now, before, kept - {count})
            seen.led = leads
            seen.since = min(seen.since, now)  # the clock may have been put back
            self._seen[key] = seen
            return seen.since

    def unsigned(self, key: str) -> tuple[int, int, float] | None:
        """Return the number before, the number now, and when, of a change that was not ours."""
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or seen.before is None:
                return None
            return seen.before, seen.count, seen.since

    def kept(self) -> Mapping[str, Any]:
        """Return what the next process should know, by workload key; JSON."""
        with self._lock:
            return {
                key: (seen.uid, seen.count, seen.since, seen.before, sorted(seen.tried))
                for key, seen in self._seen.items()
            }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `kept` returned once; what has another form is as if nothing was kept.

        However old it is: it only speaks of a number while the same object still has that number.
        """
        try:
            rows = _KEPT.validate_python(kept)
        except ValidationError:
            return
        with self._lock:
            self._seen = {
                key: _Seen(uid, count, since, before, set(tried))
                for key, (uid, count, since, before, tried) in rows.items()
            }
