"""Recorded cases of the Kubernetes HPA: single calculations, and an autoscaler over many syncs."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.core import quantity
from autoscaler.core.behavior import Behavior, Limits, ScalingPolicy, ScalingRules, effective
from autoscaler.core.decision import Reason
from autoscaler.core.history import note_done, remember
from autoscaler.core.observation import PodSample, PodStatus
from autoscaler.core.past import Mark, Past
from autoscaler.core.rules import Case, apply, limited, outside_bounds, stabilize
from autoscaler.core.spec import Bounds
from policies.reactive import hpa_calculator as totals
from policies.reactive import hpa_pods as per_pod

Record = dict[str, Any]

EPOCH: Final = 946_684_800.0
"""`t_ms` counts from here: 2000-01-01T00:00:00Z, Unix seconds."""

READY: Final = {"True": True, "False": False}

PATHS: Final = {
    Reason.TURNED_OFF: "disabled",
    Reason.ABOVE_MAXIMUM: "above_max",
    Reason.BELOW_MINIMUM: "below_min",
}


def run_calculation(case: Record) -> list[str]:
    """Turn one metric into a count; return what differs from the record."""
    try:
        sizing = _size(case)
    except totals.CannotSizeError as error:
        # With an error there is no number: 0 and null both say so.
        numbers = {key: value for key, value in case["expect"].items() if value}
        found: Record = {"error": str(error.fault), "usage_milli": error.usage}
        return _differences({"error": None} | numbers, found)
    found = {
        "replicas": sizing.replicas,
        "usage_milli": sizing.usage,
        "utilization_percent": sizing.utilization,
        "error": None,
    }
    return _differences(case["expect"], found)


def run_behavior_step(case: Record) -> list[str]:
    """Normalise one proposal with a given history; return what differs from the record."""
    hpa = Hpa.of(case, _seconds_of_flag(case))
    past = Past(
        recommendations=_marks(case, "recommendations"),
        scale_ups=_marks(case, "scale_up_events"),
        scale_downs=_marks(case, "scale_down_events"),
    )
    wanted = int(case.get("desired_raw") or 0)
    judged = hpa.case(EPOCH, int(case.get("current_replicas") or 0), wanted, past)
    found = _normalised(judged)
    return _differences(case["expect"], found) + _effective_differences(case, hpa)


def run_quantity(case: Record) -> list[str]:
    """Read a quantity; return what differs from the record."""
    found = quantity.parse(case["quantity"])
    expected = dict(case["expect"])
    number = float(expected.pop("approximate_float"))
    differences = _differences(expected, {"milli": found.milli})
    if abs(found.approximate - number) > 1e-12 * max(1.0, abs(number)):
        differences.append(f"approximate_float: {found.approximate!r}, expected {number!r}")
    return differences


def run_sequence(case: Record) -> list[str]:
    """Let an autoscaler sync; return what differs from the record."""
    return list(_sequence(case))


CASES: Final[dict[str, Callable[[Record], list[str]]]] = {
    "external_average_value": run_calculation,
    "external_value": run_calculation,
    "object_average_value": run_calculation,
    "object_value": run_calculation,
    "pods_average_value": run_calculation,
    "resource_average_value": run_calculation,
    "resource_utilization": run_calculation,
    "behavior_step": run_behavior_step,
    "quantity": run_quantity,
    "raw_desired": run_sequence,
    "metric": run_sequence,
}


@dataclass(frozen=True, slots=True)
class Hpa:
    """An HPA object, and the one flag of its controller that the rules ask for."""

    bounds: Bounds
    behavior: Behavior | None
    downscale_stabilization_seconds: float

    @classmethod
    def of(cls, record: Record, downscale_stabilization_seconds: float) -> "Hpa":
        bounds = Bounds.model_construct(
            min=int(record.get("min_replicas") or 0), max=int(record.get("max_replicas") or 0)
        )
        return cls(bounds, _behavior(record.get("behavior")), downscale_stabilization_seconds)

    def case(self, now: float, current: int, wanted: int, past: Past) -> Case:
        return Case(
            now=now,
            current=current,
            wanted=wanted,
            bounds=self.bounds,
            behavior=self.behavior,
            past=past,
            downscale_stabilization_seconds=self.downscale_stabilization_seconds,
        )


def _sequence(case: Record) -> Iterator[str]:
    controller = case["controller"]
    flag = _seconds_of_flag(controller)
    gates = controller.get("feature_gates") or {}
    specs = case.get("metric_specs") or []
    demand = not specs or any(spec["type"].startswith(("external", "object")) for spec in specs)
    record = case["hpa"]
    hpa = Hpa.of(record, flag)
    yield from _effective_differences({**case, "behavior": record.get("behavior")}, hpa)
    past = Past()
    for number, step in enumerate(case["steps"], start=1):
        if update := step.get("hpa_update"):
            record, hpa = update, Hpa.of(update, flag)
        now, current = EPOCH + step.get("t_ms", 0) / 1000, int(step.get("current") or 0)
        if not past.recommendations:
            past = remember(past, now, current, hpa.behavior, flag)
        may_sleep = bool(gates.get("HPAScaleToZero")) and demand
        outside = outside_bounds(current, hpa.bounds, asleep=may_sleep and bool(past.asleep))
        found: Record = {"final": current}
        if outside is not None:
            found = {"path": PATHS[outside[1]], "final": outside[0]}
        else:
            counts = _counts(case, step, hpa, gates)
            wanted = totals.combine(counts, current)
            if wanted is None:
                found["path"] = "metric_error"
            else:
                judged = hpa.case(now, current, wanted, past)
                found = _normalised(judged) | {
                    "path": "metrics",
                    "proposal": wanted,
                    "final": apply(wanted, judged)[0],
                    "partial_metric_error": None in counts,
                }
                past = remember(past, now, wanted, hpa.behavior, flag)
        final = found["final"]
        if final != current:
            past = note_done(past, now, current, final, hpa.behavior)
        expected = {key: step[key] for key in OUTPUTS if key in step}
        if found.get("partial_metric_error"):
            expected.setdefault("partial_metric_error", None)
        changed = _effective_differences({**step, "behavior": record.get("behavior")}, hpa)
        for difference in [*_differences(expected, found), *changed]:
            yield f"step {number}: {difference}"


OUTPUTS: Final = (
    "path",
    "proposal",
    "stabilized",
    "stabilize_reason",
    "limit_reason",
    "scaling_limited",
    "partial_metric_error",
    "final",
)


def _normalised(case: Case) -> Record:
    """What the HPA's conditions say of a proposal: the words are theirs."""
    stabilized, _, _ = stabilize(case.wanted, case)
    final, reason, _ = limited(stabilized, case)
    rising = case.behavior is not None and case.wanted >= case.current
    settled = "ScaleUpStabilized" if rising else "ScaleDownStabilized"
    reasons = {
        Reason.RECOMMENDED: "DesiredWithinRange",
        Reason.AT_MAXIMUM: "TooManyReplicas",
        Reason.AT_MINIMUM: "TooFewReplicas",
    }
    rate = "ScaleUpLimit" if stabilized > case.current else "ScaleDownLimit"
    return {
        "stabilized": stabilized,
        "stabilize_reason": "ReadyForNewScale" if stabilized == case.wanted else settled,
        "final": final,
        "limit_reason": reasons.get(reason, rate),
        "scaling_limited": final != stabilized,
    }


