"""Knative's KPA as a policy: its memory, its words, its preset."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.behavior import Behavior
from autoscaler.core.observation import Memory, Observation, Series
from policies.reactive.kpa import Kpa
from policies.reactive.kpa_decision import KpaParameters, KpaState, decide
from tests.builders import NOON, seen

PRESET = Path(__file__).parents[2] / "policies" / "presets" / "kpa.yaml"


def a_kpa(**parameters: Any) -> Kpa:
    return Kpa.model_validate({"signal": "in_flight", "target": 10, **parameters})


def at(
    load: float | Series, *, ready: int = 1, now: float = NOON, memory: Memory | None = None
) -> Observation:
    return replace(seen(ready, at=now, signals={"in_flight": load}), memory=memory)


def samples(*values: float, every: float = 15.0) -> Series:
    """The last sample is taken at noon."""
    first = NOON - every * (len(values) - 1)
    return Series.of([(first + every * index, value) for index, value in enumerate(values)])


@given(
    loads_seen=st.lists(
        st.tuples(st.floats(0.5, 70), st.integers(0, 1000)), min_size=1, max_size=9
    ),
    ready=st.integers(0, 40),
    delay=st.sampled_from([0, 1, 30]),
)
def test_memory_through_json_answers_as_the_state_itself(
    loads_seen: list[tuple[float, int]], ready: int, delay: int
) -> None:
    policy = a_kpa(scaleDownDelaySeconds=delay)
    state, memory, now = KpaState.start(NOON, ready, delay), None, NOON
    for index, (seconds, load) in enumerate(loads_seen):
        now += seconds if index else 0.0
        answer = policy.recommend(at(load, ready=ready, now=now, memory=memory))
        # one sample: both windows hold it alone
        kept = decide(
            state, policy.parameters,
            now=now, ready=ready, stable=load, panic=load,
        )  # fmt: skip
        memory, state = json.loads(json.dumps(answer.memory)), kept.state

        assert KpaState.from_memory(memory) == state
        assert answer.replicas == kept.desired


def test_asked_twice_it_answers_the_same() -> None:
    policy, observation = a_kpa(scaleDownDelaySeconds=10), at(42, ready=3)

    assert policy.recommend(observation) == policy.recommend(observation)


@pytest.mark.parametrize(
    "memory",
    [
        pytest.param({}, id="nothing in it"),
        pytest.param({"asked": 3}, id="another policy's"),
        pytest.param(
            {"panicSince": "noon", "maxPanic": 1, "delaySlots": 0, "delayCounts": []}, id="text"
        ),
        pytest.param(
            {"panicSince": None, "maxPanic": 1, "delaySlots": 0, "delayCounts": [3]}, id="no pairs"
        ),
    ],
)
def test_a_memory_that_cannot_be_read_is_as_none_and_shrinks_nothing(memory: Memory) -> None:
    with pytest.raises(ValueError, match="no memory of a kpa policy"):
        KpaState.from_memory(memory)

    answer = a_kpa().recommend(at(1, ready=5, memory=memory))

    assert answer == a_kpa().recommend(at(1, ready=5))
    assert answer.replicas == 5


def test_an_edited_scale_down_delay_counts_at_once() -> None:
    known = KpaState().to_memory()

    first = a_kpa(scaleDownDelaySeconds=120).recommend(at(40, ready=4, memory=known))
    held = a_kpa(scaleDownDelaySeconds=60).recommend(
        at(5, ready=4, now=NOON + 50, memory=first.memory)
    )
    dropped = a_kpa().recommend(at(5, ready=4, now=NOON + 52, memory=held.memory))

    assert (first.replicas, held.replicas, dropped.replicas) == (4, 4, 2)
    assert KpaState.from_memory(dropped.memory or {}) == KpaState()


@pytest.mark.parametrize(
    ("load", "ready", "given", "replicas", "reason"),
    [
        pytest.param(
            38, 1, {}, 4, "panic: 38 in_flight over 6 s needs 4 replicas, 10 each, 1 ready",
            id="equal windows in panic",
        ),
        pytest.param(
            samples(2, 2, 2, 38), 1, {},
            4, "panic: 38 in_flight over 6 s needs 4 replicas, 10 each, 1 ready",
            id="a burst",
        ),
        pytest.param(
            samples(90, 90, 90, 30), 1, {},
            8, "panic: 75 in_flight over 60 s needs 8 replicas, 10 each, 1 ready",
            id="the stable window asks for more",
        ),
        pytest.param(
            9, 1, {}, 1, "stable: 9 in_flight over 60 s needs 1 replica, 10 each, 1 ready",
            id="calm",
        ),
        pytest.param(
            9, 5, {},
            5, "panic: 9 in_flight over 6 s needs 1 replica, 10 each, 5 ready; panic keeps 5",
            id="met with five replicas",
        ),
        pytest.param(
            30, 1, {"activationScale": 8, "panicThresholdPercentage": 1000}, 8,
            "stable: 30 in_flight over 60 s needs 3 replicas, 10 each, 1 ready; "
            "activationScale makes it 8",
            id="activation",
        ),
    ],
)  # fmt: skip
def test_says_what_it_wants_and_why(
    load: float | Series, ready: int, given: Mapping[str, Any], replicas: int, reason: str
) -> None:
    answer = a_kpa(**given).recommend(at(load, ready=ready))

    assert (answer.replicas, answer.reason) == (replicas, reason)


def test_shows_the_numbers_that_it_stands_on() -> None:
    answer = a_kpa(containerConcurrencyTarget=14).recommend(at(samples(10, 10, 10, 30), ready=1))

    assert answer.evidence == {
        "stable": 15.0,
        "panic": 30.0,
        "target": 10.0,
        "stable_need": 2.0,
        "panic_need": 3.0,
        "ready": 1.0,
        "panicking": 1.0,
        "excess_burst_capacity": 14.0 - 211.0 - 30.0,
    }


def test_a_weighted_average_follows_a_rise_sooner() -> None:
    rising = samples(10, 10, 10, 30)

    plain = a_kpa(panicThresholdPercentage=1000).recommend(at(rising))
    weighted = a_kpa(
        panicThresholdPercentage=1000, aggregationAlgorithm="weighted-exponential"
    ).recommend(at(rising))

    assert (plain.replicas, weighted.replicas) == (2, 3)


def test_needs_its_signal() -> None:
    assert a_kpa().needs == {"in_flight"}
    assert a_kpa().label == "kpa(in_flight)"


def test_starts_from_the_defaults_of_knative() -> None:
    policy = Kpa(signal="in_flight")

    assert policy.parameters == KpaParameters(target=70.0, total=100.0)
    assert policy.panic_window_seconds == 6


@pytest.mark.parametrize(
    ("stable", "percent", "seconds"),
    [
        pytest.param(60, 10, 6, id="the default"),
        pytest.param(6, 1, 1, id="at least a second"),
        pytest.param(25, 10, 3, id="halves go up"),
        pytest.param(24, 10, 2, id="whole seconds"),
        pytest.param(60, 100, 60, id="as long as the stable one"),
    ],
)
def test_the_panic_window_is_a_share_of_the_stable_one(
    stable: int, percent: float, seconds: int
) -> None:
    policy = a_kpa(stableWindowSeconds=stable, panicWindowPercentage=percent)

    assert policy.panic_window_seconds == seconds


def test_a_target_above_the_most_that_one_replica_carries_raises_that() -> None:
    assert a_kpa(target=140).parameters.total == 140
    assert a_kpa(target=14).parameters.total == 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"signal": ""}, "at least 1 character", id="no signal"),
        pytest.param({"target": 0}, "greater than or equal to 0.01", id="no target"),
        pytest.param({"target": True}, "should be a number, not true", id="not a number"),
        pytest.param({"stableWindowSeconds": 5}, "greater than or equal to 6", id="window"),
        pytest.param({"panicThresholdPercentage": 100}, "greater than or equal to 110", id="panic"),
        pytest.param({"maxScaleUpRate": 1}, "greater than 1", id="no growth"),
        pytest.param({"maxScaleDownRate": 1}, "greater than 1", id="no shrinking"),
        pytest.param({"scaleDownDelaySeconds": 0.5}, "valid integer", id="half a second"),
        pytest.param({"targetBurstCapacity": -2}, "0 or more, or -1", id="negative burst"),
        pytest.param({"aggregationAlgorithm": "median"}, "'linear' or", id="algorithm"),
        pytest.param({"panicWindow": 6}, "Extra inputs are not permitted", id="unknown name"),
        pytest.param(
            {"target": None, "containerConcurrencyTarget": 0.01},
            "containerConcurrencyTarget times targetUtilizationPercentage should be at least "
            "0.01, not 0.007",
            id="too low together",
        ),
    ],
)
def test_refuses_what_knative_refuses(given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        a_kpa(**given)


def test_the_preset_is_knative_by_default_with_nothing_in_its_way() -> None:
    text = PRESET.read_text(encoding="utf-8")
    spec = yaml.safe_load(text)["spec"]
    policy = Kpa.model_validate(spec["policies"][0])
    behavior = Behavior.model_validate(spec["behavior"])

    assert text.startswith("# yaml-language-server: $schema=scaledworkload.schema.json\n")
    assert policy == Kpa(signal=policy.signal)
    assert policy.needs <= set(spec["signals"])
    for rules in (behavior.scale_up, behavior.scale_down):
        assert rules is not None
        assert rules.stabilization_window_seconds == 0
        assert [limit.value > spec["replicas"]["max"] for limit in rules.policies or ()] == [True]
