"""regression: fitted now and then, remembered as coefficients, a floor in between."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.observation import Memory, Observation, Series
from autoscaler.core.policy import Recommendation
from policies.predictive import ridge
from policies.predictive.regression import Regression
from tests.policies.predictive.histories import (
    DAY,
    HOUR,
    MONDAY,
    SIGNAL,
    STEP,
    daily,
    history,
    noisy,
    shown,
    without,
)

NOON = MONDAY + 10 * DAY + 12 * HOUR
HISTORY = history(noisy, days=7, until=NOON)
LONG = history(noisy, days=12, until=NOON + DAY)
FIT = "policies.predictive.regression.fit"
LOADED = """
import sys
from pathlib import Path
from autoscaler.config import load_fleet
from autoscaler.controller import Controller
fleet = load_fleet([Path("policies/presets/regression.yaml")])
before = "sklearn" in sys.modules
Controller(fleet, observer=None)
print(before, "sklearn.linear_model" in sys.modules)
"""


def a_regression(**parameters: Any) -> Regression:
    """Fits at once unless told otherwise."""
    return Regression.model_validate({
        "signal": SIGNAL, "perReplica": 2.0, "spreadSeconds": 0, **parameters,
    })  # fmt: skip


def up_to(time: float, series: Series = LONG) -> Series:
    keep = series.times <= time
    return Series(series.times[keep], series.values[keep])


def memory_of(policy: Regression, observation: Observation) -> Memory:
    memory = policy.recommend(observation).memory
    assert memory is not None
    return memory


def no_fit(*_: object) -> None:
    raise AssertionError("it was fitted")


def test_it_raises_ahead_of_the_day_s_rise() -> None:
    morning = history(daily, days=7, until=NOON - 5 * HOUR)

    answer = a_regression().recommend(shown(morning, lead=1800))

    assert answer.forecast is not None
    middle = answer.forecast.values[1]
    np.testing.assert_allclose(middle, daily(answer.forecast.times), rtol=0.02)
    assert answer.replicas == np.ceil(answer.forecast.values[2].max() / 2.0)
    assert answer.raise_only
    assert answer.reason.startswith("p90 of arrivals_per_second in the next 2100 s is up to ")
    assert answer.reason.endswith("; ridge regression fitted 0 s ago")
    assert middle[-1] > morning.latest


@pytest.mark.parametrize("age", [0.0, 20.0, 290.0])
@pytest.mark.parametrize("lead", [0.0, 240.0, 600.0, 3000.0, 20_000.0])
def test_the_horizon_is_the_lead_time_and_a_step(age: float, lead: float) -> None:
    answer = a_regression().recommend(shown(HISTORY, age=age, lead=lead))

    assert answer.forecast is not None
    ahead = answer.forecast.times - (HISTORY.latest_time + age)
    assert (ahead > 0).all()
    assert lead + STEP <= ahead[-1] < lead + 2 * STEP
    assert (ahead[:-1] < lead + STEP).all()
    assert 1 <= len(ahead) <= 4


def test_a_horizon_beyond_a_day_ends_there() -> None:
    answer = a_regression().recommend(shown(LONG, lead=86_400.0))

    assert answer.forecast is not None
    assert answer.forecast.times[-1] == LONG.latest_time + DAY
    assert "in the next 86400 s" in answer.reason
    again = shown(LONG, lead=86_400.0, memory=answer.memory)
    with patch(FIT, no_fit):
        assert a_regression().recommend(again).replicas == answer.replicas


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        pytest.param(
            Series.of([(NOON, 5.0)]),
            "arrivals_per_second reaches back 0.0 days: 3 are needed",
            id="a single sample",
        ),
        pytest.param(
            history(daily, days=2.5),
            "arrivals_per_second reaches back 2.5 days: 3 are needed",
            id="two days and a half",
        ),
        pytest.param(
            history(daily, days=20, step=7200.0),
            "samples of arrivals_per_second are 7200 s apart: at most 3600 s",
            id="too sparse",
        ),
    ],
)
def test_without_enough_history_it_says_nothing_and_why(series: Series, reason: str) -> None:
    answer = a_regression().recommend(shown(series, memory={"kept": 1}))

    assert answer.replicas is None
    assert answer.raise_only
    assert answer.reason == reason
    assert answer.memory == {"kept": 1}


def test_exactly_the_asked_for_history_is_enough() -> None:
    assert a_regression().recommend(shown(history(noisy, days=3))).replicas is not None


def test_the_first_fit_waits_for_its_moment() -> None:
    policy = a_regression(spreadSeconds=600)

    first = policy.recommend(shown(HISTORY))

    assert first.replicas is None
    assert first.raise_only
    assert first.memory is not None
    due = first.memory["due"]
    assert NOON < due < NOON + 600
    assert first.reason == f"fits in {due - NOON:.0f} s: workloads fit one after the other"
    waiting = policy.recommend(shown(HISTORY, age=due - NOON - 1, memory=first.memory))
    assert waiting.replicas is None
    assert waiting.memory == first.memory
    fitted = policy.recommend(shown(HISTORY, age=due - NOON, memory=first.memory))
    assert fitted.replicas is not None


def test_between_fits_nothing_is_fitted_and_then_again() -> None:
    policy = a_regression(refitSeconds=HOUR)
    memory = memory_of(policy, shown(up_to(NOON)))
    due = memory["due"]

    assert NOON + 0.75 * HOUR <= due <= NOON + HOUR
    with patch(FIT, no_fit):
        for seconds in np.arange(0.0, due - NOON, 60.0):
            seen = up_to(NOON + seconds)
            answer = policy.recommend(shown(seen, age=NOON + seconds - seen.latest_time,
                                            memory=memory))  # fmt: skip
            assert answer.memory == memory
            assert answer.reason.endswith(f"fitted {seconds:.0f} s ago")
    seen = up_to(due)
    renewed = memory_of(policy, shown(seen, age=due - seen.latest_time, memory=memory))
    assert renewed["fitted"] == due
    assert renewed["due"] > due
    assert renewed["model"] != memory["model"]


def test_between_fits_the_newest_samples_count() -> None:
    policy = a_regression()
    memory = memory_of(policy, shown(HISTORY))
    doubled = replace(HISTORY, values=np.append(HISTORY.values[:-1], 2 * HISTORY.latest))

    before = policy.recommend(shown(HISTORY, memory=memory))
    after = policy.recommend(shown(doubled, memory=memory))

    assert before.replicas is not None
    assert after.replicas is not None
    assert after.replicas > before.replicas


def test_a_failed_fit_says_why_and_is_tried_again() -> None:
    policy = a_regression(spreadSeconds=600)
    gappy = HISTORY
    for hour in range(1, 7 * 24):
        gappy = without(gappy, NOON - hour * HOUR - 2400, NOON - hour * HOUR)
    first = memory_of(policy, shown(gappy))

    answer = policy.recommend(shown(gappy, age=600, memory=first))

    assert answer.replicas is None
    assert answer.memory is not None
    assert NOON + 600 + STEP <= answer.memory["due"] <= NOON + 1200 + STEP
    assert answer.reason.startswith("fits in ")
    assert answer.reason.endswith("times have every sample: 64 are needed")
    late = shown(HISTORY, age=1500, memory=answer.memory)
    assert policy.recommend(late).memory != answer.memory


def test_a_failed_refit_leaves_the_earlier_fit_in_force() -> None:
    policy = a_regression(refitSeconds=HOUR)
    memory = memory_of(policy, shown(up_to(NOON)))
    later = shown(up_to(NOON + 2 * HOUR), memory=memory)

    with patch(FIT, lambda *_: "no luck"):
        answer = policy.recommend(later)

    assert answer.replicas is not None
    assert answer.memory is not None
    assert answer.memory["model"] == memory["model"]
    assert answer.memory["due"] > later.now
    assert "fitted 7200 s ago" in answer.reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"quantile": 0.97}, id="another quantile"),
        pytest.param({"signal": "tokens_per_second"}, id="another signal"),
    ],
)
def test_memory_of_an_edited_file_is_not_used(change: dict[str, Any]) -> None:
    memory = memory_of(a_regression(), shown(HISTORY))
    edited = a_regression(spreadSeconds=600, **change)
    observation = replace(shown(HISTORY, memory=memory), signals={edited.signal: HISTORY})

    answer = edited.recommend(observation)

    assert answer.replicas is None
    assert answer.memory is not None
    assert answer.memory["model"] is None


@pytest.mark.parametrize(
    ("lead", "refits"),
    [
        pytest.param(240.0, False, id="as before"),
        pytest.param(100.0, False, id="a shorter one is covered"),
        pytest.param(500.0, False, id="a little more is covered"),
        pytest.param(900.0, True, id="more than it reaches"),
    ],
)
def test_a_longer_lead_time_is_fitted_soon(lead: float, refits: bool) -> None:
    policy = a_regression(spreadSeconds=600)
    memory = memory_of(a_regression(), shown(HISTORY, lead=240.0))

    answer = policy.recommend(shown(HISTORY, lead=lead, memory=memory))

    assert answer.replicas is not None
    assert answer.memory is not None
    assert (answer.memory["due"] < memory["due"]) is refits
    late = policy.recommend(shown(HISTORY, age=600, lead=lead, memory=answer.memory))
    assert late.memory is not None
    assert (late.memory["fitted"] > NOON) is refits


def test_another_sampling_is_fitted_soon() -> None:
    memory = memory_of(a_regression(), shown(HISTORY))
    finer = history(noisy, days=7, step=60.0, until=NOON)

    fitted = memory_of(a_regression(), shown(finer, memory=memory))

    assert fitted["model"]["step"] == 60.0


def test_a_forecast_that_has_passed_says_nothing() -> None:
    policy = a_regression()
    memory = memory_of(policy, shown(HISTORY, lead=0.0))

    answer = policy.recommend(shown(HISTORY, age=700, lead=0.0, memory=memory))

    assert answer.replicas is None
    assert answer.memory == memory
    assert answer.reason == (
        "the newest arrivals_per_second is 700 s old: the forecast ends 600 s after it"
    )


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_constant_demand_is_forecast_as_it_is(level: float) -> None:
    series = history(lambda times: np.full(len(times), level), days=8)

    answer = a_regression().recommend(shown(series))

    assert answer.forecast is not None
    assert (answer.forecast.values == level).all()
    assert answer.replicas == (4 if level else 0)


def test_irregular_sampling_changes_little() -> None:
    shifts = 100.0 * np.sin(np.arange(float(len(HISTORY))) * 1.7)
    shifts[-1] = 0.0
    times = HISTORY.times + shifts
    uneven = Series(times, daily(times))
    even = Series(HISTORY.times, daily(HISTORY.times))

    found = a_regression().recommend(shown(uneven)).evidence["median"]

    assert found == pytest.approx(a_regression().recommend(shown(even)).evidence["median"], 0.03)


def agree(one: Recommendation, other: Recommendation) -> bool:
    assert one.forecast is not None
    assert other.forecast is not None
    return (
        (one.replicas, one.reason, one.evidence, one.memory)
        == (other.replicas, other.reason, other.evidence, other.memory)
        and one.forecast.times.tolist() == other.forecast.times.tolist()
        and one.forecast.values.tolist() == other.forecast.values.tolist()
    )


def test_equal_sights_get_equal_answers() -> None:
    assert agree(*(a_regression().recommend(shown(HISTORY)) for _ in range(2)))


def test_memory_through_json_answers_as_in_the_process() -> None:
    policy = a_regression()
    direct = json_memory = memory_of(policy, shown(up_to(NOON)))
    for seconds in np.arange(0.0, 8 * HOUR, 1700.0):
        seen = shown(up_to(NOON + seconds))
        json_memory = json.loads(json.dumps(json_memory, allow_nan=False))
        one = policy.recommend(replace(seen, memory=direct))
        other = policy.recommend(replace(seen, memory=json_memory))
        assert agree(one, other)
        assert one.memory is not None
        assert other.memory is not None
        direct, json_memory = one.memory, other.memory


def test_the_first_forecast_is_that_of_the_remembered_fit() -> None:
    policy = a_regression()
    first = policy.recommend(shown(HISTORY))

    assert agree(first, policy.recommend(shown(HISTORY, memory=first.memory)))


def test_what_it_remembers_is_small() -> None:
    for lead in (0.0, 240.0, 3600.0):
        assert len(json.dumps(memory_of(a_regression(), shown(HISTORY, lead=lead)))) < 2500


@settings(max_examples=20)
@given(
    factor=st.floats(1.001, 4.0),
    more=st.floats(0.001, 100.0),
    hour=st.integers(0, 23),
    lead=st.sampled_from([0.0, 240.0, 1800.0]),
)
def test_more_demand_never_needs_fewer(factor: float, more: float, hour: int, lead: float) -> None:
    low = up_to(NOON + hour * HOUR)
    policy = a_regression()
    fit_to_low = memory_of(policy, shown(low, lead=lead))
    shifted = replace(low, values=low.values + more)

    few = policy.recommend(shown(low, lead=lead)).replicas
    assert few is not None
    for memory, high in [
        (None, replace(low, values=low.values * factor)),
        (None, shifted),
        (fit_to_low, shifted),
    ]:
        many = policy.recommend(shown(high, lead=lead, memory=memory)).replicas
        assert many is not None
        assert few <= many


@settings(max_examples=20)
@given(
    values=st.lists(st.floats(0, 1e9), min_size=5 * 24, max_size=6 * 24),
    lead=st.floats(0, 20_000),
    growth=st.floats(0.5, 3),
)
def test_whatever_the_history_the_forecast_is_bounded(
    values: list[float], lead: float, growth: float
) -> None:
    series = Series.of([(MONDAY + HOUR * place, value) for place, value in enumerate(values)])

    answer = a_regression(maxGrowth=growth, perReplica=1e6).recommend(shown(series, lead=lead))

    if answer.replicas is None:
        assert "residuals" in answer.reason
        return
    assert answer.forecast is not None
    assert answer.replicas >= 0
    assert np.isfinite(answer.forecast.values).all()
    assert (answer.forecast.values >= 0).all()
    assert (answer.forecast.values <= growth * max(values)).all()
    assert (np.diff(answer.forecast.values, axis=0) >= 0).all()


def test_scikit_learn_is_loaded_only_to_fit() -> None:
    policy = a_regression()
    memory = memory_of(policy, shown(HISTORY))
    hidden = {name: None for name in sys.modules if name.split(".")[0] == "sklearn"}

    with patch.dict(sys.modules, hidden):
        assert policy.recommend(shown(HISTORY, memory=memory)).replicas is not None
        with pytest.raises(ImportError):
            ridge.fit(HISTORY, STEP, (1,), (0.5,))


@pytest.mark.slow
def test_scikit_learn_is_loaded_with_the_controller_and_not_with_the_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["False", "True"]


def test_preparing_loads_scikit_learn() -> None:
    with patch.dict(sys.modules, {"sklearn.linear_model": None}), pytest.raises(ImportError):
        a_regression().prepare()
    a_regression().prepare()
