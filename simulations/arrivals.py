"""Synthetic traffic with documented parameters, for trying things out without a trace."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.lengths import (
    CONVERSATION_OUTPUTS,
    CONVERSATION_PROMPTS,
    Z95,
    Lengths,
    Quantiles,
)
from simulations.trace import Trace

__all__ = ["DAY", "WEEKDAY", "Z95", "Lengths", "Traffic", "synthesize", "synthetic_day"]

WEEKDAY: Final = (
    *(1.02, 1.12, 1.09, 0.90, 0.92, 0.99, 1.16, 1.24, 1.27, 1.23, 1.11, 1.17),
    *(1.31, 1.45, 1.54, 1.42, 1.29, 1.24, 1.23, 1.15, 1.05, 0.88, 0.79, 0.82),
)
"""Level of each hour (UTC) over the week's mean, Monday to Friday, of the conversations of the week
that Azure published in 2024 (Stojkovic et al., DynamoLLM, HPCA 2025): a peak when Europe comes to
work, and a higher one when America has joined it."""

PROMPTS: Final = Lengths(p50=1020, p95=4083, most=16_000)
OUTPUTS: Final = Lengths(p50=129, p95=451, most=2_000)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A stretch of traffic: a slow swing, one burst, and arrivals that cluster.

    The defaults are an hour that resembles the conversation trace that Azure published in 2023
    (Patel et al., Splitwise, ISCA 2024): 5.5 requests/s, lengths with its medians and 95th
    percentiles, and its index of dispersion over 10 s within 10 minutes. Its hour is calm, with a
    peak minute of 1.5 times the mean; the burst here is ours.

    Attributes:
        seconds: How long it lasts.
        requests_per_second: Mean rate, burst included.
        swing: The slow swing's height, as a share of the level between bursts; below 1.
        swing_seconds: The swing's period; it begins at the level, going down.
        levels: The level at the middle of each of the equal parts of a day, straight lines
            between; the day begins with the traffic and repeats. Multiplied with the swing.
        burst_factor: How many times the rate is higher at the top of the burst.
        burst_from: When the burst begins, seconds since the start.
        burst_seconds: How long it stays at its top.
        burst_rise_seconds: How long it grows before, in a straight line.
        burst_fall_seconds: How long it takes to fade.
        dispersion: Variance of counts over their mean, for windows of many arrivals; 1 is Poisson.
        prompt: Prompt lengths.
        output: Output lengths; they do not depend on the prompt's.
    """

    seconds: float = 3600.0
    requests_per_second: float = 5.5
    swing: float = 0.3
    swing_seconds: float = 3600.0
    levels: tuple[float, ...] = (1.0,)
    burst_factor: float = 3.0
    burst_from: float = 1500.0
    burst_seconds: float = 600.0
    burst_rise_seconds: float = 0.0
    burst_fall_seconds: float = 0.0
    dispersion: float = 2.1
    prompt: Lengths | Quantiles = PROMPTS
    output: Lengths | Quantiles = OUTPUTS

    def __post_init__(self) -> None:
        """Refuse traffic that cannot be drawn.

        Raises:
            ValueError: A length of time, rate or dispersion is not above 0, or the swing, a level
                or the burst takes the rate to 0.
        """
        if min(self.seconds, self.requests_per_second, self.swing_seconds, self.dispersion) <= 0:
            raise ValueError("seconds, rate, swing_seconds and dispersion should be above 0")
        if not 0 <= self.swing < 1 or self.burst_factor <= 0:
            raise ValueError("swing should be 0 to below 1, burst_factor above 0")
        if min(self.levels, default=0.0) <= 0:
            raise ValueError("there should be at least one level, each above 0")
        if min(self.burst_rise_seconds, self.burst_fall_seconds) < 0:
            raise ValueError("burst_rise_seconds and burst_fall_seconds should not be negative")

    def rate(self, times: FloatArray) -> FloatArray:
        """Return requests per second at `times` (seconds since the start)."""
        mean = float(self._shape(_middles(self.grid())).mean())
        rates: FloatArray = self._shape(times) * (self.requests_per_second / mean)
        return rates

    def grid(self) -> FloatArray:
        """Return the edges of the tenths of a second that the rate is taken to be level in."""
        return np.linspace(0.0, self.seconds, max(1, round(10 * self.seconds)) + 1)

    def _shape(self, times: FloatArray) -> FloatArray:
        part = 86_400.0 / len(self.levels)
        middles = part * (0.5 + np.arange(len(self.levels)))
        level = np.interp(times, middles, self.levels, period=86_400.0)
        level *= 1 - self.swing * np.sin(2 * np.pi * times / self.swing_seconds)
        top = self.burst_from + self.burst_rise_seconds
        end = top + self.burst_seconds
        edges = (self.burst_from, top, end, end + self.burst_fall_seconds)
        height = np.interp(times, edges, (0.0, 1.0, 1.0, 0.0))
        height[(times < self.burst_from) | (times >= edges[-1])] = 0.0
        shape: FloatArray = level * (1 + (self.burst_factor - 1) * height)
        return shape


DAY: Final = Traffic(
    seconds=86_400.0,
    requests_per_second=8.0,
    swing=0.0,
    levels=WEEKDAY,
    burst_factor=3.0,
    burst_from=18.5 * 3600,
    burst_rise_seconds=1200.0,
    burst_seconds=1200.0,
    burst_fall_seconds=1800.0,
    dispersion=2.1,
    prompt=CONVERSATION_PROMPTS,
    output=CONVERSATION_OUTPUTS,
)
"""A weekday of the presets' model: from less than one replica's load to two, and an incident.

The shape of the day is `WEEKDAY`. Lengths and the index of dispersion (2.1, of counts in 10 s
within 10 minutes) are those of the conversations that Azure published in 2023 (Patel et al.,
Splitwise, ISCA 2024). The mean rate and the incident are ours: at 18:30 it begins to grow, to
three times the load within 20 minutes, five cold starts of the presets; it stays for 20 minutes,
and fades in 30.
"""


def synthesize(traffic: Traffic, rng: np.random.Generator, name: str = "synthetic") -> Trace:
    """Draw a trace.

    Arrivals are a Gamma renewal process whose clock runs with the rate: gaps of mean 1 and variance
    `dispersion` in the expected number of arrivals. Times are rounded to the millisecond. Equal
    generators give equal traces.

    Raises:
        ValueError: The traffic is so thin that nothing arrived.
    """
    edges = traffic.grid()
    expected = np.concatenate([[0.0], np.cumsum(traffic.rate(_middles(edges)) * np.diff(edges))])
    total = float(expected[-1])
    marks = np.empty(0)
    reached = 0.0
    while reached < total:
        gaps = rng.gamma(1 / traffic.dispersion, traffic.dispersion, max(16, int(total)))
        marks = np.concatenate([marks, reached + np.cumsum(gaps)])
        reached = float(marks[-1])
    arrivals = np.interp(marks[marks < total], expected, edges).round(3)
    if not len(arrivals):
        raise ValueError("no request arrived: the traffic is too thin for its length")
    return Trace(
        name,
        arrivals,
        traffic.prompt.draw(len(arrivals), rng),
        traffic.output.draw(len(arrivals), rng),
    )


def synthetic_day(seed: int = 1) -> Trace:
    """Return the bundled day: `DAY` drawn with this seed."""
    return synthesize(DAY, np.random.default_rng(seed), "synthetic-day")


def _middles(edges: FloatArray) -> FloatArray:
    middles: FloatArray = (edges[1:] + edges[:-1]) / 2
    return middles
