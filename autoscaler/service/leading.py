"""Whether this process leads, and what it goes on from: the state that the leader before saved.

A standby decides, too, and so it is warm. But it does not know what the leader knows: which changes
were its own (a workload asleep at zero, or turned off by hand), which numbers it had tried to
write, which it took for a person's, how many raw series there were when all spoke. So whoever comes
to lead reads the saved state before the first cycle in which it may act, and takes it for the
truth, with its own recommendations since then appended.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from autoscaler.core.planner import FleetState
from autoscaler.core.workload import FleetSpec
from autoscaler.service.ends import Leadership, Remembering
from autoscaler.state import Restored, StateStore, adopt, restore


class Leading:
    """Leads, in cycles, from the first one that begins with the state of the leader before."""

    def __init__(
        self,
        leadership: Leadership,
        store: StateStore | None,
        memories: Mapping[str, Remembering],
        max_age_seconds: float,
    ) -> None:
        """Follow an election.

        Args:
            leadership: The election.
            store: Where the leader's state lies; None for nowhere.
            memories: Ends that remember something that is kept with the state, by name.
            max_age_seconds: An older state is not trusted.
        """
        self._leadership = leadership
        self._store = store
        self._memories = memories
        self._max_age = max_age_seconds
        self._log: Any = structlog.get_logger("service")
        self._term: int | None = None
        self._problem = ""

    def is_leader(self) -> bool:
        """Whether we lead, and had done so when this cycle began."""
        return self._term is not None and self._leadership.term == self._term

    def first_state(self, fleet: FleetSpec, now: float) -> FleetState:
        """Return what to begin with at the start of the process."""
        self._term = self._leadership.term
        if self._store is None:
            return adopt(FleetState(), fleet, now)
        found = self._restored(self._store, fleet, now, None)
        self._problem = found.problem
        if found.problem:
            self._log.warning(
                "no state to go on from",
                meaning="nothing is lowered for one window",
                reason=found.problem,
            )
        return found.state

    def state_for(self, fleet: FleetSpec, state: FleetState, now: float) -> FleetState:
        """Return the state for the next cycle: another one where we have just come to lead.

        Reading it may take as long as the store takes; nothing may be done before.
        """
        term, before = self._leadership.term, self._term
        self._term = term
        if term is None or term == before or self._store is None:
            return state
        found = self._restored(self._store, fleet, now, state)
        if found.problem and not self._problem:
            self._log.warning(
                "the leader's state was not taken over",
                meaning="what this process saw and decided itself counts",
                reason=found.problem,
            )
        elif not found.problem:
            self._log.info("the leader's state was taken over")
        self._problem = ""
        return found.state

    def _restored(
        self, store: StateStore, fleet: FleetSpec, now: float, own: FleetState | None
    ) -> Restored:
        found = restore(store, fleet, now, max_age_seconds=self._max_age, own=own)
        for name, memory in self._memories.items():
            if name in found.kept:
                memory.restore(found.kept[name])
        return found
