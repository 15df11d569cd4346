"""seasonal: the same phase of earlier seasons, at today's level."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.observation import FloatArray, Series
from policies.predictive.seasonal import MOST_TIMES, Seasonal
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

BY_HAND = {"perReplica": 1, "phaseToleranceSeconds": 0, "levelSeconds": STEP, "horizonSeconds": 600}
NINE = MONDAY + 10 * DAY + 9 * HOUR


def a_seasonal(**parameters: Any) -> Seasonal:
    return Seasonal.model_validate({"signal": SIGNAL, "perReplica": 2.0, **parameters})


def at_nine(today: float, *before: float, ten_past: tuple[float, ...]) -> Series:
    """Demand at nine today and on days before, and what it was ten past nine on those days."""
    samples = []
    for day, (nine, later) in reversed(
        list(enumerate(zip(before, ten_past, strict=True), start=1))
    ):
        begin = NINE - day * DAY
        samples += [(begin, nine), (begin + STEP, nine), (begin + 2 * STEP, later)]
        samples += [(begin + place * STEP, 1.0) for place in range(3, round(DAY / STEP))]
    return Series.of([*samples, (NINE, today)])


def test_by_hand_the_largest_of_the_same_phase_of_three_days() -> None:
    series = at_nine(4.0, 4.0, 4.0, 4.0, ten_past=(6.0, 9.0, 7.0))

    answer = a_seasonal(**BY_HAND, seasons=3, minSeasons=3).recommend(shown(series))

    assert answer.forecast is not None
    assert answer.forecast.times.tolist() == [NINE + 300, NINE + 600]
    assert answer.forecast.values.tolist() == [[4, 6], [4, 7], [4, 9]]
    assert answer.replicas == 9
    assert answer.raise_only
    assert answer.reason == (
        "p90 of arrivals_per_second in the next 600 s is up to 9, 1 for each replica: "
        "at least 9; 3 earlier seasons of 86400 s"
    )


def test_by_hand_each_day_is_scaled_to_the_level_of_today() -> None:
    series = at_nine(8.0, 4.0, 8.0, 16.0, ten_past=(5.0, 10.0, 20.0))

    answer = a_seasonal(**BY_HAND, seasons=3, minSeasons=3).recommend(shown(series))

    assert answer.forecast is not None
    assert answer.forecast.values[:, 1].tolist() == [10, 10, 10]  # 5 * 2, 10, 20 / 2


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        pytest.param(40.0, 12.0, id="at most so much up"),
        pytest.param(0.5, 3.0, id="at most so much down"),
        pytest.param(0.0, 3.0, id="today idle"),
        pytest.param(6.0, 9.0, id="as much as it is"),
    ],
)
def test_the_level_moves_a_season_only_so_far(today: float, expected: float) -> None:
    series = at_nine(today, 4.0, 4.0, ten_past=(6.0, 6.0))

    answer = a_seasonal(**BY_HAND, seasons=2, maxGrowth=3).recommend(shown(series))

    assert answer.evidence["median"] == expected


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        pytest.param(0.0, 6.0, id="nor is there load today: as it was"),
        pytest.param(5.0, 12.0, id="load where there was none: as far as allowed"),
    ],
)
def test_a_season_that_was_idle_at_this_phase(today: float, expected: float) -> None:
    series = at_nine(today, 0.0, 0.0, ten_past=(6.0, 6.0))

    answer = a_seasonal(**BY_HAND, seasons=2, maxGrowth=3).recommend(shown(series))

    assert answer.evidence["median"] == expected


def test_neighbours_within_the_tolerance_count_as_the_same_phase() -> None:
    """A peak a quarter of an hour later, on all days before, is expected now already."""
    peak = NINE + 900.0

    def demand(times: FloatArray) -> FloatArray:
        return np.where(np.isclose(np.mod(times - peak, DAY), 0.0), 50.0, 1.0)

    series = history(demand, days=8, until=NINE)
    strict = a_seasonal(**BY_HAND).recommend(shown(series))
    wide = a_seasonal(**{**BY_HAND, "phaseToleranceSeconds": 600}, quantile=0.99).recommend(
        shown(series)
    )

    assert strict.replicas == 1
    assert wide.replicas == 50


def test_a_day_with_a_rise_at_nine_is_answered_a_lead_time_before_nine() -> None:
    def office(times: FloatArray) -> FloatArray:
        return np.where(np.mod(times, DAY) >= 9 * HOUR, 20.0, 2.0)

    policy = a_seasonal(phaseToleranceSeconds=0)
    early = history(office, days=5, until=NINE - 1200)
    in_time = history(office, days=5, until=NINE - 900)

    assert policy.recommend(shown(early, lead=600)).replicas == 1
    assert policy.recommend(shown(in_time, lead=600)).replicas == 10


@pytest.mark.parametrize("lead", [0.0, 1.0, 240.0, 1800.0, 50_000.0])
def test_the_horizon_is_the_lead_time_and_a_step(lead: float) -> None:
    series = history(daily, days=4)

    answer = a_seasonal().recommend(shown(series, age=30, lead=lead))

    assert answer.forecast is not None
    assert answer.forecast.times[-1] == pytest.approx(series.latest_time + 30 + lead + STEP)
    assert answer.forecast.times[0] > series.latest_time + 30
    assert len(answer.forecast.times) <= MOST_TIMES


def test_a_long_horizon_overlooks_no_peak_between_its_times() -> None:
    def demand(times: FloatArray) -> FloatArray:
        return np.where(np.isclose(np.mod(times, DAY), 21.5 * HOUR), 50.0, 1.0)

    series = history(demand, days=5, until=NINE)
    answer = a_seasonal(horizonSeconds=86_400, phaseToleranceSeconds=0, quantile=0.99).recommend(
        shown(series)
    )

    assert answer.evidence["forecast"] == 50.0


def test_a_season_can_be_a_week() -> None:
    def weekend(times: FloatArray) -> FloatArray:
        return np.where(np.mod(times - MONDAY, 7 * DAY) >= 5 * DAY, 2.0, 20.0)

    friday_night = MONDAY + 26 * DAY - 600
    series = history(weekend, days=22, until=friday_night)
    exact = {"phaseToleranceSeconds": 0, "maxLevelChange": 1, "horizonSeconds": 1200}
    week = a_seasonal(**exact, seasonSeconds=7 * DAY, seasons=3).recommend(shown(series))
    day = a_seasonal(**exact, seasons=3).recommend(shown(series))

    assert week.forecast is not None
    assert day.forecast is not None
    assert week.forecast.values[1].tolist() == [20.0, 2.0, 2.0, 2.0]
    assert day.forecast.values[1].tolist() == [20.0, 20.0, 20.0, 20.0]


def test_seasons_are_counted_in_seconds_so_a_change_of_clocks_is_not_followed() -> None:
    """Europe's clocks went forward on 31 March 2024: people came an hour earlier by UTC."""
    change = 1_711_846_800.0

    def berlin(times: FloatArray) -> FloatArray:
        local = times + np.where(times >= change, 2.0, 1.0) * HOUR
        return np.where(np.mod(local, DAY) >= 9 * HOUR, 20.0, 2.0)

    policy = a_seasonal(phaseToleranceSeconds=0, levelSeconds=STEP)
    before_local_nine = change + 6 * HOUR - 300
    day_one = history(berlin, days=5, until=before_local_nine)
    day_nine = history(berlin, days=13, until=before_local_nine + 8 * DAY)

    assert policy.recommend(shown(day_one)).replicas == 1
    assert policy.recommend(shown(day_nine)).replicas == 10


