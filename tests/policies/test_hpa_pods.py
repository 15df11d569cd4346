from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import PodSample, PodStatus
from policies.reactive.hpa_calculator import CannotSizeError, Fault, Sizing, Tolerances
from policies.reactive.hpa_pods import (
    Readiness,
    WarmUp,
    of_pod_utilization,
    of_pod_values,
    ready_pods,
    sort_pods,
)
from tests.builders import NOON

TENTH = Tolerances(0.1, 0.1)


def sorted_pods(
    ready: int = 0, unready: str = "", missing: str = "", ignored: str = ""
) -> Readiness:
    """Pods by their one-letter names."""
    return Readiness(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def a_pod(**fields: Any) -> PodStatus:
    """A pod that started long ago and is ready."""
    defaults = {"started": NOON - 9000, "ready_changed": NOON - 8990}
    return PodStatus("p", **(defaults | fields))


# --- sorting ---------------------------------------------------------------------------------

COUNTS, UNREADY = sorted_pods(ready=1), sorted_pods(unready="p")


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(a_pod(), COUNTS, id="old and ready"),
        pytest.param(a_pod(deleting=True), sorted_pods(ignored="p"), id="going away"),
        pytest.param(a_pod(phase="Failed"), sorted_pods(ignored="p"), id="failed"),
        pytest.param(a_pod(phase="Pending"), UNREADY, id="pending"),
        pytest.param(a_pod(phase="Succeeded"), COUNTS, id="succeeded counts, as in v1.36"),
        pytest.param(a_pod(ready=None, ready_changed=None), UNREADY, id="no condition"),
        pytest.param(a_pod(ready=None), COUNTS, id="condition Unknown"),
        pytest.param(a_pod(started=None), UNREADY, id="not started"),
        pytest.param(
            a_pod(started=NOON - 60, ready_changed=NOON - 40), COUNTS,
            id="young: ready for a whole window before the sample",
        ),
        pytest.param(
            a_pod(started=NOON - 60, ready_changed=NOON - 39.999), UNREADY,
            id="young: the sample reaches back before it was ready",
        ),
        pytest.param(
            a_pod(started=NOON - 60, ready_changed=NOON - 50, ready=False), UNREADY,
            id="young and not ready",
        ),
        pytest.param(
            a_pod(started=NOON - 300, ready_changed=NOON - 5), COUNTS,
            id="exactly the initialization period old: no longer young",
        ),
        pytest.param(
            a_pod(started=NOON - 299.999, ready_changed=NOON - 5), UNREADY,
            id="just younger than the initialization period",
        ),
        pytest.param(
            a_pod(started=NOON - 900, ready_changed=NOON - 870.001, ready=False), UNREADY,
            id="old, and never ready",
        ),
        pytest.param(
            a_pod(started=NOON - 900, ready_changed=NOON - 870, ready=False), COUNTS,
            id="old, was ready once",
        ),
        pytest.param(a_pod(ready=False, ready_changed=None), UNREADY, id="unready for ever"),
    ],
)  # fmt: skip
def test_cpu_samples_of_starting_pods_are_doubted(pod: PodStatus, expected: Readiness) -> None:
    samples = {"p": PodSample(1.0, NOON - 10, 30.0)}

    assert sort_pods([pod], samples, "cpu", NOON, WarmUp()) == expected


@pytest.mark.parametrize("resource", ["", "memory"])
def test_other_samples_count_from_the_start(resource: str) -> None:
    young = a_pod(started=NOON - 1, ready=False)

    assert sort_pods([young], {"p": PodSample(1.0, NOON)}, resource, NOON, WarmUp()) == COUNTS


def test_a_pod_without_a_sample_is_missing() -> None:
    assert sort_pods([a_pod()], {}, "cpu", NOON, WarmUp()) == sorted_pods(missing="p")


def test_ready_pods_run_and_are_ready() -> None:
    listed = [a_pod(), a_pod(ready=False), a_pod(ready=None), a_pod(phase="Pending")]

    assert ready_pods(listed) == 1
    assert ready_pods([]) is None


