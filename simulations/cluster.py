"""A cluster in simulated time that one workload runs in: Observer and Actuator at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

import numpy as np

from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import ConfigError
from autoscaler.core.node_pools import Demand, NodePool, nodes_needed
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Observation,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Snapshot,
)
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from simulations.at_best import AtBest
from simulations.fast.compile import can_compile
from simulations.fast.pool import FastPool
from simulations.fast.tally import Limits
from simulations.measurements import measurements_of
from simulations.minutes import Minutes
from simulations.nodes import Nodes
from simulations.outcomes import Outcomes
from simulations.pool import Member, Phase, ReplicaPool
from simulations.profiles import Profile, profile_of
from simulations.request import Request
from simulations.scrapes import Scrapes
from simulations.trace import IntArray, Trace
from simulations.track import Track

MOST_DETAILED = 2_000_000
"""Requests beyond which the compiled engine does not keep what became of each."""

MOST_REPLICAS = 10_000
"""Replicas that are simulated at most: what more would take grows with their square."""


class Engine(StrEnum):
    """What carries the replicas out. Both do the same; times differ in the last digits."""

    AUTO = "auto"
    """Compiled where numba is installed, else plain."""
    COMPILED = "compiled"
    """Many steps at a time, compiled by numba."""
    PLAIN = "plain"
    """Step by step: slow, and easy to read."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The cluster at one time, for a picture of the replay.

    Attributes:
        seconds: Since the simulation began.
        desired: Replicas asked for.
        ready: Replicas that serve.
        starting: Replicas asked for that do not serve yet.
        draining: Replicas that only finish what they have.
        queued: Requests that wait, at the gateway or in a replica.
        running: Requests in a batch.
        arrived: Requests so far.
        pending: Of the starting replicas, those that wait for a node.
        nodes: Nodes asked for; None where nodes are not simulated.
        nodes_ready: Nodes that replicas can start on; None where nodes are not simulated.
    """

    seconds: float
    desired: int
    ready: int
    starting: int
    draining: int
    queued: int
    running: int
    arrived: int
    pending: int = 0
    nodes: int | None = None
    nodes_ready: int | None = None


class SimulatedCluster:
    """Replays a trace through simulated replicas, as fast as it is asked.

    Time passes when somebody observes or acts at a later `now`. What can be seen of the engines
    and the gateway is what was scraped, every `scrape_seconds` from the start; replica counts and
    pods are seen as they are, as the Kubernetes API shows them.

    At one and the same moment: steps end, replicas become ready, requests arrive, the scrape
    looks, and then the caller sees and acts.

    Pods and their samples are shown where a policy of the workload needs them (`needs_pods`).

    Attributes:
        workload: The workload that is simulated.
        changes: Every change of the number asked for: seconds, before, after.
        pool: The replicas.
        nodes: The nodes that carry them; None where no pool was given: then there is always room.
        node_changes: Every change of the number of nodes asked for: seconds, before, after.
        seconds: How far simulated time has come, since the start.
    """

    def __init__(  # noqa: PLR0913  # keywords, each with a default
        self,
        trace: Trace,
        workload: ScaledWorkload,
        *,
        start: float,
        scrape_seconds: float = 15.0,
        replicas: int | None = None,
        profile: Profile | None = None,
        cold_start: Callable[[], float] | None = None,
        pools: Sequence[NodePool] = (),
        provisioning: Callable[[], float] | None = None,
        engine: Engine = Engine.AUTO,
    ) -> None:
        """Set up the cluster at `start`, with nothing arrived yet.

        Args:
            trace: What arrives, whatever we do (open loop).
            workload: The policy file, with `spec.replica.profile`.
            start: When the trace begins, Unix seconds.
            scrape_seconds: Time between scrapes; the first comes that long after the start.
            replicas: How many are ready at the start; `spec.replicas.min`, but at least 1, if
                absent.
            profile: What each replica is; the one that `spec.replica.profile` names, if absent.
            cold_start: Returns the seconds that the next replica takes to start; always
                `spec.replica.coldStartSeconds` if absent.
            pools: Node pools. The one that `spec.replica.nodePool` names is simulated; it begins
                with the nodes that its bounds allow of those that the replicas need.
            provisioning: Returns the seconds that the next node takes to be ready; always
                `spec.provisioningSeconds` if absent.
            engine: What carries the replicas out.

        Raises:
            ConfigError: The policy file names no known profile, or a signal measures nothing
                that the simulator knows.
            ValueError: `scrape_seconds` is not above 0.
        """
        if not scrape_seconds > 0:
            raise ValueError(f"scrape_seconds should be above 0, not {scrape_seconds:g}")
        spec = workload.spec
        ready = max(1, spec.replicas.min) if replicas is None else replicas
        if not 0 <= ready <= spec.replicas.max:
            raise ConfigError(
                f"spec.replicas.max: allows {spec.replicas.max} replicas, "
                f"the simulation should start with {ready}"
            )
        refuse_too_many(ready)
        self.workload = workload
        self.changes: list[tuple[float, int, int]] = []
        self.node_changes: list[tuple[float, int, int]] = []
        self.seconds = 0.0
        self._start = start
        self._scrape_seconds = scrape_seconds
        self._scrapes_done = 0
        self.nodes = _nodes_for(workload, pools, ready, provisioning)
        self._detailed = len(trace) <= MOST_DETAILED
        profile = profile or profile_of(spec.replica)
        self._too_long = _beyond_context(trace, profile)
        self.pool = self._pool_of(engine, profile, ready, cold_start or self._cold_start)
        self.pool.offer(trace.arrivals, trace.prompt_tokens, trace.output_tokens)
        self._shows_pods = any(policy.needs_pods for policy in spec.policies)
        self._tracks = {
            name: Track(spec.signals[name], measurement, scrape_seconds)
            for name, measurement in measurements_of(spec.signals).items()
        }
        longest = max((track.range_seconds for track in self._tracks.values()), default=0.0)
        self._scrapes = Scrapes(scrape_seconds, longest)

    @property
    def too_long(self) -> int:
        """Requests that have arrived and were refused for they exceed the model's context."""
        return int(self._too_long.searchsorted(self.pool.arrived))

    @property
    def served(self) -> bool:
        """Whether every request of the trace has arrived and ended."""
        pool = self.pool
        return not (pool.to_come or pool.gateway_queue or pool.waiting or pool.running)

    @property
    def outcomes(self) -> Outcomes | None:
        """What became of every request that has arrived; None where that is not kept.

        The plain engine keeps it; the compiled one for at most `MOST_DETAILED` requests.
        """
        if isinstance(self.pool, ReplicaPool):
            return Outcomes.of(self.pool.requests)
        return self.pool.outcomes() if self._detailed else None

    @property
    def requests(self) -> list[Request]:
        """Every request that has arrived, one by one; empty where `outcomes` is None."""
        pool = self.pool
        return pool.requests if isinstance(pool, ReplicaPool) else pool.requests()

    @property
    def minutes(self) -> Minutes:
        """What happened in each minute so far; percentiles within 1.6 % if compiled."""
        if isinstance(self.pool, ReplicaPool):
            return Minutes.of(self.pool.requests, self.workload.spec.slo, self.seconds)
        return self.pool.minutes(self.seconds)

    def at_best(self) -> AtBest:
        """Return what the run can still come to; the plain engine never says less than the best."""
        if isinstance(self.pool, ReplicaPool):
            return AtBest(1.0, 1.0)
        return self.pool.at_best(self.seconds)

    def moment(self) -> Moment:
        """Return how the cluster stands now."""
        pool = self.pool
        nodes = self.nodes.status if self.nodes is not None else None
        return Moment(
            seconds=self.seconds,
            desired=pool.desired,
            ready=pool.count(Phase.READY),
            starting=pool.count(Phase.STARTING) + len(pool.pending),
            draining=pool.count(Phase.DRAINING),
            queued=pool.waiting + pool.gateway_queue,
            running=pool.running,
            arrived=pool.arrived,
            pending=len(pool.pending),
            nodes=nodes.desired if nodes is not None else None,
            nodes_ready=nodes.ready if nodes is not None else None,
        )

    def advance(self, now: float) -> None:
        """Let simulated time pass until `now` (Unix seconds); an earlier `now` changes nothing."""
        until = now - self._start
        while (scrape := self._next_scrape()) <= until:
            self._scrape(scrape)
        if until >= self.seconds:
            self.pool.advance(until)
            self.seconds = until

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        """Return what can be seen at `now`; other workloads and pools than ours are missing."""
        self.advance(now)
        key = self.workload.key
        others = {
            workload.key: Gap(GapReason.ERROR, f"only {key} is simulated")
            for workload in fleet.workloads
            if workload.key != key
        }
        here = any(workload.key == key for workload in fleet.workloads)
        seen = {}
        for pool in fleet.pools:
            if self.nodes is not None and pool.key == self.nodes.pool.key:
                seen[pool.key] = self.nodes.status
            else:
                others[pool.key] = Gap(GapReason.ERROR, self._only_nodes())
        return Snapshot(now, {key: self._observation(now)} if here else {}, others, seen)

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        """Set the number of replicas or nodes; refuses what no longer fits what is there."""
        self.advance(now)
        if isinstance(action, NodeAction):
            return self._act_on_nodes(action)
        found = self.pool.desired
        if action.workload != self.workload.key:
            return Outcome(action, done=False, detail=f"only {self.workload.key} is simulated")
        if action.after < 0:
            return Outcome(action, done=False, detail=f"cannot run {action.after} replicas")
        if action.after > MOST_REPLICAS:
            return Outcome(
                action, done=False, detail=f"at most {MOST_REPLICAS:,} replicas are simulated"
            )
        if action.before != found:
            return Outcome(
                action, done=False, detail=f"found {found} replicas, not {action.before}"
            )
        self.pool.scale(action.after, self.seconds)
        if action.after != found:
            self.changes.append((self.seconds, found, action.after))
        return Outcome(action, done=True)

    def _act_on_nodes(self, action: NodeAction) -> Outcome:
        nodes = self.nodes
        if nodes is None or action.pool != nodes.pool.key:
            return Outcome(action, done=False, detail=self._only_nodes())
        found = nodes.status.desired
        if action.after < 0:
            return Outcome(action, done=False, detail=f"cannot run {action.after} nodes")
        if action.before != found:
            return Outcome(action, done=False, detail=f"found {found} nodes, not {action.before}")
        nodes.scale(action.after, self.seconds)
        self.pool.use_nodes(self.seconds)
        self.pool.advance(self.seconds)  # a cold start of no seconds serves at once
        if action.after != found:
            self.node_changes.append((self.seconds, found, action.after))
        return Outcome(action, done=True)

    def _only_nodes(self) -> str:
        if self.nodes is None:
            return "nodes are not simulated"
        return f"only the nodes of {self.nodes.pool.key} are simulated"

    def _pool_of(
        self, engine: Engine, profile: Profile, ready: int, cold_start: Callable[[], float]
    ) -> ReplicaPool | FastPool:
        """Return the replicas.

        Raises:
            ImportError: They should be compiled, and numba is not installed.
        """
        name, gpus = self.workload.metadata.name, self.workload.spec.replica.gpus
        if engine is Engine.PLAIN or (engine is Engine.AUTO and not can_compile()):
            return ReplicaPool(name, profile, ready, cold_start, nodes=self.nodes, gpus=gpus)
        slo = self.workload.spec.slo
        limits = Limits(
            inf if slo.ttft_p95_seconds is None else slo.ttft_p95_seconds,
            inf if slo.itl_p95_seconds is None else slo.itl_p95_seconds,
            inf if slo.e2e_p95_seconds is None else slo.e2e_p95_seconds,
        )
        return FastPool(
            name,
            profile,
            ready,
            cold_start,
            nodes=self.nodes,
            gpus=gpus,
            limits=limits,
            detailed=self._detailed,
            compiled=True,
        )

    def _cold_start(self) -> float:
        return self.workload.spec.replica.cold_start_seconds

    def _next_scrape(self) -> float:
        """When the next scrape looks; never if there is no signal to look for."""
        return (self._scrapes_done + 1) * self._scrape_seconds if self._tracks else inf

    def _scrape(self, at: float) -> None:
        self.pool.advance(at)
        self._scrapes.scrape(self.pool, self.pool.arrived, at)
        self._scrapes_done += 1
        self.seconds = at
        for track in self._tracks.values():
            track.look(self._scrapes)

    def _observation(self, now: float) -> Observation:
        pool = self.pool
        seconds = now - self._start
        signals = {
            name: series
            for name, track in self._tracks.items()
            if len(series := track.series(seconds, self._start))
        }
        missing = {
            name: Gap(GapReason.EMPTY, f"no sample in the last {track.spec.window_seconds} s")
            for name, track in self._tracks.items()
            if name not in signals
        }
        return Observation(
            now=now,
            replicas=ReplicaStatus(
                desired=pool.desired, ready=pool.count(Phase.READY), total=pool.desired
            ),
            signals=signals,
            missing=missing,
            pods=self._pods() if self._shows_pods else (),
            pod_samples=self._pod_samples() if self._shows_pods else {},
            lead_seconds=self.workload.spec.replica.cold_start_seconds,
            terms=self.workload.terms,
        )

    def _pods(self) -> tuple[PodStatus, ...]:
        pool = self.pool
        return (
            *(self._pod(member) for member in pool.members),
            *(PodStatus(name=m.name, phase="Pending", ready=None) for m in pool.pending),
        )

    def _pod_samples(self) -> dict[str, Mapping[str, PodSample]]:
        workload = self.workload.metadata.name
        found = {name: track.pods(workload, self._start) for name, track in self._tracks.items()}
        return {name: pods for name, pods in found.items() if pods}

    def _pod(self, member: Member) -> PodStatus:
        ready = member.phase is not Phase.STARTING
        return PodStatus(
            name=member.name,
            ready=ready,
            deleting=member.phase is Phase.DRAINING,
            started=self._start + member.allocated,
            ready_changed=self._start + (member.ready_at if ready else member.allocated),
        )


