"""Which workloads should run at all, as the newest usable plan said."""

from collections.abc import Set as AbstractSet

from metrics_adapter.board import Board
from metrics_adapter.plan import Workload


def is_active(workload: Workload) -> bool | None:
    """Return whether any replica is asked for; None where no number was decided."""
    if workload.desired is None or workload.desired < 0:
        return None
    return workload.desired > 0


class Activity:
    """Remembers, for each workload of the newest plan, what was last decided.

    A plan that grows old takes nothing away: not to know is no reason to stop what runs.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._active: dict[str, bool] = {}

    def of(self, workload: str) -> bool | None:
        """Return whether a workload was last active; None if that was never known."""
        return self._active.get(workload)

    def learn(self, board: Board) -> AbstractSet[str]:
        """Take in a plan and return the workloads to tell of.

        Those whose activity changed or became known, and those that should run while their target
        still is at zero: a wake-up that got lost on the way is told again with each plan.
        """
        before, self._active = self._active, {}
        tell = set()
        for key, workload in board.workloads.items():
            decided = is_active(workload)
            known = before.get(key) if decided is None else decided
            if known is None:
                continue
            self._active[key] = known
            if known != before.get(key) or (known and workload.current == 0):
                tell.add(key)
        return tell
