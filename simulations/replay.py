"""Replay: a trace through simulated replicas, with the controller that also runs live."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autoscaler.controller import Controller
from autoscaler.core.node_pools import NodePool
from autoscaler.core.ports import Journal
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.plugins import load_combiner
from simulations.cluster import Engine, Moment, SimulatedCluster
from simulations.score import Score, score
from simulations.trace import Trace

START: Final = 1_767_571_200.0
"""When a replay begins if nobody says: Monday 5 January 2026, 00:00 UTC."""

_NODES: Final = 1
"""Added to the seed for what is drawn of nodes, so that cold starts stay what they were."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is.

    Attributes:
        seconds: Simulated so far.
        total_seconds: How long the trace is; the replay ends soon after.
        moment: The cluster now.
    """

    seconds: float
    total_seconds: float
    moment: Moment


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of a replay.

    Attributes:
        score: How it went.
        cycles: Control cycles run.
        timeline: The cluster before each cycle's actions, and at the end.
        changes: Changes of the number of replicas: seconds since the start, before, after.
        node_changes: Changes of the number of nodes: seconds since the start, before, after.
    """

    score: Score
    cycles: int
    timeline: tuple[Moment, ...]
    changes: tuple[tuple[float, int, int], ...]
    node_changes: tuple[tuple[float, int, int], ...] = ()


def replay(  # noqa: PLR0913  # keywords, each with a default
    trace: Trace,
    workload: ScaledWorkload,
    *,
    pools: Sequence[NodePool] = (),
    start: float = START,
    interval_seconds: float = 15.0,
    scrape_seconds: float = 15.0,
    replicas: int | None = None,
    cold_start_spread: float = 0.0,
    seed: int = 1,
    drain_seconds: float = 600.0,
    journal: Journal | None = None,
    engine: Engine = Engine.AUTO,
    on_progress: Callable[[Progress], None] | None = None,
) -> ReplayResult:
    """Run a trace against a policy file, whatever its `spec.actuation` says.

    The controller looks and acts every `interval_seconds`, first that long after the start. After
    the last arrival the replay goes on until everything is answered, but at most `drain_seconds`;
    what is left then is unfinished. Equal arguments give equal results and an equal journal.

    Args:
        trace: What arrives.
        workload: The policy file, with `spec.replica.profile`.
        pools: Node pools. If one of them is the workload's, its nodes are simulated and sized too,
            whatever its `spec.actuation` says; else there is always room for a replica.
        start: When the trace begins, Unix seconds: matters to calendars and to the journal.
        interval_seconds: Time between control cycles.
        scrape_seconds: Time between scrapes, that is, how often signals can change.
        replicas: How many are ready at the start; `spec.replicas.min`, but at least 1, if absent.
        cold_start_spread: Standard deviation of the logarithm of the cold start, whose median is
            `spec.replica.coldStartSeconds`, and of the time that a node takes to be ready, whose
            median is `spec.provisioningSeconds` of the pool.
        seed: Draws both, each from a stream of its own; without a spread nothing is drawn.
        drain_seconds: Longest time after the last arrival.
        journal: Keeps the cycles.
        engine: What carries the replicas out; it matters to the last digits of times alone.
        on_progress: Called before each cycle.

    Raises:
        ConfigError: The policy file names no known profile, a signal measures nothing that the
            simulator knows, or `spec.combine` names no combiner.
        ValueError: An argument is out of range.
    """
    if not interval_seconds > 0 or drain_seconds < 0 or cold_start_spread < 0:
        raise ValueError(
            "interval_seconds should be above 0, drain_seconds and cold_start_spread at least 0"
        )
    acting = workload.with_actuation(Actuation.SCALE)
    ours = tuple(
        pool.with_actuation(Actuation.SCALE)
        for pool in pools
        if pool.key == workload.spec.replica.node_pool
    )
    cluster = SimulatedCluster(
        trace,
        acting,
        start=start,
        scrape_seconds=scrape_seconds,
        replicas=replicas,
        cold_start=_durations(
            workload.spec.replica.cold_start_seconds,
            cold_start_spread,
            np.random.default_rng(seed),
        ),
        pools=ours,
        provisioning=_durations(
            ours[0].spec.provisioning_seconds,
            cold_start_spread,
            np.random.default_rng([seed, _NODES]),
        )
        if ours
        else None,
        engine=engine,
    )
    fleet = FleetSpec((acting,), {acting.spec.combine: load_combiner(acting.spec.combine)}, ours)
    controller = Controller(fleet, observer=cluster, actuator=cluster, journal=journal)
    latest = trace.seconds + drain_seconds
    timeline: list[Moment] = []
    cycles = 0
    while True:
        seconds = min((cycles + 1) * interval_seconds, latest)
        cluster.advance(start + seconds)
        moment = cluster.moment()
        timeline.append(moment)
        if on_progress is not None:
            on_progress(Progress(seconds, trace.seconds, moment))
        if seconds >= latest or cluster.served:
            break
        controller.run_once(start + seconds)
        cycles += 1
    return ReplayResult(
        score(cluster),
        cycles,
        tuple(timeline),
        tuple(cluster.changes),
        tuple(cluster.node_changes),
    )


def _durations(median: float, spread: float, rng: np.random.Generator) -> Callable[[], float]:
    if not spread:
        return lambda: median
    return lambda: median * math.exp(spread * float(rng.standard_normal()))