def _counts(case: Record, step: Record, hpa: Hpa, gates: Mapping[str, bool]) -> list[int | None]:
    """What each metric proposes; None for one that fails."""
    if case["kind"] == "raw_desired":
        return [int(step.get("desired_raw") or 0)]
    current, status = int(step.get("current") or 0), int(step.get("status_replicas") or 0)
    ready = int(step.get("ready_pods") or 0)
    # Pods exist where replicas do, ready or not.
    listed = ready if max(ready, status) > 0 else None
    behavior = hpa.behavior if gates.get("HPAConfigurableTolerance") else None
    tolerances = totals.Tolerances.of(float(case["controller"].get("tolerance") or 0), behavior)
    counts: list[int | None] = []
    for spec, metric in zip(case["metric_specs"], step["metrics"], strict=True):
        if metric.get("error"):
            counts.append(None)
            continue
        values, target = metric.get("values_milli") or [], spec["target_milli"]
        replicas = status if spec["type"].endswith("average_value") else current
        try:
            sizing = _of_total(spec["type"], values, target, replicas, listed, tolerances)
        except totals.CannotSizeError:
            counts.append(None)
        else:
            counts.append(sizing.replicas)
    return counts


def _size(case: Record) -> totals.Sizing:
    kind = case["kind"]
    tolerances = totals.Tolerances(
        float(case.get("tolerance_up") or 0), float(case.get("tolerance_down") or 0)
    )
    current = int(case.get("current_replicas") or 0)
    if kind.startswith(("external", "object")):
        listed = per_pod.ready_pods(_pods_of_groups(case.get("pod_groups") or []))
        values, target = case.get("metric_values_milli") or [], case["target_milli"]
        return _of_total(kind, values, target, current, listed, tolerances)
    records = case.get("pods") or []
    samples = {pod["name"]: _sample(pod) for pod in records if pod.get("metric_milli") is not None}
    values = {pod["name"]: pod["metric_milli"] for pod in records if pod["name"] in samples}
    for number, value in enumerate(_unknown(case)):
        values[f"unknown pod {number}"] = value
    if not records:
        raise totals.CannotSizeError(totals.Fault.NO_PODS)
    resource = case.get("resource") or ""
    warm_up = per_pod.WarmUp(
        float(case.get("cpu_initialization_period_s") or 0),
        float(case.get("initial_readiness_delay_s") or 0),
    )
    statuses = [_status(pod) for pod in records]
    pods = per_pod.sort_pods(statuses, samples, resource, EPOCH, warm_up)
    if kind != "resource_utilization":
        return per_pod.of_pod_values(values, case["target_milli"], current, pods, tolerances)
    requests = {pod["name"]: _request(pod) for pod in records}
    target = case["target_utilization_percent"]
    return per_pod.of_pod_utilization(values, requests, target, current, pods, tolerances)


