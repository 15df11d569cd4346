"""The points of an answer that belong to each signal: added to its samples, or what they lack."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.adapters.prometheus.plan import PlannedQuery
from autoscaler.adapters.prometheus.questions import raw_times
from autoscaler.adapters.prometheus.rows import Key, Points, Rows
from autoscaler.adapters.prometheus.windows import Floats, Track
from autoscaler.core.observation import Gap, GapReason, PodSample

_FEW: Final = 16
"""So few new values are put behind a signal's samples one by one; more are merged with them."""


def lack(
    planned: PlannedQuery, key: Key, newest: float, *, reached: bool, fault: str | None, end: float
) -> Gap | None:
    """Say what the newest point of an answer lacks for one workload; None if nothing.

    Args:
        planned: What was asked.
        key: The label values of the workload.
        newest: The time of its newest value, Unix seconds; minus infinity where there is none.
        reached: Whether raw samples were there at the newest evaluation.
        fault: Why its rows cannot be used, if that is so.
        end: The newest evaluation, Unix seconds.
    """
    if fault is not None:
        return Gap(GapReason.ERROR, f"{planned.source}: bad query: {fault}")
    pairs = zip(planned.labels, key, strict=True)
    who = ", ".join(f"{label}={value!r}" for label, value in pairs) or "this query"
    if newest >= end - 1e-3:
        if reached:
            return None
        text = f"the series of {who} have ended: what the query still gives is an echo"
    elif reached and planned.selectors:
        text = f"the series of {who} are there, but the query gives nothing for them"
    else:
        text = f"no series for {who}"
    return Gap(GapReason.EMPTY, f"{planned.source}: {text}")


def newest_times(rows: Rows) -> Floats:
    """Return when each line has its newest value, Unix seconds; minus infinity without any."""
    times: Floats = np.where(rows.there, rows.times, -np.inf).max(axis=1, initial=-np.inf)
    return times


def reached(rows: Rows, end: float) -> NDArray[np.bool_]:
    """Say of each line whether raw samples were there at the newest evaluation (Unix seconds)."""
    found = np.full(len(rows.there), not rows.ages)
    for age in rows.ages:
        found |= ~np.isnan(age[:, rows.times >= end - 1e-3]).all(axis=1)
    return found


def counts_at(rows: Rows, end: float) -> list[int | None]:
    """Return how many raw series each line had at the newest evaluation; None if unknown."""
    newest = np.full(len(rows.counts), np.nan)
    for column in rows.counts.T[rows.times >= end - 1e-3]:
        newest = np.where(np.isnan(column), newest, column)
    return [None if math.isnan(count) else round(count) for count in newest.tolist()]


def end_of(points: Points) -> float:
    """Return the time of the newest point, Unix seconds; minus infinity where there is none."""
    return float(points[-1][0]) if points else -math.inf


def pod_samples(
    planned: PlannedQuery, pods: Mapping[str, tuple[Points, Points]]
) -> dict[str, PodSample]:
    """Return the newest sample of each pod, at its raw sample's own time."""
    window = planned.range_seconds if "$window" in planned.template else planned.step_seconds
    found = {}
    for pod, (points, ages) in pods.items():
        raw = {float(at): float(time) for at, time in ages}
        dated = [(at, value) for at, value in points if float(at) in raw or not planned.selectors]
        if dated:
            at, value = dated[-1]
            found[pod] = PodSample(float(value), raw.get(float(at), float(at)), float(window))
    return found


def add(
    tracks: Sequence[Track],
    lines: NDArray[np.intp],
    rows: Rows,
    step: float,
    *,
    newest: bool,
) -> None:
    """Add the values that have a raw sample of their own behind them.

    A raw sample counts once, with the first value that was computed from it.

    Args:
        tracks: What is known of each signal.
        lines: Which line of the answer is each signal's.
        rows: The answer.
        step: Seconds between evaluations.
        newest: Whether these are the newest points; else they fill a hole.
    """
    there, values = rows.there[lines], rows.values[lines]
    lengths = there.sum(axis=1)
    few = (lengths <= _FEW) & newest
    times = np.where(there, rows.times, -np.inf)
    if rows.ages:
        ages = [np.where(there, age[lines], np.nan) for age in rows.ages]
        several = newest and len(ages) > 1
        marks = _marks(tracks, few, len(ages)) if several else None
        times, marks = raw_times(rows.times, ages, marks)
        if several:
            for track, some in zip(tracks, marks.tolist(), strict=True):
                track.marks = tuple(some)
    if few.any():
        _add_few(tracks, np.where(few[:, None], times, -np.inf), values, step)
    for at in np.flatnonzero(~few & (lengths > 0)).tolist():
        risen = np.maximum.accumulate(times[at])
        fresh = (risen > np.append(-np.inf, risen[:-1])) & np.isfinite(risen)
        tracks[at].merge(risen[fresh], values[at][fresh])


def _add_few(tracks: Sequence[Track], times: Floats, values: Floats, step: float) -> None:
    """Put values behind what is known, one time after the other: what every cycle does."""
    known = np.array([track.newest for track in tracks])
    for time, value in zip(times.T, values.T, strict=True):
        fresh = np.flatnonzero(time > known)
        known[fresh] = time[fresh]
        samples = zip(fresh.tolist(), time[fresh].tolist(), value[fresh].tolist(), strict=True)
        for at, at_time, at_value in samples:
            tracks[at].put(at_time, at_value, step)


def _marks(tracks: Sequence[Track], few: NDArray[np.bool_], selectors: int) -> Floats:
    """Return the newest raw sample of each selector; a whole window begins without any."""
    marks = np.full((len(tracks), selectors), -np.inf)
    for at in np.flatnonzero(few).tolist():
        marks[at] = tracks[at].marks or -np.inf
    return marks
