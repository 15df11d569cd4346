"""What a ridge regression of demand looks at: recent changes, the same hours before, the calendar.

Everything is a difference to the newest value or a calendar term. So a history that lies higher by
a constant gives a forecast that lies higher by it, and one of twice the size one of twice the size.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray, Series
from policies.predictive.samples import values_at

DAY: Final = 86_400.0
WEEK: Final = 7 * DAY
DAY_WAVES: Final = 6
"""Fourier pairs of the day: the shortest lasts four hours."""
WEEK_WAVES: Final = 2
"""Fourier pairs of the week."""
LAGS: Final = (1, 2, 3, 6, 12)
"""Earlier samples that the newest is compared with, in steps."""
RECENT: Final = 24
"""Newest samples, in steps, whose changes tell how restless demand is."""


@dataclass(frozen=True, slots=True)
class Features:
    """Which columns there are; the same when fitting and when forecasting.

    Attributes:
        step: Seconds between samples.
        leads: Steps ahead that are forecast, rising, at most a day.
        weekly: Whether the week counts too; it takes some weeks of history.
    """

    step: float
    leads: tuple[int, ...]
    weekly: bool

    @property
    def reach_seconds(self) -> float:
        """How far ahead the last forecast lies."""
        return self.leads[-1] * self.step

    @property
    def seasons(self) -> tuple[float, ...]:
        """What repeats, in seconds."""
        return (DAY, WEEK) if self.weekly else (DAY,)

    @property
    def columns(self) -> int:
        """How many columns `read` returns."""
        waves = DAY_WAVES + (WEEK_WAVES if self.weekly else 0)
        return len(LAGS) + len(self.seasons) * len(self.leads) + 2 * waves

    def read(self, series: Series, origins: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the columns at each origin, and how much demand changed in a step lately.

        Args:
            series: At least one sample, all finite.
            origins: Unix seconds; shape (n,).

        Returns:
            Columns, NaN where a sample is missing, shape (n, columns); the mean size of the newest
            changes, NaN where there are none, shape (n,).
        """
        recent = self._back(series, origins, self.step * np.arange(RECENT + 1.0))
        changes = np.abs(np.diff(recent, axis=1))
        known = np.isfinite(changes)
        counts = known.sum(axis=1)
        total = np.where(known, changes, 0.0).sum(axis=1)
        restless = np.full(len(origins), np.nan)
        np.divide(total, counts, out=restless, where=counts > 0)

        ahead = self.step * np.array(self.leads, dtype=np.float64)
        columns = [recent[:, LAGS] - recent[:, :1]]
        for season in self.seasons:
            then = self._back(series, origins, np.array([season]))
            columns.append(self._back(series, origins, season - ahead) - then)
        columns.append(_waves(origins, DAY, DAY_WAVES))
        if self.weekly:
            columns.append(_waves(origins, WEEK, WEEK_WAVES))
        return np.concatenate(columns, axis=1), restless

    def changes_ahead(self, series: Series, origins: FloatArray) -> FloatArray:
        """Return by how much demand changed from each origin to each lead; shape (n, leads)."""
        base = values_at(series, origins, self.step)
        ahead = self._back(series, origins, -self.step * np.array(self.leads, dtype=np.float64))
        return ahead - base[:, np.newaxis]

    def _back(self, series: Series, origins: FloatArray, seconds: FloatArray) -> FloatArray:
        return values_at(series, origins[:, np.newaxis] - seconds, self.step)


def _waves(times: FloatArray, period: float, count: int) -> FloatArray:
    """Return sine and cosine of a period and its fractions, by Unix time, that is, in UTC."""
    angle = 2.0 * np.pi / period * np.outer(np.mod(times, period), np.arange(1, count + 1))
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
