"""What a reader remembers between cycles: the questions, the windows, and what was lacking."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from autoscaler.adapters.prometheus.members import Kept, Members
from autoscaler.adapters.prometheus.plan import PlannedQuery, QueryPlan
from autoscaler.adapters.prometheus.points import add
from autoscaler.adapters.prometheus.questions import Question
from autoscaler.adapters.prometheus.rows import Rows
from autoscaler.adapters.prometheus.windows import Track
from autoscaler.core.observation import Gap, GapReason, PodSample, Series
from autoscaler.core.swift import swift
from autoscaler.core.workload import FleetSpec, ScaledWorkload

Target = tuple[str, str]
"""A workload's key and a signal's name."""

_NONE: Final[Mapping[str, Any]] = {}


@swift
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
        self._kept: dict[str, dict[str, Kept]] = {}
        self._members: dict[Question, Members] = {}

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
        kept: dict[str, dict[str, Kept]] = {}
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
        self._kept, self._fleet, self._members = kept, fleet, {}

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
        members = self._members.get(question)
        if members is None:
            members = self._members[question] = Members.of(question, self._kept)
        if newest:
            members.note(question, question.time_of(asked[1]), rows, warnings)
        step = question.planned.step_seconds
        add(members.tracks, members.lines, rows, step, newest=newest)

    def seen(
        self, workloads: Iterable[str], now: float, notes: Mapping[str, Gap | None]
    ) -> dict[str, SignalsSeen]:
        """Return the series of workloads, what was lacking, their pods' samples, and the counts.

        Args:
            workloads: Their keys.
            now: Unix seconds.
            notes: What is to be said of each source as a whole.
        """
        sure = {
            question
            for source, questions in self.questions.items()
            for question in questions
            if notes[source] is None and not question.failure and not question.holes
        }
        return {key: self._seen(key, now, notes, sure) for key in workloads}

    def _seen(
        self,
        workload: str,
        now: float,
        notes: Mapping[str, Gap | None],
        sure: AbstractSet[Question],
    ) -> SignalsSeen:
        """Return what was seen of one workload; `sure` are questions with nothing to tell of."""
        signals: dict[str, Series] = {}
        missing: dict[str, Gap] = {}
        pods: dict[str, Mapping[str, PodSample]] = {}
        parts: dict[str, int] = {}
        for name, kept in self._kept.get(workload, _NONE).items():
            series = kept.track.series(now - kept.window, now - kept.newest_window)
            if len(series.times):
                signals[name] = series
            question = kept.question
            if kept.gap is not None or kept.filler is not None or question not in sure:
                gap = _worst(kept, notes[question.planned.source])
                if gap is not None:
                    missing[name] = gap
            if kept.pods:
                pods[name] = kept.pods
            if kept.parts is not None and not question.failure:
                parts[name] = kept.parts
        return SignalsSeen(signals, missing, pods, parts)


def _handed_down(
    question: Question,
    workloads: Mapping[str, ScaledWorkload],
    old: Mapping[str, Mapping[str, Kept]],
    kept: dict[str, dict[str, Kept]],
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
        kept.setdefault(workload, {})[signal] = Kept(
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
    planned: PlannedQuery, lacking: set[Target], kept: Mapping[str, Mapping[str, Kept]]
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


def _worst(kept: Kept, note: Gap | None) -> Gap | None:
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
