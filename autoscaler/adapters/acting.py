"""Changes in the cluster, and what follows them: replicas, nodes, events, deletion costs."""

from collections.abc import Callable, Mapping
from typing import Any

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.counts import Counts
from autoscaler.adapters.kubernetes.drain import Drain, pod_loads
from autoscaler.adapters.kubernetes.events import EventRecorder
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.kubernetes.occurrences import Holds, occurrences
from autoscaler.adapters.kubernetes.scale import Scaler
from autoscaler.adapters.kubernetes.targets import TargetReader
from autoscaler.adapters.live import LiveObserver
from autoscaler.adapters.node_pools.pools import PoolScaler
from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome
from autoscaler.core.workload import FleetSpec


class Scaling:
    """Makes one change: of a workload's replicas, or of a pool's nodes."""

    def __init__(
        self,
        connection: Connection,
        kinds: Kinds,
        observer: LiveObserver,
        drain: Drain,
        counts: Counts,
        *,
        leads: Callable[[], bool],
        seconds: float,
    ) -> None:
        """Change nothing yet.

        Args:
            connection: The cluster's.
            kinds: What it can scale.
            observer: Knows how loaded each pod is.
            drain: Puts the least loaded pods first where replicas go.
            counts: Is told what we set, so that our own doing is not taken for a person's.
            leads: Whether we may write.
            seconds: Longest that one change may take.
        """
        self._observer = observer
        self._counts = counts
        self._fleet = FleetSpec((), {})
        self._replicas = Scaler(
            connection,
            kinds,
            drain=drain,
            loads=self._loads,
            may_write=leads,
            deadline_seconds=seconds,
        )
        self._nodes = PoolScaler(connection, kinds, may_write=leads, deadline_seconds=seconds)

    def use(self, fleet: FleetSpec) -> None:
        """Change what these policy files name, from now on."""
        self._fleet = fleet
        self._replicas.use(fleet)
        self._nodes.use(fleet)

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        """Make one change. A failure is an outcome that is not done, or an ActuationError."""
        if isinstance(action, Action):
            self._counts.tries(action.workload, action.after)
            return self._replicas.act(action, now)
        return self._nodes.act(action, now)

    def _loads(self, key: str) -> Mapping[str, float]:
        seen = self._observer.latest.observations.get(key) if self._observer.latest else None
        workload = next((one for one in self._fleet.workloads if one.key == key), None)
        return pod_loads(workload, seen) if workload is not None and seen is not None else {}


class Aftermath:
    """What follows a cycle in the cluster: events, and old deletion costs taken back."""

    def __init__(
        self,
        identity: str,
        connection: Connection,
        targets: TargetReader,
        drain: Drain,
        leads: Callable[[], bool],
        log: Any,
    ) -> None:
        """Tell nobody yet.

        Args:
            identity: Who tells.
            connection: The cluster's.
            targets: Knows each target's uid and pods.
            drain: Takes deletion costs back.
            leads: Whether we may write.
            log: Is told what could not be tidied up.
        """
        self._targets = targets
        self._drain = drain
        self._leads = leads
        self._log = log
        self._holds: Holds = {}
        self._events = EventRecorder(connection, identity, uid_of=targets.uid_of)
        self._started = False

    def follow(self, fleet: FleetSpec, cycle: Cycle) -> None:
        """Write events for what a cycle did, and take back deletion costs that it left."""
        told, self._holds = occurrences(fleet, cycle, self._holds)
        if told and not self._started:
            self._events.start()
            self._started = True
        for one in told:
            self._events.tell(one, cycle.plan.now)
        if cycle.leading:
            problem = self._drain.tidy(self._targets.pods(), cycle.plan.now, self._leads)
            if problem:
                self._log.info("deletion costs not taken back", reason=problem)

    def close(self) -> None:
        """Write the events that are left, for a moment."""
        if self._started:
            self._events.stop()
