"""What standing still would have cost: the best constant numbers of replicas for a trace."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autoscaler.core.workload import ScaledWorkload
from simulations.capacity import Capacity, Shape
from simulations.profiles import profile_of
from simulations.run import OnShare, RunResult, Schedule, Settings, follow
from simulations.trace import Trace

NEARLY: Final = 0.001
"""What may be missing to the best attainment where no constant number reaches the objective."""


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
        simulations: How many were run to find out.
    """

    peak: RunResult
    best: RunResult
    simulations: int


def constants(
    trace: Trace, workload: ScaledWorkload, settings: Settings, on_share: OnShare | None = None
) -> Constants:
    """Find both by simulation; a few, for the number of simulations grows with its logarithm.

    More replicas are taken to be at least as good. That holds but for a hair's breadth: which
    replica a request comes to changes with their number.

    Args:
        trace: What arrives.
        workload: Bounds, limits and replicas.
        settings: What holds for every run.
        on_share: Told how far the search is, as a guess.
    """
    spec = workload.spec
    low, high = max(1, spec.replicas.min), spec.replicas.max
    done: dict[int, RunResult] = {}

    def of(replicas: int) -> RunResult:
        if replicas not in done:
            at, expected = len(done), 8
            done[replicas] = follow(
                trace,
                workload,
                settings,
                Schedule.constant(replicas),
                lambda share: on_share(min(0.99, (at + share) / expected)) if on_share else None,
            )
        return done[replicas]

    guess = min(max(_guess(trace, workload), low), high)
    best = _fewest(lambda n: of(n).score.attainment, spec.slo.attainment, guess, low, high)
    peak = _fewest(
        lambda n: of(n).score.worst_minute_attainment, spec.slo.attainment, best, best, high
    )
    if on_share is not None:
        on_share(1.0)
    return Constants(of(peak), of(best), len(done))


def _fewest(good: Callable[[int], float], target: float, guess: int, low: int, high: int) -> int:
    """Return the fewest replicas in [low, high] that are as good as the target.

    Steps away from the guess double until it is enclosed, then halve.
    """
    if good(guess) < target:
        below, step, at = guess, 1, guess
        while at < high:
            at = min(high, at + step)
            if good(at) >= target:
                break
            below, step = at, 2 * step
        if good(at) < target:  # not even the most: as good as they are
            target, below = good(high) - NEARLY, low - 1
        above = at
    else:
        above, step, at = guess, 1, guess
        below = low - 1
        while at > low:
            at = max(low, at - step)
            if good(at) < target:
                below = at
                break
            above, step = at, 2 * step
    while above - below > 1:
        middle = (above + below) // 2
        if good(middle) >= target:
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
