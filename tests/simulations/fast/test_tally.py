"""Percentiles from fine buckets: close to those of the values themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.fast.counting import fine_bucket
from simulations.fast.state import BUCKETS
from simulations.fast.tally import Durations


def durations(values: list[float]) -> Durations:
    return Durations(np.bincount([fine_bucket(v) for v in values], minlength=BUCKETS))


@given(
    values=st.lists(st.floats(2e-6, 3e7), min_size=1, max_size=50),
    percent=st.sampled_from([0.0, 50.0, 95.0, 99.0, 100.0]),
)
def test_percentiles_are_within_two_percent(values: list[float], percent: float) -> None:
    exact = float(np.percentile(values, percent))

    assert durations(values).percentile(percent) == pytest.approx(exact, rel=0.016)


def test_many_values_in_one_bucket_are_spread_over_it() -> None:
    values = np.linspace(1.0, 1.0 + 1 / 64, 1000, endpoint=False).tolist()

    assert durations(values).percentile(50) == pytest.approx(1 + 1 / 128, rel=1e-4)


def test_nothing_has_no_percentile() -> None:
    assert durations([]).percentile(50) is None


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        pytest.param(0.0, 0, id="no time at all"),
        pytest.param(1e-9, 0, id="less than a microsecond"),
        pytest.param(1e30, BUCKETS - 1, id="more than the universe has"),
    ],
)
def test_what_is_out_of_range_is_counted_at_its_edge(seconds: float, bucket: int) -> None:
    assert fine_bucket(seconds) == bucket
