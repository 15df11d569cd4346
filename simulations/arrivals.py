"""Synthetic traffic with documented parameters, for trying things out without a trace."""

from dataclasses import dataclass
from math import log

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.trace import IntArray, Trace

Z95 = 1.6448536269514722
"""The standard normal's 95th percentile."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Token counts with a log-normal law, cut off at `most`.

    Attributes:
        p50: Median.
        p95: 95th percentile, above the median.
        most: Longest, above the 95th percentile; what would be longer is drawn again.
    """

    p50: float
    p95: float
    most: int

    def __post_init__(self) -> None:
        """Refuse lengths that cannot be drawn.

        Raises:
            ValueError: The three are not positive and rising.
        """
        if not 0 < self.p50 < self.p95 < self.most:
            raise ValueError(
                f"lengths should have 0 < p50 < p95 < most, "
                f"not {self.p50:g}, {self.p95:g}, {self.most}"
            )

    def draw(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return `count` whole lengths of at least 1."""
        sigma = log(self.p95 / self.p50) / Z95
        drawn = rng.lognormal(log(self.p50), sigma, count)
        while (long := drawn > self.most).any():
            drawn[long] = rng.lognormal(log(self.p50), sigma, int(long.sum()))
        lengths: IntArray = np.maximum(1, np.rint(drawn)).astype(np.int64)
        return lengths


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
        burst_factor: How many times the rate is higher during the burst.
        burst_from: When the burst begins, seconds since the start.
        burst_seconds: How long it lasts.
        dispersion: Variance of counts over their mean, for windows of many arrivals; 1 is Poisson.
        prompt: Prompt lengths.
        output: Output lengths.
    """

    seconds: float = 3600.0
    requests_per_second: float = 5.5
    swing: float = 0.3
    swing_seconds: float = 3600.0
    burst_factor: float = 3.0
    burst_from: float = 1500.0
    burst_seconds: float = 600.0
    dispersion: float = 2.1
    prompt: Lengths = Lengths(p50=1020, p95=4083, most=16_000)
    output: Lengths = Lengths(p50=129, p95=451, most=2_000)

    def __post_init__(self) -> None:
        """Refuse traffic that cannot be drawn.

        Raises:
            ValueError: A length of time, rate or dispersion is not above 0, or the swing takes
                the rate to 0.
        """
        if min(self.seconds, self.requests_per_second, self.swing_seconds, self.dispersion) <= 0:
            raise ValueError("seconds, rate, swing_seconds and dispersion should be above 0")
        if not 0 <= self.swing < 1 or self.burst_factor <= 0:
            raise ValueError("swing should be 0 to below 1, burst_factor above 0")

    def rate(self, times: FloatArray) -> FloatArray:
        """Return requests per second at `times` (seconds since the start)."""
        mean = float(self._shape(_middles(self.grid())).mean())
        rates: FloatArray = self._shape(times) * (self.requests_per_second / mean)
        return rates

    def grid(self) -> FloatArray:
        """Return the edges of the tenths of a second that the rate is taken to be level in."""
        return np.linspace(0.0, self.seconds, max(1, round(10 * self.seconds)) + 1)

    def _shape(self, times: FloatArray) -> FloatArray:
        level = 1 - self.swing * np.sin(2 * np.pi * times / self.swing_seconds)
        bursting = (times >= self.burst_from) & (times < self.burst_from + self.burst_seconds)
        shape: FloatArray = np.where(bursting, level * self.burst_factor, level)
        return shape


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


def synthetic_hour(seed: int = 1) -> Trace:
    """Return the bundled hour: `Traffic()` drawn with this seed."""
    return synthesize(Traffic(), np.random.default_rng(seed), "synthetic-hour")


def _middles(edges: FloatArray) -> FloatArray:
    middles: FloatArray = (edges[1:] + edges[:-1]) / 2
    return middles
