"""hpa: what a Kubernetes HorizontalPodAutoscaler (autoscaling/v2) would propose, to the letter."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from autoscaler.core import quantity
from autoscaler.core.integers import INT32_MIN
from autoscaler.core.observation import Observation, PodSample
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.core.spec import Number, Seconds, Spec, Tolerance
from policies.reactive import hpa_calculator as totals
from policies.reactive import hpa_pods as per_pod


def _milli(value: object) -> int:
    """Read a target as Kubernetes does: a number or a quantity, rounded up to thousandths."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"should be a number or a quantity such as 500m or 1Gi, not {value!r}")
    milli = quantity.parse(value.strip() if isinstance(value, str) else repr(value)).milli
    if milli <= 0:
        raise ValueError(f"should be greater than 0, not {value!r}")
    return milli


MilliUnits = Annotated[
    int,
    BeforeValidator(_milli),
    PlainSerializer(lambda milli: f"{milli}m", return_type=str),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
"""A positive quantity of Kubernetes, held in whole thousandths."""


class HpaTarget(Spec):
    """What a metric should be."""

    type: Literal["Value", "AverageValue", "Utilization"]
    """Value (of the whole), AverageValue (of each replica) or Utilization (percent of requests)."""

    value: MilliUnits | None = None
    """For Value: a number or a quantity."""

    average_value: MilliUnits | None = None
    """For AverageValue: a number or a quantity."""

    average_utilization: Annotated[PositiveInt, Number] | None = None
    """For Utilization: percent of what the pods request."""

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        numbers = {
            "Value": self.value,
            "AverageValue": self.average_value,
            "Utilization": self.average_utilization,
        }
        given = [name for name, number in numbers.items() if number is not None]
        if given != [self.type]:
            field = self.type[0].lower() + self.type[1:]
            field = "averageUtilization" if self.type == "Utilization" else field
            raise ValueError(f"a target of type {self.type} should have {field}, and only that")
        return self

    @property
    def number(self) -> int:
        """Milli-units; for Utilization whole percent."""
        return self.value or self.average_value or self.average_utilization or 0


_TARGETS: Mapping[str, tuple[str, ...]] = {
    "External": ("Value", "AverageValue"),
    "Object": ("Value", "AverageValue"),
    "Pods": ("AverageValue",),
    "Resource": ("Utilization", "AverageValue"),
}


class HpaMetric(Spec):
    """One entry of an HPA's `metrics`, with a signal in place of the metrics API."""

    type: Literal["External", "Object", "Pods", "Resource"]
    """External or Object (one number for the workload), Pods or Resource (one for each pod)."""

    signal: Annotated[str, Field(min_length=1)]
    """Where the numbers come from; for Pods and Resource a signal with a value for each pod."""

    target: HpaTarget
    """What they should be."""

    resource: Annotated[str, Field(min_length=1)] | None = None
    """For Resource: cpu, memory or another resource that the containers request."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        allowed = _TARGETS[self.type]
        if self.target.type not in allowed:
            raise ValueError(
                f"a metric of type {self.type} should have a target of type "
                f"{' or '.join(allowed)}, not {self.target.type}"
            )
        if (self.type == "Resource") != (self.resource is not None):
            raise ValueError("resource should be given for type Resource, and only there")
        return self


class Hpa(Policy):
    """Propose what the Kubernetes HPA v2 proposes for the same metrics.

    Tolerance, pods that start or show nothing, and metrics that fail are judged as there. What
    it proposes is the raw count: `spec.behavior` is applied once, by the rules.
    """

    type: Literal["hpa"] = "hpa"

    metrics: tuple[HpaMetric, ...] = ()
    """As in an HPA; the largest proposal wins."""

    signal: Annotated[str, Field(min_length=1)] | None = None
    """Short for one External metric: its signal, with `averageValue`."""

    average_value: MilliUnits | None = None
    """Short for one External metric: what each replica should carry."""

    tolerance: Tolerance = 0.1
    """Relative distance from the target left alone, where behavior names none for the direction."""

    cpu_initialization_period_seconds: Seconds = 300.0
    """After its start, a pod's CPU samples are doubted for this long."""

    initial_readiness_delay_seconds: Seconds = 30.0
    """A pod that became unready within this time of its start was never ready."""

    @model_validator(mode="after")
    def _long_or_short(self) -> Self:
        short = (self.signal is not None, self.average_value is not None)
        if any(short) == bool(self.metrics) or short[0] != short[1]:
            raise ValueError("should have either metrics, or signal and averageValue")
        return self

    @property
    def listed(self) -> tuple[HpaMetric, ...]:
        """The metrics, the short form written out."""
        if self.signal is None or self.average_value is None:
            return self.metrics
        target = HpaTarget.model_construct(type="AverageValue", average_value=self.average_value)
        return (HpaMetric.model_construct(type="External", signal=self.signal, target=target),)

    @property
    def uses(self) -> frozenset[str]:
        return frozenset(metric.signal for metric in self.listed)

    @property
    def needs_pods(self) -> bool:
        return any(
            metric.type in ("Pods", "Resource") or metric.target.type == "Value"
            for metric in self.listed
        )

    def recommend(self, observation: Observation) -> Recommendation:
        current = observation.replicas.desired
        counts: list[int | None] = []
        said: list[str] = []
        failures: list[str] = []
        evidence: dict[str, float] = {}
        for metric in self.listed:
            try:
                sizing = self._size(metric, observation)
            except totals.CannotSizeError as error:
                counts.append(None)
                failures.append(f"{metric.signal}: {error}")
                continue
            counts.append(sizing.replicas)
            evidence[metric.signal] = _told(metric, sizing, observation)
            said.append(_sentence(metric, sizing, evidence[metric.signal]))
        failed = "; ".join(failures)
        count = totals.combine(counts, current)
        if count is None and not said:
            return Recommendation.abstain(f"no metric gives a count: {failed}")
        if count is None:
            text = f"no decrease while a metric fails: {failed} ({'; '.join(said)})"
            return Recommendation(current, text, evidence)
        text = "; ".join(said) + (f"; failed: {failed}" if failed else "")
        return Recommendation(count, text, evidence)

    def _size(self, metric: HpaMetric, observation: Observation) -> totals.Sizing:
        """Ask the calculator for one metric's count.

        Raises:
            CannotSizeError: The metric gives none, or one beyond 32 bits.
        """
        if metric.signal not in observation.signals:
            raise totals.CannotSizeError(totals.Fault.NO_METRICS)
        if metric.type in ("Pods", "Resource"):
            sizing = self._of_pods(metric, observation)
        else:
            sizing = self._of_total(metric, observation)
        if sizing.replicas == INT32_MIN:
            raise totals.CannotSizeError(totals.Fault.OVERFLOW)
        return sizing

    def _of_total(self, metric: HpaMetric, observation: Observation) -> totals.Sizing:
        replicas = observation.replicas
        tolerances = totals.Tolerances.of(self.tolerance, observation.terms.behavior)
        value = _measured(observation.signals[metric.signal].latest)
        target = metric.target.number
        if metric.target.type == "AverageValue":
            if metric.type == "External":
                return totals.of_external_share([value], target, replicas.status, tolerances)
            return totals.of_object_share(value, target, replicas.status, tolerances)
        listed = per_pod.ready_pods(observation.pods)
        ready = replicas.ready if listed is None else listed
        if metric.type == "External":
            return totals.of_external_total([value], target, replicas.desired, ready, tolerances)
        return totals.of_object_total(value, target, replicas.desired, ready, tolerances)

    def _of_pods(self, metric: HpaMetric, observation: Observation) -> totals.Sizing:
        if not observation.pods:
            raise totals.CannotSizeError(totals.Fault.NO_PODS)
        samples = dict(_finite(observation.pod_samples.get(metric.signal, {})))
        values = {pod: _measured(sample.value) for pod, sample in samples.items()}
        resource = metric.resource or ""
        warm_up = per_pod.WarmUp(
            self.cpu_initialization_period_seconds, self.initial_readiness_delay_seconds
        )
        pods = per_pod.sort_pods(observation.pods, samples, resource, observation.now, warm_up)
        tolerances = totals.Tolerances.of(self.tolerance, observation.terms.behavior)
        current, target = observation.replicas.desired, metric.target.number
        if metric.target.type == "AverageValue":
            return per_pod.of_pod_values(values, target, current, pods, tolerances)
        requests = {
            pod.name: _measured(pod.requests[resource]) if resource in pod.requests else None
            for pod in observation.pods
        }
        return per_pod.of_pod_utilization(values, requests, target, current, pods, tolerances)


def _measured(value: float) -> int:
    """Return a value in milli-units as our metrics API hands it to an HPA: never negative."""
    return max(0, quantity.milli_of(value))


def _finite(samples: Mapping[str, PodSample]) -> Iterator[tuple[str, PodSample]]:
    for pod, sample in samples.items():
        if math.isfinite(sample.value):
            yield pod, sample


def _told(metric: HpaMetric, sizing: totals.Sizing, observation: Observation) -> float:
    """The number a person is told: of the whole, the mean of a pod, or percent."""
    if metric.type in ("External", "Object"):
        return observation.signals[metric.signal].latest
    return sizing.usage / 1000.0 if sizing.utilization is None else float(sizing.utilization)


def _sentence(metric: HpaMetric, sizing: totals.Sizing, told: float) -> str:
    target = metric.target.number / 1000.0
    if metric.target.type == "Utilization":
        text = f"at {told:g} % of the requests, target {metric.target.number} %"
    elif metric.type in ("Pods", "Resource"):
        text = f"{told:g} on average over the pods, target {target:g}"
    elif metric.target.type == "AverageValue":
        text = f"{told:g} in total, {target:g} for each replica"
    else:
        text = f"{told:g}, target {target:g}"
    return f"{metric.signal} is {text}: {sizing.replicas} wanted"
