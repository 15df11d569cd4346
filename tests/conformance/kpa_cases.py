"""Recorded cases of Knative's KPA: evaluations of a decider, and window averages."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from policies.reactive.kpa_decision import (
    Evaluation,
    KpaParameters,
    KpaState,
    decide,
    spare_at_start,
)
from policies.reactive.kpa_windows import WINDOWS

EPOCH: Final = 946_684_800.0
"""`t_ms` counts from here: 2000-01-01T00:00:00Z, Unix seconds."""

ALGORITHMS: Final[Mapping[str, Any]] = {
    "linear": WINDOWS["linear"],
    "weighted_exponential": WINDOWS["weighted-exponential"],
}


def run_sequence(case: dict[str, Any]) -> list[str]:
    """Let a decider make its evaluations; return what differs from the record."""
    return list(_sequence(case))


def run_window(case: dict[str, Any]) -> list[str]:
    """Fill a window, ask it and resize it; return what differs from the record."""
    return list(_window(case))


CASES: Final[dict[str, Callable[[dict[str, Any]], list[str]]]] = {
    "kpa": run_sequence,
    "metric_window": run_window,
}


def _sequence(case: dict[str, Any]) -> Iterator[str]:
    spec, created = case["spec"], case["created"]
    state = KpaState.start(
        _time(created), _ready(created), float(spec.get("scale_down_delay_s") or 0)
    )
    if initial := case.get("initial_status"):
        spare = spare_at_start(_parameters(spec), int(spec.get("initial_scale") or 0))
        yield from _differences(
            "initial status", initial, {"desired": -1, "excess_burst_capacity": spare}
        )
    for number, step in enumerate(case["steps"], start=1):
        spec = step.get("spec_update") or spec
        evaluation = None if _is_blind(step) else _evaluate(state, _parameters(spec), step)
        state = state if evaluation is None else evaluation.state
        found = {
            "desired": 0 if evaluation is None else evaluation.desired,
            "excess_burst_capacity": 0 if evaluation is None else evaluation.spare,
            "valid": evaluation is not None,
            "panicking": state.panicking,
            "max_panic_pods": state.max_panic,
        }
        yield from _differences(f"step {number} at {step['t_ms']} ms", step, found)


def _evaluate(state: KpaState, parameters: KpaParameters, step: Mapping[str, Any]) -> Evaluation:
    return decide(
        state,
        parameters,
        now=_time(step),
        ready=_ready(step),
        stable=float(step.get("stable") or 0),
        panic=float(step.get("panic") or 0),
    )


def _is_blind(step: Mapping[str, Any]) -> bool:
    """Whether the original had no say: then the policy is not even asked."""
    return bool(step.get("metric_error")) or step.get("ready_error") == "other"


def _parameters(spec: Mapping[str, Any]) -> KpaParameters:
    return KpaParameters(
        target=float(spec["target_value"]),
        total=float(spec.get("total_value") or 0),
        burst=float(spec.get("target_burst_capacity") or 0),
        panic_threshold=float(spec.get("panic_threshold") or 0),
        max_scale_up_rate=float(spec["max_scale_up_rate"]),
        max_scale_down_rate=float(spec["max_scale_down_rate"]),
        stable_seconds=float(spec.get("stable_window_s") or 0),
        activation_scale=int(spec.get("activation_scale") or 0),
        reachable=bool(spec.get("reachable")),
    )


def _time(step: Mapping[str, Any]) -> float:
    return EPOCH + float(step["t_ms"]) / 1000.0


def _ready(step: Mapping[str, Any]) -> int:
    """Ready replicas; none where they could not be counted."""
    return 0 if step.get("ready_error") else int(step.get("ready") or 0)


def _window(case: dict[str, Any]) -> Iterator[str]:
    window = ALGORITHMS[case["algorithm"]](float(case["window_s"]), float(case["granularity_s"]))
    for number, step in enumerate(case["steps"], start=1):
        now = _time(step)
        where = f"step {number} at {step['t_ms']} ms"
        match step["op"]:
            case "record":
                window.record(now, float(step.get("value") or 0))
            case "query":
                found = {"average": window.average(now), "empty": window.is_empty(now)}
                yield from _differences(where, step, found)
            case "resize":
                window.resize(float(step["window_s"]), now)
            case op:
                yield f"{where}: unknown op {op!r}"


def _differences(
    where: str, expected: Mapping[str, Any], found: Mapping[str, float | bool]
) -> Iterator[str]:
    for name, value in found.items():
        wanted = expected.get(name) or type(value)()
        if name == "average":
            same = abs(value - wanted) <= 1e-9 * max(1.0, abs(wanted))
        else:
            same = value == wanted
        if not same:
            yield f"{where}: {name} is {value}, recorded {wanted}"
