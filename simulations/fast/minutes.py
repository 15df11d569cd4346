"""How each minute of a simulation went, noted as the minutes pass."""

from math import ceil

import numpy as np

from simulations.fast.state import BUCKETS
from simulations.fast.tally import Durations
from simulations.minutes import MINUTE, Minutes
from simulations.trace import IntArray


class MinuteLog:
    """The minutes that are over, and where the counts stood at the end of the last one."""

    def __init__(self) -> None:
        """Begin with the first minute."""
        self._p95: list[list[float]] = []
        self._before = np.zeros((3, BUCKETS), dtype=np.int64)

    @property
    def over(self) -> float:
        """When the minute that is running ends, seconds since the start."""
        return MINUTE * (len(self._p95) + 1)

    def note(self, durations: IntArray) -> None:
        """Note the minute that ends now, given how many durations there have been since the start.

        Args:
            durations: TTFT, ITL and E2E by fine bucket; shape (3, BUCKETS).
        """
        self._p95.append(self._since(durations))
        self._before = durations.copy()

    def until(self, now: float, arrived: IntArray, met: IntArray, durations: IntArray) -> Minutes:
        """Return all minutes, the one that is running included.

        Args:
            now: When, seconds since the start; no minute has been noted that ends then or later.
            arrived: Requests by minute of arrival; shape (any,).
            met: The same of those that met every limit.
            durations: As in `note`.
        """
        minutes = max(1, ceil(now / MINUTE))
        ttft, itl, e2e = np.array([*self._p95, self._since(durations)]).T
        return Minutes(_fitted(arrived, minutes), _fitted(met, minutes), ttft, itl, e2e)

    def _since(self, durations: IntArray) -> list[float]:
        p95 = (Durations(counts).percentile(95) for counts in durations - self._before)
        return [float("nan") if seconds is None else seconds for seconds in p95]


def _fitted(counts: IntArray, minutes: int) -> IntArray:
    """Return counts of so many minutes: what came at the very end belongs to the last one."""
    fitted = np.zeros(minutes, dtype=np.int64)
    within = counts[:minutes]
    fitted[: len(within)] = within
    fitted[-1] += counts[minutes:].sum()
    return fitted
