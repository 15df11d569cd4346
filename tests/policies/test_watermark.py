"""watermark: one step up above the high mark, one replica down below the low mark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.observation import Series
from policies.reactive.watermark import Watermark
from tests.builders import NOON
from tests.policies.worlds import World, asked_twice, reversals, samples, shown

KV = Watermark(signal="kv_usage", high=0.8, low=0.4, step_percent=50)
BUSY = samples(*[0.9] * 9)
CALM = samples(*[0.6] * 9)
IDLE = samples(*[0.2] * 9)


@pytest.mark.parametrize(
    ("usage", "ready", "desired", "expected"),
    [
        pytest.param(BUSY, 4, 4, 6, id="above: half as many more"),
        pytest.param(BUSY, 1, 1, 2, id="above: at least one more"),
        pytest.param(BUSY, 4, 6, 6, id="above: those that start are that step"),
        pytest.param(BUSY, 4, 5, 6, id="above: only the rest of the step"),
        pytest.param(BUSY, 0, 0, 1, id="above with nobody: wake one"),
        pytest.param(samples(0.5, 0.9, 0.9), 4, 4, 4, id="above for 15 s: not long enough"),
        pytest.param(samples(0.9), 4, 4, 4, id="one sample above: not long enough"),
        pytest.param(CALM, 4, 4, 4, id="between: nothing"),
        pytest.param(IDLE, 4, 4, 3, id="below: one fewer"),
        pytest.param(samples(*[0.39] * 9), 2, 2, 1, id="below: one would see 0.78"),
        pytest.param(samples(0.9, 0.2, 0.2, 0.2), 4, 4, 4, id="below for 30 s: not long enough"),
        pytest.param(IDLE, 1, 1, 1, id="below: the last one stays while it is used"),
        pytest.param(samples(*[0.0] * 9), 1, 1, 0, id="not used at all: none needed"),
        pytest.param(IDLE, 0, 3, 3, id="nobody serves: nothing to take away"),
        pytest.param(IDLE, 0, 0, 0, id="nobody wanted"),
        pytest.param(IDLE, 2, 4, 3, id="below while starting: spread over those to come"),
    ],
)
def test_marks_and_steps(usage: Series, ready: int, desired: int, expected: int) -> None:
    assert KV.recommend(shown(ready, desired=desired, kv_usage=usage)).replicas == expected


def test_it_does_not_lower_into_the_high_mark() -> None:
    close = Watermark(signal="kv_usage", high=0.5, low=0.4)

    answer = close.recommend(shown(2, kv_usage=samples(*[0.3] * 9)))

    assert answer.replicas == 2
    assert answer.reason == (
        "kv_usage is 0.3, below 0.4 for 120 s: 1 replicas would see 0.6, not below 0.5"
    )


def test_samples_of_another_size_do_not_count() -> None:
    before = KV.recommend(shown(4, kv_usage=BUSY))

    grown = KV.recommend(shown(6, kv_usage=BUSY, memory=before.memory))
    later = KV.recommend(
        shown(6, at=NOON + 60, kv_usage=samples(*[0.9] * 9, at=NOON + 60), memory=grown.memory)
    )

    assert grown.replicas == 6
    assert "no sample yet since the number of ready replicas changed" in grown.reason
    assert later.replicas == 9


def test_a_count_that_proved_too_few_is_not_tried_again_at_once() -> None:
    trouble = KV.recommend(shown(4, kv_usage=BUSY))
    memory = trouble.memory

    soon = KV.recommend(
        shown(5, at=NOON + 900, kv_usage=samples(0.2, at=NOON + 900), memory=memory)
    )
    held, tried = (
        KV.recommend(shown(5, at=at, kv_usage=samples(*[0.2] * 9, at=at), memory=soon.memory))
        for at in (NOON + 1100, NOON + 2900)
    )

    assert held.replicas == 5
    assert held.reason.endswith("4 proved too few lately")
    assert tried.replicas == 4


def test_a_single_sample_each_time_adds_up() -> None:
    """An idle workload shows one latency of 0 in each cycle, and no history."""
    memory, counts = None, []
    for cycle in range(6):
        at = NOON + 15 * cycle
        answer = KV.recommend(shown(4, at=at, kv_usage=samples(0.0, at=at), memory=memory))
        memory = answer.memory
        counts.append(answer.replicas)

    assert counts == [4, 4, 4, 4, 3, 3]


def test_a_gap_between_the_sights_starts_the_count_again() -> None:
    first = KV.recommend(shown(4, kv_usage=samples(0.2)))

    after = KV.recommend(
        shown(4, at=NOON + 600, kv_usage=samples(0.2, at=NOON + 600), memory=first.memory)
    )

    assert after.replicas == 4
    assert after.reason == "kv_usage is 0.2; below 0.4, but not yet for 60 s"


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        pytest.param(samples(0.9), "kv_usage is 0.9; above 0.8, but not yet for 30 s", id="above"),
        pytest.param(CALM, "kv_usage is 0.6; between 0.4 and 0.8", id="between"),
        pytest.param(BUSY, "kv_usage is 0.9, above 0.8 for 120 s: from 4 ready to 6", id="raise"),
    ],
)
def test_the_reason_says_what_was_seen(usage: Series, reason: str) -> None:
    assert KV.recommend(shown(4, kv_usage=usage)).reason == reason


@given(
    values=st.lists(st.floats(0, 2), min_size=1, max_size=9),
    more=st.lists(st.floats(0, 1), min_size=9, max_size=9),
    ready=st.integers(0, 20),
    starting=st.integers(0, 9),
)
def test_more_load_never_needs_fewer(
    values: list[float], more: list[float], ready: int, starting: int
) -> None:
    less_load, more_load = (
        KV.recommend(shown(ready, desired=ready + starting, kv_usage=samples(*usage)))
        for usage in (values, [low + plus for low, plus in zip(values, more, strict=False)])
    )

    assert less_load.replicas is not None
    assert more_load.replicas is not None
    assert less_load.replicas <= more_load.replicas


@given(ready=st.integers(0, 40), percent=st.floats(1, 400))
def test_one_burst_is_answered_once(ready: int, percent: float) -> None:
    policy = Watermark(signal="kv_usage", high=0.8, low=0.4, step_percent=percent)

    first, second = asked_twice(policy, ready, kv_usage=BUSY)

    assert first.replicas == second.replicas
    assert (first.replicas or 0) > ready


@pytest.mark.parametrize(
    ("signal", "high", "low"), [("kv_usage", 0.8, 0.5), ("ttft_p95", 1.6, 0.8)]
)
@pytest.mark.parametrize("load", [1.0, 5.0, 9.0, 15.0])
def test_constant_load_settles(signal: str, high: float, low: float, load: float) -> None:
    sizes = World(lambda _: load, ready=4).run(Watermark(signal=signal, high=high, low=low), 7200)

    assert reversals(sizes) <= 1
    assert len(set(sizes[-240:])) == 1


def test_the_low_mark_is_below_the_high_one() -> None:
    with pytest.raises(ValidationError, match=r"low should be below high, not 0\.8 >= 0\.8"):
        Watermark(signal="kv_usage", high=0.8, low=0.8)


@pytest.mark.parametrize("huge", [1e200, 1e308])
def test_an_absurd_value_is_answered_like_any_above_the_mark(huge: float) -> None:
    policy = Watermark(signal="kv_usage", high=0.8, low=0.4)

    assert policy.recommend(shown(4, kv_usage=samples(*[huge] * 9))).replicas == 8


def test_the_last_replica_that_serves_something_stays() -> None:
    policy = Watermark(signal="kv_usage", high=0.8, low=0.4)

    answer = policy.recommend(shown(1, kv_usage=samples(*[0.1] * 9)))

    assert answer.replicas == 1
    assert answer.reason.endswith(": the last replica stays")
