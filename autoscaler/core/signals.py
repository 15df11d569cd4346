"""How far each signal can be trusted: fresh, ageing, stale, missing or suspect.

An outage is never a zero. What is judged is the age of the newest finite sample, by the sample's
own time; NaN, infinity, an empty answer, a partial one and an error are reasons, not values.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from autoscaler.core.decision import Reading, SignalState
from autoscaler.core.observation import Gap, GapReason, Observation, PodSample, Series
from autoscaler.core.past import age
from autoscaler.core.spec import OnMissing, Role, SignalSpec


def read_signals(
    specs: Mapping[str, SignalSpec], observation: Observation
) -> tuple[Mapping[str, Reading], Mapping[str, Series]]:
    """Judge every signal of a workload.

    Args:
        specs: The workload's signals by name.
        observation: What was seen of it.

    Returns:
        The reading of each signal, in file order, and the series that policies may be shown:
        usable ones, without non-finite samples.
    """
    now, missing = observation.now, observation.missing
    series: dict[str, Series] = {}
    finite: dict[str, Series] = {}
    readings: dict[str, Reading] = {}
    for name, spec in specs.items():
        series[name] = one = _seen(name, observation)
        finite[name] = sound = one.finite()
        readings[name] = _by_age(name, spec, one, sound, missing.get(name), now)
    readings = _doubt_zeros(specs, readings, observation.replicas.ready)
    shown: dict[str, Series] = {}
    for name, spec in specs.items():
        odd = finite[name] is not series[name]
        if odd and _is_idle(name, specs, readings, series, finite):
            when = series[name].latest_time if len(series[name]) else now
            readings[name] = replace(
                readings[name],
                state=SignalState.FRESH,
                value=0.0,
                age_seconds=age(now, when),
                usable=True,
                may_lower=True,
                why="idle: nobody waited",
            )
            shown[name] = Series.of([(when, 0.0)])
        elif readings[name].usable:
            shown[name] = finite[name]
        else:
            readings[name], shown_series = _as_file_says(
                spec, readings[name], series[name], finite[name], missing.get(name), now
            )
            if shown_series is not None:
                shown[name] = shown_series
    return readings, shown


def _seen(name: str, observation: Observation) -> Series:
    """The signal's series; of a per-pod signal, the mean of its finite samples."""
    series = observation.signals.get(name)
    if series is not None:
        return series
    samples = observation.pod_samples.get(name, {}).values()
    return _mean_of(sample for sample in samples if math.isfinite(sample.value))


def _mean_of(samples: Iterable[PodSample]) -> Series:
    found = list(samples)
    if not found:
        return Series.of([])
    newest = max(sample.time for sample in found)
    return Series.of([(newest, sum(sample.value for sample in found) / len(found))])


def _by_age(
    name: str, spec: SignalSpec, series: Series, finite: Series, gap: Gap | None, now: float
) -> Reading:
    """Judge by the age of the newest finite sample alone."""
    if not len(finite.times):
        return Reading(name, SignalState.MISSING, None, None, why=_why_none(series, gap))
    value, old, max_age = finite.values.item(-1), age(now, finite.times.item(-1)), spec.max_age
    if finite is series and gap is None and -max_age <= old <= max_age / 2:
        return Reading(name, SignalState.FRESH, value, old, usable=True, may_lower=True)
    last = series.latest
    state, why = SignalState.FRESH, ""
    if old > max_age:
        state, why = SignalState.STALE, f"newest sample is {old:g} s old"
    elif old < -max_age:
        state, why = SignalState.SUSPECT, f"newest sample lies {-old:g} s in the future"
    elif old > max_age / 2:
        state, why = SignalState.AGEING, f"newest sample is {old:g} s old"
    elif not math.isfinite(last):
        state, why = SignalState.AGEING, f"newest sample is {last}"
    elif gap is not None:
        state, why = SignalState.AGEING, f"{gap.reason}: {gap.detail}".rstrip(": ")
    if state is SignalState.STALE and not math.isfinite(last):
        why = f"{why}, and {last} since"
    if state is SignalState.STALE and gap is not None:
        why = f"{why}; {gap.reason} {gap.detail}".rstrip()
    fresh = state is SignalState.FRESH
    return Reading(name, state, value, old, fresh or state is SignalState.AGEING, fresh, why)


def _why_none(series: Series, gap: Gap | None) -> str:
    if len(series):
        return "nan" if math.isnan(series.latest) else "infinite"
    if gap is None:
        return str(GapReason.EMPTY)
    return f"{gap.reason}: {gap.detail}" if gap.detail else str(gap.reason)


def _doubt_zeros(
    specs: Mapping[str, SignalSpec], readings: dict[str, Reading], ready: int
) -> dict[str, Reading]:
    """Doubt a throughput or utilisation of 0 while ready replicas leave requests waiting."""
    waiting = None
    for name, reading in readings.items():
        if specs[name].role is Role.QUEUE and reading.usable and (reading.value or 0.0) > 0:
            waiting = reading
            break
    if waiting is None or ready == 0:
        return readings
    doubted = {
        name: replace(
            reading,
            state=SignalState.SUSPECT,
            usable=False,
            may_lower=False,
            why=f"reads 0 while {waiting.signal} is {waiting.value:g}",
        )
        for name, reading in readings.items()
        if reading.usable
        and reading.value == 0.0
        and specs[name].role in (Role.THROUGHPUT, Role.UTILIZATION)
    }
    return {**readings, **doubted}


def _is_idle(
    name: str,
    specs: Mapping[str, SignalSpec],
    readings: Mapping[str, Reading],
    series: Mapping[str, Series],
    finite: Mapping[str, Series],
) -> bool:
    """Whether a latency is NaN because there was nobody to measure.

    A quantile over no requests is NaN. That is idleness only where something else says so,
    freshly: nothing arrives or is served, or the queue stayed empty; and no queue holds anyone.
    """
    if specs[name].role is not Role.LATENCY or not math.isnan(series[name].latest):
        return False
    quiet = False
    for other, spec in specs.items():
        reading = readings[other]
        fresh = reading.state is SignalState.FRESH
        if spec.role is Role.QUEUE:
            if not fresh or reading.value != 0.0:
                return False
            quiet = quiet or bool((finite[other].values == 0.0).all())
        elif spec.role in (Role.THROUGHPUT, Role.ARRIVALS):
            if fresh and reading.value != 0.0:
                return False
            quiet = quiet or fresh
    return quiet


def _as_file_says(
    spec: SignalSpec,
    reading: Reading,
    series: Series,
    finite: Series,
    gap: Gap | None,
    now: float,
) -> tuple[Reading, Series | None]:
    """Treat an unusable signal as `onMissing` says; say what policies may be shown."""
    if spec.on_missing is OnMissing.LAST and reading.value is not None:
        text = f"{reading.why}; the last value counts"
        return replace(reading, usable=True, may_lower=False, why=text), finite
    answered = gap is None or gap.reason in (GapReason.EMPTY, GapReason.NAN)
    if (
        spec.on_missing is OnMissing.ZERO
        and reading.state is SignalState.MISSING
        and answered
        and not math.isinf(series.latest)
    ):
        zero = replace(
            reading, value=0.0, age_seconds=0.0, usable=True, may_lower=True,
            why=f"{reading.why}; read as 0, as onMissing says",
        )  # fmt: skip
        return zero, Series.of([(now, 0.0)])
    return reading, None
