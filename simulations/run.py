"""One run: a trace through simulated replicas under a hand, with all that a report shows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from autoscaler.core.decision import Action, NodeAction
from autoscaler.core.node_pools import Demand, NodePool, nodes_needed
from autoscaler.core.observation import FloatArray
from autoscaler.core.workload import ScaledWorkload
from simulations.at_best import AtBest
from simulations.cluster import Moment, SimulatedCluster
from simulations.minutes import Minutes
from simulations.replay import START
from simulations.score import Score, score
from simulations.trace import IntArray, Trace

LATE: Final = 1.2816
"""Standard score of the duration that is reckoned with where they vary: 9 of 10 are shorter."""

OnShare = Callable[[float], None]
"""Told how far something is, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for every run that is compared.

    Attributes:
        start: When the trace begins, Unix seconds.
        interval_seconds: Time between control cycles, and between changes of a schedule.
        scrape_seconds: Time between scrapes.
        replicas: How many are ready at the start of a policy's run; `spec.replicas.min`, but at
            least 1, if absent.
        cold_start_spread: Standard deviation of the logarithm of the cold start.
        seed: Draws the cold starts.
        drain_seconds: Longest time after the last arrival.
    """

    start: float = START
    interval_seconds: float = 15.0
    scrape_seconds: float = 15.0
    replicas: int | None = None
    cold_start_spread: float = 0.0
    seed: int = 0
    drain_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            ValueError: An interval is not above 0, or a spread or drain time is negative.
        """
        if not (self.interval_seconds > 0 and self.scrape_seconds > 0):
            raise ValueError("interval_seconds and scrape_seconds should be above 0")
        if self.cold_start_spread < 0 or self.drain_seconds < 0:
            raise ValueError("cold_start_spread and drain_seconds should be at least 0")


class Hand(Protocol):
    """Whoever changes the number of replicas."""

    def act(self, cluster: SimulatedCluster, now: float) -> None:
        """Look and act; `now` is in Unix seconds, and the cluster has advanced to it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Numbers of replicas by time, decided beforehand: an open loop.

    Attributes:
        times: When each number is set, seconds since the start, rising; shape (n,).
        counts: What is set; shape (n,).
        initial: Replicas that are ready at the start.
    """

    times: FloatArray
    counts: IntArray
    initial: int

    @classmethod
    def constant(cls, replicas: int) -> "Schedule":
        """Return the schedule that never changes."""
        return cls(np.zeros(0), np.zeros(0, dtype=np.int64), replicas)

    def at(self, seconds: float) -> int:
        """Return the number that holds at a time."""
        index = int(np.searchsorted(self.times, seconds, side="right")) - 1
        return self.initial if index < 0 else int(self.counts[index])

    def most(self, begin: float, end: float) -> int:
        """Return the largest number that holds at a time from `begin` to `end`."""
        first, past = np.searchsorted(self.times, [begin, end], side="right").tolist()
        return max(self.at(begin), *map(int, self.counts[first:past]), 0)


@dataclass(frozen=True, slots=True)
class Follower:
    """The hand that follows a schedule, and never looks.

    Attributes:
        schedule: How many replicas to ask for, and when.
        start: When the trace begins, Unix seconds.
        node_lead_seconds: How long before its replicas a node is asked for.
    """

    schedule: Schedule
    start: float
    node_lead_seconds: float = 0.0

    def act(self, cluster: SimulatedCluster, now: float) -> None:
        """Make what the schedule says so: nodes grow before replicas do, and shrink after them."""
        before, after = cluster.pool.desired, self.schedule.at(now - self.start)
        nodes = self._nodes(cluster, now - self.start)
        if nodes is not None and nodes.after > nodes.before:
            cluster.act(nodes, now)
        if before != after:
            cluster.act(Action(cluster.workload.key, before, after), now)
        if nodes is not None and nodes.after < nodes.before:
            cluster.act(nodes, now)

    def _nodes(self, cluster: SimulatedCluster, seconds: float) -> NodeAction | None:
        if cluster.nodes is None:
            return None
        pool, gpus = cluster.nodes.pool, cluster.workload.spec.replica.gpus
        most = self.schedule.most(seconds, seconds + self.node_lead_seconds)
        needed = nodes_needed([Demand(most, gpus)], pool.spec.gpus_per_node)
        bounds = pool.spec.nodes
        wanted = min(max(needed, bounds.min), bounds.max)
        return NodeAction(pool.key, cluster.nodes.status.desired, wanted)


