"""Signals of workloads at zero, looked at between cycles as well, and what that adds to the next.

Prometheus is asked on a grid of steps, once in a cycle: what wakes a workload would be seen up to
an interval late, and not at all by a cycle that comes early. What woke a workload stands behind its
series until a cycle has seen as new a sample itself; looks that woke nobody leave no trace.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.adapters.prometheus.groups import Served
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.adapters.prometheus.newest import NewestReader
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.core.observation import Gap, GapReason, Observation, Series, Snapshot
from autoscaler.core.workload import FleetSpec, ScaledWorkload


@dataclass(frozen=True, slots=True)
class _Sample:
    """One sample that woke a workload.

    Attributes:
        asks: What was asked for it; another question has other answers.
        series: It alone.
    """

    asks: tuple[object, ...]
    series: Series

    @property
    def time(self) -> float:
        return self.series.latest_time


class EarlySignals:
    """Reads the signals of a fleet in cycles, and the newest ones of a few workloads in between.

    One thread calls `read`, another `look` and `judged`.
    """

    def __init__(self, signals: SignalReader, newest: NewestReader) -> None:
        """Read with `signals` in cycles, look with `newest` in between."""
        self._signals = signals
        self._newest = newest
        self._reads = threading.Event()
        self._looked: dict[Served, _Sample] = {}
        self._judged: dict[Served, _Sample] = {}
        self._woke: dict[Served, _Sample] = {}
        self._lock = threading.Lock()

    def read(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        """Return what can be seen, by workload key, with what woke workloads since."""
        self._reads.set()
        try:
            found = self._signals.read(fleet, now)
        finally:
            self._reads.clear()
        with self._lock:
            return self._with_those_that_woke(fleet, found, now) if self._woke else found

    def look(self, fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        """Return what is new of some workloads: the last cycle's sight of them, and newer samples.

        Args:
            fleet: Them alone.
            before: What the last cycle saw.
            now: Unix seconds.
        """
        workloads = {one.key: one for one in fleet.workloads}
        found = self._newest.read(fleet, now, lambda: not self._reads.is_set())
        self._looked = {
            (key, name): _Sample(_asks(workloads[key], name), series)
            for (key, name), series in found.items()
        }
        news = {key for (key, name), one in self._looked.items() if not self._known(key, name, one)}
        seen: dict[str, Observation] = {}
        for (key, name), sample in self._looked.items():
            last = seen.get(key) or before.observations.get(key)
            if key in news and last is not None:
                series, missing = _with(last.signals, last.missing, name, sample.series)
                seen[key] = replace(last, now=now, signals=series, missing=missing)
        return replace(before, now=now, observations=seen, missing={})

    def judged(self, woken: Collection[str]) -> None:
        """Hear that the last look was decided on, and which workloads it woke, by their keys."""
        self._judged = self._looked
        with self._lock:
            self._woke |= {whom: one for whom, one in self._looked.items() if whom[0] in woken}

    def close(self) -> None:
        """Ask nothing any more."""
        self._signals.close()

    def _known(self, key: str, name: str, sample: _Sample) -> bool:
        """Whether an earlier look found the same."""
        before = self._judged.get((key, name))
        return (
            before is not None
            and before.asks == sample.asks
            and before.time == sample.time
            and before.series.latest == sample.series.latest
        )

    def _with_those_that_woke(
        self, fleet: FleetSpec, found: Mapping[str, SignalsSeen], now: float
    ) -> Mapping[str, SignalsSeen]:
        keys = {key for key, _ in self._woke}
        workloads = {one.key: one for one in fleet.workloads if one.key in keys}
        seen, left = dict(found), {}
        for (key, name), sample in self._woke.items():
            known, workload = seen.get(key), workloads.get(key)
            if known is None or workload is None or _asks(workload, name) != sample.asks:
                continue
            series, missing = _with(known.signals, known.missing, name, sample.series)
            old = now - sample.time > workload.spec.signals[name].window_seconds
            if series is known.signals or old:
                continue  # a cycle has seen as new a sample itself, or nobody asks for it any more
            left[key, name] = sample
            seen[key] = replace(known, signals=series, missing=missing)
        self._woke = left
        return seen


def _asks(workload: ScaledWorkload, name: str) -> tuple[object, ...]:
    spec = workload.spec
    signal = spec.signals.get(name)
    return spec.source, spec.match, signal and (signal.query, signal.step_seconds)


def _with(
    signals: Mapping[str, Series], missing: Mapping[str, Gap], name: str, newest: Series
) -> tuple[Mapping[str, Series], Mapping[str, Gap]]:
    """Put a sample behind a series, if it is newer; then the series does not lack it."""
    known = signals.get(name)
    if known is None or not len(known):
        joined = newest
    elif newest.latest_time > known.latest_time:
        joined = Series(
            np.concatenate([known.times, newest.times]),
            np.concatenate([known.values, newest.values]),
        )
    else:
        return signals, missing
    gap = missing.get(name)
    if gap is not None and gap.reason is GapReason.EMPTY:
        missing = {other: each for other, each in missing.items() if other != name}
    return {**signals, name: joined}, missing
