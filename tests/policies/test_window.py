"""What the newest samples of a series say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.reactive import window
from tests.policies.worlds import samples


def test_the_newest_samples_include_the_one_exactly_at_the_edge() -> None:
    assert list(window.newest(samples(1, 2, 3, 4), 30.0).values) == [2, 3, 4]


@pytest.mark.parametrize(
    ("values", "seconds", "expected"),
    [
        pytest.param((), 0.0, False, id="no sample covers nothing"),
        pytest.param((1.0,), 0.0, True, id="one sample covers an instant"),
        pytest.param((1.0,), 1.0, False, id="one sample covers no time"),
        pytest.param((1.0, 1.0, 1.0), 30.0, True, id="exactly as long"),
        pytest.param((1.0, 1.0, 1.0), 31.0, False, id="a second short"),
    ],
)
def test_a_series_covers_the_time_between_its_ends(
    values: tuple[float, ...], seconds: float, expected: bool
) -> None:
    assert window.covers(samples(*values), seconds) is expected


def test_a_run_ends_at_the_newest_sample_on_the_other_side() -> None:
    series = samples(9, 1, 7, 8)

    assert list(window.newest_above(series, 5).values) == [7, 8]
    assert len(window.newest_below(series, 5)) == 0
    assert list(window.newest_below(series, 9).values) == [1, 7, 8]


def test_a_value_on_the_mark_is_neither_above_nor_below() -> None:
    assert len(window.newest_above(samples(5.0), 5.0)) == 0
    assert len(window.newest_below(samples(5.0), 5.0)) == 0


def test_the_slope_is_the_change_per_second() -> None:
    assert window.slope(samples(0, 30, 60)) == pytest.approx(2.0)
    assert window.slope(samples(60.0)) == 0.0
    assert window.slope(samples()) == 0.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_slope_is_that_of_a_least_squares_line(values: list[float]) -> None:
    series = samples(*values)

    line = np.polyfit(series.times - series.times[0], series.values, 1)

    assert window.slope(series) == pytest.approx(line[0], abs=1e-6 * max(1, *map(abs, values)))


def test_mean_largest_and_smallest() -> None:
    assert window.mean(samples(1, 2, 6)) == 3
    assert window.largest(samples(1, 6, 2)) == 6
    assert window.smallest(samples(2, 1, 6)) == 1


@given(st.lists(st.floats(-1e140, 1e140), min_size=1, max_size=40))
def test_a_replay_on_any_version_decides_alike_for_no_bit_differs(values: list[float]) -> None:
    series = samples(*values)
    times, centred = series.times - series.times.mean(), series.values - series.values.mean()

    assert window.largest(series) == max(values)
    assert window.smallest(series) == min(values)
    assert window.mean(series) == series.values.mean()
    if len(values) > 1:
        assert window.slope(series) == float(times @ centred / (times @ times))


@pytest.mark.parametrize("huge", [1e150, 1e200, 1e308])
def test_absurd_values_keep_their_order(huge: float) -> None:
    assert window.slope(samples(0.0, 1.0, 2.0)) < window.slope(samples(0.0, huge / 2, huge))
    assert window.slope(samples(0.0, huge / 2, huge)) == pytest.approx(huge / 30)
    assert window.mean(samples(*[huge] * 9)) == pytest.approx(huge)
    assert window.slope(samples(*[huge] * 9)) == 0
