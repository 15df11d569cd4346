"""Who leads: one of several processes, by a Lease. Never two at once.

What makes it safe:

- A leader's right ends `renew_seconds` after the *start* of its last successful write, by its own
  monotonic clock. `is_leader` only compares two numbers: a thread that hangs in a call, or an API
  server that is gone, cannot prolong it.
- Others take over `lease_seconds` after they *saw* the record change last, by their own monotonic
  clock. Times in the record are never compared: clocks of two machines may differ by years.
- Both would have to drift apart by (lease - renew) / lease, a third, to overlap.
- Every write names the version that was read. A write whose answer was lost is read back and
  recognised by its stamp; a record that names us and that we did not write is somebody else's.
- A record that is not there may have been deleted under a leader that does not know it yet: who
  makes a new one holds it for `lease_seconds` before leading.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autoscaler.adapters.kubernetes.lease import NOBODY, Claim, ConflictError, Lease, LeaseStore
from autoscaler.core.errors import ActuationError

_REMEMBERED: Final = 256


def steady() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def own_identity(host: str) -> str:
    """Return a name for this process that no other one has, however often `host` restarts."""
    return f"{host}_{secrets.token_hex(8)}"


class NotLeaderError(ActuationError):
    """Another process leads, or nobody does: nothing may be written."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How fast an election is.

    Attributes:
        lease_seconds: How long others wait after the record changed last.
        renew_seconds: How long a leader counts as one after its last successful renewal.
        retry_seconds: Between two tries, give or take a fifth.
        request_seconds: Longest for one request.
    """

    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0
    request_seconds: float = 3.0

    def __post_init__(self) -> None:
        """Refuse durations that would let two lead, or nobody.

        Raises:
            ValueError: lease > renew > retry + request does not hold, or something is not positive.
        """
        if min(self.retry_seconds, self.request_seconds) <= 0:
            raise ValueError("retrySeconds and requestSeconds should be above 0")
        if not self.lease_seconds > self.renew_seconds:
            raise ValueError(
                f"leaseSeconds should be above renewSeconds, "
                f"not {self.lease_seconds:g} <= {self.renew_seconds:g}"
            )
        if not self.renew_seconds > self.retry_seconds + self.request_seconds:
            raise ValueError(
                f"renewSeconds should be above retrySeconds + requestSeconds, "
                f"not {self.renew_seconds:g} <= {self.retry_seconds + self.request_seconds:g}"
            )

    @property
    def write_seconds(self) -> float:
        """Longest that a write may take that began while we led, before another can lead."""
        return self.lease_seconds - self.renew_seconds


DEFAULT_DURATIONS: Final = Durations()


@dataclass(frozen=True, slots=True)
class Fence:
    """Which leadership a write belongs to; a later one has more transitions."""

    holder: str
    transitions: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How the election stands, for people.

    Attributes:
        leading: Whether we lead.
        holder: Whom the record named when it was seen last; empty for nobody.
        transitions: How often the lead has changed hands.
        trouble: Why the last try failed; empty if it did not.
    """

    leading: bool
    holder: str
    transitions: int
    trouble: str


@dataclass(frozen=True, slots=True)
class _Right:
    """From when until when we lead, on our monotonic clock."""

    since: float
    until: float
    fence: Fence


