"""Synthetic traffic: its statistics are those that its parameters state."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.arrivals import DAY, WEEKDAY, Traffic, synthesize, synthetic_day
from simulations.trace import Trace


def counts(arrivals: np.ndarray, start: float, end: float, width: float) -> np.ndarray:
    return np.histogram(arrivals, np.arange(start, end + width / 2, width))[0]


def an_hour(seed: int) -> Trace:
    return synthesize(Traffic(), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def day() -> Trace:
    return synthetic_day()


def test_traffic_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    one, again, other = an_hour(7), an_hour(7), an_hour(8)

    assert np.array_equal(one.arrivals, again.arrivals)
    assert np.array_equal(one.prompt_tokens, again.prompt_tokens)
    assert np.array_equal(one.output_tokens, again.output_tokens)
    assert not np.array_equal(one.arrivals[:100], other.arrivals[:100])


def test_the_day_is_drawn_from_its_parameters(day: Trace) -> None:
    again = synthesize(DAY, np.random.default_rng(1), "synthetic-day")

    assert day.name == "synthetic-day"
    assert np.array_equal(day.arrivals, again.arrivals)
    assert np.array_equal(day.prompt_tokens, again.prompt_tokens)


def test_the_day_has_two_peaks_as_published_and_is_quiet_at_night(day: Trace) -> None:
    hours = counts(day.arrivals, 0, 86_400, 3600) / 3600
    calm = np.array([*hours[:18], *hours[21:]])
    level = np.array([*WEEKDAY[:18], *WEEKDAY[21:]])

    # Straight lines between the hours cut off a little of peaks and troughs.
    assert calm / calm.mean() == pytest.approx(level / level.mean(), rel=0.06)
    assert {int(at) for at in np.argsort(hours[:18])[-4:]} == {13, 14, 15, 12}
    assert hours[8] > max(hours[3], hours[10])
    assert len(day) / 86_400 == pytest.approx(DAY.requests_per_second, rel=0.01)


def test_the_day_has_the_lengths_of_a_conversation_correlated_with_nothing(day: Trace) -> None:
    assert np.percentile(day.prompt_tokens, [50, 95]) == pytest.approx([1020, 4083], rel=0.02)
    assert np.percentile(day.output_tokens, [50, 95]) == pytest.approx([129, 451], rel=0.02)
    assert day.prompt_tokens.mean() == pytest.approx(1155, rel=0.02)
    assert day.output_tokens.mean() == pytest.approx(211, rel=0.02)
    prompts, outputs = day.prompt_tokens, day.output_tokens
    for one, other in ((prompts, outputs), (prompts[1:], prompts[:-1]), (prompts, day.arrivals)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.01


def test_the_day_clusters_as_much_as_published(day: Trace) -> None:
    """Variance over mean of counts in 10 s, within ten minutes: 2.12 in the conversation trace."""
    tens = counts(day.arrivals, 0, 86_400, 10).reshape(-1, 60)

    assert np.mean(tens.var(axis=1) / tens.mean(axis=1)) == pytest.approx(2.12, rel=0.1)


def test_the_incident_grows_for_longer_than_replicas_take_to_start(day: Trace) -> None:
    minutes = counts(day.arrivals, DAY.burst_from - 600, DAY.burst_from + 5400, 60)
    before, top, after = minutes[:10].mean(), minutes[30:50].mean(), minutes[85:].mean()
    growing = minutes[10:30].reshape(4, 5).mean(axis=1)

    assert top / before == pytest.approx(3.0, rel=0.1)
    assert after / before == pytest.approx(1.0, rel=0.15)
    assert np.all(np.diff(growing) > 0)
    assert DAY.burst_rise_seconds > 4 * 240


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_hour_has_its_stated_statistics(seed: int) -> None:
    hour = an_hour(seed)

    assert len(hour) / 3600 == pytest.approx(5.5, rel=0.03)
    assert np.percentile(hour.prompt_tokens, [50, 95]) == pytest.approx([1020, 4083], rel=0.05)
    assert np.percentile(hour.output_tokens, [50, 95]) == pytest.approx([129, 451], rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_burst_is_as_high_and_as_long_as_stated(seed: int) -> None:
    arrivals = an_hour(seed).arrivals

    before = counts(arrivals, 1200, 1500, 10).sum() / 300
    burst = counts(arrivals, 1500, 2100, 10).sum() / 600
    after = counts(arrivals, 2100, 2400, 10).sum() / 300

    # The swing rises there: the level inside lies between those on both sides.
    assert burst / ((before + after) / 2) == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize(
    ("second", "height"),
    [
        pytest.param(99.9, 1.0, id="before"),
        pytest.param(150.0, 2.0, id="half of the rise"),
        pytest.param(200.0, 3.0, id="the top"),
        pytest.param(299.9, 3.0, id="still the top"),
        pytest.param(350.0, 2.5, id="a quarter of the fall"),
        pytest.param(500.1, 1.0, id="after"),
    ],
)
def test_a_burst_may_rise_and_fall_slowly(second: float, height: float) -> None:
    traffic = Traffic(
        swing=0,
        burst_from=100,
        burst_rise_seconds=100,
        burst_seconds=100,
        burst_fall_seconds=200,
        levels=(2.0,),
    )

    rates = traffic.rate(np.array([0.0, second]))

    assert rates[1] / rates[0] == pytest.approx(height, abs=0.01)


def test_levels_repeat_every_day_with_straight_lines_between() -> None:
    traffic = Traffic(seconds=4 * 86_400, swing=0, burst_factor=1, levels=(1.0, 3.0))

    rates = traffic.rate(np.array([0.25, 0.5, 0.75, 1.0, 1.25]) * 86_400)

    assert rates / rates[0] == pytest.approx([1, 2, 3, 2, 1])


@pytest.mark.parametrize("dispersion", [1.0, 2.1, 5.0])
def test_counts_are_dispersed_as_stated(dispersion: float) -> None:
    steady = Traffic(seconds=20_000, swing=0, burst_factor=1, dispersion=dispersion)

    arrivals = synthesize(steady, np.random.default_rng(1)).arrivals
    in_windows = counts(arrivals, 0, 20_000, 20)

    assert in_windows.var() / in_windows.mean() == pytest.approx(dispersion, rel=0.12)


@given(
    seconds=st.floats(10, 300),
    rate=st.floats(1, 20),
    swing=st.floats(0, 0.9),
    burst=st.floats(0.5, 5),
    seed=st.integers(0, 9),
)
def test_any_traffic_is_a_trace_within_its_time(
    seconds: float, rate: float, swing: float, burst: float, seed: int
) -> None:
    traffic = Traffic(
        seconds=seconds,
        requests_per_second=rate,
        swing=swing,
        burst_factor=burst,
        burst_from=seconds / 3,
        burst_seconds=seconds / 5,
    )

    trace = synthesize(traffic, np.random.default_rng(seed))

    assert trace.seconds <= seconds + 0.001
    assert trace.prompt_tokens.max() <= 16_000
    assert trace.output_tokens.max() <= 2_000


def test_the_mean_rate_includes_swing_and_burst() -> None:
    traffic = Traffic()

    rates = traffic.rate(np.arange(0.05, 3600, 0.1))

    assert rates.mean() == pytest.approx(5.5)
    assert rates.max() / rates.min() > 3.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0.0},
        {"requests_per_second": 0.0},
        {"dispersion": 0.0},
        {"swing": 1.0},
        {"burst_factor": 0.0},
        {"levels": ()},
        {"levels": (1.0, 0.0)},
        {"burst_rise_seconds": -1.0},
        {"burst_fall_seconds": -1.0},
    ],
    ids=str,
)
def test_traffic_that_cannot_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="should"):
        Traffic(**wrong)


def test_a_trace_without_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="too thin"):
        synthesize(Traffic(seconds=1, requests_per_second=1e-9), np.random.default_rng(1))
