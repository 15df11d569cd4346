"""The newest cycle, handed from the thread that runs cycles to everybody who shows them."""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.telemetry.report import CycleReport
from autoscaler.telemetry.tally import Tally
from autoscaler.telemetry.views import summary_of

KEPT: Final = 240
"""Summaries that are kept: an hour at the usual interval."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One published cycle.

    Attributes:
        id: Differs from that of every other cycle, of earlier and other processes too.
        number: Cycles of this process, from 1.
        report: The cycle, and what the service knows of it.
        tally: Counts since the process began, this cycle included.
        at: When it was published, by a clock that only ever rises, in seconds.
    """

    id: str
    number: int
    report: CycleReport
    tally: Tally
    at: float


class Latest:
    """Holds the newest cycle and short summaries of those before it. Safe between threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Hold nothing yet; `monotonic` gives seconds that only ever rise."""
        self.monotonic = monotonic
        self._boot = secrets.token_hex(4)
        self._entry: Entry | None = None
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._summaries: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._ticked = monotonic()

    @property
    def entry(self) -> Entry | None:
        """The newest cycle; None before the first."""
        return self._entry

    def publish(self, report: CycleReport) -> Entry:
        """Make a cycle the newest one and wake whoever waits for it."""
        before = self._entry
        number = before.number + 1 if before else 1
        tally = (before.tally if before else Tally()).after(report)
        entry = Entry(f"{self._boot}-{number}", number, report, tally, self.monotonic())
        summary = summary_of(report, entry.id)
        with self._lock:
            self._summaries.append(summary)
            self._entry = entry
            listeners = tuple(self._listeners)
        self.tick()
        for wake in listeners:
            wake()
        return entry

    def tick(self) -> None:
        """Note that the loop of cycles is alive, whatever became of the cycle."""
        self._ticked = self.monotonic()

    @property
    def silent_seconds(self) -> float:
        """How long nothing has been heard of the loop of cycles."""
        return self.monotonic() - self._ticked

    def summaries(self, limit: int) -> list[dict[str, Any]]:
        """Return summaries of the newest cycles, newest first."""
        with self._lock:
            kept = list(self._summaries)
        return kept[::-1][:limit]

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, in the publisher's thread, after each cycle; return what ends that."""
        with self._lock:
            self._listeners.append(wake)

        def forget() -> None:
            with self._lock:
                self._listeners.remove(wake)

        return forget
