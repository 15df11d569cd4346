"""Node pools read and sized, by the object that their file names."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import Kind, Kinds
from autoscaler.adapters.kubernetes.requests import KubernetesError, Query
from autoscaler.adapters.kubernetes.scale import Change, Counted, always, by_scale, make
from autoscaler.adapters.node_pools import cluster_api, karpenter
from autoscaler.core.decision import NodeAction, Outcome
from autoscaler.core.errors import ActuationError, ObservationError
from autoscaler.core.node_pools import NodePool, PoolTarget
from autoscaler.core.observation import Gap, GapReason, NodePoolStatus
from autoscaler.core.workload import FleetSpec

_THREADS: Final = 8
_PAGE: Final = 500
_ODD: Final = (KeyError, TypeError, ValueError, AttributeError)


class PoolReader:
    """Reads node pools: one or two requests for each, so many side by side."""

    def __init__(
        self, connection: Connection, kinds: Kinds, *, deadline_seconds: float = 10.0
    ) -> None:
        """Ask the cluster where the objects lie that make the nodes.

        Args:
            connection: Whom to ask; a management cluster, where Cluster API runs in one.
            kinds: How kinds are served there.
            deadline_seconds: For one pool.
        """
        self._connection = connection
        self._kinds = kinds
        self._deadline = deadline_seconds

    def read(
        self, fleet: FleetSpec, now: float
    ) -> tuple[Mapping[str, NodePoolStatus], Mapping[str, Gap]]:
        """Return the pools that were seen, and why the others were not, by name.

        Args:
            fleet: Whose pools.
            now: Unix seconds.
        """
        if not fleet.pools:
            return {}, {}
        with ThreadPoolExecutor(min(_THREADS, len(fleet.pools))) as threads:
            found = dict(
                zip(
                    (pool.key for pool in fleet.pools),
                    threads.map(self._one, fleet.pools),
                    strict=True,
                )
            )
        return (
            {key: seen for key, seen in found.items() if isinstance(seen, NodePoolStatus)},
            {key: gap for key, gap in found.items() if isinstance(gap, Gap)},
        )

    def _one(self, pool: NodePool) -> NodePoolStatus | Gap:
        target = pool.spec.target
        if target is None:
            return Gap(GapReason.EMPTY, "its file has no spec.target, so nobody knows its nodes")
        try:
            kind = self._kinds.find(target.api_version, target.kind)
            body = _read(self._connection, kind, target, self._deadline)
            if not target.karpenter:
                return cluster_api.status(body)
            return karpenter.status(body, self._claims(target))
        except (ObservationError, KubernetesError) as error:
            return Gap(GapReason.ERROR, f"{_named(target)}: {error}")
        except _ODD as error:
            return Gap(GapReason.ERROR, f"{_named(target)} cannot be read: {error!r}")

    def _claims(self, target: PoolTarget) -> list[Mapping[str, Any]]:
        kind = self._kinds.find(target.api_version, "NodeClaim")
        wanted = (
            ("labelSelector", f"{karpenter.POOL_LABEL}={target.name}"),
            ("limit", str(_PAGE)),
        )
        claims: list[Mapping[str, Any]] = []
        query: Query = wanted
        while True:
            page = self._connection.get(kind.path(), query, deadline_seconds=self._deadline)
            claims.extend(page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return claims
            query = (*wanted, ("continue", token))


class PoolScaler:
    """Sizes node pools, but none that somebody else sizes."""

    def __init__(
        self,
        connection: Connection,
        kinds: Kinds,
        *,
        may_write: Callable[[], bool] = always,
        deadline_seconds: float = 10.0,
    ) -> None:
        """Know no pool before `use`.

        Args:
            connection: Whom to ask.
            kinds: How kinds are served there.
            may_write: Asked right before each write: whether we still lead.
            deadline_seconds: For one action.
        """
        self._connection = connection
        self._kinds = kinds
        self._may_write = may_write
        self._deadline = deadline_seconds
        self._pools: Mapping[str, NodePool] = {}

    def use(self, fleet: FleetSpec) -> None:
        """Know the pools of this fleet from now on."""
        self._pools = {pool.key: pool for pool in fleet.pools}

    def act(self, action: NodeAction, now: float) -> Outcome:
        """Set the number of nodes of a pool, as `Scaler.act` sets replicas.

        Raises:
            ActuationError: It could not be done, or another autoscaler sizes the pool.
        """
        pool = self._pools.get(action.pool)
        target = None if pool is None else pool.spec.target
        if target is None:
            raise ActuationError(f"{action.pool}: no policy file says which object makes its nodes")
        named = _named(target)
        try:
            kind = self._kinds.find(target.api_version, target.kind)
            body = _read(self._connection, kind, target, self._deadline)
            drives = karpenter if target.karpenter else cluster_api
            why = drives.refusal(body)
        except (ObservationError, KubernetesError, *_ODD) as error:
            raise ActuationError(f"{named}: {error}") from error
        if why:
            raise ActuationError(f"{named} is not sized by us: {why}")
        path = kind.path(target.namespace or "", target.name)
        where = by_scale(f"{path}/scale") if kind.scalable else _by_field(path)
        change = Change(named, where, int(action.before), int(action.after), "nodes")
        done, detail = make(
            self._connection, change, deadline_seconds=self._deadline, may_write=self._may_write
        )
        if done and target.karpenter:
            detail = "; ".join(filter(None, (detail, karpenter.beyond_limit(body, action.after))))
        return Outcome(action, done=done, detail=detail)


def _read(
    connection: Connection, kind: Kind, target: PoolTarget, deadline_seconds: float
) -> Mapping[str, Any]:
    path = kind.path(target.namespace or "", target.name)
    body: Mapping[str, Any] = connection.get(path, deadline_seconds=deadline_seconds)
    return body


def _by_field(path: str) -> Counted:
    """Count by `spec.replicas` of the object itself, where its kind has no `/scale`."""
    return Counted(
        path,
        lambda body: cluster_api.count(body.get("spec") or {}, "replicas", 1),
        lambda body, nodes: {
            "metadata": {"resourceVersion": body["metadata"].get("resourceVersion", "")},
            "spec": {"replicas": int(nodes)},
        },
    )


def _named(target: PoolTarget) -> str:
    return f"{target.kind} {'/'.join(filter(None, (target.namespace, target.name)))}"
