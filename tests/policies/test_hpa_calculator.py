"""Worked examples in milli-units; what overflows is as Kubernetes v1.36 has it on amd64."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.behavior import Behavior
from autoscaler.core.integers import INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN
from policies.reactive.hpa_calculator import (
    CannotSizeError,
    Fault,
    Sizing,
    Tolerances,
    combine,
    of_external_share,
    of_external_total,
    of_object_share,
    of_object_total,
)

TENTH = Tolerances(0.1, 0.1)


@pytest.mark.parametrize(
    ("values", "target", "status", "expected"),
    [
        pytest.param([35_000], 10_000, 2, Sizing(4, 17_500), id="the total over the target"),
        pytest.param([12_000, 2_000, 5_000], 10_000, 3, Sizing(2, 6_334), id="series are summed"),
        pytest.param([44_000], 10_000, 4, Sizing(4, 11_000), id="the edge is within"),
        pytest.param([44_001], 10_000, 4, Sizing(5, 11_001), id="past the edge"),
        pytest.param([0], 10_000, 0, Sizing(0, INT64_MIN), id="nothing at 0 replicas"),
        pytest.param([5], 10_000, 0, Sizing(1, INT64_MIN), id="something at 0 replicas"),
        pytest.param([2**62], 1, 2, Sizing(INT32_MAX, 2**61), id="the count is capped"),
        pytest.param(
            [2**62, 2**62, -1], 1000, 2, Sizing(INT32_MAX, INT64_MAX), id="the sum is capped"
        ),
        pytest.param(
            [-5], 1000, 2, Sizing(INT32_MAX, INT64_MAX), id="a negative sum reads as a cap"
        ),
    ],
)
def test_external_average_value(
    values: list[int], target: int, status: int, expected: Sizing
) -> None:
    assert of_external_share(values, target, status, TENTH) == expected


@pytest.mark.parametrize(
    ("usage", "target", "status", "expected"),
    [
        pytest.param(35_000, 10_000, 2, Sizing(4, 17_500), id="as for external metrics"),
        pytest.param(40_000, 10_000, 4, Sizing(4, 10_000), id="on target"),
        pytest.param(2**62, 1, 2, Sizing(INT32_MIN, 2**61), id="not capped: it overflows"),
    ],
)
def test_object_average_value(usage: int, target: int, status: int, expected: Sizing) -> None:
    assert of_object_share(usage, target, status, TENTH) == expected


@pytest.mark.parametrize(
    ("values", "target", "current", "ready", "expected"),
    [
        pytest.param([150_000], 100_000, 5, 3, Sizing(5, 150_000), id="times the ready pods"),
        pytest.param([50_000], 22_000, 11, 11, Sizing(26, 50_000), id="the last bit counts"),
        pytest.param([105_000], 100_000, 5, 3, Sizing(5, 105_000), id="within the tolerance"),
        pytest.param([105_000], 100_000, 0, None, Sizing(2, 105_000), id="from 0: no tolerance"),
        pytest.param([105_000], 100_000, 5, None, Sizing(5, 105_000), id="on target without pods"),
        pytest.param([150_000], 100_000, 5, 0, Sizing(0, 150_000), id="nothing ready: 0"),
        pytest.param([INT64_MAX, 1], 1, 5, 3, Sizing(INT32_MAX, INT64_MAX), id="both are capped"),
        pytest.param([-4_000, 1_000], 1_000, 5, 3, Sizing(-9, -3_000), id="negative stays so"),
        pytest.param([2**62], 1, 0, None, Sizing(INT32_MIN, 2**62), id="from 0 it overflows"),
    ],
)
def test_external_value(
    values: list[int], target: int, current: int, ready: int | None, expected: Sizing
) -> None:
    assert of_external_total(values, target, current, ready, TENTH) == expected


@pytest.mark.parametrize(
    ("call", "fault", "usage"),
    [
        pytest.param(
            lambda: of_external_total([], 1, 1, 1, TENTH), Fault.NO_METRICS, 0, id="no value"
        ),
        pytest.param(
            lambda: of_external_share([], 1, 1, TENTH), Fault.NO_METRICS, 0, id="no share"
        ),
        pytest.param(
            lambda: of_object_total(9_000, 1_000, 1, None, TENTH), Fault.NO_PODS, 9_000,
            id="no pods, but a value",
        ),
    ],
)  # fmt: skip
def test_without_values_or_pods_there_is_no_count(
    call: Callable[[], Sizing], fault: Fault, usage: int
) -> None:
    with pytest.raises(CannotSizeError) as caught:
        call()

    assert (caught.value.fault, caught.value.usage) == (fault, usage)


@pytest.mark.parametrize(
    ("ratio", "kept"),
    [(0.7, True), (0.699, False), (1.0, True), (1.1, True), (1.101, False), (float("nan"), False)],
)
def test_the_edges_belong_to_the_tolerance(ratio: float, kept: bool) -> None:
    assert Tolerances(up=0.1, down=0.3).keep(ratio) is kept


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [
        pytest.param(None, Tolerances(0.1, 0.1), id="no behavior"),
        pytest.param({}, Tolerances(0.1, 0.1), id="a behavior without tolerances"),
        pytest.param({"scaleUp": {"tolerance": 0.5}}, Tolerances(0.5, 0.1), id="one direction"),
        pytest.param(
            {"scaleUp": {"tolerance": 0}, "scaleDown": {"tolerance": "300m"}},
            Tolerances(0.0, 300 * 0.001), id="both; 0 is not absent",
        ),
    ],
)  # fmt: skip
def test_tolerances_come_from_the_behavior(
    behavior: dict[str, object] | None, expected: Tolerances
) -> None:
    given_behavior = None if behavior is None else Behavior.model_validate(behavior)

    assert Tolerances.of(0.1, given_behavior) == expected


@pytest.mark.parametrize(
    ("counts", "current", "expected"),
    [
        pytest.param([3, 5, 4], 9, 5, id="the largest"),
        pytest.param([3, None], 4, None, id="a failure stops a decrease"),
        pytest.param([4, None], 4, 4, id="a failure does not stop standing still"),
        pytest.param([None, 9], 4, 9, id="a failure does not stop an increase"),
        pytest.param([None, None], 4, None, id="all failed"),
        pytest.param([], 4, None, id="none at all"),
        pytest.param([0, 0], 4, 0, id="all want 0"),
        pytest.param([-3], 4, 0, id="fewer than none is none"),
        pytest.param([-3, None], 0, None, id="fewer than none with a failure is a decrease"),
    ],
)
def test_metrics_combine_to_the_largest(
    counts: list[int | None], current: int, expected: int | None
) -> None:
    assert combine(counts, current) == expected


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 100), st.floats(0, 0.5))
def test_a_share_is_enough_and_not_more(
    usage: int, target: int, status: int, tolerance: float
) -> None:
    count = of_external_share([usage], target, status, Tolerances(tolerance, tolerance)).replicas

    enough = (count - 1) * target < usage <= count * target
    close = abs(usage - status * target) <= tolerance * status * target * (1 + 1e-9)
    assert enough or (count == status and close)