def _of_total(
    kind: str,
    values: list[int],
    target: int,
    replicas: int,
    listed: int | None,
    tolerances: totals.Tolerances,
) -> totals.Sizing:
    if kind == "external_average_value":
        return totals.of_external_share(values, target, replicas, tolerances)
    if kind == "external_value":
        return totals.of_external_total(values, target, replicas, listed, tolerances)
    if not values:
        raise totals.CannotSizeError(totals.Fault.NO_METRICS)
    if kind == "object_average_value":
        return totals.of_object_share(values[0], target, replicas, tolerances)
    return totals.of_object_total(values[0], target, replicas, listed, tolerances)


def _pods_of_groups(groups: list[Record]) -> list[PodStatus]:
    return [
        PodStatus(
            f"{group_number}-{number}",
            group.get("phase") or "",
            READY.get(group.get("ready") or ""),
        )
        for group_number, group in enumerate(groups)
        for number in range(int(group.get("count") or 0))
    ]


def _status(pod: Record) -> PodStatus:
    changed = pod.get("ready_transition_age_s")
    ready = pod.get("ready")
    since = None if changed is None else EPOCH - float(changed)
    if ready is not None and since is None:
        since = float("-inf")  # a condition without a time: Go's zero time is long ago
    started = pod.get("start_age_s")
    return PodStatus(
        name=pod["name"],
        phase=pod.get("phase") or "",
        ready=None if ready is None else READY.get(ready),
        deleting=bool(pod.get("deleting")),
        started=None if started is None else EPOCH - float(started),
        ready_changed=since if ready is not None else None,
    )


