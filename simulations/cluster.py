"""A cluster in simulated time that one workload runs in: Observer and Actuator at once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import ConfigError
from autoscaler.core.node_pools import Demand, NodePool, nodes_needed
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Observation,
    PodStatus,
    ReplicaStatus,
    Snapshot,
)
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from simulations.measurements import measurements_of
from simulations.nodes import Nodes
from simulations.pool import Member, Phase, ReplicaPool
from simulations.profiles import Profile, profile_of
from simulations.request import Request
from simulations.scrapes import Scrapes
from simulations.trace import Trace
from simulations.track import Track


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

    Attributes:
        workload: The workload that is simulated.
        requests: Every request that has arrived.
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
        self.workload = workload
        self.requests: list[Request] = []
        self.changes: list[tuple[float, int, int]] = []
        self.node_changes: list[tuple[float, int, int]] = []
        self.seconds = 0.0
        self._start = start
        self._scrape_seconds = scrape_seconds
        self._scrapes_done = 0
        self.nodes = _nodes_for(workload, pools, ready, provisioning)
        self.pool = ReplicaPool(
            workload.metadata.name,
            profile or profile_of(spec.replica),
            ready,
            cold_start or (lambda: spec.replica.cold_start_seconds),
            nodes=self.nodes,
            gpus=spec.replica.gpus,
        )
        self._tracks = {
            name: Track(spec.signals[name], measurement, scrape_seconds)
            for name, measurement in measurements_of(spec.signals).items()
        }
        longest = max((track.range_seconds for track in self._tracks.values()), default=0.0)
        self._scrapes = Scrapes(scrape_seconds, longest)
        self._arrivals = trace.arrivals.tolist()
        self._prompts = trace.prompt_tokens.tolist()
        self._outputs = trace.output_tokens.tolist()

    @property
    def served(self) -> bool:
        """Whether every request of the trace has arrived and ended."""
        pool = self.pool
        return len(self.requests) == len(self._arrivals) and not (
            pool.gateway or pool.waiting or pool.running
        )

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
            queued=pool.waiting + len(pool.gateway),
            running=pool.running,
            arrived=len(self.requests),
            pending=len(pool.pending),
            nodes=nodes.desired if nodes is not None else None,
            nodes_ready=nodes.ready if nodes is not None else None,
        )

    def advance(self, now: float) -> None:
        """Let simulated time pass until `now` (Unix seconds); an earlier `now` changes nothing."""
        until = now - self._start
        while True:
            arrived = len(self.requests)
            arrival = self._arrivals[arrived] if arrived < len(self._arrivals) else math.inf
            scrape = (self._scrapes_done + 1) * self._scrape_seconds
            if min(arrival, scrape) > until:
                break
            if arrival <= scrape:
                self._arrive(arrived, arrival)
            else:
                self._scrape(scrape)
        if until > self.seconds:
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

    def _arrive(self, index: int, at: float) -> None:
        request = Request(index, at, self._prompts[index], self._outputs[index])
        self.requests.append(request)
        self.pool.advance(at)
        self.pool.arrive(request, at)
        self.seconds = at

    def _scrape(self, at: float) -> None:
        self.pool.advance(at)
        self._scrapes.scrape(self.pool, len(self.requests), at)
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
            pods=(
                *(self._pod(member) for member in pool.members),
                *(PodStatus(name=m.name, phase="Pending", ready=None) for m in pool.pending),
            ),
            pod_samples={
                name: pods
                for name, track in self._tracks.items()
                if (pods := track.pods(self._start))
            },
            lead_seconds=self.workload.spec.replica.cold_start_seconds,
            terms=self.workload.terms,
        )

    def _pod(self, member: Member) -> PodStatus:
        ready = member.phase is not Phase.STARTING
        return PodStatus(
            name=member.name,
            ready=ready,
            deleting=member.phase is Phase.DRAINING,
            started=self._start + member.allocated,
            ready_changed=self._start + (member.ready_at if ready else member.allocated),
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
