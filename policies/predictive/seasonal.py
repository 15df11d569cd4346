"""seasonal: what the same phase of earlier days or weeks asked for, at today's level."""

import math
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from autoscaler.core.observation import FloatArray, Observation, Series
from autoscaler.core.policy import Recommendation
from autoscaler.core.spec import Number, Seconds
from policies.predictive.predictive import Predictive
from policies.predictive.samples import quantiles_of, span_seconds, step_seconds, values_at

MOST_TIMES: Final = 24
"""A forecast has at most this many times, evenly spread: it is kept in every cycle's record."""

MOST_NEIGHBOURS: Final = 15
"""Bins looked at on each side of a phase, evenly spread over the tolerance."""


class Seasonal(Predictive):
    """Run enough replicas for a quantile of what the same phase of earlier seasons asked for.

    A season is a day or a week. For each time up to the horizon the samples one, two, ... seasons
    earlier are collected, with their neighbours within `phaseToleranceSeconds`: what comes at nine
    may come at a quarter past. Each season is scaled to today's level: the mean of the newest
    `levelSeconds` over the mean of the same stretch of that season. The forecast is a quantile of
    what was collected.

    Seasons are counted in seconds from now, so there is no time zone. Where the clocks change, the
    load of people shifts by an hour against earlier days for a season or more.
    """

    type: Literal["seasonal"] = "seasonal"

    season_seconds: Annotated[float, Number, Field(ge=3600, le=2_592_000)] = 86_400.0
    """What repeats: 86400 for days, 604800 for weeks."""

    seasons: Annotated[PositiveInt, Number, Field(le=60)] = 7
    """How many earlier seasons count. The signal's windowSeconds should hold them and
    levelSeconds."""

    min_seasons: Annotated[PositiveInt, Number] = 2
    """With fewer full seasons of history, or fewer seasons with samples at the phase asked for, the
    policy says nothing."""

    phase_tolerance_seconds: Seconds = 1800.0
    """How much earlier or later in a season counts as the same phase."""

    level_seconds: Annotated[float, Number, Field(gt=0)] = 1800.0
    """The newest stretch that tells today's level."""

    max_level_change: Annotated[float, Number, Field(ge=1)] = 2.0
    """An earlier season is scaled at most by this factor, up or down; 1 leaves it as it was."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_seasons > self.seasons:
            raise ValueError(
                f"minSeasons should be at most seasons, not {self.min_seasons} > {self.seasons}"
            )
        if self.level_seconds > self.season_seconds:
            raise ValueError(
                f"levelSeconds should be at most seasonSeconds, "
                f"not {self.level_seconds:g} > {self.season_seconds:g}"
            )
        if 2 * self.phase_tolerance_seconds > self.season_seconds:
            raise ValueError(
                f"phaseToleranceSeconds should be at most half of seasonSeconds, "
                f"not {self.phase_tolerance_seconds:g} > {self.season_seconds / 2:g}"
            )
        return self

    def recommend(self, observation: Observation) -> Recommendation:
        series = observation.signal(self.signal)
        step = step_seconds(series)
        held = span_seconds(series)
        if step is None or held + step < self.min_seasons * self.season_seconds:
            return self.no_opinion(
                f"{self.signal} reaches back {held / self.season_seconds:.1f} seasons of "
                f"{self.season_seconds:g} s: {self.min_seasons} are needed"
            )
        horizon = self.horizon(observation, step)
        count = min(MOST_TIMES, math.ceil(horizon / step))
        times = observation.now + np.linspace(horizon / count, horizon, count)
        tolerance = max(self.phase_tolerance_seconds, horizon / count / 2)
        pools = self._same_phase(series, times, tolerance, step)
        pools *= self._levels(series, step)[:, np.newaxis]
        seen = np.isfinite(pools).any(axis=2).sum(axis=1)
        whole = seen >= self.min_seasons
        if not whole.any():
            return self.no_opinion(
                f"{self.signal} has samples at this phase in {seen.max()} of {self.seasons} "
                f"earlier seasons: {self.min_seasons} are needed"
            )
        values = quantiles_of(pools[whole].reshape(whole.sum(), -1), self.levels)
        return self.floor(
            observation,
            times[whole],
            values,
            why=f"{seen.max()} earlier seasons of {self.season_seconds:g} s",
        )

    def _same_phase(
        self, series: Series, times: FloatArray, tolerance: float, step: float
    ) -> FloatArray:
        """Return what earlier seasons held around each time, NaN for none.

        Shape (h, seasons, neighbours).
        """
        back = self.season_seconds * np.arange(1.0, self.seasons + 1)
        each_side = min(MOST_NEIGHBOURS, math.floor(tolerance / step))
        around = np.linspace(-tolerance, tolerance, 2 * each_side + 1) if each_side else np.zeros(1)
        phases = times[:, np.newaxis] - back
        return values_at(series, phases[..., np.newaxis] + around, step)

    def _levels(self, series: Series, step: float) -> FloatArray:
        """Return by what to scale each earlier season, 1 where nothing can be compared."""
        stretch = max(1, math.floor(self.level_seconds / step))
        times = series.latest_time - step * np.arange(float(stretch))
        back = self.season_seconds * np.arange(1.0, self.seasons + 1)
        recent = values_at(series, times, step)
        earlier = values_at(series, times - back[:, np.newaxis], step)
        both = np.isfinite(earlier) & np.isfinite(recent)
        now_sum = np.where(both, recent, 0.0).sum(axis=1)
        then_sum = np.where(both, earlier, 0.0).sum(axis=1)
        most = self.max_level_change
        # A season that was idle at this phase is scaled as far as allowed, if there is load now.
        ratio = np.where(now_sum > 0, most, 1.0)
        np.divide(now_sum, then_sum, out=ratio, where=now_sum < most * then_sum)
        return np.clip(ratio, 1.0 / most, most)
