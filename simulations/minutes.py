"""How a simulation went, minute by minute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from autoscaler.core.spec import Slo
from simulations.request import End, Request
from simulations.trace import IntArray

MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Minutes:
    """What happened in each minute since the start; all arrays have shape (n,).

    Attributes:
        arrived: Requests that arrived in the minute.
        met: Of those, the ones that finished, then or later, within every limit.
        ttft_p95: p95 seconds from arrival to first token, of the first tokens that came in the
            minute; NaN where none came.
        itl_p95: p95 of the answers' mean seconds between tokens, of the answers that ended in
            the minute.
        e2e_p95: p95 seconds from arrival to last token, of the same answers.
    """

    arrived: IntArray
    met: IntArray
    ttft_p95: FloatArray
    itl_p95: FloatArray
    e2e_p95: FloatArray

    @classmethod
    def of(cls, requests: Sequence[Request], slo: Slo, seconds: float) -> "Minutes":
        """Sort requests into the minutes of a simulation that lasted `seconds`."""
        minutes = max(1, ceil(seconds / MINUTE))
        arrivals = [request.arrival for request in requests]
        met = [request.arrival for request in requests if meets_all(request, slo)]
        return cls(
            arrived=_counts(arrivals, minutes),
            met=_counts(met, minutes),
            ttft_p95=_p95(requests, minutes, _first_token, lambda one: one.ttft_seconds),
            itl_p95=_p95(requests, minutes, _finished, lambda one: one.itl_seconds),
            e2e_p95=_p95(requests, minutes, _finished, lambda one: one.e2e_seconds),
        )

    @property
    def missed(self) -> IntArray:
        """Requests of each minute that missed a limit or never finished."""
        return self.arrived - self.met


def meets_all(request: Request, slo: Slo) -> bool:
    """Whether a request finished within every limit; an answer of one token has no ITL."""
    if request.end is not End.FINISHED:
        return False
    pairs = (
        (request.ttft_seconds, slo.ttft_p95_seconds),
        (request.itl_seconds, slo.itl_p95_seconds),
        (request.e2e_seconds, slo.e2e_p95_seconds),
    )
    return all(limit is None or took is None or took <= limit for took, limit in pairs)


def worst_of(values: FloatArray, width: int) -> FloatArray:
    """Return the largest of every `width` values; NaN where all are NaN, the last may be short."""
    padded = np.full(ceil(len(values) / width) * width, np.nan)
    padded[: len(values)] = values
    rows = padded.reshape(-1, width)
    known = ~np.isnan(rows)
    largest: FloatArray = np.where(
        known.any(axis=1), np.where(known, rows, -np.inf).max(axis=1), np.nan
    )
    return largest


def sum_of(values: IntArray, width: int) -> IntArray:
    """Return the sums of every `width` values; the last may be short."""
    sums: IntArray = np.add.reduceat(values, np.arange(0, len(values), width))
    return sums


def _first_token(request: Request) -> float | None:
    return request.first_token


def _finished(request: Request) -> float | None:
    return request.finished


def _counts(times: Sequence[float], minutes: int) -> IntArray:
    at = (np.asarray(times, dtype=np.float64) // MINUTE).astype(np.int64)
    counts: IntArray = np.bincount(np.minimum(at, minutes - 1), minlength=minutes).astype(np.int64)
    return counts


def _p95(
    requests: Sequence[Request],
    minutes: int,
    when: Callable[[Request], float | None],
    took: Callable[[Request], float | None],
) -> FloatArray:
    found = [
        (at, seconds)
        for request in requests
        if (at := when(request)) is not None and (seconds := took(request)) is not None
    ]
    percentiles = np.full(minutes, np.nan)
    if not found:
        return percentiles
    times, seconds = np.array(found).T
    at = np.minimum((times // MINUTE).astype(np.int64), minutes - 1)
    order = np.argsort(at, kind="stable")
    present, first = np.unique(at[order], return_index=True)
    for minute, values in zip(present, np.split(seconds[order], first[1:]), strict=True):
        percentiles[minute] = np.percentile(values, 95)
    return percentiles
