"""Every recorded case that lies beside the repository conforms."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import check, read_cases
from tests.conformance.hpa_cases import OUTPUTS

SHARED = Path(__file__).resolve().parents[3] / "shared" / "conformance"
FILES = [
    "hpa_behavior_sequences.json",
    "hpa_calculator.json",
    "kpa_metric_windows.json",
    "kpa_sequences.json",
]


def recorded(name: str) -> list[dict[str, Any]]:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the repository, in ../shared/conformance")
    return read_cases(path)


@pytest.mark.parametrize("name", FILES)
def test_the_recorded_cases_conform(name: str) -> None:
    failures = {case["id"]: differences for case in recorded(name) if (differences := check(case))}

    assert failures == {}


@pytest.mark.parametrize("name", ["hpa_behavior_sequences.json", "hpa_calculator.json"])
def test_a_changed_record_of_the_hpa_is_noticed(name: str) -> None:
    """Whatever number or word of an answer is changed, the runner says so."""
    for case in recorded(name):
        for answer, key in answers(case):
            original = answer[key]
            answer[key] = changed(original)
            assert check(case), f"{case['id']}: {key}"
            answer[key] = original
        assert not check(case)


def answers(case: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every place of a case that holds an answer."""
    expect = case.get("expect") or {}
    found = [(expect, key) for key in expect]
    for step in case.get("steps") or []:
        found += [(step, key) for key in step if key in {*OUTPUTS, "effective_behavior"}]
    return found


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return "something else"
