"""Cumulative histograms and counters, read as Prometheus reads them."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray

INFINITY: Final = float("inf")

TTFT_BOUNDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0, INFINITY,
)  # fmt: skip
"""Upper bounds of vLLM's time_to_first_token_seconds."""

ITL_BOUNDS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
    0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, INFINITY,
)  # fmt: skip
"""Upper bounds of vLLM's inter_token_latency_seconds."""

E2E_BOUNDS: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0,
    30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0, INFINITY,
)  # fmt: skip
"""Upper bounds of vLLM's e2e_request_latency_seconds."""


class Histogram:
    """Counts of observations by bucket.

    Attributes:
        bounds: Upper bounds, inclusive, rising; the last is infinite.
        counts: Observations in each bucket, not cumulative.
    """

    __slots__ = ("bounds", "counts")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, `times` times."""
        self.counts[bisect_left(self.bounds, value)] += times


def quantile(share: float, bounds: Sequence[float], cumulative: Sequence[float]) -> float:
    """Return a quantile, as PromQL's `histogram_quantile` over classic buckets.

    Inside a bucket the values are taken to be spread evenly; the lowest bucket starts at 0; above
    the last finite bound the answer is that bound.

    Args:
        share: Such as 0.95; above 0 and below 1.
        bounds: Upper bounds, rising; the last is infinite.
        cumulative: Observations (or their rate) up to each bound. Where it falls, by the rounding
            of rates, it is taken to stay level, as Prometheus does.

    Returns:
        The quantile in the bounds' unit; NaN where nothing was observed.
    """
    level = list(accumulate(cumulative, max))
    if not level[-1] > 0:
        return float("nan")
    rank = share * level[-1]
    at = bisect_left(level, rank, 0, len(level) - 1)
    if at == len(bounds) - 1:
        return bounds[-2]
    low, below = (bounds[at - 1], level[at - 1]) if at else (0.0, 0.0)
    return low + (bounds[at] - low) * (rank - below) / (level[at] - below)


def rate(
    first_time: float,
    newest_time: float,
    samples: int,
    first: FloatArray,
    newest: FloatArray,
    now: float,
    range_seconds: float,
) -> FloatArray:
    """Return the increase of counters per second, as PromQL's `rate(x[range])` at `now`.

    The increase between the first and the last sample is stretched to the edges of the range,
    but by at most half a sample spacing where the series seems to begin or end inside it, and
    never to before the counter was zero (Prometheus, promql/functions.go, extrapolatedRate).

    Args:
        first_time: Time of the first samples within (now - range, now].
        newest_time: Time of the newest ones, above the first.
        samples: How many samples the range has, at least 2.
        first: Values at the first sample; of counters that never fall; shape (n, m).
        newest: Values at the newest one; shape (n, m).
        now: Where the range ends, in the unit of the times.
        range_seconds: Length of the range.

    Returns:
        One rate for each counter of each source; shape (n, m).
    """
    increase: FloatArray = newest - first
    sampled = newest_time - first_time
    spacing = sampled / (samples - 1)
    to_start = first_time - (now - range_seconds)
    to_end = now - newest_time
    to_start = spacing / 2 if to_start >= spacing * 1.1 else to_start
    to_end = spacing / 2 if to_end >= spacing * 1.1 else to_end
    # Back to zero, the counter would have grown by `first`: whichever is less counts.
    before = np.minimum(increase * to_start, first * sampled)
    rates: FloatArray = increase * (sampled + to_end) + before
    rates /= sampled * range_seconds
    return rates