@pytest.mark.parametrize(
    ("series", "seasons"),
    [
        pytest.param(Series.of([(NINE, 5.0)]), "0.0", id="a single sample"),
        pytest.param(history(daily, days=1.9), "1.9", id="less than two days"),
    ],
)
def test_without_enough_history_it_says_nothing_and_why(series: Series, seasons: str) -> None:
    answer = a_seasonal().recommend(shown(series))

    assert answer.replicas is None
    assert answer.forecast is None
    assert answer.raise_only
    assert answer.reason == (
        f"arrivals_per_second reaches back {seasons} seasons of 86400 s: 2 are needed"
    )


def test_exactly_two_days_are_enough() -> None:
    assert a_seasonal().recommend(shown(history(daily, days=2))).replicas is not None


def test_a_gap_is_skipped_and_never_zero() -> None:
    whole = history(daily, days=6, until=NINE)
    gappy = without(whole, NINE - DAY - HOUR, NINE - DAY + HOUR)
    policy = a_seasonal(quantile=0.1)

    seen, missed = policy.recommend(shown(whole)), policy.recommend(shown(gappy))

    assert missed.evidence["forecast"] == pytest.approx(seen.evidence["forecast"], rel=0.02)
    assert "6 earlier seasons" in seen.reason
    assert "5 earlier seasons" in missed.reason


