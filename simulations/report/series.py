"""The data of the charts: every run on one grid of times, coarse enough for a page."""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.decisions import Forecasts
from simulations.minutes import MINUTE, sum_of, worst_of
from simulations.runs import Comparison, Run
from simulations.trace import IntArray

MOST_POINTS: Final = 1440
"""Points of one line on a chart; what is longer is shown by the worst in each bin."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The times of all charts.

    Attributes:
        seconds: Length of the longest run.
        cell: Seconds of one bin of the replicas and the queue.
        minutes: Minutes of one bin of latencies and requests.
    """

    seconds: float
    cell: float
    minutes: int

    @classmethod
    def of(cls, comparison: Comparison) -> "Grid":
        """Return a grid with at most `MOST_POINTS` bins."""
        seconds = max(float(run.result.timeline.seconds[-1]) for run in comparison.runs)
        interval = comparison.settings.interval_seconds
        cell = interval * max(1, ceil(seconds / interval / MOST_POINTS))
        return cls(seconds, cell, max(1, ceil(seconds / MINUTE / MOST_POINTS)))

    @property
    def days(self) -> bool:
        """Whether times are told by day."""
        return self.seconds > 2 * 86_400


def chart_data(comparison: Comparison) -> dict[str, Any]:
    """Return what the page's script draws; JSON values only."""
    grid, slo = Grid.of(comparison), comparison.slo
    cells = ceil(grid.seconds / grid.cell)
    bins = ceil(grid.seconds / MINUTE / grid.minutes)
    runs = comparison.runs
    return {
        "seconds": max(grid.cell * cells, MINUTE * grid.minutes * bins),
        "days": grid.days,
        "x": [round(grid.cell * index, 3) for index in range(cells)],
        "mx": [MINUTE * grid.minutes * index for index in range(bins)],
        "limits": {
            "ttft": slo.ttft_p95_seconds,
            "itl": slo.itl_p95_seconds,
            "e2e": slo.e2e_p95_seconds,
        },
        "mostReplicas": max(int(run.result.timeline.desired.max()) for run in runs),
        "runs": [_run(run, grid, cells, bins) for run in runs],
    }


def _run(run: Run, grid: Grid, cells: int, bins: int) -> dict[str, Any]:
    timeline, minutes = run.result.timeline, run.result.minutes
    at = np.minimum(((timeline.seconds - 1e-6) // grid.cell).astype(np.int64), cells - 1)
    found: dict[str, Any] = {
        "name": run.name,
        "asked": _largest(timeline.desired, at, cells),
        "ready": _largest(timeline.ready, at, cells),
        "queued": _largest(timeline.queued, at, cells),
        "arrived": _padded(sum_of(minutes.arrived, grid.minutes).tolist(), bins),
        "missed": _padded(sum_of(minutes.missed, grid.minutes).tolist(), bins),
    }
    if timeline.nodes is not None and timeline.nodes_ready is not None:
        found["nodesAsked"] = _largest(timeline.nodes, at, cells)
        found["nodesReady"] = _largest(timeline.nodes_ready, at, cells)
    for name in ("ttft", "itl", "e2e"):
        values = worst_of(getattr(minutes, f"{name}_p95"), grid.minutes)
        found[name] = _padded(_rounded(values), bins)
    if run.decided.forecasts is not None:
        found["forecast"] = _forecast(run.decided.forecasts, grid, cells)
    return found


def _forecast(forecasts: Forecasts, grid: Grid, cells: int) -> dict[str, Any]:
    """Forecasts and what came, both as they stand at the middle of each bin."""
    x = grid.cell * (np.arange(cells, dtype=np.float64) + 0.5)
    return {
        "x": [round(value, 3) for value in x.tolist()],
        "quantiles": list(forecasts.quantiles),
        "values": [
            _rounded(_at(x, forecasts.times, forecasts.values[:, index]))
            for index in range(len(forecasts.quantiles))
        ],
        "seen": _rounded(_at(x, forecasts.seen_times, forecasts.seen)),
    }


def _at(x: FloatArray, times: FloatArray, values: FloatArray) -> FloatArray:
    if not len(times):
        return np.full(len(x), np.nan)
    order = np.argsort(times, kind="stable")
    found: FloatArray = np.interp(x, times[order], values[order], left=np.nan, right=np.nan)
    return found


def _largest(values: IntArray, at: IntArray, cells: int) -> list[int | None]:
    largest = np.full(cells, -1, dtype=np.int64)
    np.maximum.at(largest, at, values)
    return [None if value < 0 else value for value in largest.tolist()]


def _rounded(values: FloatArray) -> list[float | None]:
    return [None if value != value else float(f"{value:.4g}") for value in values.tolist()]  # noqa: PLR0124


def _padded(values: list[Any], bins: int) -> list[Any]:
    return [*values[:bins], *([None] * (bins - len(values)))]
