"""Time that a test moves: it passes by itself as real time does, and by leaps that cost nothing."""

import time
from typing import Final

START: Final = 1_700_000_010.0
"""Unix seconds; a whole multiple of every step that the tests use."""


class Clock:
    """The true time, and what our own wall clock makes of it.

    Attributes:
        wrong_by: Seconds that our wall clock shows too much.
    """

    def __init__(self) -> None:
        self.wrong_by = 0.0
        self._leapt = 0.0

    def truth(self) -> float:
        """Return the true time, Unix seconds; it moves by leaps only."""
        return START + self._leapt

    def wall(self) -> float:
        """Return what our wall clock shows, Unix seconds."""
        return self.truth() + self.wrong_by

    def monotonic(self) -> float:
        """Return seconds that only rise: real ones, and those that were leapt over."""
        return time.monotonic() + self._leapt

    def leap(self, seconds: float) -> None:
        """Let time pass."""
        self._leapt += seconds
