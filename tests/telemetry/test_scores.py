"""Forecasts against what was seen: a claim counts when its time was really seen."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import Series
from autoscaler.core.policy import Forecast
from autoscaler.telemetry.scores import WAITING, Score, score_of
from tests.builders import NOON


def a_forecast(at: float, *values: float, ahead: float = 60.0) -> Forecast:
    """Claims the quantiles 0.5 and 0.9 of one time."""
    table = np.array([[value] for value in values])
    return Forecast("load", np.array([at + ahead]), (0.5, 0.9), table)


def waiting(*values: float) -> Score:
    return score_of((0.5, 0.9), None).claiming(a_forecast(NOON, *values), 0, NOON)


def test_what_was_seen_between_two_samples_is_interpolated() -> None:
    series = Series.of([(NOON + 50, 10.0), (NOON + 70, 20.0)])

    score = waiting(12.0, 14.0).settled(series, max_gap_seconds=60)

    assert (score.scored, score.seen, score.error, score.above) == (1, 15.0, 3.0, (1, 1))
    assert score.waiting == ()


def test_what_happened_in_an_outage_is_not_known() -> None:
    series = Series.of([(NOON, 10.0), (NOON + 300, 20.0)])

    score = waiting(12.0, 14.0).settled(series, max_gap_seconds=60)

    assert (score.scored, score.last, score.error, score.waiting) == (0, None, 0.0, ())


def test_what_was_before_the_first_sample_is_not_known() -> None:
    series = Series.of([(NOON + 61, 10.0)])

    assert waiting(12.0, 14.0).settled(series, max_gap_seconds=60).scored == 0


@pytest.mark.parametrize(
    "series",
    [
        pytest.param(Series.of([(NOON + 59, 10.0)]), id="its time has not come"),
        pytest.param(Series.of([(NOON, 1.0), (NOON + 90, math.nan)]), id="nothing finite yet"),
        pytest.param(Series.of([]), id="nothing at all"),
    ],
)
def test_a_claim_waits_until_its_time_is_seen(series: Series) -> None:
    assert len(waiting(12.0, 14.0).settled(series, max_gap_seconds=60).waiting) == 1


def test_other_quantiles_begin_a_new_score() -> None:
    before = waiting(12.0, 14.0)

    assert score_of((0.5, 0.9), before) is before
    assert score_of((0.5, 0.95), before) == Score((0.5, 0.95), above=(0, 0))


@given(st.lists(st.floats(1, 100), min_size=1, max_size=60))
def test_few_claims_wait_however_often_a_forecast_is_made(steps: list[float]) -> None:
    score, now = score_of((0.5, 0.9), None), NOON
    for step in steps:
        now += step
        score = score.claiming(a_forecast(now, 1.0, 2.0, ahead=600.0), 0, now)

    times = [claim.time for claim in score.waiting]
    assert len(times) <= WAITING
    assert all(later - earlier >= 600.0 / WAITING - 1e-6 for earlier, later in pairwise(times))
