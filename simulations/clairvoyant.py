"""The plan of somebody who knows the future: what scaling could have cost, cold starts included.

It serves as a reference: a policy's regret is what it spent, and whom it failed, beyond this plan.

1. Need: the true arrivals between two control cycles, over the rate that one replica carries while
   the objective holds (`capacity.py`), times a factor.
2. Lead: at any time as many replicas are asked for as are needed at most until a replica that is
   asked for then would serve. So each is there when it is needed, and is kept over a gap that is
   shorter than a cold start: giving it back and asking again would cost more.
3. Thrift: the plan is cut into layers, one replica each, and each layer into stretches. A stretch
   that is needed for less than a given share of its time is left out.
4. The plan runs through the simulator, without a controller. Factor and share are searched for with
   which the objective is met at the least GPU-hours; then more stretches are left out, those needed
   least first, as long as it still is.

It is a strong reference, not a proven optimum: a cheaper plan may exist, and a policy may find it
by luck. Two things that no policy has are in it: it begins with the replicas that it needs at the
start, and it knows how long a cold start takes.

Where nodes are simulated they are asked for one provisioning time before the replicas that need
them, and kept over gaps shorter than that.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import FloatArray
from autoscaler.core.workload import ScaledWorkload
from simulations.at_best import AtBest
from simulations.capacity import Capacity, Shape
from simulations.profiles import profile_of
from simulations.run import (
    LATE,
    OnShare,
    RunResult,
    Schedule,
    Settings,
    TooSlowError,
    follow,
    node_lead,
)
from simulations.trace import IntArray, Trace

SHARES: Final = (0.0, 0.1)
"""Stretches needed for less than this share of their time are left out."""
FACTORS: Final = 6
"""Simulations that look for the factor, for each share."""
CUTS: Final = 8
"""Simulations that leave out single stretches."""
MANY: Final = 2_000_000
"""Requests beyond which a third of the simulations must do."""


@dataclass(frozen=True, slots=True, eq=False)
class Clairvoyant:
    """The plan and how it went.

    Attributes:
        result: The run of the plan.
        simulations: How many were run to find it.
    """

    result: RunResult
    simulations: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time for which one more replica is asked for.

    Attributes:
        level: Which one: 1 is the first replica.
        first: The first cell.
        last: The last cell.
        used: How much of the replica is needed, summed over the cells.
    """

    level: int
    first: int
    last: int
    used: float

    @property
    def cells(self) -> int:
        """How long it is."""
        return self.last - self.first + 1

    @property
    def share(self) -> float:
        """How much of the replica is needed on average, 0 to 1."""
        return self.used / self.cells


def clairvoyant(
    trace: Trace,
    workload: ScaledWorkload,
    settings: Settings,
    on_share: OnShare | None = None,
    *,
    pools: Sequence[NodePool] = (),
) -> Clairvoyant:
    """Return the cheapest plan found that keeps the objective; else the one that misses least.

    Args:
        trace: What will arrive, known beforehand.
        workload: Bounds, limits and replicas; its policies and its behavior do not matter.
        settings: What holds for every run.
        on_share: Told how far the search is, as a guess.
        pools: Node pools; nodes of the workload's own are asked for one provisioning time before
            the replicas that need them. Without it there is always room.
    """
    search = _Search(trace, workload, settings, on_share, tuple(pools))
    many = len(trace) > MANY
    need = needed(trace, workload, settings.interval_seconds)
    for share in SHARES[:1] if many else SHARES:
        search.factors(need, share, FACTORS)
    search.cut(need, 2 if many else CUTS)
    if on_share is not None:
        on_share(1.0)
    return Clairvoyant(search.result, len(search.tried))


