"""Samples at any time: gaps stay gaps; quantiles are bounds for the next value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import Series
from policies.predictive.samples import quantiles_of, step_seconds, values_at

NAN = float("nan")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param([100.0], None, id="one sample has no distance"),
        pytest.param([0.0, 60.0], 60.0, id="two samples"),
        pytest.param([0.0, 60.0, 120.0, 900.0, 960.0], 60.0, id="a gap does not count"),
        pytest.param([0.0, 60.0, 180.0], 60.0, id="of two middle ones the shorter"),
    ],
)
def test_the_step_is_the_usual_distance(times: list[float], expected: float | None) -> None:
    assert step_seconds(Series.of([(time, 1.0) for time in times])) == expected


def test_the_step_follows_the_newest_samples() -> None:
    coarse = [(600.0 * place, 1.0) for place in range(500)]
    fine = [(coarse[-1][0] + 60.0 * place, 1.0) for place in range(1, 300)]

    assert step_seconds(Series.of(coarse + fine)) == 60.0


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        pytest.param(100.0, 1.0, id="at a sample"),
        pytest.param(159.0, 1.0, id="within a step the last sample counts"),
        pytest.param(160.0, 2.0, id="at the next sample"),
        pytest.param(159.99, 2.0, id="times as good as equal are equal"),
        pytest.param(219.0, 2.0, id="just within a step"),
        pytest.param(220.0, NAN, id="a whole step later there is a gap"),
        pytest.param(399.0, NAN, id="in the gap"),
        pytest.param(400.0, 0.0, id="demand is not negative"),
        pytest.param(460.0, NAN, id="after the newest"),
        pytest.param(99.0, NAN, id="before the first"),
    ],
)
def test_the_last_sample_within_one_step_counts(time: float, expected: float) -> None:
    series = Series.of([(100.0, 1.0), (160.0, 2.0), (400.0, -4.0)])

    (value,) = values_at(series, np.array([time]), 60.0)

    np.testing.assert_equal(value, expected)


@pytest.mark.parametrize(
    ("row", "level", "expected"),
    [
        pytest.param([1.0, 2.0, 3.0], 0.5, 2.0, id="the middle of three"),
        pytest.param([3.0, NAN, 1.0, 2.0], 0.5, 2.0, id="gaps do not count, nor does order"),
        pytest.param([1.0, 2.0, 3.0], 0.75, 3.0, id="the third of three is the 3/4 quantile"),
        pytest.param([1.0, 2.0, 3.0], 0.9, 3.0, id="beyond the ranks: the largest"),
        pytest.param([1.0, 2.0, 3.0], 0.1, 1.0, id="below the ranks: the least"),
        pytest.param([1.0, 2.0], 0.5, 1.5, id="linear between ranks"),
        pytest.param([7.0], 0.9, 7.0, id="one value is all there is"),
    ],
)
def test_quantiles_by_hand(row: list[float], level: float, expected: float) -> None:
    assert quantiles_of(np.array([row]), [level]).tolist() == [[expected]]


@given(
    rows=st.lists(st.lists(st.floats(0, 1e6), min_size=7, max_size=7), min_size=1, max_size=4),
    levels=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=4, unique=True).map(sorted),
)
def test_quantiles_rise_and_stay_within_the_values(
    rows: list[list[float]], levels: list[float]
) -> None:
    found = quantiles_of(np.array(rows), levels)

    slack = 1e-9 * np.max(rows)
    assert found.shape == (len(levels), len(rows))
    assert (np.diff(found, axis=0) >= -slack).all()
    assert (found >= np.min(rows, axis=1)).all()
    assert (found <= np.max(rows, axis=1) + slack).all()


def test_the_next_value_stays_below_a_quantile_that_often() -> None:
    rows = np.random.default_rng(7).exponential(size=(4000, 19))

    below = (rows[:, 0] <= quantiles_of(rows[:, 1:], [0.9])[0]).mean()

    assert below == pytest.approx(0.9, abs=0.02)
