"""What a run decided and why, kept small enough for a report: changes, reasons, forecasts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.decision import Action, Cycle, Decision, NodeAction, NodePoolDecision
from autoscaler.core.observation import FloatArray
from autoscaler.core.policy import Forecast
from autoscaler.core.ports import Journal


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the number of replicas, or of nodes, that the controller asked for.

    Attributes:
        seconds: When, since the start of the run.
        before: Replicas or nodes found.
        after: Replicas or nodes asked for.
        wanted: What the policies together wanted, before the rules, or what the replicas needed;
            None if nothing.
        reason: Why, in one word of the closed vocabulary.
        text: Why, in one sentence.
        because: What each policy that had an opinion said.
        done: Whether it was made.
    """

    seconds: float
    before: int
    after: int
    wanted: int | None
    reason: str
    text: str
    because: str
    done: bool


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """What a policy forecast at each cycle for the end of its horizon, and what came.

    Attributes:
        policy: The policy's label.
        signal: The signal that it forecasts.
        quantiles: The levels, rising; shape (q,).
        times: For when, seconds since the start; shape (n,).
        values: What was forecast for then; shape (n, q).
        ahead_seconds: How long before, on average.
        seen_times: When the signal was seen, seconds since the start; shape (m,).
        seen: Its value then; shape (m,).
    """

    policy: str
    signal: str
    quantiles: tuple[float, ...]
    times: FloatArray
    values: FloatArray
    ahead_seconds: float
    seen_times: FloatArray
    seen: FloatArray

    @property
    def held(self) -> float | None:
        """Share of the forecasts whose highest quantile was not exceeded by what came.

        A good one holds about as often as its quantile says. None where nothing has come yet.
        """
        if not len(self.seen) or not len(self.times):
            return None
        due = (self.times >= self.seen_times[0]) & (self.times <= self.seen_times[-1])
        if not due.any():
            return None
        came = np.interp(self.times[due], self.seen_times, self.seen)
        return float(np.mean(came <= self.values[due, -1]))


@dataclass(frozen=True, slots=True)
class Decided:
    """All that is kept of a run's decisions.

    Attributes:
        changes: Every change, oldest first.
        reasons: In how many cycles each reason was given, most frequent first.
        forecasts: Of the first policy that forecasts; None where none does.
        node_changes: Every change of the number of nodes, oldest first.
        silent: Policies that never had an opinion, and what each said of it last.
    """

    changes: tuple[Change, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    forecasts: Forecasts | None = None
    node_changes: tuple[Change, ...] = ()
    silent: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, eq=False)
class Recorder:
    """A journal that keeps what a report needs, and hands every cycle on.

    Attributes:
        workload: Key of the workload that is watched.
        start: When the run begins, Unix seconds.
        also: Another journal; gets every cycle too.
    """

    workload: str
    start: float
    also: Journal | None = None
    _changes: list[Change] = field(default_factory=list)
    _node_changes: list[Change] = field(default_factory=list)
    _reasons: Counter[str] = field(default_factory=Counter)
    _ahead: list[tuple[float, str, Forecast]] = field(default_factory=list)
    _seen: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _silent: dict[str, str | None] = field(default_factory=dict)
    """What a policy without an opinion said last; None for one that had some."""

    def record(self, cycle: Cycle) -> None:
        """Keep one cycle."""
        if self.also is not None:
            self.also.record(cycle)
        decision = cycle.plan.decisions[self.workload]
        seconds = cycle.plan.now - self.start
        self._reasons[str(decision.reason)] += 1
        for outcome in cycle.outcomes:
            action = outcome.action
            if isinstance(action, Action) and action.workload == self.workload:
                self._changes.append(_change(seconds, decision, action, done=outcome.done))
            elif isinstance(action, NodeAction) and action.pool in cycle.plan.pools:
                sized = cycle.plan.pools[action.pool]
                self._node_changes.append(_node_change(seconds, sized, action, done=outcome.done))
        self._note_silence(decision)
        self._note_forecast(seconds, decision)

    def decided(self) -> Decided:
        """Return what was kept so far."""
        return Decided(
            tuple(self._changes),
            tuple(self._reasons.most_common()),
            self._forecasts(),
            tuple(self._node_changes),
            tuple((policy, why) for policy, why in self._silent.items() if why is not None),
        )

    def _note_silence(self, decision: Decision) -> None:
        for proposal in decision.proposals:
            policy, answer = proposal.policy, proposal.recommendation
            if answer is not None and answer.replicas is not None:
                self._silent[policy] = None
            elif self._silent.get(policy, "") is not None:
                self._silent[policy] = proposal.why if answer is None else answer.reason

    def _note_forecast(self, seconds: float, decision: Decision) -> None:
        for proposal in decision.proposals:
            answer = proposal.recommendation
            if answer is not None and answer.forecast is not None and len(answer.forecast.times):
                self._ahead.append((seconds, proposal.policy, answer.forecast))
                break
        if not self._ahead:
            return
        for reading in decision.readings:
            if reading.value is not None and reading.age_seconds is not None:
                seen = self._seen.setdefault(reading.signal, [])
                time = seconds - reading.age_seconds
                if not seen or time > seen[-1][0]:
                    seen.append((time, reading.value))

    def _forecasts(self) -> Forecasts | None:
        if not self._ahead:
            return None
        _, policy, first = self._ahead[0]
        kept = [(made, one) for made, of, one in self._ahead if _like(first, one) and of == policy]
        same = [one for _, one in kept]
        seen = np.array(self._seen.get(first.signal, ()), dtype=np.float64).reshape(-1, 2)
        return Forecasts(
            policy=policy,
            signal=first.signal,
            quantiles=first.quantiles,
            times=np.array([one.times[-1] - self.start for one in same], dtype=np.float64),
            values=_last_columns(same),
            ahead_seconds=float(np.mean([one.times[-1] - self.start - made for made, one in kept])),
            seen_times=seen[:, 0],
            seen=seen[:, 1],
        )


def _change(seconds: float, decision: Decision, action: Action, *, done: bool) -> Change:
    return Change(
        seconds=seconds,
        before=action.before,
        after=action.after,
        wanted=decision.combined,
        reason=str(decision.reason),
        text=decision.text,
        because="; ".join(
            proposal.recommendation.reason
            for proposal in decision.proposals
            if proposal.recommendation is not None and proposal.recommendation.replicas is not None
        ),
        done=done,
    )


def _node_change(
    seconds: float, decision: NodePoolDecision, action: NodeAction, *, done: bool
) -> Change:
    return Change(
        seconds=seconds,
        before=action.before,
        after=action.after,
        wanted=decision.needed,
        reason=str(decision.reason),
        text=decision.text,
        because="",
        done=done,
    )


def _like(one: Forecast, other: Forecast) -> bool:
    return one.signal == other.signal and one.quantiles == other.quantiles


def _last_columns(forecasts: Iterable[Forecast]) -> FloatArray:
    return np.stack([np.asarray(one.values)[:, -1] for one in forecasts])
