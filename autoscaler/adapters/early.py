"""Signals of workloads at zero, looked at between cycles as well, and what that adds to the next.

Prometheus is asked on a grid of steps, once in a cycle: what wakes a workload would be seen up to
an interval late, and not at all by a cycle that comes early. What a look brings is put behind the
series of the next cycle, where that has not seen it itself.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from autoscaler.adapters.prometheus.groups import Served
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.adapters.prometheus.newest import NewestReader
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.core.observation import Gap, GapReason, Observation, Series, Snapshot
from autoscaler.core.workload import FleetSpec


class EarlySignals:
    """Reads the signals of a fleet in cycles, and the newest ones of a few workloads in between.

    One thread calls `read`, another may call `look`.
    """

    def __init__(self, signals: SignalReader, newest: NewestReader) -> None:
        """Read with `signals` in cycles, look with `newest` in between."""
        self._signals = signals
        self._newest = newest
        self._seen: Mapping[Served, Series] = {}

    def read(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        """Return what can be seen, by workload key, the last look included."""
        seen = dict(self._signals.read(fleet, now))
        looked, self._seen = self._seen, {}
        for (key, name), newest in looked.items():
            known = seen.get(key)
            if known is not None:
                series, missing = _with(known.signals, known.missing, name, newest)
                seen[key] = replace(known, signals=series, missing=missing)
        return seen

    def look(self, fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        """Return what would be seen of some workloads now: the last cycle, and newer samples.

        Args:
            fleet: Them alone.
            before: What the last cycle saw.
            now: Unix seconds.
        """
        self._seen = found = self._newest.read(fleet, now)
        seen: dict[str, Observation] = {}
        for (key, name), newest in found.items():
            last = seen.get(key) or before.observations.get(key)
            if last is not None:
                series, missing = _with(last.signals, last.missing, name, newest)
                seen[key] = replace(last, now=now, signals=series, missing=missing)
        return replace(before, now=now, observations=seen, missing={})

    def close(self) -> None:
        """Ask nothing any more."""
        self._newest.close()
        self._signals.close()


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
