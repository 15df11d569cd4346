"""State, saved beside the cycles, so that no cycle waits for a slow disk or API server.

One writer holds only the newest state: an older one never overwrites a newer one. Whoever ends at
any moment leaves behind a state that lacks the changes of one cycle at most:

- After a start the size that is found is compared with the size that was saved, and the difference
  counts as one change (`core.replicas.notice`): a change that was made and not saved is neither
  lost nor made again.
- Of two changes to one workload that were not saved only their sum would be seen. So a cycle first
  looks and decides, and before it acts it waits until the changes of the cycle before are saved,
  or for `SAVE_SECONDS` since they were made. As that is shorter than the usual interval, it hardly
  ever waits. If they could not be saved by then, it acts all the same, and the warning is out.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import AutoscalerError
from autoscaler.core.planner import FleetState
from autoscaler.core.ports import Actuator
from autoscaler.state import StateStore, dump_state

SAVE_SECONDS: Final = 5.0
"""Longest that a change, or the end of the process, waits for a state to be saved."""


@dataclass(frozen=True, slots=True)
class _Owed:
    """A state that is to be saved.

    Attributes:
        state: What decisions remember.
        now: When it was so, Unix seconds.
        kept: What the ends remember, by their names.
        at: The same moment by the clock that only ever rises.
        changed: Whether changes in it were not saved before.
        term: The leadership that it is of.
    """

    state: FleetState
    now: float
    kept: Mapping[str, Mapping[str, Any]]
    at: float
    changed: bool
    term: int


class Saving:
    """Saves states in a thread of its own, the newest only. For several threads."""

    def __init__(
        self,
        store: StateStore | None,
        *,
        term: Callable[[], int | None],
        monotonic: Callable[[], float],
        seconds: float = SAVE_SECONDS,
    ) -> None:
        """Save to `store`.

        Args:
            store: Where states are kept; None for nowhere.
            term: Which leadership is ours now; None where we do not lead. A state of another one
                is not saved: the leader's would be lost.
            monotonic: Seconds that only ever rise.
            seconds: Longest that anybody waits.
        """
        self._seconds = seconds
        self._store = store
        self._term = term
        self._monotonic = monotonic
        self._log: Any = structlog.get_logger("service")
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._turn = threading.Condition()
        self._next: _Owed | None = None
        self._current: _Owed | None = None
        self._busy = False
        self._saved = monotonic()
        self._problem = ""

    def due(self, every_seconds: float) -> bool:
        """Whether so many seconds have passed since the newest saved state, or the last failed."""
        return bool(self._problem) or self._monotonic() - self._saved >= every_seconds

    def keep(
        self,
        state: FleetState,
        now: float,
        kept: Mapping[str, Mapping[str, Any]],
        *,
        changed: bool,
    ) -> None:
        """Have a state saved, in place of one that still waits; wait for nothing.

        Args:
            state: What decisions remember.
            now: Unix seconds.
            kept: What the ends remember, by their names.
            changed: Whether the cluster was changed since the state before.
        """
        term = self._term()
        if self._store is None or term is None:
            return
        owed = _Owed(state, now, kept, self._monotonic(), changed, term)
        with self._turn:
            if self._next is not None and self._next.changed:
                owed = replace(owed, changed=True)
            self._next = owed
            if not self._busy:
                self._busy = True
                self._threads.submit(self._write, self._store)

    def settle(self) -> None:
        """Wait until changes of earlier cycles are saved, could not be, or are old enough."""
        with self._turn:
            until = max((one.at for one in self._changes()), default=0.0) + self._seconds
            patience = until - self._monotonic()
            self._turn.wait_for(lambda: not self._changes(), max(0.0, patience))

    def flush(self, seconds: float) -> bool:
        """Wait until nothing is left to save; return whether that is so."""
        with self._turn:
            return self._turn.wait_for(lambda: not self._busy, seconds)

    def close(self) -> None:
        """Wait until the newest state is saved; give up, and say so, when that takes too long."""
        if not self.flush(self._seconds):
            self._log.warning("state not saved", reason=f"no answer within {self._seconds:g} s")
        with self._turn:
            self._next = None
        self._threads.shutdown(wait=False)

    def _changes(self) -> list[_Owed]:
        return [one for one in (self._current, self._next) if one is not None and one.changed]

    def _write(self, store: StateStore) -> None:
        """Save until nothing is left."""
        while (owed := self._taken()) is not None:
            try:
                if self._term() == owed.term:
                    problem = _problem_of(store, owed)
                    self._tell(problem)
                    self._saved = self._saved if problem else owed.at
            except BaseException:
                with self._turn:
                    self._busy = False
                raise
            finally:
                with self._turn:
                    self._current = None
                    self._turn.notify_all()

    def _taken(self) -> _Owed | None:
        """Take the newest state; with none, the writer has nothing to do."""
        with self._turn:
            self._current, self._next = self._next, None
            self._busy = self._current is not None
            self._turn.notify_all()
            return self._current

    def _tell(self, problem: str) -> None:
        if problem and not self._problem:
            self._log.warning("state not saved", reason=problem)
        elif self._problem and not problem:
            self._log.info("state saved again", reason=self._problem)
        self._problem = problem


def _problem_of(store: StateStore, owed: _Owed) -> str:
    """Save; return why that failed, if it did."""
    try:
        store.save(dump_state(owed.state, owed.now, owed.kept))
    except AutoscalerError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # a bug in it must not stop the writer
        return f"internal error: {type(error).__name__}: {error}".partition("\n")[0]
    return ""


class SavedFirst:
    """Changes the cluster once the changes of the cycle before are saved (see above)."""

    def __init__(self, actuator: Actuator, saving: Saving) -> None:
        """Act through `actuator`."""
        self._actuator = actuator
        self._saving = saving

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        self._saving.settle()
        return self._actuator.act(action, now)
