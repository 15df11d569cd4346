"""Knative's KPA against the record of the original."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.kpa_cases import CASES

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "conformance"
RECORDED = ROOT / "tests" / "conformance" / "kpa_recorded.jsonl.gz"


def differences(case: dict[str, Any]) -> list[str]:
    return [f"{case['id']}: {line}" for line in CASES[case["kind"]](case)]


def test_answers_as_the_original_did() -> None:
    """knative/serving 98e5ef9, driven at random under a simulated clock."""
    lines = gzip.decompress(RECORDED.read_bytes()).splitlines()

    assert len(lines) == 300
    assert [line for text in lines for line in differences(json.loads(text))] == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/conformance is not here")
@pytest.mark.parametrize("name", ["kpa_sequences.json", "kpa_metric_windows.json"])
def test_passes_the_worked_examples(name: str) -> None:
    cases = json.loads((SHARED / name).read_text(encoding="utf-8"))

    assert cases
    assert [line for case in cases for line in differences(case)] == []


SEQUENCE: dict[str, Any] = {
    "kind": "kpa",
    "spec": {
        "scaling_metric": "concurrency", "target_value": 10, "total_value": 14,
        "panic_threshold": 2, "max_scale_up_rate": 1000, "max_scale_down_rate": 2,
        "stable_window_s": 60, "reachable": True,
    },
    "created": {"t_ms": 0, "ready": 1},
    "steps": [
        {"t_ms": 0, "ready": 1, "stable": 12, "panic": 12, "metric_error": "no_data",
         "max_panic_pods": 1},
        {"t_ms": 2000, "ready_error": "other", "stable": 12, "panic": 12, "max_panic_pods": 1},
        {"t_ms": 4000, "ready": 2, "stable": 12, "panic": 12, "desired": 2, "valid": True,
         "max_panic_pods": 1},
    ],
}  # fmt: skip
WINDOW: dict[str, Any] = {
    "kind": "metric_window",
    "algorithm": "linear",
    "window_s": 6,
    "granularity_s": 1,
    "steps": [
        {"t_ms": 0, "op": "record", "value": 10},
        {"t_ms": 0, "op": "resize", "window_s": 8},
        {"t_ms": 7000, "op": "query", "average": 10},
    ],
}


@pytest.mark.parametrize("case", [SEQUENCE, WINDOW], ids=["kpa", "metric_window"])
def test_an_absent_key_of_a_recorded_case_means_none(case: dict[str, Any]) -> None:
    assert CASES[case["kind"]](case) == []


@pytest.mark.parametrize(
    ("case", "step", "expected"),
    [
        pytest.param(
            SEQUENCE, {"desired": 3}, "step 3 at 4000 ms: desired is 2, recorded 3", id="count"
        ),
        pytest.param(
            SEQUENCE, {"valid": False}, "step 3 at 4000 ms: valid is True, recorded False",
            id="validity",
        ),
        pytest.param(
            WINDOW, {"average": 10 + 2e-8}, "step 3 at 7000 ms: average is 10.0, "
            "recorded 10.00000002", id="average",
        ),
        pytest.param(WINDOW, {"op": "erase"}, "step 3 at 7000 ms: unknown op 'erase'", id="op"),
    ],
)  # fmt: skip
def test_a_difference_from_the_record_is_told(
    case: dict[str, Any], step: dict[str, Any], expected: str
) -> None:
    *others, last = case["steps"]

    assert CASES[case["kind"]]({**case, "steps": [*others, {**last, **step}]}) == [expected]


def test_a_wrong_initial_status_is_told() -> None:
    case = {**SEQUENCE, "initial_status": {"desired": -1, "excess_burst_capacity": 4}, "steps": []}

    assert CASES["kpa"](case) == ["initial status: excess_burst_capacity is 0, recorded 4"]
