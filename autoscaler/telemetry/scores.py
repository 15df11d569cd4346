"""How good forecasts were: what was claimed of a time, against what was seen at that time."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from autoscaler.core.observation import Series
from autoscaler.core.policy import Forecast

WAITING: Final = 8
"""How many claims of one forecast wait for their time; those in between are not scored."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a forecast said of one time.

    Attributes:
        time: Unix seconds.
        values: By quantile, in the order of the forecast's levels, in the signal's unit.
    """

    time: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """What became of the claims of one forecast at one end of its horizon.

    Attributes:
        levels: The quantiles, rising.
        waiting: Claims whose time has not been seen yet, oldest first.
        last: The newest claim whose time was seen.
        seen: What was seen then, in the signal's unit.
        scored: Claims whose time was seen.
        above: How often more than the claim was seen, by quantile: of a true p90, one in ten.
    """

    levels: tuple[float, ...]
    waiting: tuple[Claim, ...] = ()
    last: Claim | None = None
    seen: float = 0.0
    scored: int = 0
    above: tuple[int, ...] = field(default=())

    @property
    def error(self) -> float:
        """What was seen, less the forecast's median (or what is nearest to it)."""
        if self.last is None:
            return 0.0
        nearest = min(range(len(self.levels)), key=lambda index: abs(self.levels[index] - 0.5))
        return self.seen - self.last.values[nearest]

    def settled(self, series: Series, max_gap_seconds: float) -> "Score":
        """Return this score with every claim settled whose time has been seen.

        Between two samples a value is interpolated, unless they are further apart than
        `max_gap_seconds`: what happened in an outage is not known.
        """
        if not self.waiting or series.latest_time < self.waiting[0].time:
            return self
        good = series.finite()
        due = [claim for claim in self.waiting if claim.time <= good.latest_time]
        score = replace(self, waiting=self.waiting[len(due) :])
        for claim in due:
            value = _value_at(good, claim.time, max_gap_seconds)
            if value is not None:
                counts = zip(score.above, claim.values, strict=True)
                score = replace(
                    score,
                    last=claim,
                    seen=value,
                    scored=score.scored + 1,
                    above=tuple(count + (value > said) for count, said in counts),
                )
        return score

    def claiming(self, forecast: Forecast, index: int, now: float) -> "Score":
        """Return this score with one more claim waiting, unless one of about that time does.

        Args:
            forecast: What was said at `now`.
            index: Which of its times counts: 0 is the nearest, -1 the furthest.
            now: Unix seconds.
        """
        time = float(forecast.times[index])
        apart = (time - now) / WAITING
        if self.waiting and time - self.waiting[-1].time < apart:
            return self
        said = Claim(time, tuple(float(value) for value in forecast.values[:, index]))
        return replace(self, waiting=(*self.waiting, said)[-WAITING:])


def score_of(levels: tuple[float, ...], before: Score | None) -> Score:
    """Return the score to go on with: a new one where the forecast has other quantiles now."""
    if before is not None and before.levels == levels:
        return before
    return Score(levels, above=(0,) * len(levels))


def _value_at(series: Series, time: float, max_gap_seconds: float) -> float | None:
    after = int(np.searchsorted(series.times, time))
    if series.times[after] == time:
        return float(series.values[after])
    if after == 0 or series.times[after] - series.times[after - 1] > max_gap_seconds:
        return None
    around = slice(after - 1, after + 1)
    return float(np.interp(time, series.times[around], series.values[around]))
