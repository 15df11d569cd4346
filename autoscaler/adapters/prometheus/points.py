"""The points of an answer that belong to one signal: added to its samples, or what they lack."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from autoscaler.adapters.prometheus.plan import PlannedQuery
from autoscaler.adapters.prometheus.questions import raw_times
from autoscaler.adapters.prometheus.rows import Key, Points
from autoscaler.adapters.prometheus.windows import Floats, Track
from autoscaler.core.observation import Gap, GapReason, PodSample

Ages = Sequence[Points | None]
"""Of each selector, the points of its newest raw sample; None or empty where there is none."""

_FEW: Final = 16
"""Fewer points are taken one by one, more as arrays."""


def lack(
    planned: PlannedQuery, key: Key, points: Points, ages: Ages, fault: str | None, end: float
) -> Gap | None:
    """Say what the newest point of an answer lacks for one workload; None if nothing.

    Args:
        planned: What was asked.
        key: The label values of the workload.
        points: Its values.
        ages: Its raw samples.
        fault: Why its rows cannot be used, if that is so.
        end: The newest evaluation, Unix seconds.
    """
    if fault is not None:
        return Gap(GapReason.ERROR, f"{planned.source}: bad query: {fault}")
    pairs = zip(planned.labels, key, strict=True)
    who = ", ".join(f"{label}={value!r}" for label, value in pairs) or "this query"
    there = reach(ages, end)
    if points and float(points[-1][0]) >= end - 1e-3:
        if there:
            return None
        text = f"the series of {who} have ended: what the query still gives is an echo"
    elif there and ages:
        text = f"the series of {who} are there, but the query gives nothing for them"
    else:
        text = f"no series for {who}"
    return Gap(GapReason.EMPTY, f"{planned.source}: {text}")


def reach(ages: Ages, end: float) -> bool:
    """Whether raw samples were there at the newest evaluation (`end`, Unix seconds)."""
    for age in ages:
        if age and age[-1][0] >= end - 1e-3:
            return True
    return not ages


def count_at(end: float, points: Points | None) -> int | None:
    """Return how many raw series there were at the newest evaluation; None if unknown."""
    if not points or float(points[-1][0]) < end - 1e-3:
        return None
    return round(float(points[-1][1]))


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


def add(track: Track, points: Points, ages: Ages, step: float, *, newest: bool) -> None:
    """Add the values that have a raw sample of their own behind them.

    Args:
        track: What is known of the signal.
        points: Its values, oldest first.
        ages: Its raw samples.
        step: Seconds between evaluations.
        newest: Whether these are the newest points; else they fill a hole.
    """
    if newest and len(points) <= _FEW:
        _add_few(track, points, ages, step)
        return
    times, values = _columns(points)
    if ages:
        known = [
            dict(zip(*map(np.ndarray.tolist, _columns(age or ())), strict=True)) for age in ages
        ]
        found, marks = raw_times(times.tolist(), known)
        times = np.array(found)
        if newest and len(ages) > 1:
            track.marks = marks
    # A raw sample counts once, with the first value that was computed from it.
    times = np.maximum.accumulate(times)
    fresh = np.append(True, times[1:] > times[:-1]) & np.isfinite(times)
    track.merge(times[fresh], values[fresh])


def _add_few(track: Track, points: Points, ages: Ages, step: float) -> None:
    """Add some values one by one: what every cycle does for every signal."""
    if len(ages) == 1:
        known = dict(ages[0] or ())
        dated = [(float(known[at]), value) for at, value in points if at in known]
    else:
        times = [float(point[0]) for point in points]
        if ages:
            several = [{float(at): float(raw) for at, raw in age or ()} for age in ages]
            times, track.marks = raw_times(times, several, track.marks)
        dated = [(time, point[1]) for time, point in zip(times, points, strict=True)]
    track.extend(dated, step)


def _columns(points: Points) -> tuple[Floats, Floats]:
    times = np.array([point[0] for point in points], dtype=np.float64)
    return times, np.array([point[1] for point in points], dtype=np.float64)
