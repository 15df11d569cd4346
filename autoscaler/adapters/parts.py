"""Whether all of a workload still speaks: raw series counted against the replicas that serve.

When a scrape fails, Prometheus forgets the target's series at once. `sum by (...)` then answers
with the targets that are left: fresh, and too low. So the series behind each signal are counted.
Fewer than before, while the replicas did not become fewer in proportion, are a part of the whole:
such an answer may raise a workload and not lower it.

What was whole is kept between processes: else a process that starts while targets are dead would
take the part for the whole.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from autoscaler.core.observation import Gap, GapReason, ReplicaStatus
from autoscaler.core.workload import FleetSpec, ScaledWorkload

NORMAL_AFTER_SECONDS: Final = 900.0
"""For so long fewer series are a part of the whole; then they are taken to be all there is."""


@dataclass(slots=True)
class _Whole:
    """What was last there of a signal when all of it was there.

    Attributes:
        parts: Its raw series.
        replicas: The replicas that these stand for. Replicas that end leave `ready` before their
            series end, so it follows the series down, not `ready`.
        fewest: The fewest series since some are missing; None while none is.
        since: Since when there are that few, Unix seconds.
        asked: What was asked, in a few letters; empty until somebody wants to know.
    """

    parts: int
    replicas: float
    fewest: int | None = None
    since: float = 0.0
    asked: str = ""


@dataclass(slots=True)
class _Kept:
    """One workload: its policy file, the replicas ready last time, and its signals."""

    workload: ScaledWorkload
    ready: int
    wholes: dict[str, _Whole] = field(default_factory=dict)


_Row = tuple[int, float, int | None, float, str]
_ROWS: Final = TypeAdapter(dict[str, tuple[int, dict[str, _Row]]])


class Parts:
    """Remembers the last whole sight of every signal."""

    def __init__(self) -> None:
        self._fleet: FleetSpec | None = None
        self._kept: dict[str, _Kept] = {}
        self._found: dict[str, tuple[int, dict[str, _Row]]] = {}

    def follow(self, fleet: FleetSpec) -> None:
        """Forget the workloads that left the fleet, and the signals that ask something else."""
        if fleet is self._fleet and not self._found:
            return
        self._fleet = fleet
        for workload in fleet.workloads:
            kept = self._kept.get(workload.key)
            if kept is not None and kept.workload is not workload:
                kept.wholes = {
                    name: whole
                    for name, whole in kept.wholes.items()
                    if _asks(workload, name) == _asks(kept.workload, name)
                }
                kept.workload = workload
            if workload.key in self._found:
                self._go_on(workload, *self._found[workload.key])
        self._found = {}
        keys = {workload.key for workload in fleet.workloads}
        self._kept = {key: kept for key, kept in self._kept.items() if key in keys}

    def kept(self) -> Mapping[str, Any]:
        """Return what the next process should know, by workload key; JSON.

        Of a single series no part can be missing: what is left then is an empty answer.
        """
        found = {}
        for key, kept in self._kept.items():
            rows = {}
            for name, whole in kept.wholes.items():
                if whole.parts > 1:
                    whole.asked = whole.asked or _asked(kept.workload, name)
                    rows[name] = (
                        whole.parts, whole.replicas, whole.fewest, whole.since, whole.asked
                    )  # fmt: skip
            if rows:
                found[key] = (kept.ready, rows)
        return found

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on, from the next fleet that is followed, from what `kept` returned once.

        What asked something else is forgotten, and what has another form. Where this process knows
        more series for each replica itself, that counts.
        """
        try:
            self._found = _ROWS.validate_python(kept)
        except ValidationError:
            self._found = {}

    def _go_on(self, workload: ScaledWorkload, ready: int, rows: Mapping[str, _Row]) -> None:
        mine = self._kept.setdefault(workload.key, _Kept(workload, ready))
        for name, row in rows.items():
            found, known = _Whole(*row), mine.wholes.get(name)
            fuller = known is None or found.parts * known.replicas >= known.parts * found.replicas
            if fuller and found.asked == _asked(workload, name):
                mine.wholes[name] = found

    def lacking(
        self,
        workload: ScaledWorkload,
        parts: Mapping[str, int],
        replicas: ReplicaStatus,
        now: float,
    ) -> Mapping[str, Gap]:
        """Return the signals whose answer is a part of the whole, with what is left.

        Args:
            workload: Whose signals they are.
            parts: How many raw series are behind each signal; unknown ones are absent.
            replicas: The target's replicas.
            now: Unix seconds.
        """
        ready = replicas.ready
        kept = self._kept.get(key := workload.key)
        if kept is None:
            kept = self._kept[key] = _Kept(workload, ready)
        # A replica that has just become ready may not have been scraped yet.
        sure, kept.ready = min(ready, kept.ready), ready
        if ready <= 0:
            return {}
        gaps: dict[str, Gap] = {}
        for name, count in parts.items():
            whole = kept.wholes.get(name)
            if whole is None:
                kept.wholes[name] = _Whole(count, float(ready))
            elif count == whole.parts:  # nearly always
                whole.replicas, whole.fewest = max(whole.replicas, float(ready)), None
            elif not _fewer(whole, count, ready):
                _note(whole, count, replicas)
            elif not _fewer(whole, count, sure):
                continue  # too early to tell
            elif _lasts(whole, count, now):
                _note(whole, count, replicas)
            else:
                are = "replicas are" if ready > 1 else "replica is"
                text = f"{count} of {whole.parts} series are left while {ready} {are} ready"
                gaps[name] = Gap(GapReason.PARTIAL, text)
        return gaps


def _fewer(whole: _Whole, count: int, ready: int) -> bool:
    """Whether series are missing that the replicas do not account for."""
    if count >= whole.parts:
        return False
    return ready * whole.parts > whole.replicas * count * (1 + 1e-9)


def _lasts(whole: _Whole, count: int, now: float) -> bool:
    """Whether so few series have been there for so long that they are the new normal."""
    clock_set_back = now < whole.since
    if whole.fewest is None or count < whole.fewest or clock_set_back:
        whole.fewest, whole.since = count, now
    return now - whole.since >= NORMAL_AFTER_SECONDS


def _note(whole: _Whole, count: int, replicas: ReplicaStatus) -> None:
    """Take what is there for the whole.

    Each series goes on standing for as many replicas as before: more series are replicas that are
    not ready yet, fewer are replicas that have ended. Two things show that it is otherwise: more
    replicas are ready than that, or fewer pods exist.
    """
    stand_for = whole.replicas
    if count != whole.parts:
        stand_for *= count / whole.parts
    if count > whole.parts:
        stand_for = min(stand_for, float(replicas.status))
    whole.replicas = max(stand_for, float(replicas.ready))
    whole.parts, whole.fewest = count, None


def _asks(workload: ScaledWorkload, name: str) -> object:
    spec = workload.spec
    signal = spec.signals.get(name)
    return None if signal is None else (spec.source, signal.query, spec.match)


def _asked(workload: ScaledWorkload, name: str) -> str:
    """Return what a signal asks in a few letters, which are others where it asks something else."""
    spec = workload.spec
    signal = spec.signals.get(name)
    asks = signal and (spec.source, signal.query, sorted(spec.match.items()))
    return hashlib.blake2b(repr(asks).encode(), digest_size=4).hexdigest()
