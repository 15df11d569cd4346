"""A ridge regression of demand, with quantiles from residuals that it had not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np

from autoscaler.core.observation import FloatArray, Series
from policies.predictive.features import DAY, WEEK, Features
from policies.predictive.samples import quantiles_of, span_seconds

PENALTY: Final = 0.1
"""Ridge penalty for each row, against columns of variance one."""
MOST_ROWS: Final = 4096
"""More origins than this are thinned evenly: a fit takes bounded time."""
FEWEST_ROWS: Final = 64
"""Origins, and residuals, without which a fit says nothing."""
SHARES: Final = (0.4, 0.6, 0.8, 1.0)
"""Rolling origin: fitted on all rows up to a share, judged on those up to the next."""
FLOOR_OF_SPREAD: Final = 0.5
"""However calm the last samples, the usual change counts with this weight."""
DIGITS: Final = 7
"""Significant digits of what is remembered: it is kept in every cycle's record."""
WEEKS_FOR_WEEKLY: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class FittedRidge:
    """What a fit leaves behind: enough to forecast with a few products.

    Attributes:
        features: The columns it was fitted on.
        intercepts: In the signal's unit; shape (leads,).
        coefficients: Of the columns; shape (leads, columns).
        residuals: Quantiles of what it missed, in multiples of the spread; shape (q, leads).
        usual_change: Mean size of a change in one step, in the signal's unit.
    """

    features: Features
    intercepts: FloatArray
    coefficients: FloatArray
    residuals: FloatArray
    usual_change: float

    @classmethod
    def recall(cls, memory: Mapping[str, Any]) -> Self:
        """Return what `as_memory` wrote down."""
        return cls(
            Features(memory["step"], tuple(memory["leads"]), memory["weekly"]),
            np.array(memory["intercepts"]),
            np.array(memory["coefficients"]),
            np.array(memory["residuals"]),
            memory["usualChange"],
        )

    def as_memory(self) -> dict[str, Any]:
        """Return JSON values that `recall` understands, rounded to a few digits."""
        return {
            "step": self.features.step,
            "leads": list(self.features.leads),
            "weekly": self.features.weekly,
            "intercepts": _short(self.intercepts),
            "coefficients": [_short(row) for row in self.coefficients],
            "residuals": [_short(row) for row in self.residuals],
            "usualChange": _short(np.array([self.usual_change]))[0],
        }

    def forecast(self, series: Series) -> tuple[FloatArray, FloatArray]:
        """Return times (h,) and quantiles (q, h) after the newest sample.

        A sample that is missing among the lags counts as no change; the newest is always there.
        """
        origin = np.array([series.latest_time])
        columns, restless = self.features.read(series, origin)
        level = max(series.latest, 0.0)
        middle = level + self.intercepts + self.coefficients @ np.nan_to_num(columns[0])
        spread = _spread(restless, self.usual_change)[0]
        times = origin[0] + self.features.step * np.array(self.features.leads)
        return times, middle + self.residuals * spread


def fit(
    series: Series, step: float, leads: tuple[int, ...], levels: Sequence[float]
) -> FittedRidge | str:
    """Fit the change of demand over each lead, directly, and learn how far off it would have been.

    The residuals are out of sample: with a rolling origin, the regression is fitted on the earlier
    part of the history and judged on the part that follows. They are divided by the spread at their
    time (how restless demand was), and quantiles are taken for each lead.

    Args:
        series: At least one sample, all finite.
        step: Seconds between samples.
        leads: Steps ahead, rising, at most a day.
        levels: Quantiles wanted; shape (q,).

    Returns:
        The fit; or, where the history does not suffice, a few words why.
    """
    span = span_seconds(series)
    features = Features(step, leads, weekly=span >= WEEKS_FOR_WEEKLY * WEEK)
    nothing = FittedRidge(
        features,
        np.zeros(len(leads)),
        np.zeros((len(leads), features.columns)),
        np.zeros((len(levels), len(leads))),
        usual_change=0.0,
    )
    if float(np.ptp(series.values)) == 0.0:
        return nothing

    stride = max(1, int(span / step / MOST_ROWS))
    origins = series.times[-1] - step * np.arange(0.0, (span - DAY) / step, stride)[::-1]
    columns, restless = features.read(series, origins)
    targets = features.changes_ahead(series, origins)
    whole = np.isfinite(columns).all(axis=1) & np.isfinite(targets).all(axis=1)
    origins, columns, targets = origins[whole], columns[whole], targets[whole]
    if len(origins) < FEWEST_ROWS:
        return f"only {len(origins)} times have every sample: {FEWEST_ROWS} are needed"
    usual = float(restless[whole].mean())
    spread = _spread(restless[whole], usual)

    missed = []
    rows = [int(share * len(origins)) for share in SHARES]
    for begin, end in pairwise(rows):
        # What a row was fitted to reaches into its future: the next rows must begin after it.
        first = int(np.searchsorted(origins, origins[begin - 1] + features.reach_seconds))
        if first >= end:
            continue
        intercepts, coefficients = _ridge(columns[:begin], targets[:begin])
        guess = intercepts + columns[first:end] @ coefficients.T
        missed.append((targets[first:end] - guess) / spread[first:end, np.newaxis])
    judged = sum(len(part) for part in missed)
    if judged < FEWEST_ROWS / 2:
        return f"only {judged} residuals for a forecast of {features.reach_seconds:g} s"
    intercepts, coefficients = _ridge(columns, targets)
    residuals = quantiles_of(np.concatenate(missed).T, levels)
    return FittedRidge(features, intercepts, coefficients, residuals, usual)


def _spread(restless: FloatArray, usual: float) -> FloatArray:
    """Return the size that residuals are measured in; above 0."""
    mixed = np.where(np.isfinite(restless), restless, usual) + FLOOR_OF_SPREAD * usual
    return np.where(mixed > 0, mixed, 1.0)


def load() -> None:
    """Load scikit-learn, so that no fit has to."""
    import sklearn.linear_model  # noqa: F401  # takes seconds


def _ridge(columns: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return intercepts (leads,) and coefficients (leads, columns) of the columns as they are."""
    from sklearn.linear_model import Ridge  # as `load` says: not to be loaded with this module

    centre, scale = columns.mean(axis=0), columns.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    ridge = Ridge(alpha=PENALTY * len(columns), solver="cholesky")
    ridge.fit((columns - centre) / scale, targets)
    coefficients = np.atleast_2d(ridge.coef_) / scale
    return np.atleast_1d(ridge.intercept_) - coefficients @ centre, coefficients


def _short(numbers: FloatArray) -> list[float]:
    return [float(f"{number:.{DIGITS}g}") for number in numbers.tolist()]
