"""Fits are spread: the samples decide the moment."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import Series
from policies.predictive.refits import later, own_share, soon

NOW = 1_700_000_000.0


def fleet(count: int) -> list[Series]:
    rng = np.random.default_rng(5)
    return [Series.of([(0.0, float(value))]) for value in rng.exponential(size=count)]


def test_the_same_samples_have_the_same_moment() -> None:
    one, same, other = (Series.of([(0.0, value)]) for value in (3.0, 3.0, 3.1))

    assert own_share(one) == own_share(same)
    assert own_share(one) != own_share(other)


@given(value=st.floats(0, 1e9), seconds=st.floats(0, 1e6))
def test_moments_lie_within_what_is_asked(value: float, seconds: float) -> None:
    series = Series.of([(0.0, value)])

    assert NOW <= soon(series, NOW, seconds) <= NOW + seconds
    assert NOW + 0.75 * seconds - 1e-6 <= later(series, NOW, seconds) <= NOW + seconds


def test_many_workloads_fit_evenly_over_the_time() -> None:
    moments = np.array([soon(series, 0.0, 600.0) for series in fleet(2000)])

    each_minute, _ = np.histogram(moments, bins=10, range=(0.0, 600.0))

    assert each_minute.min() > 150
    assert each_minute.max() < 250
