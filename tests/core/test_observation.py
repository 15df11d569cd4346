"""Series are frozen, ordered, and equal by value."""

import math

import numpy as np
import pytest

from autoscaler.core.observation import ReplicaStatus, Series


def test_the_latest_sample_is_the_last() -> None:
    series = Series.of([(1.0, 5.0), (2.0, 6.0)])

    assert (series.latest, series.latest_time, len(series)) == (6.0, 2.0, 2)


def test_an_empty_series_has_no_latest_value() -> None:
    series = Series.of([])

    assert math.isnan(series.latest)
    assert series.latest_time == -math.inf


def test_times_must_rise() -> None:
    with pytest.raises(ValueError, match="times should rise strictly"):
        Series.of([(2.0, 1.0), (2.0, 2.0)])


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"not \(1,\) and \(2,\)"):
        Series(np.array([1.0]), np.array([1.0, 2.0]))


def test_a_series_cannot_be_changed() -> None:
    series = Series.of([(1.0, 5.0)])

    with pytest.raises(ValueError, match="read-only"):
        series.values[0] = 6.0


def test_series_are_equal_by_value_and_nan_equals_nan() -> None:
    first, second = Series.of([(1.0, math.nan)]), Series.of([(1.0, math.nan)])

    assert first == second
    assert hash(first) == hash(second)
    assert first != Series.of([(1.0, 1.0)])
    assert first != "a series"


def test_finite_drops_what_is_not_a_number() -> None:
    series = Series.of([(1.0, math.nan), (2.0, 5.0), (3.0, math.inf)])

    assert series.finite() == Series.of([(2.0, 5.0)])


def test_since_is_exclusive() -> None:
    series = Series.of([(1.0, 5.0), (2.0, 6.0)])

    assert series.since(1.0) == Series.of([(2.0, 6.0)])
    assert series.since(0.5) == series
    assert len(series.since(2.0)) == 0


def test_starting_is_never_negative() -> None:
    assert ReplicaStatus(desired=2, ready=5).starting == 0
    assert ReplicaStatus(desired=5, ready=2).starting == 3


def test_status_replicas_default_to_the_desired_ones() -> None:
    assert ReplicaStatus(desired=2, ready=1).status == 2
    assert ReplicaStatus(desired=2, ready=1, total=3).status == 3