def _sample(pod: Record) -> PodSample:
    return PodSample(
        value=pod["metric_milli"] / 1000,
        time=EPOCH - float(pod.get("metric_age_s") or 0),
        window_seconds=float(pod.get("metric_window_s") or 0),
    )


def _request(pod: Record) -> int | None:
    """What all containers request together; None where one of them requests nothing."""
    given = [
        *(pod.get("container_requests_milli") or []),
        *(pod.get("restartable_init_requests_milli") or []),
    ]
    return None if None in given else sum(given)


def _unknown(case: Record) -> list[int]:
    given = case.get("metrics_of_unknown_pods_milli") or []
    return list(given.values()) if isinstance(given, Mapping) else list(given)


def _marks(case: Record, key: str) -> tuple[Mark, ...]:
    return tuple(
        Mark(EPOCH - mark.get("age_ms", 0) / 1000, mark.get("value", 0))
        for mark in case.get(key) or []
    )


def _seconds_of_flag(record: Record) -> float:
    return float(record.get("downscale_stabilization_s") or 0)


def _behavior(record: Record | None) -> Behavior | None:
    """Read a behavior as the API server does: quantities are text, and nothing is filled in."""
    if record is None:
        return None
    return Behavior.model_construct(
        scale_up=_rules(record.get("scaleUp")), scale_down=_rules(record.get("scaleDown"))
    )


def _rules(record: Record | None) -> ScalingRules | None:
    if record is None:
        return None
    policies = record.get("policies")
    tolerance = record.get("tolerance")
    return ScalingRules.model_construct(
        stabilization_window_seconds=record.get("stabilizationWindowSeconds"),
        select_policy=record.get("selectPolicy"),
        policies=None
        if policies is None
        else tuple(
            ScalingPolicy.model_construct(
                type=policy["type"],
                value=policy["value"],
                period_seconds=policy["periodSeconds"],
            )
            for policy in policies
        ),
        tolerance=None if tolerance is None else quantity.parse(str(tolerance)).approximate,
    )


def _effective_differences(record: Record, hpa: Hpa) -> list[str]:
    """Compare the behavior after defaulting, where the record has it."""
    if "effective_behavior" not in record:
        return []
    found: Record | None = None
    if hpa.behavior is not None:
        given = record.get("behavior") or {}
        limits = effective(hpa.behavior, hpa.downscale_stabilization_seconds)
        found = {
            "scaleUp": _shown(limits.scale_up, given.get("scaleUp")),
            "scaleDown": _shown(limits.scale_down, given.get("scaleDown")),
        }
    return _differences({"effective_behavior": record["effective_behavior"]}, {
        "effective_behavior": found
    })  # fmt: skip


def _shown(limits: Limits, given: Record | None) -> Record:
    shown: Record = {
        "stabilizationWindowSeconds": limits.window_seconds,
        "selectPolicy": limits.select,
        "policies": [
            {"type": policy.type, "value": policy.value, "periodSeconds": policy.period_seconds}
            for policy in limits.policies
        ],
    }
    tolerance = (given or {}).get("tolerance")
    if tolerance is not None:
        shown["tolerance"] = canonical(str(tolerance))
    return shown


def canonical(text: str) -> str:
    """Write a decimal quantity as Kubernetes does: whole digits and a suffix of thousands.

    It keeps the text where that already has a suffix of thousands and no zeros to spare.
    """
    number = quantity.parse(text)
    digits, exponent = number.digits, number.scale
    given = re.sub("[^0-9.].*", "", text).lstrip("0").replace(".", "")
    if (
        number.fast
        and digits
        and exponent % 3 == 0
        and text[0] in "123456789"
        and not given.endswith("000")
    ):
        return text
    if digits == 0:
        return "0"
    while digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    spare = exponent % 3
    suffix = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}[exponent - spare]
    if re.search("[eE][0-9+-]", text):
        suffix = f"e{exponent - spare}" if exponent - spare else ""
    return f"{digits * 10**spare}{suffix}"


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {found.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if found.get(key) != value or isinstance(found.get(key), bool) != isinstance(value, bool)
    ]