# --- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "current", "pods", "expected"),
    [
        pytest.param({"a": 400, "b": 400, "c": 400}, 4, sorted_pods(3, missing="d"), 3,
                     id="shrinking: the missing one counts as on target"),
        pytest.param({"a": 2000, "b": 2000}, 3, sorted_pods(2, missing="c"), 4,
                     id="growing: the missing one counts as idle"),
        pytest.param({"a": 2000, "b": 2000}, 3, sorted_pods(2, unready="c"), 4,
                     id="growing: the unready one counts as idle"),
        pytest.param({"a": 500, "b": 500}, 3, sorted_pods(2, unready="c"), 1,
                     id="shrinking: the unready one does not count"),
        pytest.param({"a": 1200, "b": 1200}, 3, sorted_pods(2, missing="c"), 3,
                     id="the assumption would turn growth round: nothing"),
        pytest.param({"a": 1000, "b": 1000}, 3, sorted_pods(2, missing="c"), 3, id="on target"),
        pytest.param({"a": 2000, "b": 2000, "c": 0}, 5, sorted_pods(2, ignored="c"), 4,
                     id="the ignored one's sample is dropped"),
        pytest.param({"a": 2000, "x": 2000}, 1, sorted_pods(1), 2, id="unlisted samples count"),
        pytest.param({"a": 500, "b": 500}, 1, sorted_pods(2, missing="cdef"), 1,
                     id="fewer replicas than pods: a decrease is never an increase"),
        pytest.param({"a": 3000}, 9, sorted_pods(1, missing="b"), 9,
                     id="more replicas than pods: an increase is never a decrease"),
    ],
)  # fmt: skip
def test_pod_values(
    values: Mapping[str, int], current: int, pods: Readiness, expected: int
) -> None:
    assert of_pod_values(values, 1000, current, pods, TENTH).replicas == expected


def test_the_mean_is_cut_to_milli_units() -> None:
    exact = Tolerances(0.0, 0.0)

    assert of_pod_values({"a": 1000, "b": 1001}, 1000, 2, sorted_pods(2), exact) == Sizing(2, 1000)
    assert of_pod_values({"a": -1000, "b": -1001}, 1000, 2, sorted_pods(2), exact).usage == -1000


def test_without_a_sample_that_counts_there_is_no_count() -> None:
    with pytest.raises(CannotSizeError) as caught:
        of_pod_values({"a": 1, "b": 1}, 1000, 2, sorted_pods(0, unready="a", ignored="b"), TENTH)

    assert caught.value.fault is Fault.NO_METRICS


# --- utilization -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "requests", "target", "pods", "expected"),
    [
        pytest.param({"a": 1100, "b": 1100}, {"a": 1000, "b": 1000, "c": 1000}, 60,
                     sorted_pods(2, unready="c"), Sizing(4, 1100, 110), id="the unready is idle"),
        pytest.param({"a": 300, "b": 300}, {"a": 1000, "b": 1000, "c": 1000}, 60,
                     sorted_pods(2, missing="c"), Sizing(3, 300, 30),
                     id="the missing one uses all it requests"),
        pytest.param({"a": 300, "b": 300, "c": 300}, dict.fromkeys("abcd", 1000), 150,
                     sorted_pods(3, missing="d"), Sizing(2, 300, 30),
                     id="or the target, where that is more"),
        pytest.param({"a": 549, "b": 549}, {"a": 1000, "b": 1000}, 50, sorted_pods(2),
                     Sizing(2, 549, 54), id="the percentage is cut"),
        pytest.param({"a": 2000, "x": 9000}, {"a": 1000}, 100, sorted_pods(1),
                     Sizing(2, 2000, 200), id="samples without a request do not count"),
    ],
)  # fmt: skip
def test_pod_utilization(
    values: Mapping[str, int],
    requests: Mapping[str, int | None],
    target: int,
    pods: Readiness,
    expected: Sizing,
) -> None:
    tolerances = Tolerances(0.08, 0.08)
    current = len(requests)

    assert of_pod_utilization(values, requests, target, current, pods, tolerances) == expected


@pytest.mark.parametrize(
    ("requests", "fault"),
    [
        pytest.param({"a": None}, Fault.MISSING_REQUEST, id="a container requests nothing"),
        pytest.param({"a": 0}, Fault.NO_MATCHING_REQUESTS, id="requests of 0"),
        pytest.param({"b": 1000}, Fault.NO_MATCHING_REQUESTS, id="another pod's request"),
    ],
)
def test_utilization_needs_requests(requests: Mapping[str, int | None], fault: Fault) -> None:
    with pytest.raises(CannotSizeError) as caught:
        of_pod_utilization({"a": 100}, requests, 50, 1, sorted_pods(1), TENTH)

    assert caught.value.fault is fault


@given(
    st.integers(0, 5000),
    st.integers(1, 8),
    st.sampled_from([64, 256, 1024]),
    st.integers(1, 20),
    st.integers(0, 3),
)
def test_a_pod_without_a_sample_never_speeds_a_change_up(
    load: int, ready: int, target: int, current: int, missing: int
) -> None:
    """Equal loads and targets that are powers of two keep rounding out of it."""
    values = {f"p{number}": load for number in range(ready)}
    names = frozenset(f"m{number}" for number in range(missing))
    all_seen = Readiness(ready, frozenset(), frozenset(), frozenset())
    some_missing = Readiness(ready, frozenset(), names, frozenset())

    sure = of_pod_values(values, target, current, all_seen, TENTH).replicas
    cautious = of_pod_values(values, target, current, some_missing, TENTH).replicas

    if load > target:
        assert cautious <= max(sure, current)
    if load < target:
        assert cautious >= min(sure, current)
