"""burst: a floor that jumps when the last seconds need far more than runs or starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.observation import Memory, Series
from autoscaler.core.policy import Recommendation
from policies.reactive.burst import Burst
from tests.builders import NOON
from tests.policies.worlds import World, asked_twice, samples, shown

BURST = Burst(signal="in_flight", target_per_replica=10)
STEADY = samples(*[40.0] * 20)
JUMP = samples(*[40.0] * 17, 100, 100, 100)


@pytest.mark.parametrize(
    ("demand", "ready", "desired", "expected"),
    [
        pytest.param(STEADY, 4, 4, 4, id="steady: the need of the long window"),
        pytest.param(JUMP, 4, 4, 10, id="a jump to more than twice: the need of the short window"),
        pytest.param(JUMP, 6, 6, 5, id="a jump to less than twice: the long window"),
        pytest.param(JUMP, 4, 6, 5, id="those that start count: no burst against six"),
        pytest.param(samples(100.0), 1, 1, 10, id="one sample is both windows"),
        pytest.param(samples(0.0), 0, 0, 0, id="nothing"),
        pytest.param(samples(11.0), 0, 0, 2, id="from zero"),
    ],
)
def test_the_short_window_counts_in_a_burst(
    demand: Series, ready: int, desired: int, expected: int
) -> None:
    answer = BURST.recommend(shown(ready, desired=desired, in_flight=demand))

    assert answer.replicas == expected
    assert answer.raise_only


def later(seconds: float, memory: Memory | None, *values: float) -> Recommendation:
    at = NOON + seconds
    return BURST.recommend(shown(10, at=at, memory=memory, in_flight=samples(*values, at=at)))


def test_a_burst_holds_its_floor_and_never_shrinks_it() -> None:
    begun = BURST.recommend(shown(4, in_flight=JUMP))

    held = later(299, begun.memory, *[5.0] * 21)
    over = later(301, held.memory, *[5.0] * 21)

    assert (begun.replicas, held.replicas, over.replicas) == (10, 10, 1)
    assert over.memory == {"burstSeen": None, "peak": 0}


def test_a_burst_that_goes_on_raises_the_floor_and_renews_it() -> None:
    begun = BURST.recommend(shown(4, in_flight=JUMP))

    more = later(60, begun.memory, 140, 140, 140)
    renewed = later(120, more.memory, 250, 250, 250)
    held = later(400, renewed.memory, *[5.0] * 21)

    assert (more.replicas, renewed.replicas, held.replicas) == (14, 25, 25)


def test_the_reason_says_what_was_seen() -> None:
    assert BURST.recommend(shown(4, in_flight=JUMP)).reason == (
        "in_flight averages 100 over 30 s and 49 over 300 s, 10 for each replica: "
        "burst against 4 that serve or start: at least 10 until it is over"
    )
    assert BURST.recommend(shown(6, in_flight=JUMP)).reason.endswith(
        "no burst against 6 that serve or start: at least 5"
    )


@given(
    demand=st.lists(st.floats(0, 1e4), min_size=1, max_size=20),
    more=st.lists(st.floats(0, 1e4), min_size=20, max_size=20),
    ready=st.integers(0, 20),
    starting=st.integers(0, 9),
)
def test_more_load_never_needs_fewer(
    demand: list[float], more: list[float], ready: int, starting: int
) -> None:
    less_load, more_load = (
        BURST.recommend(shown(ready, desired=ready + starting, in_flight=samples(*values))).replicas
        for values in (demand, [low + plus for low, plus in zip(demand, more, strict=False)])
    )

    assert less_load is not None
    assert more_load is not None
    assert less_load <= more_load


@given(demand=st.lists(st.floats(0, 1e4), min_size=1, max_size=20), ready=st.integers(0, 20))
def test_one_burst_is_answered_once(demand: list[float], ready: int) -> None:
    first, second = asked_twice(BURST, ready, in_flight=samples(*demand))

    assert first.replicas == second.replicas


def test_one_burst_during_a_long_start_asks_for_one_count() -> None:
    world = World(lambda at: 20.0 if at > 600 else 4.0, ready=3, cold_start=600.0, window=300.0)

    sizes = world.run(Burst(signal="arrivals_per_second", target_per_replica=2), 2400)

    assert max(sizes) == 10
    assert sizes == sorted(sizes)


def test_the_short_window_is_the_shorter_one() -> None:
    with pytest.raises(ValidationError, match="shortSeconds should be below longSeconds"):
        Burst(signal="in_flight", target_per_replica=10, short_seconds=300)