class TooSlowError(Exception):
    """A run cannot reach any more what it should.

    Attributes:
        at_best: What it can still come to.
    """

    def __init__(self, at_best: AtBest) -> None:
        """Keep what it can still come to."""
        super().__init__(f"comes to {at_best.attainment:.4f} at best")
        self.at_best = at_best


@dataclass(slots=True, eq=False)
class Demanding:
    """A hand that gives a run up which cannot reach any more what it should.

    Attributes:
        hand: Acts.
        least: What the run should reach.
        every_seconds: How often that is asked, in simulated time.
    """

    hand: Hand
    least: AtBest
    every_seconds: float
    _asked: int = field(default=0)

    def act(self, cluster: SimulatedCluster, now: float) -> None:
        """Act.

        Raises:
            TooSlowError: The run cannot reach what it should.
        """
        asked = int(cluster.seconds / self.every_seconds)
        if asked > self._asked:
            self._asked = asked
            at_best = cluster.at_best()
            if at_best.falls_short_of(self.least):
                raise TooSlowError(at_best)
        self.hand.act(cluster, now)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The cluster at every control cycle; all arrays have shape (n,).

    Attributes:
        seconds: Since the start.
        desired: Replicas asked for.
        ready: Replicas that serve.
        starting: Replicas asked for that do not serve yet.
        draining: Replicas that only finish what they have.
        queued: Requests that wait, at the gateway or in a replica.
        running: Requests in a batch.
        nodes: Nodes asked for; like the one below, None where nodes are not simulated.
        nodes_ready: Nodes that replicas can start on.
    """

    seconds: FloatArray
    desired: IntArray
    ready: IntArray
    starting: IntArray
    draining: IntArray
    queued: IntArray
    running: IntArray
    nodes: IntArray | None = None
    nodes_ready: IntArray | None = None

    @classmethod
    def of(cls, moments: Sequence[Moment]) -> "Timeline":
        """Return moments as columns; there is at least one."""
        return cls(
            np.array([moment.seconds for moment in moments]),
            *(
                np.array([getattr(moment, name) for moment in moments], dtype=np.int64)
                for name in (*_COLUMNS, *(_OF_NODES if moments[0].nodes is not None else ()))
            ),
        )


_TIMES_ASKED: Final = 200
_COLUMNS: Final = ("desired", "ready", "starting", "draining", "queued", "running")
_OF_NODES: Final = ("nodes", "nodes_ready")


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """What came of a run.

    Attributes:
        score: How it went.
        minutes: The same, minute by minute.
        timeline: The cluster before each cycle's actions, and at the end.
        changes: Changes of the number of replicas: seconds since the start, before, after.
        initial: Replicas that were ready at the start.
        node_changes: Changes of the number of nodes: seconds since the start, before, after.
    """

    score: Score
    minutes: Minutes
    timeline: Timeline
    changes: tuple[tuple[float, int, int], ...] = field(default=())
    initial: int = 1
    node_changes: tuple[tuple[float, int, int], ...] = field(default=())

    def schedule(self) -> Schedule:
        """Return the schedule that would have done the same."""
        return Schedule(
            np.array([seconds for seconds, _, _ in self.changes]),
            np.array([after for _, _, after in self.changes], dtype=np.int64),
            self.initial,
        )


def run(
    trace: Trace,
    workload: ScaledWorkload,
    settings: Settings,
    hand: Hand,
    *,
    pools: Sequence[NodePool] = (),
    replicas: int | None = None,
    on_share: OnShare | None = None,
) -> RunResult:
    """Run a trace under a hand, as `replay` does under a controller.

    Args:
        trace: What arrives.
        workload: The policy file: profile, bounds, limits, signals.
        settings: What holds for every run.
        pools: Node pools; the workload's own is simulated, and without it there is always room.
        hand: Looks and acts every `interval_seconds`, first that long after the start.
        replicas: How many are ready at the start; as the settings say, if absent.
        on_share: Told how far the run is, before each cycle.

    Raises:
        ConfigError: The policy file names no known profile, or a signal measures nothing that the
            simulator knows.
    """
    spec = workload.spec
    initial = settings.replicas if replicas is None else replicas
    initial = max(1, spec.replicas.min) if initial is None else initial
    cluster = SimulatedCluster(
        trace,
        workload,
        start=settings.start,
        scrape_seconds=settings.scrape_seconds,
        replicas=initial,
        cold_start=_durations(spec.replica.cold_start_seconds, settings, [settings.seed]),
        pools=pools,
        provisioning=_provisioning(spec.replica.node_pool, pools, settings),
    )
    latest = trace.seconds + settings.drain_seconds
    moments: list[Moment] = []
    while True:
        seconds = min((len(moments) + 1) * settings.interval_seconds, latest)
        now = settings.start + seconds
        cluster.advance(now)
        moments.append(cluster.moment())
        if on_share is not None:
            on_share(min(1.0, seconds / trace.seconds) if trace.seconds else 1.0)
        if seconds >= latest or cluster.served:
            break
        hand.act(cluster, now)
    return RunResult(
        score=score(cluster),
        minutes=cluster.minutes,
        timeline=Timeline.of(moments),
        changes=tuple(cluster.changes),
        initial=initial,
        node_changes=tuple(cluster.node_changes),
    )


def follow(
    trace: Trace,
    workload: ScaledWorkload,
    settings: Settings,
    schedule: Schedule,
    on_share: OnShare | None = None,
    *,
    pools: Sequence[NodePool] = (),
    least: AtBest | None = None,
) -> RunResult:
    """Run a trace under a schedule, and under the nodes that it needs where a pool is given.

    Nobody looks, so nothing is scraped.

    Args:
        trace: What arrives.
        workload: Profile, bounds and limits.
        settings: What holds for every run.
        schedule: How many replicas, when.
        on_share: Told how far the run is, before each cycle.
        pools: Node pools; the workload's own is simulated, and without it there is always room.
        least: What the run should reach; if it cannot any more, it is given up.

    Raises:
        TooSlowError: The run was given up.
    """
    unwatched = workload.spec.model_copy(update={"signals": {}})
    hand: Hand = Follower(schedule, settings.start, node_lead(workload, settings, pools))
    if least is not None:
        hand = Demanding(hand, least, max(settings.interval_seconds, trace.seconds / _TIMES_ASKED))
    return run(
        trace,
        workload.model_copy(update={"spec": unwatched}),
        settings,
        hand,
        pools=pools,
        replicas=schedule.initial,
        on_share=on_share,
    )


def node_lead(workload: ScaledWorkload, settings: Settings, pools: Sequence[NodePool]) -> float:
    """Return how long before a replica its node has to be asked for, in whole cycles.

    0 where the workload has no pool among these. Nine of ten nodes are ready by then where
    provisioning times vary.
    """
    name, interval = workload.spec.replica.node_pool, settings.interval_seconds
    median = next((pool.spec.provisioning_seconds for pool in pools if pool.key == name), 0.0)
    lead = median * math.exp(LATE * settings.cold_start_spread)
    return interval * math.ceil(lead / interval - 1e-9)


def _provisioning(
    name: str | None, pools: Sequence[NodePool], settings: Settings
) -> Callable[[], float] | None:
    """Return what says how long the next node of the workload's pool takes; None without one."""
    median = next((pool.spec.provisioning_seconds for pool in pools if pool.key == name), None)
    # A stream of its own, as a replay draws it: cold starts stay what they were without nodes.
    return None if median is None else _durations(median, settings, [settings.seed, 1])


def _durations(median: float, settings: Settings, seed: list[int]) -> Callable[[], float]:
    spread = settings.cold_start_spread
    if not spread:
        return lambda: median
    rng = np.random.default_rng(seed if len(seed) > 1 else seed[0])
    return lambda: median * math.exp(spread * float(rng.standard_normal()))
