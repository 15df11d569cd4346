"""burst: a floor that jumps when the last seconds need far more than runs or starts."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from autoscaler.core.observation import Observation
from autoscaler.core.policy import Policy, Recommendation, up
from autoscaler.core.spec import Number
from policies.reactive.window import mean, newest


class Burst(Policy):
    """Hold a floor: the need of a long window, and in a burst the largest need of a short one.

    The idea of Knative's panic mode, with one difference that matters where a start takes minutes:
    the short-window need is compared with the replicas that serve **and** those that start. Against
    the serving ones alone, a slow start looks like a burst until it is over, and one burst is
    answered again and again (knative/serving#13284).

    A burst begins when the need of the short window reaches `threshold` times what serves and
    starts, goes on while it does, and ends `holdSeconds` later. Until then the floor is the largest
    need seen. It only ever raises: use it beside a policy that may also lower.
    """

    type: Literal["burst"] = "burst"

    signal: Annotated[str, Field(min_length=1)]
    """Demand of the whole fleet, such as in_flight or arrivals_per_second."""

    target_per_replica: Annotated[float, Number, Field(gt=0)]
    """What one replica should carry, in the signal's unit."""

    short_seconds: Annotated[float, Number, Field(gt=0)] = 30.0
    """Window whose average tells a burst."""

    long_seconds: Annotated[float, Number, Field(gt=0)] = 300.0
    """Window whose average is the steady need; the signal's windowSeconds must hold it."""

    threshold: Annotated[float, Number, Field(gt=1)] = 2.0
    """A burst needs this many times the replicas that serve or start."""

    hold_seconds: Annotated[float, Number, Field(ge=0)] = 300.0
    """How long the floor stays after the last sign of the burst."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.short_seconds >= self.long_seconds:
            raise ValueError(
                f"shortSeconds should be below longSeconds, "
                f"not {self.short_seconds:g} >= {self.long_seconds:g}"
            )
        return self

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    def recommend(self, observation: Observation) -> Recommendation:
        now, replicas = observation.now, observation.replicas
        series = observation.signal(self.signal)
        short, long = (
            mean(newest(series, self.short_seconds)),
            mean(newest(series, self.long_seconds)),
        )
        need_short, need_long = (
            up(short / self.target_per_replica),
            up(long / self.target_per_replica),
        )
        running = max(1, replicas.ready + replicas.starting)

        memory = observation.memory or {}
        last, peak = memory.get("burstSeen"), int(memory.get("peak", 0))
        if need_short >= self.threshold * running:
            last = now
        bursting = last is not None and now <= last + self.hold_seconds
        peak = max(peak, need_short) if bursting else 0
        count = max(need_long, peak)
        saw = (
            f"{self.signal} averages {short:.3g} over {self.short_seconds:g} s and {long:.3g} over "
            f"{self.long_seconds:g} s, {self.target_per_replica:g} for each replica"
        )
        if bursting:
            why = f"burst against {running} that serve or start: at least {count} until it is over"
        else:
            why = f"no burst against {running} that serve or start: at least {count}"
        return Recommendation(
            count,
            f"{saw}: {why}",
            evidence={"short": short, "long": long, "running": float(running)},
            memory={"burstSeen": last if bursting else None, "peak": peak},
            raise_only=True,
        )
