"""Histograms and rates, against values worked by hand from Prometheus's rules."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.histogram import (
    E2E_BOUNDS,
    INFINITY,
    ITL_BOUNDS,
    TTFT_BOUNDS,
    Histogram,
    quantile,
    rate,
)

BOUNDS = (0.1, 0.2, 1.0, INFINITY)


@pytest.mark.parametrize(
    ("share", "cumulative", "expected"),
    [
        pytest.param(0.2, [5, 7, 11, 12], 0.048, id="within the first bucket, from 0"),
        pytest.param(0.5, [5, 7, 11, 12], 0.15, id="halfway through the second"),
        pytest.param(0.8, [5, 7, 11, 12], 0.72, id="2.6 of 4 through the third"),
        pytest.param(0.95, [5, 7, 11, 12], 1.0, id="above the last bound: that bound"),
        pytest.param(0.5, [0, 0, 10, 10], 0.6, id="empty buckets below"),
        pytest.param(0.5, [0, 10, 10, 10], 0.15, id="empty buckets above"),
        pytest.param(0.5, [5, 4.99, 11, 12], 0.1 + 0.1 + 0.8 * (1 / 6), id="a dip is level"),
        pytest.param(0.95, [0.0, 0.0, 0.0, 0.5], 1.0, id="all above"),
    ],
)
def test_quantiles(share: float, cumulative: list[float], expected: float) -> None:
    assert quantile(share, BOUNDS, cumulative) == pytest.approx(expected)


def test_a_quantile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(quantile(0.95, BOUNDS, [0.0, 0.0, 0.0, 0.0]))


@given(values=st.lists(st.floats(0.001, 2000), min_size=1), share=st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    histogram = Histogram(TTFT_BOUNDS)
    for value in values:
        histogram.observe(value)

    told = quantile(share, TTFT_BOUNDS, np.cumsum(histogram.counts).tolist())

    true = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    above = next(bound for bound in TTFT_BOUNDS if true <= bound)
    below = max((bound for bound in TTFT_BOUNDS if bound < true), default=0.0)
    assert below <= told <= above or told == pytest.approx(below)


@pytest.mark.parametrize(
    ("value", "bucket"),
    [pytest.param(0.1, 0, id="a bound is inclusive"), pytest.param(0.1001, 1, id="just above"),
     pytest.param(5.0, 3, id="the last bucket has no end")],
)  # fmt: skip
def test_observations_fall_into_buckets(value: float, bucket: int) -> None:
    histogram = Histogram(BOUNDS)

    histogram.observe(value, times=3)

    assert histogram.counts == [3 * (i == bucket) for i in range(4)]


@pytest.mark.parametrize("bounds", [TTFT_BOUNDS, ITL_BOUNDS, E2E_BOUNDS])
def test_bounds_rise_to_infinity(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
    assert bounds[-1] == INFINITY


def rate_of(*samples: tuple[float, float], now: float = 60.0, over: float = 60.0) -> float:
    (first_time, first), (newest_time, newest) = samples[0], samples[-1]
    rates = rate(
        float(first_time),
        float(newest_time),
        len(samples),
        np.array([[float(first)]]),
        np.array([[float(newest)]]),
        now,
        over,
    )
    return float(rates[0, 0])


def test_a_steady_counter_has_its_slope() -> None:
    """Samples at 15, 30, 45, 60 cover 45 s; the 15 s before them are filled in."""
    assert rate_of((15, 115), (30, 130), (45, 145), (60, 160)) == pytest.approx(1.0)


def test_a_counter_that_began_within_the_range_is_not_stretched_beyond_zero() -> None:
    """2 at 15 s, rising by 1 per 15 s, was 0 only 30 s before: the 15 s up to the edge count."""
    assert rate_of((15, 2), (30, 3), (45, 4), (60, 5)) == pytest.approx(4 / 60)
    """0 at 15 s: nothing before it counts."""
    assert rate_of((15, 0), (30, 1), (45, 2), (60, 3)) == pytest.approx(3 / 60)


def test_a_series_that_begins_late_is_stretched_by_half_a_spacing() -> None:
    """10 more in the 15 s from 45 to 60; 7.5 s are added before, the range has 60."""
    assert rate_of((45, 100), (60, 110)) == pytest.approx(10 * (15 + 7.5) / 15 / 60)


def test_a_series_that_ended_early_is_stretched_by_half_a_spacing() -> None:
    assert rate_of((15, 100), (30, 110)) == pytest.approx(10 * (15 + 15 + 7.5) / 15 / 60)


def test_a_counter_at_rest_has_rate_zero() -> None:
    assert rate_of((15, 0), (30, 0), (45, 0), (60, 0)) == 0.0
