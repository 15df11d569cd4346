"""What is answered to a trigger: a number, or whether its workload should run at all."""

from typing import Final

from metrics_adapter.board import Board, Name
from metrics_adapter.keda.activity import Activity, is_active
from metrics_adapter.keda.refusals import RefusedError
from metrics_adapter.keda.trigger import Trigger
from metrics_adapter.newest import Newest
from metrics_adapter.values import Value

_NAMED: Final = 12
"""So many metrics are listed where one is not known."""


class Answers:
    """Answers from the newest plan. A plan that is too old answers no number at all."""

    def __init__(self, newest: Newest, activity: Activity) -> None:
        """Answer from `newest`; where that says nothing, activity is as it was last known."""
        self._newest = newest
        self._activity = activity
        self._board: Board | None = None
        self._found: dict[Name, dict[str, Value]] = {}

    def value(self, trigger: Trigger) -> float:
        """Return the number that a trigger asks for.

        Raises:
            RefusedError: NOT_FOUND: the plan does not know the workload or the metric.
                UNAVAILABLE: there is no plan or no sample that is new enough.
        """
        board = self._usable()
        if trigger.workload not in board.workloads:
            raise _unknown(trigger.workload)
        name = trigger.workload.partition("/")[0], trigger.metric
        value = self._by_workload(board, name).get(trigger.workload)
        if value is None:
            raise RefusedError(
                "NOT_FOUND",
                f"{trigger.workload} has no metric {trigger.metric!r}; it has: "
                + self._known(board, trigger.workload),
            )
        if problem := value.lacks(self._newest.now()):
            raise RefusedError("UNAVAILABLE", f"{trigger.workload}: {problem}")
        return value.number

    def active(self, workload: str) -> bool:
        """Return whether a workload should run at all; what was last known where that is unknown.

        Raises:
            RefusedError: NOT_FOUND: the plan does not know it. UNAVAILABLE: it was never known.
        """
        problem = self._newest.lacks()
        board = self._newest.board
        if board is not None and not problem:
            planned = board.workloads.get(workload)
            if planned is None:
                raise _unknown(workload)
            decided = is_active(planned)
            if decided is not None:
                return decided
            problem = f"{workload}: {planned.reason or planned.blind or 'no number was decided'}"
        known = self._activity.of(workload)
        if known is None:
            raise RefusedError("UNAVAILABLE", problem)
        return known

    def _usable(self) -> Board:
        board = self._newest.board
        problem = self._newest.lacks()
        if board is None or problem:
            raise RefusedError("UNAVAILABLE", problem)
        return board

    def _by_workload(self, board: Board, name: Name) -> dict[str, Value]:
        """Return the values under one name by workload, sorted out once for each plan."""
        if board is not self._board:
            self._board, self._found = board, {}
        group = board.groups.get(name)
        if group is None:
            return {}
        if name not in self._found:
            self._found[name] = {value.workload: value for value in group.values}
        return self._found[name]

    def _known(self, board: Board, workload: str) -> str:
        namespace = workload.partition("/")[0]
        here = (name for name in board.groups if name[0] == namespace)
        known = sorted(name[1] for name in here if workload in self._by_workload(board, name))
        more = ["..."] if len(known) > _NAMED else []
        return ", ".join(known[:_NAMED] + more)


def _unknown(workload: str) -> RefusedError:
    return RefusedError("NOT_FOUND", f"the newest plan has no workload {workload}")
