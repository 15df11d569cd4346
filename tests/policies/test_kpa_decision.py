"""The decision of Knative's KPA."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.reactive.kpa_decision import (
    Cause,
    DelayWindow,
    KpaParameters,
    KpaState,
    decide,
    spare_at_start,
)
from tests.builders import NOON

TEN_EACH = KpaParameters(target=10.0, total=14.0, burst=0.0)

loads = st.floats(0, 1000)
ready_counts = st.integers(0, 40)
parameters = st.builds(
    KpaParameters,
    target=st.floats(0.5, 50),
    total=st.floats(50, 100),
    burst=st.sampled_from([0.0, -1.0, 10.0, 211.0]),
    panic_threshold=st.floats(1.1, 10),
    max_scale_up_rate=st.floats(1.01, 1000),
    max_scale_down_rate=st.floats(1.01, 10),
    stable_seconds=st.integers(6, 120).map(float),
    activation_scale=st.integers(1, 5),
    reachable=st.booleans(),
)
moments = st.lists(st.tuples(st.floats(0, 90), ready_counts, loads, loads), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("given", "ready", "stable", "panic", "desired", "cause"),
    [
        pytest.param({}, 1, 10, 10, 1, Cause.NONE, id="exactly the target is one replica"),
        pytest.param({}, 1, 10.1, 10.1, 2, Cause.NONE, id="needs are rounded up"),
        pytest.param({}, 0, 15, 15, 2, Cause.NONE, id="zero ready count as one"),
        pytest.param(
            {"max_scale_up_rate": 1.1}, 3, 95, 20, 4, Cause.GROWTH, id="one more is always allowed"
        ),
        pytest.param({}, 9, 0, 0, 4, Cause.SHRINKING, id="half of the ready replicas stay"),
        pytest.param({}, 1, 0, 0, 0, Cause.NONE, id="the last one may go"),
        pytest.param({"reachable": False}, 9, 0, 0, 0, Cause.NONE, id="unreachable: no limit"),
        pytest.param(
            {"activation_scale": 4}, 1, 1, 1, 4, Cause.ACTIVATION, id="any need is four replicas"
        ),
        pytest.param(
            {"activation_scale": 4}, 4, 0, 0, 2, Cause.SHRINKING, id="no need is not activated"
        ),
        pytest.param(
            {"activation_scale": 9, "max_scale_up_rate": 2.0}, 1, 95, 10, 9, Cause.ACTIVATION,
            id="activation comes after the growth limit",
        ),
    ],
)  # fmt: skip
def test_decides_within_its_limits(
    given: Mapping[str, Any],
    ready: int,
    stable: float,
    panic: float,
    desired: int,
    cause: Cause,
) -> None:
    found = decide(
        KpaState(), replace(TEN_EACH, panic_threshold=100.0, **given),
        now=NOON, ready=ready, stable=stable, panic=panic,
    )  # fmt: skip

    assert (found.desired, found.cause) == (desired, cause)


def test_panics_at_the_threshold_and_leaves_only_after_a_whole_stable_window() -> None:
    state = KpaState.start(NOON, 1)

    # at .1 s the difference of two Unix times as floats is not 60 s
    enter = decide(state, TEN_EACH, now=NOON + 0.1, ready=2, stable=5, panic=40)
    hold = decide(enter.state, TEN_EACH, now=NOON + 60.1, ready=4, stable=5, panic=5)
    leave = decide(hold.state, TEN_EACH, now=NOON + 60.101, ready=4, stable=5, panic=5)

    assert (enter.desired, enter.state.panicking, enter.by_panic) == (4, True, True)
    assert (hold.desired, hold.state.panicking, hold.cause) == (4, True, Cause.PANIC)
    assert (leave.desired, leave.state) == (2, KpaState())


def test_the_threshold_is_compared_with_the_need_before_limits() -> None:
    growing_slowly = replace(TEN_EACH, max_scale_up_rate=1.5)

    found = decide(KpaState(), growing_slowly, now=NOON, ready=2, stable=20, panic=85)

    assert (found.desired, found.panic_need, found.cause) == (3, 9, Cause.GROWTH)


def test_in_panic_the_stable_window_counts_where_it_asks_for_more() -> None:
    found = decide(
        KpaState(NOON, 2), TEN_EACH, now=NOON + 2, ready=3, stable=45, panic=25
    )  # fmt: skip

    assert (found.desired, found.by_panic) == (5, False)


def test_a_scale_down_delay_keeps_the_largest_count_of_its_slots() -> None:
    state = KpaState.start(NOON, 1, delay_seconds=6)  # three slots, this one included
    wanted = []
    for second, load in [(0, 50), (2, 20), (4, 20), (5.9, 20), (6, 20)]:
        found = decide(state, TEN_EACH, now=NOON + second, ready=5, stable=load, panic=load)
        state = found.state
        wanted.append((found.desired, found.cause))

    kept = (5, Cause.DELAY)
    assert wanted == [(5, Cause.NONE), kept, kept, kept, (2, Cause.NONE)]


def test_a_slot_of_the_delay_keeps_its_largest_count() -> None:
    window = DelayWindow.of(4).record(NOON, 1).record(NOON + 0.5, 3).record(NOON + 1, 2)

    assert window.counts == ((NOON // 2, 3),)


def test_while_unreachable_the_delay_neither_holds_nor_looks() -> None:
    state = KpaState.start(NOON, 1, delay_seconds=60)
    state = decide(state, TEN_EACH, now=NOON, ready=5, stable=50, panic=50).state
    hidden = replace(TEN_EACH, reachable=False)

    found = decide(state, hidden, now=NOON + 2, ready=5, stable=10, panic=10)

    assert found.desired == 1
    assert found.state.delay == state.delay


@pytest.mark.parametrize(
    ("burst", "spare", "at_start"),
    [
        pytest.param(0.0, 0, 0, id="none asked for"),
        pytest.param(-1.0, -1, -1, id="never covered"),
        pytest.param(20.0, -3, -6, id="2 x 14 - 20 - 10.5, rounded down"),
        pytest.param(20.5, -3, -6, id="at the start cut towards zero"),
    ],
)
def test_spare_capacity_is_what_the_burst_target_leaves(
    burst: float, spare: int, at_start: int
) -> None:
    given = replace(TEN_EACH, burst=burst)

    found = decide(KpaState(), given, now=NOON, ready=2, stable=10.5, panic=10.5)

    assert found.spare == spare
    assert spare_at_start(given, 1) == at_start


@given(given=parameters, moments=moments)
def test_never_negative_and_never_shrinks_in_panic(
    given: KpaParameters, moments: list[tuple[float, int, float, float]]
) -> None:
    state, now, last = KpaState.start(NOON, moments[0][1]), NOON, 0
    for seconds, ready, stable, panic in moments:
        now += seconds
        was_panicking = state.panicking
        found = decide(state, given, now=now, ready=ready, stable=stable, panic=panic)
        state = found.state
        assert found.desired >= 0
        if was_panicking and state.panicking:
            assert found.desired >= last
        last = found.desired


@given(
    given=parameters, ready=ready_counts, less=st.tuples(loads, loads), more=st.tuples(loads, loads)
)
def test_more_load_never_asks_for_less(
    given: KpaParameters, ready: int, less: tuple[float, float], more: tuple[float, float]
) -> None:
    stable = sorted((less[0], more[0]))
    panic = sorted((less[1], more[1]))
    state = KpaState.start(NOON, ready)

    low, high = (
        decide(state, given, now=NOON, ready=ready, stable=stable[i], panic=panic[i]).desired
        for i in (0, 1)
    )

    assert low <= high


@given(
    counts=st.lists(st.tuples(st.floats(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
    seconds=st.integers(1, 20),
)
def test_the_delay_window_equals_a_plain_search(
    counts: list[tuple[float, int]], seconds: int
) -> None:
    window, now = DelayWindow.of(seconds), NOON
    seen_at: list[tuple[int, int]] = []
    for gap, count in counts:
        now += gap
        seen_at.append((int(now) // 2, count))
        window = window.record(now, count)
        recent = [kept for slot, kept in seen_at if int(now) // 2 - slot < -(-seconds // 2)]

        assert window.largest == max(recent)
        assert len(window.counts) <= window.slots
