"""The newest board, and how old its plan is; whoever waits for the next one is told."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from metrics_adapter.board import Board


class Newest:
    """Holds the newest board. All of it belongs to one event loop.

    Age is counted by the controller's clock as it was when the plan came, and by a clock that only
    rises since then: the two machines' clocks may differ by any amount.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Hold nothing; `monotonic` gives seconds that only ever rise."""
        self._monotonic = monotonic
        self._board: Board | None = None
        self._offset = 0.0
        self._changed = asyncio.Event()
        self.problem = "the controller was not reached yet"

    @property
    def board(self) -> Board | None:
        """The newest board, however old; None before the first."""
        return self._board

    def publish(self, board: Board, age_seconds: float) -> None:
        """Make a board the newest one; its plan was so old when it came."""
        self._offset = board.time + max(0.0, age_seconds) - self._monotonic()
        self._board = board
        self.problem = ""
        self._changed.set()
        self._changed = asyncio.Event()

    def seconds(self) -> float:
        """Return seconds that only ever rise."""
        return self._monotonic()

    def now(self) -> float:
        """Return the time by the controller's clock, Unix seconds; 0 before the first board."""
        return self._monotonic() + self._offset if self._board is not None else 0.0

    def age(self) -> float:
        """Return how old the newest plan is, in seconds; infinite before the first."""
        board = self._board
        return self.now() - board.time if board is not None else float("inf")

    def lacks(self) -> str:
        """Return why the board must not be used; empty where it may."""
        board = self._board
        if board is None:
            return f"no plan yet: {self.problem or 'the controller has none'}"
        age = self.age()
        if age <= board.max_age_seconds:
            return ""
        why = f": {self.problem}" if self.problem else ""
        return f"the newest plan is {age:.0f} s old, at most {board.max_age_seconds:g} s{why}"

    async def next(self, after: str, seconds: float) -> Board | None:
        """Return a board of another cycle than `after`, or None after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._board is None or self._board.cycle == after:
                    await self._changed.wait()
                return self._board
        return None
