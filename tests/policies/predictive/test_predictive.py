"""The floor that a forecast makes: its horizon, its bound, its words."""

from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError

from autoscaler.core.observation import FloatArray, Observation, Series
from autoscaler.core.policy import Recommendation
from policies.predictive.predictive import Predictive
from tests.policies.predictive.histories import SIGNAL, shown

STEADY = Series.of([(0.0, 4.0), (300.0, 8.0)])


class Foresees(Predictive):
    """Foresees a fixed path for every quantile."""

    type: Literal["foresees"] = "foresees"
    path: tuple[float, ...] = (1.0,)

    def recommend(self, observation: Observation) -> Recommendation:
        times = observation.now + 60.0 * np.arange(1.0, len(self.path) + 1)
        spread: FloatArray = np.array(self.levels)[:, np.newaxis] * np.array(self.path)
        return self.floor(observation, times, spread, why="it was told so")


def a_seer(*path: float, **parameters: float) -> Foresees:
    return Foresees.model_validate({
        "signal": SIGNAL, "perReplica": 2.1, "path": path or (1.0,), **parameters,
    })  # fmt: skip


def test_the_count_carries_the_largest_demand_of_the_horizon() -> None:
    answer = a_seer(2.0, 10.0, 3.0).recommend(shown(STEADY))

    assert answer.replicas == 5  # 9.0 / 2.1
    assert answer.raise_only
    assert answer.reason == (
        "p90 of arrivals_per_second in the next 180 s is up to 9, 2.1 for each replica: "
        "at least 5; it was told so"
    )
    assert answer.evidence == {
        SIGNAL: 8.0,
        "forecast": 9.0,
        "median": 5.0,
        "perReplica": 2.1,
        "horizonSeconds": 180.0,
    }


def test_the_forecast_has_the_usual_quantiles_and_the_one_asked_for() -> None:
    usual = a_seer(10.0).recommend(shown(STEADY)).forecast
    sure = a_seer(10.0, quantile=0.99).recommend(shown(STEADY)).forecast

    assert usual is not None
    assert sure is not None
    assert usual.signal == SIGNAL
    assert usual.quantiles == (0.1, 0.5, 0.9)
    assert sure.quantiles == (0.1, 0.5, 0.9, 0.99)
    assert sure.values.tolist() == [[1.0], [5.0], [9.0], [9.9]]


def test_growth_is_bounded_by_the_largest_demand_seen() -> None:
    answer = a_seer(1e6, maxGrowth=1.25, perReplica=1).recommend(shown(STEADY))

    assert answer.replicas == 10
    assert answer.forecast is not None
    assert answer.forecast.values.max() == 10.0


def test_demand_is_never_negative() -> None:
    answer = a_seer(-3.0).recommend(shown(STEADY))
    idle = a_seer(5.0).recommend(shown(Series.of([(0.0, -4.0), (300.0, -8.0)])))

    assert (answer.replicas, idle.replicas) == (0, 0)


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [
        pytest.param(None, 540.0, id="lead time and one step"),
        pytest.param(900.0, 900.0, id="as the file says"),
    ],
)
def test_the_horizon(horizon: float | None, expected: float) -> None:
    seer = Foresees(signal=SIGNAL, per_replica=1, horizon_seconds=horizon)

    assert seer.horizon(shown(STEADY, lead=240.0), step=300.0) == expected


def test_it_needs_its_signal() -> None:
    assert a_seer().needs == a_seer().uses == {SIGNAL}


def test_silence_holds_nobody_back() -> None:
    answer = a_seer().no_opinion("too early", {"due": 7})

    assert answer.replicas is None
    assert answer.raise_only
    assert answer.memory == {"due": 7}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("perReplica", 0), ("perReplica", True), ("quantile", 0), ("quantile", 1),
        ("horizonSeconds", 0), ("horizonSeconds", 86_401), ("maxGrowth", 0), ("signal", ""),
    ],
)  # fmt: skip
def test_impossible_parameters_are_refused(field: str, value: object) -> None:
    good = {"signal": SIGNAL, "perReplica": 1}

    with pytest.raises(ValidationError, match=field):
        Foresees.model_validate({**good, field: value})
