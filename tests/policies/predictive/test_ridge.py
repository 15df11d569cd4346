"""The fit: what it learns, what it refuses, what it leaves behind."""

import json

import numpy as np
import pytest

from autoscaler.core.observation import FloatArray, Series
from policies.predictive.ridge import FittedRidge, fit
from tests.policies.predictive.histories import (
    DAY,
    HOUR,
    MONDAY,
    STEP,
    daily,
    history,
    noisy,
    without,
)

LEVELS = (0.1, 0.5, 0.9)
NOON = MONDAY + 10 * DAY + 12 * HOUR


def fitted(series: Series, leads: tuple[int, ...] = (3, 12)) -> FittedRidge:
    found = fit(series, STEP, leads, LEVELS)
    assert isinstance(found, FittedRidge)
    return found


def test_it_learns_the_shape_of_the_day() -> None:
    for hour in range(0, 24, 3):
        series = history(daily, days=7, until=NOON + hour * HOUR)

        times, values = fitted(series).forecast(series)

        assert times.tolist() == [series.latest_time + 900, series.latest_time + 3600]
        np.testing.assert_allclose(values[1], daily(times), rtol=0.02)


def test_quantiles_hold_what_they_promise_on_what_it_has_not_seen() -> None:
    series = history(noisy, days=21, until=NOON)
    model = fitted(history(noisy, days=10, until=NOON - 10 * DAY))
    below = []
    for place in range(4000, len(series) - 12, 7):
        seen = Series(series.times[: place + 1], series.values[: place + 1])
        below.append(series.values[place + 12] <= model.forecast(seen)[1][:, 1])

    np.testing.assert_allclose(np.mean(below, axis=0), LEVELS, atol=0.06)


def test_quantiles_do_not_cross_and_widen_when_demand_is_restless() -> None:
    calm = history(noisy, days=10, until=NOON)
    model = fitted(calm)
    shaken = np.where(calm.times > NOON - HOUR, 3.0, 1.0) * (calm.values - 15.0) + 15.0

    _, values = model.forecast(calm)
    _, wider = model.forecast(Series(calm.times, shaken))

    assert (np.diff(values, axis=0) > 0).all()
    assert (np.ptp(wider, axis=0) > 1.3 * np.ptp(values, axis=0)).all()


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9])
def test_constant_demand_needs_no_fit_and_has_no_spread(level: float) -> None:
    series = history(lambda times: np.full(len(times), level), days=5, until=NOON)

    _, values = fitted(series).forecast(series)

    assert (values == level).all()


def test_with_three_weeks_it_knows_the_weekend() -> None:
    """Busy from nine on working days only; forecast at half past eight for a quarter past nine."""

    def office(times: FloatArray) -> FloatArray:
        working = np.mod(times - MONDAY, 7 * DAY) < 5 * DAY
        return np.where(working & (np.mod(times, DAY) >= 9 * HOUR), 20.0, 2.0)

    def rise(day: int, weeks: int) -> float:
        until = MONDAY + (35 + day) * DAY + 8.5 * HOUR
        series = history(office, days=7 * weeks, until=until)
        _, values = fitted(series, (9,)).forecast(series)
        return float(values[1, 0]) - 2.0

    friday, saturday = 4, 5
    assert fitted(history(office, days=28)).features.weekly
    assert not fitted(history(office, days=20)).features.weekly
    assert rise(friday, weeks=5) > 2.0
    assert rise(saturday, weeks=5) < 0.35 * rise(friday, weeks=5)
    assert rise(saturday, weeks=2) > 0.6 * rise(friday, weeks=2)


def test_a_missing_lag_counts_as_no_change() -> None:
    series = history(daily, days=7, until=NOON)
    model = fitted(series)
    gappy = without(series, NOON - 7 * STEP, NOON - STEP)
    alone = Series.of([(NOON, 15.0)])

    np.testing.assert_allclose(model.forecast(gappy)[1], model.forecast(series)[1], rtol=0.05)
    assert np.isfinite(model.forecast(alone)[1]).all()


def test_gaps_cost_rows_and_nothing_else() -> None:
    series = history(noisy, days=8, until=NOON)
    gappy = without(series, NOON - 3.2 * DAY, NOON - 2.9 * DAY)

    _, whole = fitted(series).forecast(series)
    _, holed = fitted(gappy).forecast(gappy)

    np.testing.assert_allclose(holed, whole, rtol=0.1)


def test_too_few_whole_rows_say_so() -> None:
    short = history(daily, days=1.2, until=NOON)
    holes = history(daily, days=8, until=NOON)
    for day in range(8):
        holes = without(holes, NOON - day * DAY - 20 * HOUR, NOON - day * DAY - 2 * HOUR)

    assert fit(short, STEP, (1,), LEVELS) == "only 56 times have every sample: 64 are needed"
    assert isinstance(fit(holes, STEP, (1,), LEVELS), FittedRidge)


def test_too_few_residuals_say_so() -> None:
    series = history(daily, days=2.1, until=NOON)

    assert fit(series, STEP, (200,), LEVELS) == "only 0 residuals for a forecast of 60000 s"


def test_the_residuals_were_never_fitted() -> None:
    """A history whose last part follows other rules: a fit that had seen it would miss less."""
    rng = np.random.default_rng(3)
    series = history(daily, days=10, until=NOON)
    late = series.times > NOON - 3.0 * DAY
    shaken = Series(series.times, series.values + late * rng.normal(0.0, 3.0, len(series)))

    calm_width = np.ptp(fitted(series).residuals, axis=0) * fitted(series).usual_change
    width = np.ptp(fitted(shaken).residuals, axis=0) * fitted(shaken).usual_change

    assert (width > 3.0 * calm_width).all()


def test_the_fit_takes_bounded_time_however_fine_the_history() -> None:
    series = history(noisy, days=14, step=60.0, until=NOON)

    found = fit(series, 60.0, (5,), LEVELS)

    assert isinstance(found, FittedRidge)
    _, values = found.forecast(series)
    np.testing.assert_allclose(values[1], daily(np.array([NOON + 300.0])), rtol=0.1)


def test_what_it_leaves_behind_is_small_and_survives_json() -> None:
    series = history(noisy, days=14, until=NOON)
    model = FittedRidge.recall(fitted(series, (1, 2, 3)).as_memory())

    written = json.dumps(model.as_memory())
    read = FittedRidge.recall(json.loads(written))

    assert len(written) < 2500
    assert read.as_memory() == model.as_memory()
    assert read.forecast(series)[1].tolist() == model.forecast(series)[1].tolist()


@pytest.mark.parametrize("tiny", [5e-324, 1e-300, 1e-160])
def test_tiny_numbers_are_harmless(tiny: float) -> None:
    series = history(lambda times: np.where(np.mod(times, HOUR) < STEP, tiny, 0.0), days=5)

    found = fit(series, STEP, (1,), LEVELS)

    assert isinstance(found, FittedRidge)
    assert np.isfinite(found.forecast(series)[1]).all()
