"""regression: ridge regression on the recent past, the same hours before and the calendar."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field

from autoscaler.core.observation import Observation, Series
from autoscaler.core.policy import Recommendation
from autoscaler.core.spec import Number, Seconds
from policies.predictive.features import DAY
from policies.predictive.predictive import Predictive
from policies.predictive.refits import later, soon
from policies.predictive.ridge import FittedRidge, fit, load
from policies.predictive.samples import EDGE, span_seconds, step_seconds

VERSION: Final = 1
"""Of the memory: one that another version wrote is not read."""
MOST_LEADS: Final = 3
"""Times in the horizon that are forecast, evenly spread up to its end, beside the one after it."""
LONGEST_STEP: Final = 3600.0
"""Samples further apart say too little of a day."""


class Regression(Predictive):
    """Run enough replicas for a quantile of what a ridge regression expects.

    For some times in the horizon it forecasts directly by how much demand will have changed,
    from its latest changes, from what it did at the same hours a day ago (and a week ago, with
    three weeks of history), and from Fourier terms of day and week in UTC. The quantiles are those
    of residuals out of sample, wider when demand has been restless lately.

    The fit (scikit-learn, some tens of milliseconds) is remembered as coefficients; between fits a
    forecast is a few products. Fits of many workloads come at different moments, which their own
    samples decide.
    """

    type: Literal["regression"] = "regression"

    refit_seconds: Annotated[float, Number, Field(gt=0)] = 21_600.0
    """Longest time between fits; each comes up to a quarter earlier, at a moment of its own."""

    spread_seconds: Seconds = 600.0
    """The first fit comes within this time, at a moment of its own; until then it says nothing."""

    min_history_seconds: Annotated[float, Number, Field(ge=2 * DAY)] = 3 * DAY
    """With less history it says nothing."""

    def prepare(self) -> None:
        load()

    def recommend(self, observation: Observation) -> Recommendation:
        series, now = observation.signal(self.signal), observation.now
        step = step_seconds(series)
        held = span_seconds(series)
        if step is None or held + step < self.min_history_seconds:
            return self.no_opinion(
                f"{self.signal} reaches back {held / DAY:.1f} days: "
                f"{self.min_history_seconds / DAY:g} are needed",
                observation.memory,
            )
        if step > LONGEST_STEP:
            return self.no_opinion(
                f"samples of {self.signal} are {step:g} s apart: at most {LONGEST_STEP:g} s",
                observation.memory,
            )
        horizon = self.horizon(observation, step)
        made_for = [VERSION, self.signal, *self.levels]
        kept: dict[str, Any] = dict(observation.memory or {})
        if kept.get("madeFor") != made_for:
            due = soon(series, now, self.spread_seconds)
            kept = {"madeFor": made_for, "due": due, "model": None, "why": ""}
        elif kept["model"] is not None and _outgrown(kept["model"], step, horizon):
            kept["due"] = min(kept["due"], soon(series, now, self.spread_seconds))
        if now >= kept["due"]:
            kept |= self._fit(series, now, step, horizon)
        if kept["model"] is None:
            why = kept["why"] or "workloads fit one after the other"
            return self.no_opinion(f"fits in {max(0.0, kept['due'] - now):.0f} s: {why}", kept)

        times, values = FittedRidge.recall(kept["model"]).forecast(series)
        first = int(np.searchsorted(times, now, side="right"))
        last = int(np.searchsorted(times, now + horizon, side="left"))
        if first == len(times):
            return self.no_opinion(
                f"the newest {self.signal} is {now - series.latest_time:.0f} s old: "
                f"the forecast ends {times[-1] - series.latest_time:.0f} s after it",
                kept,
            )
        return self.floor(
            observation,
            times[first : last + 1],
            values[:, first : last + 1],
            why=f"ridge regression fitted {now - kept['fitted']:.0f} s ago",
            memory=kept,
        )

    def _fit(self, series: Series, now: float, step: float, horizon: float) -> dict[str, Any]:
        """Return what to remember after a fit; one that failed leaves an earlier one in force."""
        fitted = fit(series, step, _leads(horizon, step), self.levels)
        if isinstance(fitted, str):
            return {"due": soon(series, now + step, self.spread_seconds), "why": fitted}
        return {
            "due": later(series, now, self.refit_seconds),
            "fitted": now,
            "model": fitted.as_memory(),
            "why": "",
        }


def _steps_ahead(seconds: float, step: float) -> int:
    """Return how many steps cover so many seconds; at most a day."""
    return min(math.ceil(seconds / step - EDGE), math.floor(DAY / step + EDGE))


def _leads(horizon: float, step: float) -> tuple[int, ...]:
    """Return the steps ahead to forecast, evenly spread up to the horizon.

    One more stands behind it, for a newest sample that is up to a step old.
    """
    furthest = _steps_ahead(horizon, step)
    count = min(MOST_LEADS, furthest)
    even = {math.ceil(furthest * place / count) for place in range(1, count + 1)}
    return tuple(sorted(even | {_steps_ahead(horizon + step, step)}))


def _outgrown(model: Mapping[str, Any], step: float, horizon: float) -> bool:
    """Whether a fit no longer reaches far enough, or was made for another sampling."""
    fitted_step, furthest = model["step"], model["leads"][-1]
    return _steps_ahead(horizon, fitted_step) > furthest or not 0.5 <= step / fitted_step <= 2.0
