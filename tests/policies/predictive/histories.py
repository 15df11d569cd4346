"""Histories of demand for tests, and what a policy is shown of them."""

from collections.abc import Callable

import numpy as np

from autoscaler.core.observation import FloatArray, Memory, Observation, ReplicaStatus, Series

DAY = 86_400.0
HOUR = 3_600.0
STEP = 300.0
SIGNAL = "arrivals_per_second"
MONDAY = 1_704_067_200.0
"""Monday 1 January 2024, 00:00 UTC."""


def history(
    demand: Callable[[FloatArray], FloatArray],
    *,
    days: float,
    until: float = MONDAY + 14 * DAY,
    step: float = STEP,
) -> Series:
    """What `demand` says of each time, up to and including `until`."""
    count = round(days * DAY / step)
    times = until - step * np.arange(float(count))[::-1]
    return Series(times, demand(times))


def daily(times: FloatArray) -> FloatArray:
    """Ten a second, five more or less by the time of day; the most at noon UTC."""
    return 10.0 - 5.0 * np.cos(2.0 * np.pi * times / DAY)


def noisy(times: FloatArray) -> FloatArray:
    """As `daily`, up to a tenth more or less by the time itself, without pattern."""
    noise = np.sin(times * 12.9898) * 43758.5453
    return np.asarray(daily(times) * (0.9 + 0.2 * (noise - np.floor(noise))))


def shown(
    series: Series, *, age: float = 0.0, lead: float = 240.0, memory: Memory | None = None
) -> Observation:
    """What a policy is shown `age` seconds after the newest sample."""
    return Observation(
        now=series.latest_time + age,
        replicas=ReplicaStatus(desired=1, ready=1),
        signals={SIGNAL: series},
        memory=memory,
        lead_seconds=lead,
    )


def without(series: Series, begin: float, end: float) -> Series:
    """The series with a gap: no sample from `begin` until before `end`."""
    keep = (series.times < begin) | (series.times >= end)
    return Series(series.times[keep], series.values[keep])
