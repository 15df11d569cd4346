"""The arithmetic of the Kubernetes HPA v2: a metric in, a replica count out, to the letter.

Values and targets are whole milli-units (1000 = 1), utilization is whole percent, and every
operation and its order is that of `pkg/controller/podautoscaler/replica_calculator.go` and
`metrics/utilization.go` at v1.36, on amd64. What overflows there overflows here: most results
beyond 32 bits become -2147483648, some are capped. Per-pod metrics are in `hpa_pods`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autoscaler.core.behavior import Behavior, effective
from autoscaler.core.errors import AutoscalerError
from autoscaler.core.integers import (
    INT32_MAX,
    INT64_MAX,
    ceil,
    int32_of,
    int64_of,
    ratio,
    wrap64,
)


class Fault(StrEnum):
    """Why a metric gives no count."""

    NO_PODS = "no_pods"
    NO_METRICS = "no_metrics"
    MISSING_REQUEST = "missing_request"
    NO_MATCHING_REQUESTS = "no_matching_requests"
    OVERFLOW = "overflow"


_SENTENCES: Final = {
    Fault.NO_PODS: "no pods were listed",
    Fault.NO_METRICS: "no samples of pods that count",
    Fault.MISSING_REQUEST: "a pod requests none of the resource",
    Fault.NO_MATCHING_REQUESTS: "no sample belongs to a pod with a request",
    Fault.OVERFLOW: "the count does not fit into 32 bits",
}


class CannotSizeError(AutoscalerError):
    """A metric gives no count.

    Attributes:
        fault: Why.
        usage: What was measured all the same, in milli-units; 0 where nothing was.
    """

    def __init__(self, fault: Fault, usage: int = 0) -> None:
        super().__init__(_SENTENCES[fault])
        self.fault = fault
        self.usage = usage


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far from the target the ratio may lie without a change, by direction."""

    up: float
    down: float

    @classmethod
    def of(cls, default: float, behavior: Behavior | None) -> "Tolerances":
        """Those of `spec.behavior`; the default where it names none."""
        if behavior is None:
            return cls(default, default)
        limits = effective(behavior)
        up, down = limits.scale_up.tolerance, limits.scale_down.tolerance
        return cls(default if up is None else up, default if down is None else down)

    def keep(self, usage_ratio: float) -> bool:
        """Whether the ratio is close enough to 1; the edges belong to it."""
        return (1.0 - self.down) <= usage_ratio <= (1.0 + self.up)


@dataclass(frozen=True, slots=True)
class Sizing:
    """What one metric says.

    Attributes:
        replicas: The count; negative only for negative values or overflow.
        usage: Milli-units, as the HPA's status shows them: the total for Value, else the mean
            of a pod.
        utilization: Whole percent of the request, for utilization targets.
    """

    replicas: int
    usage: int
    utilization: int | None = None


def of_external_total(
    values: Sequence[int],
    target: int,
    current: int,
    ready_pods: int | None,
    tolerances: Tolerances,
) -> Sizing:
    """External metric, target Value: the ready pods times the ratio.

    Args:
        values: What the metrics API returned; summed.
        target: The total to hold.
        current: `spec.replicas`.
        ready_pods: Running and ready pods; None where no pod is listed.
        tolerances: Of the ratio.

    Raises:
        CannotSizeError: No value, or no pods.
    """
    if not values:
        raise CannotSizeError(Fault.NO_METRICS)
    usage = 0
    for value in values:
        if value > 0 and usage > INT64_MAX - value:
            usage = INT64_MAX
            break
        usage = wrap64(usage + value)
    return of_object_total(usage, target, current, ready_pods, tolerances)


def of_object_total(
    usage: int, target: int, current: int, ready_pods: int | None, tolerances: Tolerances
) -> Sizing:
    """Object metric, target Value: as `of_external_total`, with one value."""
    usage_ratio = ratio(float(usage), float(target))
    if current == 0:
        return Sizing(int32_of(ceil(usage_ratio)), usage)
    if tolerances.keep(usage_ratio):
        return Sizing(current, usage)
    if ready_pods is None:
        raise CannotSizeError(Fault.NO_PODS, usage)
    count = usage_ratio * float(ready_pods)
    return Sizing(INT32_MAX if count > INT32_MAX else int32_of(ceil(count)), usage)


def of_external_share(
    values: Sequence[int], target: int, status: int, tolerances: Tolerances
) -> Sizing:
    """External metric, target AverageValue: the total divided by the target.

    Args:
        values: What the metrics API returned; summed.
        target: What one replica should carry.
        status: `status.replicas`.
        tolerances: Of the ratio.

    Raises:
        CannotSizeError: No value.
    """
    if not values:
        raise CannotSizeError(Fault.NO_METRICS)
    usage = 0
    for value in values:
        usage = wrap64(usage + value)
        if usage < 0:
            usage = INT64_MAX
            break
    replicas = status
    if not tolerances.keep(ratio(float(usage), float(target) * float(status))):
        count = ceil(ratio(float(usage), float(target)))
        replicas = INT32_MAX if count > INT32_MAX else int32_of(count)
    if float(usage) >= float(INT64_MAX):
        return Sizing(replicas, INT64_MAX)
    return Sizing(replicas, int64_of(ceil(ratio(float(usage), float(status)))))


def of_object_share(usage: int, target: int, status: int, tolerances: Tolerances) -> Sizing:
    """Object metric, target AverageValue: as `of_external_share`, with one value and no caps."""
    replicas = status
    if not tolerances.keep(ratio(float(usage), float(target) * float(status))):
        replicas = int32_of(ceil(ratio(float(usage), float(target))))
    return Sizing(replicas, int64_of(ceil(ratio(float(usage), float(status)))))


def combine(counts: Iterable[int | None], current: int) -> int | None:
    """Make one count of all metrics' counts, as the HPA does: the largest.

    Args:
        counts: By metric, in order; None for one that gave none.
        current: `spec.replicas`.

    Returns:
        The count; None where nothing may be done: none gave a count, or some did not and the
        others would shrink the workload.
    """
    largest, failed, given = 0, 0, 0
    for count in counts:
        if count is None:
            failed += 1
            continue
        given += 1
        if largest == 0 or count > largest:
            largest = count
    if not given or (failed and largest < current):
        return None
    return max(0, largest)
