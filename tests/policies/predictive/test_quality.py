"""How good the forecasts are on recorded traffic, beside the last value with its own residuals.

`pytest -s tests/policies/predictive/test_quality.py` prints the table of policies/README.md.
"""

import csv
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pytest

from autoscaler.core.observation import FloatArray, Memory, Observation, Series
from policies.predictive.predictive import Predictive
from policies.predictive.regression import Regression
from policies.predictive.samples import quantiles_of
from policies.predictive.seasonal import Seasonal
from tests.policies.predictive.histories import DAY, MONDAY, SIGNAL, shown

TRACES = Path(__file__).resolve().parents[3].parent / "shared" / "traces"
QUANTILE: Final = 0.9
WARM_UP: Final = 3.05 * DAY
WINDOW: Final = 14 * DAY
ORIGINS: Final = 1200

Forecaster = Callable[[Series], float]
"""Given what is known, the demand that is exceeded one time in ten at the horizon."""

STARTS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        # Seconds between samples, averages of the trace's own bins; the weekday it begins on.
        "azure_llm_2024_conv_week_1min": (300.0, 6 * DAY),
        "servegen_m-large_10min": (600.0, 0.0),
        "nasa_http_1995-07_1min": (300.0, 5 * DAY),
    }
)


def traffic(name: str) -> Series:
    """Arrivals per second of a rate-level trace, averaged over a step."""
    path = TRACES / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [(float(row["t_s"]), float(row["requests"])) for row in csv.DictReader(file)]
    step, weekday = STARTS[name]
    bins = np.array([int(time // step) for time, _ in rows])
    totals = np.bincount(bins, weights=[requests for _, requests in rows])
    # A sample says what came in the step before it.
    times = MONDAY + weekday + step * np.arange(1.0, len(totals) + 1)
    return Series(times[:-1], totals[:-1] / step)  # the last step may be cut short


def asking(policy: Predictive) -> Forecaster:
    """As the controller asks: again and again, with the memory that goes along."""
    memory: Memory | None = None

    def ask(known: Series) -> float:
        nonlocal memory
        observation: Observation = shown(known, memory=memory)
        answer = policy.recommend(observation)
        memory = answer.memory
        assert answer.forecast is not None, answer.reason
        assert answer.forecast.times[-1] == known.latest_time + (policy.horizon_seconds or 0.0)
        return float(answer.forecast.values[policy.levels.index(QUANTILE), -1])

    return ask


def last_value(steps: int) -> Forecaster:
    """The newest value, and the quantile of what that would have missed."""

    def ask(known: Series) -> float:
        missed = known.values[steps:] - known.values[:-steps]
        return known.latest + float(quantiles_of(missed[np.newaxis], [QUANTILE])[0, 0])

    return ask


def forecasters(steps: int, step: float) -> dict[str, Forecaster]:
    horizon = steps * step
    return {
        "last value": last_value(steps),
        "seasonal": asking(Seasonal(signal=SIGNAL, per_replica=1, horizon_seconds=horizon)),
        "regression": asking(
            Regression(signal=SIGNAL, per_replica=1, horizon_seconds=horizon, spread_seconds=0)
        ),
    }


def judge(series: Series, ask: Forecaster, steps: int, step: float) -> tuple[float, float]:
    """Return the pinball loss in percent of mean demand, and how often demand stayed below."""
    first, last = round(WARM_UP / step), len(series) - steps
    origins = range(first, last, max(1, (last - first) // ORIGINS))
    kept = round(WINDOW / step)
    said: FloatArray = np.array([
        ask(Series(series.times[max(0, at - kept) : at + 1],
                   series.values[max(0, at - kept) : at + 1]))
        for at in origins
    ])  # fmt: skip
    came = series.values[np.array(origins) + steps]
    error = came - said
    loss = np.maximum(QUANTILE * error, (QUANTILE - 1.0) * error).mean()
    return float(100.0 * loss / came.mean()), float((error <= 0).mean())


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [300, 900, 3600])
@pytest.mark.parametrize("name", STARTS)
def test_a_forecast_is_worth_its_name(name: str, horizon: int) -> None:
    series = traffic(name)
    step = STARTS[name][0]
    steps = max(1, round(horizon / step))

    results = {
        who: judge(series, ask, steps, step) for who, ask in forecasters(steps, step).items()
    }

    for who, (loss, coverage) in results.items():
        line = f"{name:30} {steps * step:5.0f} s  {who:10} {loss:5.2f} %  {coverage:6.1%}"
        print(line)  # noqa: T201  # the table
    naive = results["last value"][0]
    assert results["regression"][0] < 1.1 * naive
    assert results["seasonal"][0] < 1.6 * naive
    for _, coverage in results.values():
        assert 0.8 < coverage < 0.97
