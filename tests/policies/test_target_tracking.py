"""target-tracking: as many replicas as the load divided by what one should carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from policies.reactive.target_tracking import TargetTracking
from tests.policies.worlds import World, asked_twice, reversals, shown

BY_TOTAL = TargetTracking(signal="in_flight", target=10)
BY_AVERAGE = TargetTracking(signal="kv_usage", target=0.5, per_replica=True)


@pytest.mark.parametrize(
    ("load", "ready", "desired", "expected"),
    [
        pytest.param(95.0, 3, 3, 10, id="rounded up"),
        pytest.param(33.0, 3, 3, 3, id="10 % above is left alone"),
        pytest.param(27.0, 3, 3, 3, id="10 % below is left alone"),
        pytest.param(33.1, 3, 3, 4, id="more than that is not"),
        pytest.param(26.9, 3, 3, 3, id="less than that still needs three"),
        pytest.param(95.0, 3, 10, 10, id="those that start count"),
        pytest.param(0.0, 3, 3, 0, id="no load needs nobody"),
        pytest.param(1.0, 0, 0, 1, id="wakes from zero"),
        pytest.param(0.0, 0, 0, 0, id="sleeps on"),
        pytest.param(-5.0, 2, 2, 0, id="never below zero"),
    ],
)
def test_a_total_is_divided_by_the_target(
    load: float, ready: int, desired: int, expected: int
) -> None:
    assert BY_TOTAL.recommend(shown(ready, desired=desired, in_flight=load)).replicas == expected


def test_an_average_is_first_made_a_total_of_those_that_serve() -> None:
    answer = BY_AVERAGE.recommend(shown(4, desired=6, kv_usage=0.9))

    assert answer.replicas == 8
    assert (
        answer.reason == "kv_usage is 0.9 on average over 4 ready, 0.5 for each replica: 8 needed"
    )


def test_an_average_over_nobody_says_nothing() -> None:
    answer = BY_AVERAGE.recommend(shown(0, desired=2, kv_usage=0.0))

    assert answer.replicas is None
    assert "no replica is ready" in answer.reason


def test_the_reason_says_what_was_seen() -> None:
    within = BY_TOTAL.recommend(shown(3, in_flight=31.0))
    beyond = BY_TOTAL.recommend(shown(3, in_flight=95.0))

    assert within.reason == (
        "in_flight is 31 in total, 10 for each replica: within 10% of what 3 should carry"
    )
    assert beyond.reason == "in_flight is 95 in total, 10 for each replica: 10 needed"
    assert beyond.evidence == {"in_flight": 95.0, "target": 10.0, "total": 95.0}


@given(
    load=st.floats(0, 1e4),
    more=st.floats(1, 10),
    ready=st.integers(0, 50),
    starting=st.integers(0, 9),
)
def test_more_load_never_needs_fewer(load: float, more: float, ready: int, starting: int) -> None:
    for policy in (BY_TOTAL, BY_AVERAGE):
        less_load, more_load = (
            policy.recommend(
                shown(ready, desired=ready + starting, in_flight=value, kv_usage=value)
            )
            for value in (load, load * more)
        )
        assert (less_load.replicas or 0) <= (more_load.replicas or 0)


@given(load=st.floats(0, 1e4), ready=st.integers(0, 50))
def test_one_burst_is_answered_once(load: float, ready: int) -> None:
    first, second = asked_twice(BY_TOTAL, ready, in_flight=load)

    assert first.replicas == second.replicas


@pytest.mark.parametrize("load", [1.0, 7.3, 15.0, 31.0])
def test_constant_load_settles_at_once(load: float) -> None:
    sizes = World(lambda _: load, ready=4).run(
        TargetTracking(signal="arrivals_per_second", target=1.5), 3600
    )

    assert reversals(sizes) == 0
    assert len(set(sizes[2:])) == 1


@pytest.mark.parametrize(
    ("field", "value"), [("target", 0), ("tolerance", 1.0), ("target", True), ("signal", "")]
)
def test_parameters_have_their_ranges(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        TargetTracking.model_validate({"signal": "in_flight", "target": 10, field: value})
