"""What standing still would have cost: the best constant numbers of replicas for a trace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from autoscaler.core.node_pools import NodePool
from autoscaler.core.workload import ScaledWorkload
from simulations.at_best import AtBest
from simulations.capacity import Capacity, Shape
from simulations.profiles import profile_of
from simulations.run import OnShare, RunResult, Schedule, Settings, TooSlowError, follow
from simulations.trace import Trace

NEARLY: Final = 0.001
"""What may be missing to the best attainment where no constant number reaches the objective."""
EXPECTED: Final = 8
"""Runs that a search is guessed to take, for its progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """Two constant numbers of replicas.

    Attributes:
        peak: The fewest that keep the objective in every single minute: what is bought for the
            peak. Where none does, the fewest whose worst minute is as good as that of
            `replicas.max`.
        best: The fewest that keep it over the whole trace: the cheapest that never scales. Where
            none does, the fewest within 0.1 percentage points of the attainment of
            `replicas.max`.
        simulations: How many were begun to find out; hopeless ones are not run to the end.
    """

    peak: RunResult
    best: RunResult
    simulations: int


def constants(
    trace: Trace,
    workload: ScaledWorkload,
    settings: Settings,
    on_share: OnShare | None = None,
    *,
    pools: Sequence[NodePool] = (),
) -> Constants:
    """Find both by simulation; a few, for the number of simulations grows with its logarithm.

    More replicas are taken to be at least as good. That holds but for a hair's breadth: which
    replica a request comes to changes with their number.

    Args:
        trace: What arrives.
        workload: Bounds, limits and replicas.
        settings: What holds for every run.
        on_share: Told how far the search is, as a guess.
        pools: Node pools; a constant number of nodes of the workload's own carries the replicas.
            Without it there is always room.
    """
    spec = workload.spec
    low, high = max(1, spec.replicas.min), spec.replicas.max
    runs = _Runs(trace, workload, settings, on_share, tuple(pools))
    guess = min(max(_guess(trace, workload), low), high)
    best = _fewest(runs.attainment, spec.slo.attainment, guess, low, high)
    peak = _fewest(runs.worst_minute, spec.slo.attainment, best, best, high)
    found = Constants(runs.of(peak), runs.of(best), runs.begun)
    if on_share is not None:
        on_share(1.0)
    return found


@dataclass(slots=True, eq=False)
class _Runs:
    """Runs of constant numbers; those that could not reach what they should were given up."""

    trace: Trace
    workload: ScaledWorkload
    settings: Settings
    on_share: OnShare | None
    pools: tuple[NodePool, ...]
    begun: int = 0
    whole: dict[int, RunResult] = field(default_factory=dict)
    given_up: dict[int, AtBest] = field(default_factory=dict)

    def of(self, replicas: int) -> RunResult:
        """Return the whole run."""
        if replicas not in self.whole:
            self.whole[replicas] = self._run(replicas, None)
        return self.whole[replicas]

    def attainment(self, replicas: int, least: float) -> float:
        """Return the attainment; where that is below `least`, anything between."""
        return self._at_best(replicas, AtBest(least)).attainment

    def worst_minute(self, replicas: int, least: float) -> float:
        """Return the attainment of the worst minute; where that is below `least`, so is this."""
        return self._at_best(replicas, AtBest(0.0, least)).worst_minute

    def _at_best(self, replicas: int, least: AtBest) -> AtBest:
        known = self.given_up.get(replicas)
        if replicas not in self.whole and (known is None or not known.falls_short_of(least)):
            try:
                self.whole[replicas] = self._run(replicas, least)
            except TooSlowError as error:
                self.given_up[replicas] = error.at_best
        if replicas not in self.whole:
            return self.given_up[replicas]
        score = self.whole[replicas].score
        return AtBest(score.attainment, score.worst_minute_attainment)

    def _run(self, replicas: int, least: AtBest | None) -> RunResult:
        at = self.begun
        self.begun += 1
        return follow(
            self.trace,
            self.workload,
            self.settings,
            Schedule.constant(replicas),
            lambda share: self._tell((at + share) / EXPECTED),
            pools=self.pools,
            least=least,
        )

    def _tell(self, share: float) -> None:
        if self.on_share is not None:
            self.on_share(min(0.99, share))


def _fewest(
    good: Callable[[int, float], float], target: float, guess: int, low: int, high: int
) -> int:
    """Return the fewest replicas in [low, high] that are as good as the target.

    Steps away from the guess double until it is enclosed, then halve.

    Args:
        good: Says how good a number is. It is told what would do: of a number that is worse it may
            return anything that is at least as good and still would not do.
        target: How good is good enough; else as good as `high`, nearly.
        guess: Where to begin.
        low: The least.
        high: The most.
    """
    if good(guess, target) < target:
        below, step, at = guess, 1, guess
        while at < high:
            at = min(high, at + step)
            if good(at, target) >= target:
                break
            below, step = at, 2 * step
        if good(at, target) < target:  # not even the most: as good as they are
            target, below = good(high, 0.0) - NEARLY, low - 1
        above = at
    else:
        above, step, at = guess, 1, guess
        below = low - 1
        while at > low:
            at = max(low, at - step)
            if good(at, target) < target:
                below = at
                break
            above, step = at, 2 * step
    while above - below > 1:
        middle = (above + below) // 2
        if good(middle, target) >= target:
            above = middle
        else:
            below = middle
    return above


def _guess(trace: Trace, workload: ScaledWorkload) -> int:
    """The number that the mean rate needs, by the capacity law."""
    spec = workload.spec
    capacity = Capacity(
        profile_of(spec.replica), Shape.of(trace.prompt_tokens, trace.output_tokens)
    )
    each = capacity.rate(spec.slo) or capacity.throughput
    return round(len(trace) / max(trace.seconds, 1.0) / each) + 1
