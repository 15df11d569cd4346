"""Knative's pod autoscaler (KPA) as a policy: a stable window, and a panic window for bursts."""

import math
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from autoscaler.core.observation import Observation
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.core.spec import Number
from policies.reactive.kpa_decision import (
    UNLIMITED_BURST,
    Evaluation,
    KpaParameters,
    KpaState,
    decide,
)
from policies.reactive.kpa_windows import Algorithm, window_average

LEAST_TARGET: Final = 0.01
"""Knative accepts no smaller target for one replica."""


def _burst(value: float) -> float:
    if value < 0 and value != UNLIMITED_BURST:
        raise ValueError(f"input should be 0 or more, or -1 (never covered), not {value:g}")
    return value


class Kpa(Policy):
    """Follow the average load of a minute, and panic when that of six seconds doubles.

    As Knative does it: normally the stable window decides. When the panic window asks for
    panicThresholdPercentage of the ready replicas, both windows count and nothing shrinks until
    a stable window has passed without such a load. A workload that is met for the first time
    with more than one ready replica starts in panic, so it does not shrink for want of a past.

    Only ready replicas count, as in Knative, whose pods start in seconds. Where a cold start
    takes minutes, a panic may ask again for what is already starting: keep replicas.max and
    behavior.scaleUp tight, or use burst.

    An average is that of the samples in its window, at least the newest one. With a sample each
    15 s the stable window holds 4 of them and the panic window 1: give the signal a stepSeconds
    of 5 or less, and windowSeconds of at least stableWindowSeconds.

    Scale to zero is replicas.min; there is no activator in front of the replicas.
    """

    type: Literal["kpa"] = "kpa"

    signal: Annotated[str, Field(min_length=1)]
    """A fleet-wide total: requests in flight (running and waiting), or requests per second."""

    target: Annotated[float, Number, Field(ge=LEAST_TARGET)] | None = None
    """What one replica should carry, in the signal's unit; if absent, containerConcurrencyTarget
    times targetUtilizationPercentage."""

    container_concurrency_target: Annotated[float, Number, Field(ge=LEAST_TARGET)] = 100.0
    """What one replica carries at most, in the signal's unit (for requests per second, Knative
    starts from 200); target, if that is more."""

    target_utilization_percentage: Annotated[float, Number, Field(gt=0, le=100)] = 70.0
    """Share of containerConcurrencyTarget to aim at, in percent; unused where target is given."""

    stable_window_seconds: Annotated[int, Number, Field(ge=6, le=3600)] = 60
    """Length of the stable window, and of the calm that ends a panic."""

    panic_window_percentage: Annotated[float, Number, Field(ge=1, le=100)] = 10.0
    """Length of the panic window, in percent of the stable one; whole seconds, at least 1."""

    panic_threshold_percentage: Annotated[float, Number, Field(ge=110, le=1000)] = 200.0
    """Panic where the panic window needs this many percent of the ready replicas, or more."""

    max_scale_up_rate: Annotated[float, Number, Field(gt=1)] = 1000.0
    """At most this many times the ready replicas at once, rounded up."""

    max_scale_down_rate: Annotated[float, Number, Field(gt=1)] = 2.0
    """At least the ready replicas divided by this stay, rounded down."""

    activation_scale: Annotated[int, Number, Field(ge=1)] = 1
    """Any need above zero is raised to this many replicas."""

    scale_down_delay_seconds: Annotated[int, Number, Field(ge=0, le=3600)] = 0
    """Shrink only to the largest count of this many seconds, in slots of 2 s."""

    target_burst_capacity: Annotated[float, Number, AfterValidator(_burst)] = 211.0
    """Load that should fit in on top of the present one; 0 asks for none, -1 is never covered.
    Shown as excess_burst_capacity; it changes no count."""

    aggregation_algorithm: Algorithm = "linear"
    """linear (plain average) or weighted-exponential (newer samples weigh more)."""

    @model_validator(mode="after")
    def _aims_high_enough(self) -> Self:
        if self.replica_target < LEAST_TARGET:
            raise ValueError(
                f"containerConcurrencyTarget times targetUtilizationPercentage should be at "
                f"least {LEAST_TARGET:g}, not {self.replica_target:g}"
            )
        return self

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    @property
    def replica_target(self) -> float:
        """What one replica should carry, in the signal's unit."""
        if self.target is not None:
            return self.target
        return self.container_concurrency_target * (self.target_utilization_percentage / 100.0)

    @property
    def panic_window_seconds(self) -> int:
        """Length of the panic window: whole seconds, halves up, at least 1."""
        seconds = self.stable_window_seconds * self.panic_window_percentage / 100.0
        return max(1, math.floor(seconds + 0.5))

    @property
    def parameters(self) -> KpaParameters:
        """What an evaluation goes by."""
        return KpaParameters(
            target=self.replica_target,
            total=max(self.container_concurrency_target, self.replica_target),
            burst=self.target_burst_capacity,
            panic_threshold=self.panic_threshold_percentage / 100.0,
            max_scale_up_rate=self.max_scale_up_rate,
            max_scale_down_rate=self.max_scale_down_rate,
            stable_seconds=self.stable_window_seconds,
            activation_scale=self.activation_scale,
        )

    def recommend(self, observation: Observation) -> Recommendation:
        series, now = observation.signal(self.signal), observation.now
        ready = observation.replicas.ready
        stable, panic = (
            window_average(series, now, seconds, self.aggregation_algorithm)
            for seconds in (self.stable_window_seconds, self.panic_window_seconds)
        )
        evaluation = decide(
            self._state(observation), self.parameters,
            now=now, ready=ready, stable=stable, panic=panic,
        )  # fmt: skip
        return Recommendation(
            replicas=evaluation.desired,
            reason=self._reason(evaluation, stable, panic, ready),
            evidence={
                "stable": stable,
                "panic": panic,
                "target": self.replica_target,
                "stable_need": float(evaluation.stable_need),
                "panic_need": float(evaluation.panic_need),
                "ready": float(ready),
                "panicking": float(evaluation.state.panicking),
                "excess_burst_capacity": float(evaluation.spare),
            },
            memory=evaluation.state.to_memory(),
        )

    def _state(self, observation: Observation) -> KpaState:
        """The state of the last cycle; a first one where there is none that can be read.

        Knative fixes the scale-down delay when it first meets a revision, and forgets it with the
        next restart. This memory outlives restarts, so an edit of the file counts at once.
        """
        delay = self.scale_down_delay_seconds
        if observation.memory is not None:
            try:
                return KpaState.from_memory(observation.memory).with_delay(delay)
            except ValueError:
                pass  # another version's memory: start as if unseen, which never shrinks
        return KpaState.start(observation.now, observation.replicas.ready, delay)

    def _reason(self, evaluation: Evaluation, stable: float, panic: float, ready: int) -> str:
        mode = "panic" if evaluation.state.panicking else "stable"
        load, seconds, need = (
            (panic, self.panic_window_seconds, evaluation.panic_need)
            if evaluation.by_panic
            else (stable, self.stable_window_seconds, evaluation.stable_need)
        )
        replicas = "replica" if need == 1 else "replicas"
        text = (
            f"{mode}: {load:g} {self.signal} over {seconds} s needs {need} {replicas}, "
            f"{self.replica_target:g} each, {ready} ready"
        )
        return f"{text}; {evaluation.cause} {evaluation.desired}" if evaluation.cause else text