def test_a_phase_that_was_seen_in_too_few_seasons_says_nothing() -> None:
    series = history(daily, days=3, until=NINE)
    for day in (1, 2):
        series = without(series, NINE - day * DAY - 2 * HOUR, NINE - day * DAY + 2 * HOUR)

    answer = a_seasonal(minSeasons=1, seasons=2).recommend(shown(series))

    assert answer.replicas is None
    assert answer.reason == (
        "arrivals_per_second has samples at this phase in 0 of 2 earlier seasons: 1 are needed"
    )


def test_times_without_enough_seasons_are_left_out_of_the_forecast() -> None:
    series = history(daily, days=4, until=NINE)
    for day in (1, 2, 3):
        series = without(series, NINE - day * DAY + 400, NINE - day * DAY + 800)

    answer = a_seasonal(**{**BY_HAND, "horizonSeconds": 900}).recommend(shown(series))

    assert answer.forecast is not None
    assert (answer.forecast.times - NINE).tolist() == [300.0, 900.0]


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_constant_demand_is_forecast_as_it_is(level: float) -> None:
    answer = a_seasonal().recommend(shown(history(lambda t: np.full(len(t), level), days=8)))

    assert answer.forecast is not None
    assert (answer.forecast.values == level).all()
    assert answer.replicas == (4 if level else 0)


def test_irregular_sampling_changes_little() -> None:
    regular = history(daily, days=8, until=NINE)
    shifts = 100.0 * np.sin(np.arange(float(len(regular))) * 1.7)
    shifts[-1] = 0.0
    uneven = Series(regular.times + shifts, daily(regular.times + shifts))

    found = a_seasonal().recommend(shown(uneven)).evidence["forecast"]

    assert found == pytest.approx(a_seasonal().recommend(shown(regular)).evidence["forecast"], 0.02)


@given(
    factor=st.floats(1.0, 3.0),
    level=st.floats(0.1, 1e6),
    hour=st.integers(0, 23),
    lead=st.sampled_from([0.0, 240.0, 1800.0]),
)
def test_more_demand_never_needs_fewer(factor: float, level: float, hour: int, lead: float) -> None:
    series = history(noisy, days=4, until=NINE + hour * HOUR)
    low = replace(series, values=level * series.values)
    high = replace(series, values=factor * level * series.values)
    policy = a_seasonal(perReplica=level)

    few = policy.recommend(shown(low, lead=lead)).replicas
    many = policy.recommend(shown(high, lead=lead)).replicas

    assert few is not None
    assert many is not None
    assert 0 < few <= many


@given(now_more=st.floats(1.0, 4.0), hour=st.integers(0, 23))
def test_a_higher_level_now_never_needs_fewer(now_more: float, hour: int) -> None:
    series = history(noisy, days=4, until=NINE + hour * HOUR)
    lately = np.where(series.times > series.latest_time - HOUR, now_more, 1.0)
    policy = a_seasonal(perReplica=0.5)

    few = policy.recommend(shown(series)).replicas
    many = policy.recommend(shown(replace(series, values=lately * series.values))).replicas

    assert few is not None
    assert many is not None
    assert few <= many


@given(
    values=st.lists(st.floats(0, 1e9), min_size=3 * 24, max_size=5 * 24),
    lead=st.floats(0, 7200),
    growth=st.floats(0.5, 3),
)
def test_whatever_the_history_the_forecast_is_bounded(
    values: list[float], lead: float, growth: float
) -> None:
    series = Series.of([(MONDAY + HOUR * place, value) for place, value in enumerate(values)])
    policy = a_seasonal(maxGrowth=growth, perReplica=1e6)

    answer = policy.recommend(shown(series, lead=lead))

    assert answer.forecast is not None
    assert answer.replicas is not None
    assert answer.replicas >= 0
    assert (answer.forecast.values >= 0).all()
    assert (answer.forecast.values <= growth * max(values)).all()
    assert (np.diff(answer.forecast.values, axis=0) >= -1e-6).all()
    again = policy.recommend(shown(series, lead=lead))
    assert again.replicas == answer.replicas
    assert again.reason == answer.reason
    assert again.forecast is not None
    assert again.forecast.values.tolist() == answer.forecast.values.tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param(
            {"seasons": 2, "minSeasons": 3},
            "minSeasons should be at most seasons, not 3 > 2",
            id="more needed than looked at",
        ),
        pytest.param(
            {"seasonSeconds": 3600, "levelSeconds": 7200},
            "levelSeconds should be at most seasonSeconds, not 7200 > 3600",
            id="a level longer than the season",
        ),
        pytest.param(
            {"phaseToleranceSeconds": 50_000},
            "phaseToleranceSeconds should be at most half of seasonSeconds, not 50000 > 43200",
            id="every phase is the same",
        ),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        a_seasonal(**parameters)
