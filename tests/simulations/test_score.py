"""Scores, worked by hand."""

import pytest

from autoscaler.core.spec import Slo
from simulations.cluster import SimulatedCluster
from simulations.score import Percentiles, score
from tests.simulations.builders import START, a_profile, a_trace, a_workload, scale, seen


def a_run(*rows: tuple[float, int, int], **slo: float) -> SimulatedCluster:
    """One sequence at a time, for 100 s."""
    cluster = SimulatedCluster(
        a_trace(*rows),
        a_workload(slo=Slo(**slo)),
        start=START,
        profile=a_profile(max_sequences=1),
    )
    seen(cluster, 100.0)
    return cluster


def test_who_waited_and_who_did_not() -> None:
    """One at a time: 10 ms for the first token, then 10 ms each.

    The second waits for the first (0.2 s), the third can never fit, the fourth is not finished.
    """
    told = score(
        a_run(
            (1.0, 10, 20), (1.0, 10, 1), (2.0, 10, 5000), (99.5, 10, 90),
            ttft_p95_seconds=0.1, itl_p95_seconds=0.05, e2e_p95_seconds=0.19,
        )
    )  # fmt: skip

    assert (told.requests, told.finished, told.unfinished, told.failed) == (4, 2, 1, 1)
    assert told.ttft_attainment == 1 / 4
    assert told.itl_attainment == 2 / 4
    assert told.e2e_attainment == 0
    assert told.attainment == 0
    assert told.waited_seconds == pytest.approx(0.2)
    assert told.ttft is not None
    assert told.ttft.p50 == pytest.approx(0.01)
    assert told.e2e is not None
    assert told.e2e.p95 == pytest.approx(0.2 + 0.95 * 0.01)


def test_a_limit_that_is_not_set_is_met_by_all_and_has_no_attainment() -> None:
    told = score(a_run((1.0, 10, 20), (1.0, 10, 1), itl_p95_seconds=0.05))

    assert (told.ttft_attainment, told.e2e_attainment) == (None, None)
    assert told.itl_attainment == told.attainment == 1.0


def test_without_limits_only_the_unfinished_miss() -> None:
    told = score(a_run((1.0, 10, 20), (99.9, 10, 20)))

    assert told.attainment == 0.5
    assert told.unfinished == 1


def test_an_answer_of_one_token_has_no_itl_and_meets_it() -> None:
    told = score(a_run((1.0, 10, 1), itl_p95_seconds=1e-6))

    assert told.itl is None
    assert told.itl_attainment == 1.0


def test_the_worst_minute_is_by_arrival() -> None:
    """Ten at once take 0.1 s together; alone each meets 0.05 s."""
    rows = [(10.0, 10, 1), (20.0, 10, 1), *[(70.0, 10, 1)] * 10]

    told = score(a_run(*rows, ttft_p95_seconds=0.055))

    assert told.worst_minute_attainment == 5 / 10
    assert told.attainment == 7 / 12


def test_what_it_cost() -> None:
    """Two GPUs each at 3 an hour; one replica for 100 s, another for 40 s."""
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 1)), a_workload(), start=START, profile=a_profile()
    )
    scale(cluster, 10.0, 2)
    scale(cluster, 50.0, 1)
    scale(cluster, 60.0, 3)
    scale(cluster, 60.0, 2)
    scale(cluster, 60.0, 1)
    seen(cluster, 100.0)

    told = score(cluster)

    assert told.replica_hours == pytest.approx(140 / 3600)
    assert told.gpu_hours == pytest.approx(280 / 3600)
    assert told.cost == pytest.approx(3 * 280 / 3600)
    assert told.mean_replicas == pytest.approx(1.4)
    assert told.max_replicas == 3
    assert told.scale_events == 5
    assert told.reversals == 3
    assert told.seconds == 100.0


def test_without_a_price_there_is_no_cost() -> None:
    workload = a_workload()
    free = workload.spec.replica.model_copy(update={"gpu_hour_price": 0.0})
    spec = workload.spec.model_copy(update={"replica": free, "slo": Slo()})
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 1)),
        workload.model_copy(update={"spec": spec}),
        start=START,
        profile=a_profile(),
    )
    seen(cluster, 10.0)

    assert score(cluster).cost is None


def test_nothing_can_be_said_before_anybody_arrived() -> None:
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 1)), a_workload(), start=START, profile=a_profile()
    )

    with pytest.raises(ValueError, match="no request has arrived"):
        score(cluster)


def test_percentiles_are_interpolated() -> None:
    assert Percentiles.of([]) is None
    assert Percentiles.of([0.0, 1.0]) == Percentiles(0.5, pytest.approx(0.95), pytest.approx(0.99))  # type: ignore[arg-type]
