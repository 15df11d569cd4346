"""Synthetic traffic: its statistics are those that its parameters state."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.arrivals import Lengths, Traffic, synthesize, synthetic_hour


def counts(arrivals: np.ndarray, start: float, end: float, width: float) -> np.ndarray:
    return np.histogram(arrivals, np.arange(start, end + width / 2, width))[0]


def test_the_hour_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    one, again, other = synthetic_hour(7), synthetic_hour(7), synthetic_hour(8)

    assert np.array_equal(one.arrivals, again.arrivals)
    assert np.array_equal(one.prompt_tokens, again.prompt_tokens)
    assert np.array_equal(one.output_tokens, again.output_tokens)
    assert not np.array_equal(one.arrivals[:100], other.arrivals[:100])
    assert one.name == "synthetic-hour"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_hour_has_its_stated_statistics(seed: int) -> None:
    hour = synthetic_hour(seed)

    assert len(hour) / 3600 == pytest.approx(5.5, rel=0.03)
    assert np.percentile(hour.prompt_tokens, 50) == pytest.approx(1020, rel=0.03)
    assert np.percentile(hour.prompt_tokens, 95) == pytest.approx(4083, rel=0.05)
    assert np.percentile(hour.output_tokens, 50) == pytest.approx(129, rel=0.03)
    assert np.percentile(hour.output_tokens, 95) == pytest.approx(451, rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_burst_is_as_high_and_as_long_as_stated(seed: int) -> None:
    arrivals = synthetic_hour(seed).arrivals

    before = counts(arrivals, 1200, 1500, 10).sum() / 300
    burst = counts(arrivals, 1500, 2100, 10).sum() / 600
    after = counts(arrivals, 2100, 2400, 10).sum() / 300

    # The swing rises there: the level inside lies between those on both sides.
    assert burst / ((before + after) / 2) == pytest.approx(3.0, rel=0.15)


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
    ],
    ids=str,
)
def test_traffic_that_cannot_be_drawn_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="should be"):
        Traffic(**wrong)  # type: ignore[arg-type]  # only numbers


def test_lengths_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="0 < p50 < p95 < most, not 10, 5, 20"):
        Lengths(p50=10, p95=5, most=20)


def test_a_trace_without_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="too thin"):
        synthesize(Traffic(seconds=1, requests_per_second=1e-9), np.random.default_rng(1))
