from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from simulations.truth.queues import (
    LOADS,
    SEATS,
    STEP_SECONDS,
    Waits,
    erlang_c,
    exponential,
    many_replicas,
    one_replica,
    plain_reference,
    seats_alone,
    shortest_of_two,
    two_replicas,
    waits_of,
)
from simulations.truth.rows import Row
from simulations.truth.served import served_fast, served_plainly
from tests.simulations.truth.tables import needs_numba


@pytest.mark.parametrize(
    ("seats", "load", "mean", "share"),
    [
        pytest.param(1, 0.5, 1.0, 0.5, id="M/M/1: rho/(1-rho), and rho of them wait"),
        pytest.param(1, 0.9, 9.0, 0.9, id="M/M/1 near its limit"),
        pytest.param(2, 0.5, 1 / 3, 1 / 3, id="M/M/2: 2 rho^2/(1+rho) of them wait"),
        pytest.param(10, 0.8, 0.2046, 0.4092, id="ten servers, from a table of Erlang C"),
    ],
)
def test_erlang_c_is_what_the_books_say(seats: int, load: float, mean: float, share: float) -> None:
    waits = erlang_c(seats, load)

    assert waits.mean == pytest.approx(mean, rel=1e-3)
    assert waits.share == pytest.approx(share, rel=1e-3)


def test_two_queues_wait_longer_than_a_shared_one_and_less_than_apart() -> None:
    shortest = shortest_of_two(0.8, longest=40)

    assert erlang_c(2, 0.8).mean < shortest.mean < erlang_c(1, 0.8).mean
    assert erlang_c(2, 0.8).share > shortest.share


def test_two_queues_come_closer_to_a_shared_one_as_the_load_grows() -> None:
    near = shortest_of_two(0.9, longest=40).mean / erlang_c(2, 0.9).mean
    far = shortest_of_two(0.5, longest=20).mean / erlang_c(2, 0.5).mean

    assert 1 < near < far


def test_a_replica_of_seats_alone_is_a_queue() -> None:
    trace = exponential(300, 2, 0.9, 0.05, np.random.default_rng(1))
    free = [0.0, 0.0]
    begins = []
    for arrival, answer in zip(trace.arrivals, trace.output_tokens, strict=True):
        begin = max(float(arrival), min(free))
        begins.append(begin)
        free[free.index(min(free))] = begin + float(answer) * 0.05

    served = served_plainly(seats_alone(2, 0.05), 1, trace)

    # Each begins at the next step's beginning: at most one step later for each that it queued for.
    late = served.admitted - np.array(begins)
    assert np.mean(late) == pytest.approx(0.05, abs=0.05)
    assert waits_of(served, 0.05).share < 1


def test_waiting_for_the_step_in_progress_is_no_wait() -> None:
    trace = exponential(400, 8, 0.2, STEP_SECONDS, np.random.default_rng(1))

    served, _ = served_fast(seats_alone(8, STEP_SECONDS), 1, trace)

    assert served.waits.max() > 0
    assert waits_of(served, STEP_SECONDS) == Waits(0.0, 0.0)


@needs_numba
@pytest.mark.slow
@pytest.mark.parametrize(
    "queue",
    [
        *(
            pytest.param(partial(one_replica, seats, load), id=f"M-M-{seats} at {load}")
            for seats in SEATS
            for load in LOADS
        ),
        *(pytest.param(partial(two_replicas, load), id=f"two at {load}") for load in LOADS),
    ],
)
def test_exponential_service_agrees_with_theory_within_the_confidence_interval(
    queue: Callable[[int], list[Row]],
) -> None:
    found = queue(10_000)

    assert [row.figure for row in found] == ["mean wait, s", "share that waits"]
    for row in found:
        assert row.spread is not None
        assert abs(row.error) <= row.spread, row


@pytest.mark.slow
def test_the_plain_reference_agrees_with_theory_too() -> None:
    for row in plain_reference(300):
        assert row.spread is not None
        assert abs(row.error) <= row.spread <= 30, row


@needs_numba
@pytest.mark.slow
@pytest.mark.parametrize("replicas", [4, 16])
def test_least_outstanding_approaches_the_shared_queue_as_the_load_grows(replicas: int) -> None:
    usual, near = (many_replicas(replicas, load, 8_000)[0].error for load in (0.8, 0.95))

    assert near < usual
    assert usual > 15
