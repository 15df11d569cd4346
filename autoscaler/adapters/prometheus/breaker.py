"""A source that keeps failing is left alone for a while, then probed by one call."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from autoscaler.adapters.prometheus.errors import RestingError, SourceError
from autoscaler.adapters.prometheus.settings import BreakerSettings


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    """All do."""
    OPEN = "open"
    """None does, until the rest is over."""
    HALF_OPEN = "half-open"
    """One does, the probe; the others wait for what becomes of it."""


class Breaker:
    """Counts failures in a row; thread-safe.

    While one probe is out, other calls wait for it: should it succeed, the same cycle still sees
    everything. Michael Nygard's circuit breaker, with the rest doubling up to a limit.
    """

    def __init__(
        self, name: str, settings: BreakerSettings, *, monotonic: Callable[[], float]
    ) -> None:
        self._name = name
        self._settings = settings
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._failures = 0
        self._rest = settings.rest_seconds
        self._until: float | None = None
        self._probing = False
        self._why = ""

    @property
    def state(self) -> BreakerState:
        """How the next call would fare."""
        with self._changed:
            return self._state()

    @property
    def problem(self) -> str:
        """Why the last call failed, in one line; empty if it did not."""
        with self._changed:
            return self._why if self._failures else ""

    @contextmanager
    def call(self, deadline: float) -> Iterator[None]:
        """Make one call inside; what it raises is counted.

        Args:
            deadline: Until when to wait for somebody else's probe, monotonic seconds.

        Raises:
            RestingError: The call may not be made now.
        """
        probe = self._enter(deadline)
        try:
            yield
        except SourceError as error:
            self._leave(str(error) if error.blames_source else None, probe=probe)
            raise
        except BaseException:
            self._leave("an error of our own", probe=probe)
            raise
        self._leave(None, probe=probe)

    def _state(self) -> BreakerState:
        if self._until is None:
            return BreakerState.CLOSED
        if self._probing or self._monotonic() >= self._until:
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    def _enter(self, deadline: float) -> bool:
        """Return whether this call is the probe."""
        with self._changed:
            while True:
                state = self._state()
                if state is BreakerState.CLOSED:
                    return False
                if state is BreakerState.HALF_OPEN and not self._probing:
                    self._probing = True
                    return True
                left = deadline - self._monotonic()
                if state is BreakerState.OPEN or left <= 0:
                    raise RestingError(self._name, self._reason())
                self._changed.wait(left)

    def _reason(self) -> str:
        rest = max(0.0, (self._until or 0.0) - self._monotonic())
        return f"{self._failures} calls failed in a row, next try in {rest:.0f} s; {self._why}"

    def _leave(self, why: str | None, *, probe: bool) -> None:
        with self._changed:
            if probe:
                self._probing = False
            if why is None:
                # A call that began before the circuit opened says nothing of the source now.
                if probe or self._until is None:
                    self._failures, self._rest = 0, self._settings.rest_seconds
                    self._until = None
            else:
                self._failures += 1
                self._why = why
                if probe:
                    self._rest = min(2 * self._rest, self._settings.max_rest_seconds)
                opens = self._until is None and self._failures >= self._settings.failures
                if probe or opens:
                    self._until = self._monotonic() + self._rest
            self._changed.notify_all()
