"""All signals of a fleet, read in one go: each source side by side, none waits for another."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Final, Self

import numpy as np

from autoscaler.adapters.prometheus.answers import Answer
from autoscaler.adapters.prometheus.errors import SourceError
from autoscaler.adapters.prometheus.memory import SignalMemory, SignalsSeen
from autoscaler.adapters.prometheus.plan import QueryPlan
from autoscaler.adapters.prometheus.questions import Question
from autoscaler.adapters.prometheus.rows import Rows
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.core.observation import Gap, GapReason
from autoscaler.core.workload import FleetSpec
from autoscaler.telemetry.report import SourceReport

MAX_SKEW_SECONDS: Final = 10.0
"""Clocks that differ by more are told of. The header that shows it is exact to a second."""


@dataclass(slots=True)
class _Tally:
    """What a source was asked in a cycle; answers that come late count in the next."""

    queries: int = 0
    failures: int = 0
    seconds: float = 0.0
    signals: int = 0
    skew_seconds: float | None = None
    looks: int = 0
    looks_before: int = 0


@dataclass(frozen=True, slots=True)
class _Came:
    """What became of one range of a question; or that its older ranges are through."""

    question: Question
    newest: bool
    asked: tuple[int, int] | None = None
    seconds: float = 0.0
    answer: Answer | None = None
    rows: Rows | None = None
    error: SourceError | None = None


class SignalReader:
    """Asks a fleet's questions, remembers the windows, and says what was seen.

    One thread calls `read`; the calls to the sources run in threads of their own, as many for each
    source as it allows.
    """

    def __init__(
        self,
        sources: Mapping[str, PrometheusSource],
        plan: Callable[[FleetSpec], QueryPlan],
        *,
        deadline_seconds: float = 8.0,
        jitter_seconds: float = 0.25,
        max_skew_seconds: float = MAX_SKEW_SECONDS,
        chance: np.random.Generator | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a reader; nothing is asked yet.

        Args:
            sources: By the name that `spec.source` says.
            plan: Which queries answer a fleet; asked anew when the fleet changes.
            deadline_seconds: `read` returns after this; keep it below the cycle interval.
            jitter_seconds: Each source is first asked within this time, so that several
                controllers do not ask at the same moment.
            max_skew_seconds: Clocks that differ by more are told of.
            chance: Draws the jitter; seeded alike each time if absent.
            monotonic: Measures durations.
            sleep: Waits for the jitter.
        """
        self._sources = dict(sources)
        self._deadline = deadline_seconds
        self._jitter = jitter_seconds
        self._max_skew = max_skew_seconds
        self._chance = chance or np.random.default_rng(0)
        self._monotonic = monotonic
        self._sleep = sleep
        self._memory = SignalMemory(plan)
        self._came: SimpleQueue[_Came] = SimpleQueue()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._busy: set[Question] = set()
        self._filling: set[Question] = set()
        self._now_less_monotonic = 0.0
        self._tallies = {name: _Tally() for name in self._sources}

    @property
    def plan(self) -> QueryPlan | None:
        """The queries of a cycle; None before the first."""
        return self._memory.plan

    @property
    def nbytes(self) -> int:
        """Bytes of samples held."""
        return self._memory.nbytes

    def reports(self) -> dict[str, SourceReport]:
        """Return what each source was asked in the last cycle, by its name."""
        return {
            name: SourceReport(
                tally.queries,
                tally.failures,
                tally.seconds,
                tally.signals,
                problem=self._sources[name].breaker.problem,
                looks=tally.looks,
            )
            for name, tally in self._tallies.items()
        }

    def read(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        """Return what can be seen of each workload, by its key.

        A source that fails is a gap of the signals that it should have brought, nothing else. What
        is not back by the deadline is a gap, too; if it comes later, the next cycle has it.

        Args:
            fleet: The workloads.
            now: Unix seconds.
        """
        begun = self._monotonic()
        self._now_less_monotonic = now - begun
        self._memory.follow(fleet)
        for name, tally in self._tallies.items():
            tally.queries = tally.failures = tally.signals = 0
            tally.seconds = 0.0
            looks = self._sources[name].glances
            tally.looks, tally.looks_before = looks - tally.looks_before, looks
        self._take_what_came()
        self._ask(now, begun)
        deadline = begun + self._deadline
        while self._busy:
            try:
                came = self._came.get(timeout=max(0.0, deadline - self._monotonic()))
            except Empty:
                break
            self._take(came)
        return self._seen(fleet, now)

    def close(self) -> None:
        """Ask nothing any more; calls under way end at their deadlines."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- asking ---------------------------------------------------------------------------

    def _ask(self, now: float, begun: float) -> None:
        """Ask for what is new first, then for what is missing of longer windows."""
        deadline = begun + self._deadline
        for name, questions in self._memory.questions.items():
            source = self._sources.get(name)
            if source is None:
                continue
            pool = self._pool(name, source)
            start = begun + float(self._chance.uniform(0.0, self._jitter))
            # The dear ones last; among equals the one that was answered longest ago.
            for one in sorted(questions, key=lambda one: (one.planned.costly, one.answered)):
                asked = one.newest_range(now)
                if asked is not None and one not in self._busy:
                    self._busy.add(one)
                    pool.submit(self._fetch, source, one, asked, start, deadline)
            for one in questions:
                ranges = one.older_ranges()
                if ranges and one not in self._filling:
                    self._filling.add(one)
                    pool.submit(self._fill, source, one, ranges, start, deadline)

    def _pool(self, name: str, source: PrometheusSource) -> ThreadPoolExecutor:
        if name not in self._pools:
            self._pools[name] = ThreadPoolExecutor(
                source.settings.max_concurrency, thread_name_prefix=f"prometheus-{name}"
            )
        return self._pools[name]

    def _fetch(
        self,
        source: PrometheusSource,
        question: Question,
        asked: tuple[int, int],
        start: float,
        deadline: float,
        *,
        newest: bool = True,
    ) -> SourceError | None:
        """Ask for one range; runs in a thread of the source."""
        self._sleep(max(0.0, start - self._monotonic()))
        begun = self._monotonic()
        answer, rows, error = None, None, None
        try:
            answer = source.query_range(
                question.text,
                question.time_of(asked[0]),
                question.time_of(asked[1]),
                question.planned.step_seconds,
                deadline=deadline,
            )
            rows = question.rows_in(answer.rows)
            answer = replace(answer, rows=())  # else all would be held until the last is taken
        except SourceError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - whatever it is: one source, not the cycle
            error = SourceError(source.settings.name, f"{type(failure).__name__} in its answer")
        seconds = self._monotonic() - begun
        self._came.put(_Came(question, newest, asked, seconds, answer, rows, error))
        return error

    def _fill(
        self,
        source: PrometheusSource,
        question: Question,
        ranges: Iterable[tuple[int, int]],
        start: float,
        deadline: float,
    ) -> None:
        """Ask for older ranges, newest first, while there is time; nobody waits for these."""
        for asked in ranges:
            late = self._monotonic() >= deadline
            if late or self._fetch(source, question, asked, start, deadline, newest=False):
                break
        self._came.put(_Came(question, newest=False))

    # --- what came ------------------------------------------------------------------------

    def _take_what_came(self) -> None:
        """Take answers that came after the last cycle was over."""
        while True:
            try:
                self._take(self._came.get_nowait())
            except Empty:
                return

    def _take(self, came: _Came) -> None:
        question = came.question
        if came.newest:
            self._busy.discard(question)
        if came.asked is None:
            self._filling.discard(question)
            return
        tally = self._tallies[question.planned.source]
        tally.queries += 1
        tally.seconds += came.seconds
        if came.answer is not None and came.rows is not None:
            tally.signals += question.signals
            if came.answer.date is not None:
                ours = self._now_less_monotonic + came.answer.received
                tally.skew_seconds = came.answer.date + 0.5 - ours
            self._memory.take(question, came.asked, came.rows, came.answer.warnings)
        elif came.error is not None:
            tally.failures += 1
            if came.error.too_large:
                question.shrink()
            if came.newest:
                question.failure = str(came.error)

    def _seen(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        for question in self._busy:
            question.failure = (
                f"{question.planned.source}: timed out: not back when the cycle had to go on"
            )
        notes = {name: self._note_on(name) for name in self._memory.questions}
        return self._memory.seen((workload.key for workload in fleet.workloads), now, notes)

    def _note_on(self, name: str) -> Gap | None:
        """Say what is wrong with a source as a whole, if anything."""
        if name not in self._sources:
            known = ", ".join(sorted(self._sources)) or "none"
            text = f"no source is called {name!r}; configured are: {known}"
            return Gap(GapReason.ERROR, text)
        skew = self._tallies[name].skew_seconds
        if skew is None or abs(skew) <= self._max_skew:
            return None
        side = "ahead of" if skew > 0 else "behind"
        text = f"{name}: its clock is {abs(skew):.0f} s {side} ours: ages are wrong by that much"
        return Gap(GapReason.PARTIAL, text)
