"""Samples at any time, the distance between samples, and quantiles of rows with gaps.

A gap is NaN all the way: skipped, never zero.
"""

from collections.abc import Sequence

import numpy as np

from autoscaler.core.observation import FloatArray, Series

NEWEST_DISTANCES = 256
"""How many of the newest distances tell how far samples lie apart."""

EDGE = 1e-3
"""Share of a step by which times may differ and still count as equal."""


def step_seconds(series: Series) -> float | None:
    """Return how far samples lie apart: the median of the newest distances; None below two."""
    distances = np.sort(np.diff(series.times[-NEWEST_DISTANCES - 1 :]))
    return float(distances[(len(distances) - 1) // 2]) if len(distances) else None


def span_seconds(series: Series) -> float:
    """Return the time from the oldest sample to the newest, at least one sample."""
    return float(series.times[-1] - series.times[0])


def values_at(series: Series, times: FloatArray, step: float) -> FloatArray:
    """Return what a signal of demand was at each time.

    That is the last sample within one step, but at least 0; NaN where there is none.

    Args:
        series: At least one sample, all finite.
        times: Unix seconds; any shape.
        step: Seconds between samples.

    Returns:
        Values in the signal's unit, in the shape of `times`.
    """
    edge = EDGE * step
    place = np.searchsorted(series.times, times + edge, side="right") - 1
    known = np.maximum(place, 0)
    near = (place >= 0) & (times - series.times[known] < step - edge)
    return np.where(near, np.maximum(series.values[known], 0.0), np.nan)


def quantiles_of(rows: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return quantiles of each row as bounds for the next value of its kind.

    Of n values the one of rank i counts as the quantile i / (n + 1): a next value, exchangeable
    with them, stays below it that often. Between ranks it is linear; beyond the outermost ranks it
    is the least or the largest value.

    Args:
        rows: Values, NaN for none; at least one finite value in each row; shape (h, n).
        levels: In (0, 1); shape (q,).

    Returns:
        Shape (q, h).

    Source: weibull plotting positions, type 6 of Hyndman and Fan, Sample Quantiles in Statistical
    Packages, The American Statistician 50 (1996); as the bound of split-conformal prediction in
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005).
    """
    ordered = np.sort(rows, axis=1)  # NaN last
    last = np.isfinite(ordered).sum(axis=1) - 1
    ranks = np.clip(np.outer(levels, last + 2) - 1.0, 0.0, last)
    below = np.floor(ranks).astype(np.intp)
    above = np.minimum(below + 1, last)
    line = np.arange(len(rows))
    low, high = ordered[line, below], ordered[line, above]
    return np.asarray(low + (ranks - below) * (high - low))
