"""The circuit breaker: closed, open, half-open, with a clock in the test's hand."""

import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import NoReturn

import pytest

from autoscaler.adapters.prometheus.breaker import Breaker, BreakerState
from autoscaler.adapters.prometheus.errors import (
    BadQueryError,
    OverloadedError,
    RestingError,
)
from autoscaler.adapters.prometheus.settings import BreakerSettings

SETTINGS = BreakerSettings(failures=3, rest_seconds=10, max_rest_seconds=25)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("east", SETTINGS, monotonic=clock)


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state


def busy(why: str) -> NoReturn:
    raise OverloadedError("east", why)


def fail(breaker: Breaker) -> None:
    with pytest.raises(OverloadedError), breaker.call(1e9):
        busy("busy")


def a_hasty(rest_seconds: float) -> Breaker:
    settings = BreakerSettings(failures=1, rest_seconds=rest_seconds)
    return Breaker("east", settings, monotonic=time.monotonic)


def succeed(breaker: Breaker) -> None:
    with breaker.call(1e9):
        pass


def test_opens_after_so_many_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker)
    fail(breaker)
    succeed(breaker)
    fail(breaker)
    fail(breaker)
    assert state_of(breaker) is BreakerState.CLOSED

    fail(breaker)

    assert state_of(breaker) is BreakerState.OPEN
    with pytest.raises(RestingError) as raised, breaker.call(1e9):
        pytest.fail("the call was made")
    assert str(raised.value) == (
        "east: not asked: 3 calls failed in a row, next try in 10 s; east: overloaded: busy"
    )


def test_says_what_is_wrong_until_a_call_succeeds(breaker: Breaker) -> None:
    assert breaker.problem == ""
    fail(breaker)
    assert breaker.problem == "east: overloaded: busy"
    succeed(breaker)
    assert breaker.problem == ""


def test_a_bad_query_is_no_failure_of_the_source(breaker: Breaker) -> None:
    for _ in range(5):
        with pytest.raises(BadQueryError), breaker.call(1e9):
            raise BadQueryError("east", "parse error")

    assert state_of(breaker) is BreakerState.CLOSED


def test_an_error_of_our_own_counts_and_is_not_swallowed(breaker: Breaker) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), breaker.call(1e9):
            raise ZeroDivisionError

    assert state_of(breaker) is BreakerState.OPEN


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 10
    assert state_of(breaker) is BreakerState.HALF_OPEN

    succeed(breaker)

    assert state_of(breaker) is BreakerState.CLOSED


def test_a_probe_that_fails_doubles_the_rest_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    for rest in (10, 20, 25, 25):
        clock.now += rest - 0.1
        assert state_of(breaker) is BreakerState.OPEN
        clock.now += 0.1
        assert state_of(breaker) is BreakerState.HALF_OPEN
        fail(breaker)
    clock.now += 25
    succeed(breaker)
    for _ in range(3):
        fail(breaker)
    clock.now += 10
    assert state_of(breaker) is BreakerState.HALF_OPEN


def test_a_late_success_of_an_old_call_does_not_close_it(breaker: Breaker) -> None:
    with breaker.call(1e9):
        for _ in range(3):
            fail(breaker)

    assert state_of(breaker) is BreakerState.OPEN


def test_a_late_failure_of_an_old_call_does_not_prolong_the_rest(
    breaker: Breaker, clock: Clock
) -> None:
    with ExitStack() as old:
        old.enter_context(pytest.raises(OverloadedError))
        old.enter_context(breaker.call(1e9))
        for _ in range(3):
            fail(breaker)
        clock.now += 9
        busy("late")
    clock.now += 1

    assert state_of(breaker) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("probe_succeeds", [True, False])
def test_others_wait_for_the_probe_and_share_its_fate(probe_succeeds: bool) -> None:
    breaker = Breaker(
        "east", BreakerSettings(failures=1, rest_seconds=0.05), monotonic=time.monotonic
    )
    fail(breaker)
    time.sleep(0.06)
    outcomes: list[str] = []

    def other() -> None:
        try:
            with breaker.call(time.monotonic() + 5):
                outcomes.append("made")
        except RestingError:
            outcomes.append("refused")

    threads = [threading.Thread(target=other) for _ in range(3)]
    with suppress(OverloadedError), breaker.call(time.monotonic() + 5):
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        assert outcomes == []
        if not probe_succeeds:
            busy("still")
    for thread in threads:
        thread.join()

    assert outcomes == ["made" if probe_succeeds else "refused"] * 3


def test_nobody_waits_for_a_probe_beyond_the_deadline() -> None:
    breaker = Breaker(
        "east", BreakerSettings(failures=1, rest_seconds=0.01), monotonic=time.monotonic
    )
    fail(breaker)
    time.sleep(0.02)
    with breaker.call(time.monotonic() + 5):
        begun = time.monotonic()
        with pytest.raises(RestingError), breaker.call(begun + 0.05):
            pytest.fail("the call was made")
        assert time.monotonic() - begun < 4.0
