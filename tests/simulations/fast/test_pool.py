"""What the fast pool does for itself: room, refusals, conservation, compiling."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from simulations.fast import compile as compiling
from simulations.fast import state
from simulations.fast.compile import can_compile, engine_of
from simulations.fast.pool import FastPool
from simulations.fast.room import FEW_FLIGHTS, FEW_REPLICAS
from simulations.pool import Phase
from tests.simulations.builders import a_profile
from tests.simulations.fast.worlds import BOTH, SmallWorld, a_world, small_worlds


def a_pool(ready: int = 1, **law: float) -> FastPool:
    return FastPool("chat", a_profile(**law), ready, lambda: 0.5, compiled=False)


@given(world=small_worlds)
def test_every_request_waits_runs_or_has_ended(world: SmallWorld) -> None:
    pool = world.fast(compiled=False)
    scales = dict(world.scales)

    for now in sorted({*scales, *(tick * 0.0731 for tick in range(12))}):
        pool.advance(now)
        if now in scales:
            pool.scale(scales[now], now)
        tally, flights = pool.tally(now), pool._world.flights
        held = int((np.asarray(flights)["index"] != state.NOBODY).sum())
        assert tally.unfinished == pool.gateway_queue + pool.waiting + pool.running == held
        assert tally.requests + pool.to_come == len(world.trace)
        assert (pool.seen(now).kv_usage <= 1).all()
        assert free_flights(pool) == len(flights) - held


def free_flights(pool: FastPool) -> int:
    """How many rows the list of free flights goes through."""
    found, slot = 0, pool._world.pool[0].free_flight
    while slot != state.NOBODY:
        found, slot = found + 1, pool._world.flights[slot].following
    return found


@BOTH
def test_takes_in_more_requests_and_replicas_than_it_had_room_for(compiled: bool) -> None:
    requests, replicas = 2 * FEW_FLIGHTS + 1, 2 * FEW_REPLICAS + 1
    pool = a_world(*[(2.0, 10, 2)] * requests).fast(compiled=compiled)

    pool.scale(replicas, 0.0)
    pool.advance(100.0)

    assert pool.tally(100.0).finished == requests
    assert pool.count(Phase.READY) == replicas
    served = np.bincount(pool.details["replica"], minlength=replicas)
    assert served.tolist() == [
        requests // replicas + (number < requests % replicas) for number in range(replicas)
    ]


def test_a_draining_replica_that_is_kept_serves_the_gateway_at_once() -> None:
    pool = a_world((0.0, 10, 50), (0.1, 10, 1)).fast(compiled=False)
    pool.advance(0.05)
    pool.scale(0, 0.05)
    pool.advance(0.2)
    assert pool.gateway_queue == 1

    pool.scale(1, 0.2)
    pool.advance(10.0)

    assert pool.details["routed"].tolist() == [0.0, 0.2]
    assert pool.tally(10.0).finished == 2


@pytest.mark.parametrize(
    ("arrivals", "prompts", "outputs", "message"),
    [
        pytest.param([1.0, 2.0], [1], [1, 1], "should have one length", id="lengths differ"),
        pytest.param([2.0, 1.0], [1, 1], [1, 1], "should not fall", id="time goes back"),
        pytest.param([math.nan], [1], [1], "should not fall", id="no time"),
        pytest.param([0.5], [1], [1], "not be before 1 s", id="before the present"),
        pytest.param([1e9], [1], [1], "within a year, not 1e\\+09 s", id="in thirty years"),
        pytest.param([1.0], [0], [1], "at least one token", id="nothing to read"),
        pytest.param([1.0], [1], [0], "at least one token", id="nothing to write"),
    ],
)
def test_refuses_what_is_no_trace(
    arrivals: list[float], prompts: list[int], outputs: list[int], message: str
) -> None:
    pool = a_pool()
    pool.advance(1.0)

    with pytest.raises(ValueError, match=message):
        pool.offer(np.array(arrivals), np.array(prompts), np.array(outputs))


def test_refuses_to_be_offered_what_comes_before_what_was_offered() -> None:
    pool = a_pool()
    pool.offer(np.array([3.0]), np.array([1]), np.array([1]))

    with pytest.raises(ValueError, match="not be before 3 s"):
        pool.offer(np.array([2.0]), np.array([1]), np.array([1]))


def test_refuses_a_law_under_which_steps_would_shrink() -> None:
    with pytest.raises(ValueError, match="test: no number of the step law should be negative"):
        a_pool(kv_token_seconds=-1e-9)


def test_refuses_to_let_endless_time_pass() -> None:
    with pytest.raises(ValueError, match="until a finite moment, not inf"):
        a_pool().advance(math.inf)


def test_says_so_when_requests_in_flight_cannot_be_numbered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "MOST_FLIGHTS", FEW_FLIGHTS)
    pool = a_world(*[(0.0, 1, 1)] * (FEW_FLIGHTS + 1), ready=0).fast(compiled=False)

    with pytest.raises(MemoryError, match="more than 1,024 requests are in flight"):
        pool.advance(1.0)


def test_what_comes_at_the_very_end_of_a_minute_belongs_to_the_next_one() -> None:
    """The engine gives the only token at 59.96 s, and the user has it at 60 s."""
    pool = a_world((59.95, 1, 1), step_seconds=0.01, overhead_seconds=0.04).fast(compiled=False)

    pool.advance(61.0)

    minutes = pool.minutes(61.0)
    assert minutes.arrived.tolist() == [1, 0]
    assert minutes.met.tolist() == [1, 0]
    assert np.isnan(minutes.ttft_p95).tolist() == [True, False]


def test_what_arrives_at_the_very_end_belongs_to_the_last_minute() -> None:
    pool = a_world((60.0, 1, 1)).fast(compiled=False)

    pool.advance(60.0)

    assert pool.minutes(60.0).arrived.tolist() == [1]


def test_nothing_has_arrived_and_nothing_is_wrong() -> None:
    pool = a_pool()
    pool.advance(60.0)

    tally = pool.tally(60.0)

    assert (tally.requests, tally.unfinished, tally.worst_minute) == (0, 0, 1.0)
    assert pool.seen(60.0).busy_seconds.tolist() == [0.0]
    assert pool.replica_seconds(60.0) == 60.0


@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
def test_compiles_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FastPool("chat", a_profile(), 1, lambda: 0.0).compiled

    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")

    assert not FastPool("chat", a_profile(), 1, lambda: 0.0).compiled


def pretend(*, keeps: bool) -> Callable[..., Any]:
    """A numba that compiles nothing, and has no folder or a full one."""

    def njit(*, cache: bool = False, **options: object) -> Callable[..., Any]:
        if cache and not keeps:
            raise RuntimeError("no locator available")

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            def fails(*arguments: object) -> Any:
                raise OSError(28, "No space left on device")

            return fails if cache else function

        return decorate

    return njit


@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@pytest.mark.parametrize("keeps", [False, True], ids=["no folder", "full disk"])
def test_compiles_where_the_outcome_cannot_be_kept(
    keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.njit", pretend(keeps=keeps))
    engine_of.cache_clear()
    try:
        pool = a_world((0.0, 10, 3)).fast(compiled=True)
        pool.advance(1.0)
    finally:
        engine_of.cache_clear()

    assert pool.tally(1.0).finished == 1


def test_what_is_compiled_in_changes_its_mark() -> None:
    marks = {compiling._mark({"BUCKETS": buckets}) for buckets in (64, 128)}

    assert len(marks) == 2
