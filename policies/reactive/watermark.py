"""watermark: one step up above the high mark, one replica down below the low mark."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from autoscaler.core.observation import Observation, Series
from autoscaler.core.policy import Policy, Recommendation, up
from autoscaler.core.spec import Number, Seconds
from policies.reactive.serving_size import ServingSize
from policies.reactive.too_few import TooFew
from policies.reactive.window import largest, newest_above, newest_below


class Watermark(Policy):
    """Raise above a high mark, lower below a low mark, leave alone what lies between.

    For signals that are not proportional to the load or that saturate: utilisation, KV-cache usage,
    a p95 latency. Three rules keep it calm:

    - A step is counted from the replicas that serve: while those it asked for are starting, the
      same trouble asks for the same count.
    - Only samples since the number of serving replicas last changed are counted: older ones speak
      of another size.
    - It lowers by one, and only if the worst value seen, spread over one replica fewer
      (value * ready / fewer), stays below the high mark, and only to a count that has not lately
      proved too few.
    """

    type: Literal["watermark"] = "watermark"

    signal: Annotated[str, Field(min_length=1)]
    """An average per replica or a fleet-wide percentile, such as kv_usage or e2e_p95."""

    high: Annotated[float, Number, Field(gt=0)]
    """Above this mark the workload grows; in the signal's unit."""

    low: Annotated[float, Number, Field(ge=0)]
    """Below this mark it may shrink; in the signal's unit."""

    raise_after_seconds: Seconds = 30.0
    """How long the signal is above the high mark before a step up."""

    lower_after_seconds: Seconds = 60.0
    """How long the signal is below the low mark before a step down."""

    step_percent: Annotated[float, Number, Field(gt=0, le=1000)] = 100.0
    """Size of a step up, in percent of the replicas that serve; at least one replica."""

    remember_seconds: Seconds = 1800.0
    """How long a count that proved too few is not tried again; doubles, up to four times."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low should be below high, not {self.low:g} >= {self.high:g}")
        return self

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    def recommend(self, observation: Observation) -> Recommendation:
        ready, desired = observation.replicas.ready, observation.replicas.desired
        now, value = observation.now, observation.signal(self.signal).latest
        size = ServingSize.follow(observation)
        ours = size.since_changed(observation.signal(self.signal))
        too_few = TooFew.recall(observation.memory)
        above = self._since("above", newest_above(ours, self.high), ours, observation)
        below = self._since("below", newest_below(ours, self.low), ours, observation)

        saw = f"{self.signal} is {value:.4g}"
        if above is not None and ours.latest_time - above >= self.raise_after_seconds:
            wanted = ready + max(1, up(ready * self.step_percent / 100.0))
            count = max(desired, wanted)
            saw += f", above {self.high:g} for {ours.latest_time - above:g} s"
            if count > desired:
                saw += f": from {ready} ready to {count}"
            else:
                saw += f": the {desired - ready} starting replicas are that step"
            if desired <= ready:
                too_few = too_few.learn(ready, now, self.remember_seconds)
        elif ready == 0 or desired == 0:
            count = desired
            saw += "; nothing serves that could be fewer"
        elif below is not None and ours.latest_time - below >= self.lower_after_seconds:
            worst = largest(newest_below(ours, self.low))
            count, why = self._lower(worst, observation, too_few)
            saw += f", below {self.low:g} for {ours.latest_time - below:g} s: {why}"
        else:
            count = desired
            saw += f"; {self._why_unmoved(ours)}"
        return Recommendation(
            count,
            saw,
            evidence={self.signal: value, "high": self.high, "low": self.low},
            memory={
                "size": size.as_memory(),
                "tooFew": too_few.as_memory(),
                "above": above,
                "below": below,
                "seen": observation.signal(self.signal).latest_time,
            },
        )

    def _since(
        self, side: str, run: Series, whole: Series, observation: Observation
    ) -> float | None:
        """Since when the newest samples are on this side of a mark, None if they are not.

        What an earlier cycle saw counts on where the samples go on without a break: a window may be
        shorter than what is asked for, and an idle workload shows a single latency of 0.
        """
        if not len(run):
            return None
        first = float(run.times[0])
        memory = observation.memory or {}
        kept: float | None = memory.get(side)
        if (
            kept is None
            or len(run) < len(whole)
            or memory["size"]["ready"] != observation.replicas.ready
        ):
            return first
        after = self.raise_after_seconds if side == "above" else self.lower_after_seconds
        return min(kept, first) if first <= memory["seen"] + after else first

    def _lower(self, worst: float, observation: Observation, too_few: TooFew) -> tuple[int, str]:
        ready, desired = observation.replicas.ready, observation.replicas.desired
        fewer = desired - 1
        if fewer == 0 and worst > 0:
            return desired, "the last replica stays"
        predicted = worst * ready / max(fewer, 1)
        if predicted >= self.high:
            return desired, f"{fewer} replicas would see {predicted:.3g}, not below {self.high:g}"
        if fewer < too_few.floor(observation.now):
            return desired, f"{too_few.count} proved too few lately"
        return fewer, f"{fewer} replicas would see {predicted:.3g}"

    def _why_unmoved(self, ours: Series) -> str:
        if len(ours) == 0:
            return "no sample yet since the number of ready replicas changed"
        if ours.latest > self.high:
            return f"above {self.high:g}, but not yet for {self.raise_after_seconds:g} s"
        if ours.latest < self.low:
            return f"below {self.low:g}, but not yet for {self.lower_after_seconds:g} s"
        return f"between {self.low:g} and {self.high:g}"