class Election:
    """One candidate. `start` runs it in a thread of its own; `stop` gives the lead back."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        *,
        now: Callable[[], float],
        chance: Callable[[], float],
        durations: Durations = DEFAULT_DURATIONS,
        monotonic: Callable[[], float] = steady,
        say: Callable[[str], None] = lambda text: None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Stand for election.

        Args:
            store: Where the record is kept.
            identity: Ours; give each process its own. Two of one name do not lead together, but
                people could not tell them apart.
            now: Unix seconds, for people who read the record.
            chance: Numbers in [0, 1) that spread the tries.
            durations: How fast.
            monotonic: Our clock.
            say: Is told when we begin or cease to lead.
            warn: Is told when tries begin to fail and when they succeed again, not of each try; and
                of a lease that could not be given back.
        """
        self._store = store
        self._identity = identity
        self._now = now
        self._chance = chance
        self._durations = durations
        self._monotonic = monotonic
        self._say, self._warn = say, warn
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._right: _Right | None = None
        self._mine: Lease | None = None  # the record in place, if we wrote it
        self._last: Lease | None = None  # the record as seen last
        self._changed = monotonic()  # when we saw it change last
        self._not_before = -float("inf")  # when a record that we made ourselves begins to count
        self._stamps: deque[str] = deque(maxlen=_REMEMBERED)
        # Stamps of records that we tried to make: one may come into being long after.
        self._making: deque[str] = deque(maxlen=_REMEMBERED)
        self._trouble = ""
        self._led = False

    @property
    def durations(self) -> Durations:
        """How fast this election is."""
        return self._durations

    def is_leader(self) -> bool:
        """Whether we may write now. Never waits; ask right before every write."""
        return self._held() is not None

    def fence(self) -> Fence | None:
        """Return which leadership a write of now belongs to; None where we do not lead."""
        right = self._held()
        return None if right is None else right.fence

    @property
    def term(self) -> int | None:
        """Which leadership this is: another number after somebody else led; None where we do not.

        As long as it is the same, nobody else has led in between.
        """
        fence = self.fence()
        return None if fence is None else fence.transitions

    def assert_leader(self) -> Fence:
        """Return the fence of a write that is about to be made.

        The write must end within `durations.write_seconds`, or within `seconds_left`.

        Raises:
            NotLeaderError: We do not lead: nothing may be written.
        """
        fence = self.fence()
        if fence is None:
            holder = self.standing().holder or "nobody"
            raise NotLeaderError(f"not written: we do not lead (the lease names {holder})")
        return fence

    def seconds_left(self) -> float:
        """How long a write that begins now may take before another can lead; 0 if none may."""
        right = self._held()
        if right is None:
            return 0.0
        return right.until - self._monotonic() + self._durations.write_seconds

    @property
    def trouble(self) -> str:
        """Why we do not lead, as far as it is known; empty where nothing is wrong."""
        last = self._last
        held = f"the lease names {last.holder}" if last is not None and last.holder else ""
        return "" if self.is_leader() else self._trouble or held

    def standing(self) -> Standing:
        """Return how the election stands."""
        last = self._last
        return Standing(
            leading=self.is_leader(),
            holder=NOBODY if last is None else last.holder,
            transitions=0 if last is None else last.transitions,
            trouble=self._trouble,
        )

    def start(self) -> None:
        """Begin, in a thread of its own.

        Raises:
            RuntimeError: It has begun already.
        """
        if self._thread is not None:
            raise RuntimeError("an election is started once")
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """Cease to lead at once, then give the lead back so that another can begin.

        Finish or abandon every write first.

        Args:
            timeout_seconds: Longest to wait; by default two requests and a little.

        Returns:
            Whether the thread has ended.
        """
        self._stopping.set()
        self._right = None
        if self._thread is None:
            self.release()
            return True
        longest = 3 * self._durations.request_seconds + 1.0
        self._thread.join(longest if timeout_seconds is None else timeout_seconds)
        return not self._thread.is_alive()

    def release(self) -> None:
        """Give the lead back, if the record says that we have it."""
        self._right = None
        if self._monotonic() < self._not_before:
            return  # a new record protects an earlier leader that we cannot see: let it run out
        try:
            lease = self._mine or self._store.read()
            if lease is not None and self._written_by_us(lease):
                claim = Claim(NOBODY, 1.0, self._now(), taken=False)
                self._last = self._store.replace(lease, claim)
        except Exception as error:  # noqa: BLE001 - we are ending: the record runs out by itself
            self._warn(f"the lead was not given back: {error}; another begins when it has run out")
        self._mine = None

    def attempt(self) -> float:
        """Try once to lead, or to go on leading.

        Returns:
            Seconds to wait before the next try.
        """
        try:
            for _ in range(3):
                try:
                    self._try()
                    break
                except ConflictError:
                    self._mine = None  # read again at once what stands there now
            trouble = ""
        except Exception as error:  # noqa: BLE001 - the next try must come, whatever went wrong
            self._mine = None  # our write may have taken effect all the same
            trouble = str(error) or type(error).__name__
        if bool(trouble) != bool(self._trouble):
            self._warn(f"election: {trouble or 'the lease can be reached again'}")
        self._trouble = trouble
        self._tell()
        return self._wait()

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait = self.attempt()
            self._stopping.wait(wait)
        self.release()

    def _held(self) -> _Right | None:
        right = self._right
        if right is None or self._stopping.is_set():
            return None
        return right if right.since <= self._monotonic() < right.until else None

    def _try(self) -> None:
        lease = self._mine
        if lease is not None:
            self._renew(lease, taken=False)
            return
        lease = self._store.read()
        seen = self._monotonic()
        if lease is None:
            self._last = None
            self._make()
            return
        if self._last is None or lease.version != self._last.version:
            self._changed = seen
        self._last = lease
        if self._written_by_us(lease):
            if lease.stamp in self._making:  # made, but when is not known
                self._not_before = seen + self._durations.lease_seconds
            self._renew(lease, taken=False)
        elif lease.holder == NOBODY or seen - self._changed >= self._patience(lease):
            self._not_before = -float("inf")
            self._renew(lease, taken=True)
        else:
            self._right = None

    def _make(self) -> None:
        claim = self._claim(taken=True)
        self._making.append(claim.stamp)
        began = self._monotonic()
        lease = self._store.create(claim)
        self._not_before = began + self._durations.lease_seconds
        self._confirmed(lease, began)

    def _renew(self, lease: Lease, *, taken: bool) -> None:
        claim = self._claim(taken=taken)
        began = self._monotonic()
        self._confirmed(self._store.replace(lease, claim), began)

    def _claim(self, *, taken: bool) -> Claim:
        claim = Claim(self._identity, self._durations.lease_seconds, self._now(), taken)
        self._stamps.append(claim.stamp)
        return claim

    def _confirmed(self, lease: Lease, began: float) -> None:
        self._mine = self._last = lease
        self._changed = self._monotonic()
        if not self._stopping.is_set():
            fence = Fence(self._identity, lease.transitions)
            self._right = _Right(self._not_before, began + self._durations.renew_seconds, fence)

    def _written_by_us(self, lease: Lease) -> bool:
        return lease.holder == self._identity and lease.stamp in self._stamps

    def _patience(self, lease: Lease) -> float:
        return max(lease.duration_seconds, self._durations.lease_seconds)

    def _wait(self) -> float:
        wait = self._durations.retry_seconds * (0.8 + 0.4 * self._chance())
        if self._mine is None and self._last is not None and not self._trouble:
            left = self._changed + self._patience(self._last) - self._monotonic()
            # Try right when the lease runs out, not a whole round later.
            wait = min(wait, max(0.0, left) + 0.1 * self._durations.retry_seconds * self._chance())
        return wait

    def _tell(self) -> None:
        leading = self.is_leader()
        if leading != self._led:
            self._led = leading
            holder = self.standing().holder or "nobody"
            self._say(
                "we lead" if leading else f"we do not lead any more: the lease names {holder}"
            )