def needed(trace: Trace, workload: ScaledWorkload, cell: float) -> FloatArray:
    """Return the replicas that the arrivals of each `cell` seconds need, in fractions."""
    at = (trace.arrivals // cell).astype(np.int64)
    arrived = np.bincount(at, minlength=int(at[-1]) + 1)
    edges = np.concatenate([[0], np.cumsum(arrived)])
    capacities = _Capacities(workload)
    need = np.zeros(len(arrived))
    for index in np.flatnonzero(arrived):
        own = slice(edges[index], edges[index + 1])
        prompt = float(trace.prompt_tokens[own].mean())
        output = float(trace.output_tokens[own].mean())
        need[index] = float(arrived[index]) / cell / capacities.of(prompt, output)
    return need


def ask_ahead(need: FloatArray, workload: ScaledWorkload, settings: Settings) -> IntArray:
    """Return how many replicas to ask for in each cell, so that enough serve in each.

    A cell is the time between two control cycles; the first begins with the trace.

    Args:
        need: Replicas needed in each cell, in fractions; shape (n,).
        workload: Bounds and cold start.
        settings: When changes can be made, and how cold starts vary.

    Returns:
        Shape (n,), within the bounds.
    """
    lead = workload.spec.replica.cold_start_seconds
    lead *= math.exp(LATE * settings.cold_start_spread)
    ahead = math.ceil(lead / settings.interval_seconds - 1e-9)
    whole = np.ceil(need - 1e-9).astype(np.int64)
    asked = whole.copy()
    for step in range(1, min(ahead, len(need) - 1) + 1):
        asked[:-step] = np.maximum(asked[:-step], whole[step:])
    return _within(asked, workload)


def stretches(asked: IntArray, need: FloatArray) -> Iterator[Stretch]:
    """Yield the stretches of a plan above its lowest level: each level's, from left to right."""
    for level in range(int(asked.min()) + 1, int(asked.max()) + 1):
        inside = np.diff((asked >= level).astype(np.int8), prepend=0, append=0)
        used = np.concatenate([[0.0], np.cumsum(np.clip(need - (level - 1), 0.0, 1.0))])
        begins, ends = np.flatnonzero(inside == 1), np.flatnonzero(inside == -1)
        for first, end in zip(begins.tolist(), ends.tolist(), strict=True):
            yield Stretch(level, first, end - 1, float(used[end] - used[first]))


def without(asked: IntArray, left_out: list[Stretch]) -> IntArray:
    """Return a plan without some of its stretches; those above them come down."""
    change = np.zeros(len(asked) + 1, dtype=np.int64)
    for stretch in left_out:
        change[stretch.first] -= 1
        change[stretch.last + 1] += 1
    lower: IntArray = asked + np.cumsum(change[:-1])
    return lower


@dataclass(slots=True, eq=False)
class _Tried:
    """A plan, and how it went; without a result where it was given up."""

    asked: IntArray
    factor: float
    result: RunResult | None
    at_best: float

    @property
    def gpu_hours(self) -> float:
        return math.inf if self.result is None else self.result.score.gpu_hours


@dataclass(slots=True, eq=False)
class _Search:
    """Plans that were simulated, and the best of them."""

    trace: Trace
    workload: ScaledWorkload
    settings: Settings
    on_share: OnShare | None
    pools: tuple[NodePool, ...] = ()
    tried: dict[bytes, _Tried] = field(default_factory=dict)

    @property
    def best(self) -> _Tried:
        """The cheapest that keeps the objective; else the one that misses least."""
        keeps = [one for one in self.tried.values() if self._keeps(one)]
        if keeps:
            return min(keeps, key=lambda one: one.gpu_hours)
        least = 0.0
        for one in sorted(self.tried.values(), key=lambda one: -one.at_best):
            if one.result is None and one.at_best >= least:
                one.result, one.at_best = self._follow(one.asked, least)
            least = max(least, one.at_best if one.result is not None else 0.0)
        return max(self.tried.values(), key=lambda one: (one.at_best, -one.gpu_hours))

    @property
    def result(self) -> RunResult:
        """How the best one went."""
        best = self.best
        if best.result is None:
            raise AssertionError("what is best was run to the end")  # for the type checker
        return best.result

    def factors(self, need: FloatArray, share: float, most: int) -> None:
        """Look for the least factor on the need that keeps the objective."""
        low, high = 0.0, math.inf
        factor = self.best.factor if self.tried else 1.0
        before = len(self.tried)
        for _ in range(4 * most):
            if len(self.tried) - before == most:
                return
            tried = self._try(self._plan(need * factor, share), factor)
            if self._keeps(tried):
                high = factor
                if int(tried.asked.max()) <= max(1, self.workload.spec.replicas.min):
                    return  # fewer there cannot be
            elif int(tried.asked.min()) >= self.workload.spec.replicas.max:
                return  # more there cannot be
            else:
                low = factor
            if math.isinf(high):
                factor = 1.4 * low
            elif not low:
                factor = 0.75 * high
            elif high / low < 1.02:
                return
            else:
                factor = math.sqrt(low * high)

    def cut(self, need: FloatArray, most: int) -> None:
        """Leave out the stretches that are needed least, while the objective is kept."""
        if not self._keeps(self.best):
            return
        part, needed_after_all = 0.08, set[Stretch]()
        for _ in range(most):
            base = self.best
            found = sorted(
                set(stretches(base.asked, need * base.factor)) - needed_after_all,
                key=lambda one: (one.share, one.first, one.level),
            )
            room, left_out = part * float(base.asked.sum()), list[Stretch]()
            for stretch in found:
                # One that is larger than all the room is tried alone.
                if stretch.cells <= room or not left_out:
                    left_out.append(stretch)
                    room -= stretch.cells
            if not left_out:
                return
            lower = _within(without(base.asked, left_out), self.workload)
            tried = self._try(self._begun(lower), base.factor)
            if tried is not base and self.best is tried:
                continue
            if len(left_out) == 1:
                needed_after_all.update(left_out)
            else:
                part /= 2

    def _plan(self, need: FloatArray, share: float) -> IntArray:
        asked = ask_ahead(need, self.workload, self.settings)
        idle = [one for one in stretches(asked, need) if one.share < share]
        return self._begun(_within(without(asked, idle), self.workload))

    def _begun(self, asked: IntArray) -> IntArray:
        """Begin with replicas on every node that could not be ready in time.

        A run begins with the nodes that its first replicas need; a node that somebody needs before
        one provisioning time is over has to be among them.
        """
        lead = node_lead(self.workload, self.settings, self.pools)
        ahead = round(lead / self.settings.interval_seconds)
        if ahead:
            asked[0] = asked[: ahead + 1].max()
        return asked

    def _keeps(self, tried: _Tried) -> bool:
        return tried.result is not None and tried.at_best >= self.workload.spec.slo.attainment

    def _try(self, asked: IntArray, factor: float) -> _Tried:
        key = asked.tobytes()
        if key not in self.tried:
            result, at_best = self._follow(asked, self.workload.spec.slo.attainment)
            self.tried[key] = _Tried(asked, factor, result, at_best)
        return self.tried[key]

    def _follow(self, asked: IntArray, least: float) -> tuple[RunResult | None, float]:
        """Run a plan; return how it went, or what it could come to when it was given up."""
        done, expected = len(self.tried), len(SHARES) * FACTORS + CUTS

        def tell(share: float) -> None:
            if self.on_share is not None:
                self.on_share(min(0.99, (done + share) / expected))

        times = self.settings.interval_seconds * np.arange(1, len(asked), dtype=np.float64)
        changed = np.flatnonzero(np.diff(asked))
        schedule = Schedule(times[changed], asked[1:][changed], int(asked[0]))
        try:
            result = follow(
                self.trace,
                self.workload,
                self.settings,
                schedule,
                tell,
                pools=self.pools,
                least=AtBest(least),
            )
        except TooSlowError as error:
            return None, error.at_best.attainment
        return result, result.score.attainment


class _Capacities:
    """The capacity for a mean prompt and output, each looked up on a grid of five percent."""

    def __init__(self, workload: ScaledWorkload) -> None:
        self._slo = workload.spec.slo
        self._profile = profile_of(workload.spec.replica)
        self._known: dict[tuple[int, int], float] = {}

    def of(self, prompt: float, output: float) -> float:
        """Return requests per second of one replica, above 0."""
        key = (_step(prompt), _step(output))
        if key not in self._known:
            # The spread is that of the conversations that Azure published in 2023.
            law = Capacity(self._profile, Shape(1.05 ** key[0], 1.05 ** key[1], 0.9, 0.6))
            # Where even an idle replica is too slow the law says nothing: leave some room.
            self._known[key] = law.rate(self._slo) or 0.7 * law.throughput
        return self._known[key]


def _step(length: float) -> int:
    return round(math.log(max(1.0, length)) / math.log(1.05))


def _within(asked: IntArray, workload: ScaledWorkload) -> IntArray:
    """Keep to the bounds."""
    bounds = workload.spec.replicas
    clipped: IntArray = np.clip(asked, bounds.min, bounds.max)
    return clipped
