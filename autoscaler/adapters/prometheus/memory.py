"""What a reader remembers between cycles: the questions, the windows, and what was lacking."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from autoscaler.adapters.prometheus.plan import PlannedQuery, QueryPlan
from autoscaler.adapters.prometheus.questions import Points, Question, Rows, raw_times
from autoscaler.adapters.prometheus.windows import Floats, Track
from autoscaler.core.observation import Gap, GapReason, PodSample, Series
from autoscaler.core.workload import FleetSpec, ScaledWorkload

Target = tuple[str, str]
"""A workload's key and a signal's name."""

_FEW: Final = 16
"""Fewer points are taken one by one, more as arrays."""


@dataclass(slots=True)
class _Kept:
    """One signal of one workload.

    Attributes:
        asks: What decides whether old samples still answer the question.
        window: How far back samples are kept, seconds.
        newest_window: How far back the newest sample is kept, seconds.
        track: Its samples.
        question: Who asks for the newest.
        filler: Who still asks for its past, if another question does.
        gap: What was lacking in the newest answer.
        pods: The newest sample of each pod, where the query tells pods apart.
        parts: How many raw series were behind the newest answer; None where that is unknown.
    """

    asks: tuple[object, ...]
    window: float
    newest_window: float
    track: Track
    question: Question
    filler: Question | None = None
    gap: Gap | None = None
    pods: Mapping[str, PodSample] = field(default_factory=dict)
    parts: int | None = None


@dataclass(frozen=True, slots=True)
class SignalsSeen:
    """What was seen of one workload.

    Attributes:
        signals: The series by signal name, where there is any sample within the window.
        missing: What was lacking in the newest answer; such a signal may still have a series.
        pod_samples: The newest sample of each pod, where a query keeps the label `pod`: by signal,
            then by pod.
        parts: How many raw series were behind the newest answer, by signal; absent where that is
            unknown: no answer, an incomplete one, or no series.
    """

    signals: Mapping[str, Series] = field(default_factory=dict)
    missing: Mapping[str, Gap] = field(default_factory=dict)
    pod_samples: Mapping[str, Mapping[str, PodSample]] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)


class SignalMemory:
    """Every signal's window, whatever the plan makes of the fleet."""

    def __init__(self, plan: Callable[[FleetSpec], QueryPlan]) -> None:
        self.plan: QueryPlan | None = None
        self.questions: dict[str, list[Question]] = {}
        self._planner = plan
        self._fleet: FleetSpec | None = None
        self._kept: dict[str, dict[str, _Kept]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of samples held, room to grow included."""
        return sum(
            kept.track.nbytes for signals in self._kept.values() for kept in signals.values()
        )

    def follow(self, fleet: FleetSpec) -> None:
        """Ask for what this fleet needs, from now on.

        Samples whose question stayed the same stay; what nobody needs any more is dropped. Signals
        that came later get their past from questions of their own, so that one new workload does
        not mean the past of ten thousand again.
        """
        if fleet is self._fleet or fleet == self._fleet:
            self._fleet = fleet
            return
        self.plan = self._planner(fleet)
        old = self._kept
        kept: dict[str, dict[str, _Kept]] = {}
        by_key = {workload.key: workload for workload in fleet.workloads}
        questions = [Question(planned) for planned in self.plan.queries]
        lacking: set[Target] = set()
        for question in questions:
            lacking |= _handed_down(question, by_key, old, kept)
        if lacking:
            keys = {key for key, _ in lacking}
            some = tuple(workload for workload in fleet.workloads if workload.key in keys)
            for planned in self._planner(FleetSpec(some, fleet.combiners)).queries:
                questions += _supplement(planned, lacking, kept)
        self.questions = {}
        for question in questions:
            self.questions.setdefault(question.planned.source, []).append(question)
        self._kept, self._fleet = kept, fleet

    def take(
        self,
        question: Question,
        asked: tuple[int, int],
        rows: Rows,
        warnings: tuple[str, ...],
    ) -> None:
        """Put an answer where it belongs."""
        if question not in self.questions.get(question.planned.source, ()):
            return  # the fleet has changed since it was asked
        newest = asked[1] == question.head and not question.supplement
        question.came(asked)
        if newest:
            question.failure = ""
        elif not question.holes and question.supplement:
            self.questions[question.planned.source].remove(question)
        source, end = question.planned.source, question.time_of(asked[1])
        partial = Gap(GapReason.PARTIAL, f"{source}: {'; '.join(warnings)}") if warnings else None
        for key, served in question.planned.serves.items():
            points, ages = rows.values.get(key, ()), [age.get(key, ()) for age in rows.ages]
            pods = rows.pods.get(key, {})
            # Of an answer that is known to be incomplete, or wrong, the count says nothing.
            unsure = bool(warnings) or key in rows.faults
            parts = None if unsure else _count(rows.counts.get(key, ()), end)
            gap = None
            if newest and not (points and points[-1][0] == end and _reach(ages, end)):
                some = points or max((of for of, _ in pods.values()), key=_end, default=())
                gap = _gap(question, key, some, ages, rows.faults.get(key), end)
            for workload, signal in served:
                kept = self._kept[workload][signal]
                if newest:
                    kept.gap = gap or partial
                    kept.pods = _pod_samples(question.planned, pods)
                    kept.parts = parts
                if points:
                    _add(kept.track, points, ages, question.planned.step_seconds, newest=newest)

    def seen(self, workload: str, now: float, notes: Mapping[str, Gap | None]) -> SignalsSeen:
        """Return a workload's series, what was lacking, its pods' samples, and its counts.

        Args:
            workload: Its key.
            now: Unix seconds.
            notes: What is to be said of each source as a whole.
        """
        signals: dict[str, Series] = {}
        missing: dict[str, Gap] = {}
        pods: dict[str, Mapping[str, PodSample]] = {}
        parts: dict[str, int] = {}
        for name, kept in self._kept.get(workload, {}).items():
            series = kept.track.series(now - kept.window, now - kept.newest_window)
            if len(series):
                signals[name] = series
            gap = _worst(kept, notes[kept.question.planned.source])
            if gap is not None:
                missing[name] = gap
            if kept.pods:
                pods[name] = kept.pods
            if kept.parts is not None and not kept.question.failure:
                parts[name] = kept.parts
        return SignalsSeen(signals, missing, pods, parts)


def _handed_down(
    question: Question,
    workloads: Mapping[str, ScaledWorkload],
    old: Mapping[str, Mapping[str, _Kept]],
    kept: dict[str, dict[str, _Kept]],
) -> set[Target]:
    """Give a question what its signals had before; return those that had nothing.

    Where none had anything the question itself asks for the whole window.
    """
    step, new, heirs = question.planned.step_seconds, set(), []
    for workload, signal in _served(question.planned):
        spec = workloads[workload].spec
        asked = spec.signals[signal]
        asks = (spec.source, asked.query, step, tuple(sorted(spec.match.items())))
        before = old.get(workload, {}).get(signal)
        if before is not None and before.asks != asks:
            before = None
        window = float(asked.window_seconds)
        kept.setdefault(workload, {})[signal] = _Kept(
            asks,
            window=window,
            newest_window=max(window, asked.max_age) + step,
            track=Track() if before is None else before.track,
            question=question,
            gap=None if before is None else before.gap,
            pods={} if before is None else before.pods,
            parts=None if before is None else before.parts,
        )
        if before is None or before.window < window or before.question.head is None:
            new.add((workload, signal))
        else:
            heirs.append(before)
    if not heirs:
        return set()
    question.inherit({before.question for before in heirs} | {
        before.filler for before in heirs if before.filler is not None
    })  # fmt: skip
    return new


def _supplement(
    planned: PlannedQuery, lacking: set[Target], kept: Mapping[str, Mapping[str, _Kept]]
) -> Iterator[Question]:
    """Yield the question that fetches the past of some signals, if it serves any of them."""
    wanted = [target for target in _served(planned) if target in lacking]
    if not wanted:
        return
    question = Question(planned, supplement=True)
    head = max(kept[workload][signal].question.head or 0 for workload, signal in wanted)
    question.holes.add(head - planned.window_seconds // planned.step_seconds, head)
    for workload, signal in wanted:
        kept[workload][signal].filler = question
    yield question


def _served(planned: PlannedQuery) -> Iterator[Target]:
    for served in planned.serves.values():
        yield from served


def _worst(kept: _Kept, note: Gap | None) -> Gap | None:
    """Return the one thing to tell of a signal; None if nothing is wrong."""
    question = kept.question
    if note is not None and note.reason is GapReason.ERROR:
        return note
    if question.failure:
        return Gap(GapReason.ERROR, question.failure)
    if kept.gap is not None:
        return kept.gap
    if note is not None:
        return note
    filler = kept.filler if kept.filler is not None and kept.filler.holes else question
    if filler.holes:
        points = question.planned.window_seconds // question.planned.step_seconds
        there = 100 * max(0, points - len(filler.holes)) // max(1, points)
        text = f"{question.planned.source}: the past is being loaded: {there} % of the window"
        return Gap(GapReason.PARTIAL, text)
    return None


def _gap(
    question: Question,
    key: tuple[str, ...],
    points: Points,
    ages: list[Points],
    fault: str | None,
    end: float,
) -> Gap | None:
    """Say what the newest point of an answer lacks for one workload."""
    planned = question.planned
    if fault is not None:
        return Gap(GapReason.ERROR, f"{planned.source}: bad query: {fault}")
    pairs = zip(planned.labels, key, strict=True)
    who = ", ".join(f"{label}={value!r}" for label, value in pairs) or "this query"
    there = _reach(ages, end)
    if points and float(points[-1][0]) >= end - 1e-3:
        if there:
            return None
        text = f"the series of {who} have ended: what the query still gives is an echo"
    elif there and ages:
        text = f"the series of {who} are there, but the query gives nothing for them"
    else:
        text = f"no series for {who}"
    return Gap(GapReason.EMPTY, f"{planned.source}: {text}")


def _reach(ages: list[Points], end: float) -> bool:
    """Whether raw samples were there at the newest evaluation."""
    return not ages or any(age and age[-1][0] >= end - 1e-3 for age in ages)


def _count(points: Points, end: float) -> int | None:
    """Return how many raw series there were at the newest evaluation; None if unknown."""
    there = points and float(points[-1][0]) >= end - 1e-3
    return round(float(points[-1][1])) if there else None


def _end(points: Points) -> float:
    return float(points[-1][0]) if points else -math.inf


def _pod_samples(
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


def _add(track: Track, points: Points, ages: list[Points], step: float, *, newest: bool) -> None:
    """Add the values that have a raw sample of their own behind them."""
    if newest and len(points) <= _FEW:
        _add_few(track, points, ages, step)
        return
    times, values = _columns(points)
    if ages:
        known = [dict(zip(*map(np.ndarray.tolist, _columns(age)), strict=True)) for age in ages]
        found, marks = raw_times(times.tolist(), known)
        times = np.array(found)
        if newest and len(ages) > 1:
            track.marks = marks
    # A raw sample counts once, with the first value that was computed from it.
    times = np.maximum.accumulate(times)
    fresh = np.append(True, times[1:] > times[:-1]) & np.isfinite(times)
    track.merge(times[fresh], values[fresh])


def _add_few(track: Track, points: Points, ages: list[Points], step: float) -> None:
    """Add some values one by one: what every cycle does for every signal."""
    if len(ages) == 1:
        known = {age[0]: age[1] for age in ages[0]}
        dated = [(float(known[at]), value) for at, value in points if at in known]
    else:
        times = [float(point[0]) for point in points]
        if ages:
            several = [{float(at): float(raw) for at, raw in age} for age in ages]
            times, track.marks = raw_times(times, several, track.marks)
        dated = [(time, point[1]) for time, point in zip(times, points, strict=True)]
    newest = track.newest
    for time, value in dated:
        if time <= newest:
            continue  # its raw sample has been counted
        if time - newest < step / 2:
            track.replace_newest(time, float(value))  # the same point, asked again
        else:
            track.append(time, float(value))
        newest = time


def _columns(points: Points) -> tuple[Floats, Floats]:
    times = np.array([point[0] for point in points], dtype=np.float64)
    return times, np.array([point[1] for point in points], dtype=np.float64)
