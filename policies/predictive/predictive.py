"""What predictive policies share: parameters, the horizon, and the floor that a forecast makes."""

from typing import Annotated

import numpy as np
from pydantic import Field

from autoscaler.core.observation import FloatArray, Memory, Observation
from autoscaler.core.policy import Forecast, Policy, Recommendation, up
from autoscaler.core.spec import Number

ALWAYS_SHOWN = (0.1, 0.5, 0.9)
"""Quantiles that every forecast has, beside the one that decides."""


class Predictive(Policy):
    """A floor for the demand that is coming: it may raise the workload and never lower it.

    What a start needs before it serves must be asked for that much earlier. So the floor is for
    the largest demand, at one quantile, between now and when a replica asked for now would serve.
    """

    signal: Annotated[str, Field(min_length=1)]
    """Demand of the whole fleet, such as arrivals_per_second or tokens_per_second, over days."""

    per_replica: Annotated[float, Number, Field(gt=0)]
    """What one replica carries while the objectives hold, in the signal's unit."""

    quantile: Annotated[float, Number, Field(gt=0, lt=1)] = 0.9
    """How sure to be: demand stays below the forecast this often. The cost of a miss over the cost
    of a miss and of a spare replica together."""

    horizon_seconds: Annotated[float, Number, Field(gt=0, le=86400)] | None = None
    """How far to look ahead; absent: the lead time and one step of the signal."""

    max_growth: Annotated[float, Number, Field(gt=0)] = 1.5
    """The forecast never exceeds this many times the largest demand in the signal's window."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantiles of the forecast, rising: 0.1, 0.5, 0.9 and `quantile`."""
        return tuple(sorted({*ALWAYS_SHOWN, self.quantile}))

    def horizon(self, observation: Observation, step: float) -> float:
        """Return how many seconds to look ahead, given the step of the signal."""
        if self.horizon_seconds is not None:
            return self.horizon_seconds
        return observation.lead_seconds + step

    def no_opinion(self, reason: str, memory: Memory | None = None) -> Recommendation:
        """Say nothing this time, and why; keep nobody else from lowering."""
        return Recommendation(None, reason, memory=memory, raise_only=True)

    def floor(
        self,
        observation: Observation,
        times: FloatArray,
        values: FloatArray,
        *,
        why: str,
        memory: Memory | None = None,
    ) -> Recommendation:
        """Return the floor that a forecast makes.

        Args:
            observation: What was seen.
            times: Unix seconds after now, rising; shape (h,), h at least 1.
            values: The quantiles of `levels` at these times; shape (q, h).
            why: What the forecast rests on.
            memory: What to find again.
        """
        series = observation.signal(self.signal)
        most = self.max_growth * max(float(series.values.max()), 0.0)
        values = np.clip(values, 0.0, most)
        peak = float(values[self.levels.index(self.quantile)].max())
        ahead = float(times[-1]) - observation.now
        count = up(peak / self.per_replica)
        return Recommendation(
            count,
            f"p{100 * self.quantile:g} of {self.signal} in the next {ahead:.0f} s is up to "
            f"{peak:.4g}, {self.per_replica:g} for each replica: at least {count}; {why}",
            evidence={
                self.signal: series.latest,
                "forecast": peak,
                "median": float(values[self.levels.index(0.5)].max()),
                "perReplica": self.per_replica,
                "horizonSeconds": ahead,
            },
            memory=memory,
            forecast=Forecast(self.signal, times, self.levels, values),
            raise_only=True,
        )