def _beyond_context(trace: Trace, profile: Profile) -> IntArray:
    """Return which requests of a trace exceed the model's context, by their place; rising."""
    if profile.context_tokens is None:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(trace.prompt_tokens + trace.output_tokens > profile.context_tokens)


def refuse_too_many(ready: int) -> None:
    """Refuse to begin with more replicas than can be simulated.

    Raises:
        ConfigError: There are more.
    """
    if ready > MOST_REPLICAS:
        raise ConfigError(
            f"spec.replicas.min: should be at most {MOST_REPLICAS:,} to be simulated, not {ready:,}"
        )


def _nodes_for(
    workload: ScaledWorkload,
    pools: Sequence[NodePool],
    replicas: int,
    provisioning: Callable[[], float] | None,
) -> Nodes | None:
    """Return the nodes that a workload's first replicas lie on; None without its pool's file."""
    replica = workload.spec.replica
    pool = next((pool for pool in pools if pool.key == replica.node_pool), None)
    if pool is None:
        return None
    spec = pool.spec
    needed = nodes_needed([Demand(replicas, replica.gpus)], spec.gpus_per_node)
    ready = min(max(needed, spec.nodes.min), spec.nodes.max)
    return Nodes(pool, ready, provisioning or (lambda: spec.provisioning_seconds))
