"""The columns of the regression, worked by hand."""

import numpy as np
import pytest

from autoscaler.core.observation import FloatArray, Series
from policies.predictive.features import DAY_WAVES, LAGS, RECENT, WEEK_WAVES, Features
from tests.policies.predictive.histories import DAY, HOUR, MONDAY, STEP, history, without

NOON = MONDAY + 10 * DAY + 12 * HOUR


def rising(times: FloatArray) -> FloatArray:
    """One more each step: every change tells its distance."""
    return (times - MONDAY) / STEP + 100.0


def read(features: Features, series: Series, origin: float) -> tuple[FloatArray, float]:
    columns, restless = features.read(series, np.array([origin]))
    return columns[0], float(restless[0])


def test_lags_are_differences_to_the_newest() -> None:
    columns, _ = read(Features(STEP, (1,), weekly=False), history(rising, days=3, until=NOON), NOON)

    assert columns[: len(LAGS)].tolist() == [-1, -2, -3, -6, -12]


def test_a_day_ago_is_what_came_next_then() -> None:
    features = Features(STEP, (1, 3), weekly=False)
    series = history(rising, days=3, until=NOON)
    doubled = Series(series.times, np.where(series.times > NOON - DAY, 2.0, 1.0) * series.values)

    assert read(features, series, NOON)[0][len(LAGS) : len(LAGS) + 2].tolist() == [1, 3]
    then = rising(np.array([NOON - DAY]))[0]
    expected = [2 * (then + 1) - then, 2 * (then + 3) - then]
    assert read(features, doubled, NOON)[0][len(LAGS) : len(LAGS) + 2].tolist() == expected


@pytest.mark.parametrize("weekly", [False, True])
def test_there_are_as_many_columns_as_it_says(weekly: bool) -> None:
    features = Features(STEP, (1, 3), weekly=weekly)

    columns, _ = read(features, history(rising, days=9, until=NOON), NOON)

    waves = DAY_WAVES + (WEEK_WAVES if weekly else 0)
    assert len(columns) == features.columns == len(LAGS) + (4 if weekly else 2) + 2 * waves
    assert np.isfinite(columns).all()


def test_the_calendar_is_utc() -> None:
    """At noon UTC half a day is over: the first sine is 0 and the first cosine is -1."""
    features = Features(STEP, (1,), weekly=True)
    series = history(rising, days=9, until=NOON)
    days = len(LAGS) + 2

    columns, _ = read(features, series, NOON)

    assert columns[days] == pytest.approx(0.0, abs=1e-9)
    assert columns[days + DAY_WAVES] == pytest.approx(-1.0)
    a_week_later = read(features, history(rising, days=9, until=NOON + 7 * DAY), NOON + 7 * DAY)[0]
    np.testing.assert_allclose(a_week_later[days:], columns[days:], atol=1e-9)


def test_restless_is_the_mean_size_of_the_newest_changes() -> None:
    features = Features(STEP, (1,), weekly=False)
    series = history(lambda times: rising(times) * 3.0, days=3, until=NOON)
    gappy = without(series, NOON - 4 * STEP, NOON - STEP)
    lonely = Series.of([(NOON, 5.0)])

    assert read(features, series, NOON)[1] == 3.0
    assert read(features, gappy, NOON)[1] == 3.0
    assert np.isnan(read(features, lonely, NOON)[1])
    assert np.isfinite(read(features, without(series, 0.0, NOON - (RECENT + 0.5) * STEP), NOON)[1])


def test_changes_ahead_are_what_is_to_be_learnt() -> None:
    features = Features(STEP, (1, 4), weekly=False)
    series = history(rising, days=3, until=NOON)

    changes = features.changes_ahead(series, NOON - STEP * np.array([9.0, 2.0]))

    np.testing.assert_equal(changes, [[1.0, 4.0], [1.0, np.nan]])
