"""The arithmetic of the Kubernetes HPA v2 for metrics of single pods, to the letter.

Pods that start, show nothing or go away are sorted out first; what they might show is then
assumed against the change. Source: `pkg/controller/podautoscaler/replica_calculator.go`
(groupPods, calcPlainMetricReplicas, GetResourceReplicas) and `metrics/utilization.go` at v1.36.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from autoscaler.core.integers import ceil, int32_of, quotient, ratio, wrap32, wrap64
from autoscaler.core.observation import PodSample, PodStatus
from autoscaler.core.past import age
from policies.reactive.hpa_calculator import CannotSizeError, Fault, Sizing, Tolerances

CPU: Final = "cpu"
"""The one resource whose samples are doubted while a pod starts."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How long the CPU samples of a starting pod are doubted.

    Attributes:
        initialization_seconds: After its start, an unready pod's sample does not count, nor one
            that reaches back before it became ready.
        readiness_seconds: A pod that became unready within this time of its start was never
            ready.
    """

    initialization_seconds: float = 300.0
    readiness_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """The pods of a workload, sorted by what their samples are worth.

    Attributes:
        ready: How many count.
        unready: Names of those that do not run or warm up.
        missing: Names of those without a sample.
        ignored: Names of those that go away or have failed.
    """

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def sort_pods(
    pods: Iterable[PodStatus],
    samples: Mapping[str, PodSample],
    resource: str,
    now: float,
    warm_up: WarmUp,
) -> Readiness:
    """Sort pods by what their samples are worth.

    Args:
        pods: The workload's pods.
        samples: By pod; their values are not looked at.
        resource: Name of the resource; empty for a custom metric, which knows no warm-up.
        now: Unix seconds.
        warm_up: How long CPU samples are doubted.
    """
    ready, unready, missing, ignored = 0, set(), set(), set()
    for pod in pods:
        if pod.deleting or pod.phase == "Failed":
            ignored.add(pod.name)
        elif pod.phase == "Pending":
            unready.add(pod.name)
        elif pod.name not in samples:
            missing.add(pod.name)
        elif resource == CPU and _warms_up(pod, samples[pod.name], now, warm_up):
            unready.add(pod.name)
        else:
            ready += 1
    return Readiness(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def ready_pods(pods: Iterable[PodStatus]) -> int | None:
    """Count the pods that run and are ready; None where none is listed at all."""
    listed = list(pods)
    if not listed:
        return None
    return sum(pod.phase == "Running" and pod.ready is True for pod in listed)


def of_pod_values(
    values: Mapping[str, int],
    target: int,
    current: int,
    pods: Readiness,
    tolerances: Tolerances,
) -> Sizing:
    """Pods or Resource metric, target AverageValue.

    Args:
        values: By pod; pods that are not listed count too.
        target: What one pod should show.
        current: `spec.replicas`.
        pods: The listed pods, sorted.
        tolerances: Of the ratio.

    Raises:
        CannotSizeError: No sample is left.
    """
    counted = _counted(values, pods)
    usage_ratio, usage = _mean_ratio(counted, target)
    filled = _filled(counted, usage_ratio, pods, dict.fromkeys(pods.missing, target))
    if filled is None:
        replicas = _proportional(usage_ratio, current, pods.ready, tolerances)
    else:
        again, _ = _mean_ratio(filled, target)
        replicas = _cautious(usage_ratio, again, current, len(filled), tolerances)
    return Sizing(replicas, usage)


def of_pod_utilization(
    values: Mapping[str, int],
    requests: Mapping[str, int | None],
    target: int,
    current: int,
    pods: Readiness,
    tolerances: Tolerances,
) -> Sizing:
    """Resource metric, target Utilization.

    Args:
        values: Milli-units used, by pod.
        requests: Milli-units requested, by listed pod; None where a container requests nothing.
        target: Percent of the request.
        current: `spec.replicas`.
        pods: The listed pods, sorted.
        tolerances: Of the ratio.

    Raises:
        CannotSizeError: No sample is left, a request is missing, or none belongs to a sample.
    """
    counted = _counted(values, pods)
    known: dict[str, int] = {}
    for pod, request in requests.items():
        if request is None:
            raise CannotSizeError(Fault.MISSING_REQUEST)
        known[pod] = request
    usage_ratio, utilization, usage = _utilization_ratio(counted, known, target)
    share = max(100, target)
    assumed = {pod: quotient(wrap64(known[pod] * share), 100) for pod in pods.missing}
    filled = _filled(counted, usage_ratio, pods, assumed)
    if filled is None:
        replicas = _proportional(usage_ratio, current, pods.ready, tolerances)
    else:
        again, _, _ = _utilization_ratio(filled, known, target)
        replicas = _cautious(usage_ratio, again, current, len(filled), tolerances)
    return Sizing(replicas, usage, utilization)


def _warms_up(pod: PodStatus, sample: PodSample, now: float, warm_up: WarmUp) -> bool:
    if (pod.ready is None and pod.ready_changed is None) or pod.started is None:
        return True
    changed = -math.inf if pod.ready_changed is None else pod.ready_changed
    if age(now, pod.started) < warm_up.initialization_seconds:
        return pod.ready is False or age(sample.time, changed) < sample.window_seconds
    return pod.ready is False and age(changed, pod.started) < warm_up.readiness_seconds


def _counted(values: Mapping[str, int], pods: Readiness) -> dict[str, int]:
    """Drop the samples that are worth nothing."""
    dropped = pods.ignored | pods.unready
    counted = {pod: value for pod, value in values.items() if pod not in dropped}
    if not counted:
        raise CannotSizeError(Fault.NO_METRICS)
    return counted


def _mean_ratio(values: Mapping[str, int], target: int) -> tuple[float, int]:
    """The mean, cut to whole milli-units, over the target; and that mean."""
    mean = quotient(wrap64(sum(values.values())), len(values))
    return ratio(float(mean), float(target)), mean


def _utilization_ratio(
    values: Mapping[str, int], requests: Mapping[str, int], target: int
) -> tuple[float, int, int]:
    """The percent used, cut to whole percent, over the target; that percent; the mean used."""
    matched = [pod for pod in values if pod in requests]
    used = wrap64(sum(values[pod] for pod in matched))
    requested = wrap64(sum(requests[pod] for pod in matched))
    if requested == 0:
        raise CannotSizeError(Fault.NO_MATCHING_REQUESTS)
    percent = wrap32(quotient(wrap64(used * 100), requested))
    return ratio(float(percent), float(target)), percent, quotient(used, len(matched))


def _filled(
    values: Mapping[str, int], usage_ratio: float, pods: Readiness, when_lowering: Mapping[str, int]
) -> dict[str, int] | None:
    """Assume values for the pods that show none, against the change; None where all show one."""
    raises_unready = bool(pods.unready) and usage_ratio > 1.0
    if not raises_unready and not pods.missing:
        return None
    filled = dict(values)
    if usage_ratio < 1.0:
        filled.update(when_lowering)
    elif usage_ratio > 1.0:
        filled.update(dict.fromkeys(pods.missing, 0))
    if raises_unready:
        filled.update(dict.fromkeys(pods.unready, 0))
    return filled


def _proportional(usage_ratio: float, current: int, ready: int, tolerances: Tolerances) -> int:
    if tolerances.keep(usage_ratio):
        return current
    return int32_of(ceil(usage_ratio * float(ready)))


def _cautious(before: float, after: float, current: int, pods: int, tolerances: Tolerances) -> int:
    """Size by the ratio with assumed values, unless they turn the change round."""
    if tolerances.keep(after) or (before < 1.0 < after) or (after < 1.0 < before):
        return current
    count = int32_of(ceil(after * float(pods)))
    if (after < 1.0 and count > current) or (after > 1.0 and count < current):
        return current
    return count
