"""What decides live decides as the HPA did: recorded autoscalers, through the planner itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.history import note_done
from autoscaler.core.observation import ReplicaStatus
from autoscaler.core.past import Past
from autoscaler.core.planner import decide
from autoscaler.core.policy import Policy
from autoscaler.core.workload import ScaledWorkload
from policies.reactive.hpa import Hpa
from tests.builders import NOON, Wants, largest, seen
from tests.conformance.__main__ import read_cases

SAMPLES = Path(__file__).resolve().parents[3] / "shared/conformance/hpa_behavior_sequences.json"
COUNT = 16


def a_policy(case: dict[str, Any], step: dict[str, Any]) -> Policy:
    if case["kind"] == "raw_desired":
        return Wants(replicas=step["desired_raw"])
    metrics = [
        {
            "type": "External",
            "signal": f"metric_{number}",
            "target": {"type": "AverageValue", "averageValue": f"{spec['target_milli']}m"},
        }
        for number, spec in enumerate(case["metric_specs"])
    ]
    return Hpa.model_validate({"metrics": metrics, "tolerance": case["controller"]["tolerance"]})


def a_workload(case: dict[str, Any], hpa: dict[str, Any], policy: Policy) -> ScaledWorkload:
    signals = {f"metric_{n}": {"query": "q"} for n in range(len(case.get("metric_specs") or []))}
    spec = {
        "target": {"name": "chat"},
        "actuation": "scale",
        "replicas": {"min": hpa["min_replicas"], "max": hpa["max_replicas"]},
        "signals": signals,
        "policies": [policy],
        "behavior": hpa["behavior"],
    }
    return ScaledWorkload.model_validate({"metadata": {"name": "chat"}, "spec": spec})


@pytest.mark.parametrize("number", range(COUNT))
def test_the_planner_sets_the_sizes_that_the_hpa_set(number: int) -> None:
    if not SAMPLES.exists():
        pytest.skip("the recorded cases are not beside the repository, in ../shared/conformance")
    case = read_cases(SAMPLES)[number]
    past, hpa, found = Past(), case["hpa"], []
    for step in case["steps"]:
        hpa = step.get("hpa_update") or hpa
        current, now = step["current"], NOON + step["t_ms"] / 1000
        metrics = step.get("metrics") or []
        signals = {
            f"metric_{place}": sum(metric["values_milli"]) / 1000
            for place, metric in enumerate(metrics)
            if not metric.get("error")
        }
        status = step.get("status_replicas", current)
        observation = replace(
            seen(at=now, signals=signals),
            replicas=ReplicaStatus(desired=current, ready=current, total=status),
        )
        workload = a_workload(case, hpa, a_policy(case, step))

        decision, past = decide(workload, observation, past, largest)

        assert decision.replicas is not None
        past = note_done(past, now, current, decision.replicas, workload.spec.behavior)
        found.append(decision.replicas)

    assert found == [step["final"] for step in case["steps"]]
