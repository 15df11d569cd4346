"""The node pools of a fleet, sized in the same cycle as the replicas that they carry."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from autoscaler.core.decision import Decision, NodePoolDecision, Reason
from autoscaler.core.node_pools import Demand, size_node_pool
from autoscaler.core.observation import Snapshot
from autoscaler.core.past import Mark
from autoscaler.core.workload import FleetSpec, ScaledWorkload


def size_node_pools(
    fleet: FleetSpec,
    needed: Mapping[str, tuple[Mark, ...]],
    snapshot: Snapshot,
    decisions: Mapping[str, Decision],
    *,
    seen: Mapping[str, int],
) -> tuple[dict[str, NodePoolDecision], dict[str, tuple[Mark, ...]]]:
    """Size every pool for the replicas that the decisions ask for.

    Replicas that run now count too while a decision lowers them: they hold their nodes until
    they have drained. A pool with a workload that was not seen does not shrink. Nodes that
    somebody else asked for count as needed from then on. While everything is paused, pools stay.

    Args:
        fleet: The policy files.
        needed: What was needed in earlier cycles, by pool name.
        snapshot: What was seen.
        decisions: By workload key.
        seen: Nodes asked for when each pool was last seen or set.

    Returns:
        The decisions by pool name, and the needs to remember.
    """
    sized: dict[str, NodePoolDecision] = {}
    remembered: dict[str, tuple[Mark, ...]] = {}
    for pool in fleet.pools:
        tenants = list(_tenants(fleet, pool.key))
        unseen = [w.key for w in tenants if decisions[w.key].replicas is None]
        demands = [
            Demand(max(decision.replicas or 0, decision.current or 0), workload.spec.replica.gpus)
            for workload in tenants
            if (decision := decisions[workload.key]).replicas is not None
        ]
        past = needed.get(pool.key, ())
        status = snapshot.pools.get(pool.key)
        if status is None:
            gap = snapshot.missing.get(pool.key)
            why = f"{gap.reason}: {gap.detail}" if gap else "it is not in the snapshot"
            text = f"the pool was not seen: {why}"
            sized[pool.key] = NodePoolDecision(pool.key, None, 0, None, Reason.UNSEEN, text)
            remembered[pool.key] = past
            continue
        if status.desired > seen.get(pool.key, status.desired):
            past = (*past, Mark(snapshot.now, status.desired))
        why = f"{', '.join(unseen)} not seen" if unseen else ""
        sized[pool.key], remembered[pool.key] = size_node_pool(
            pool, status, demands, past, now=snapshot.now, unseen=why
        )
        if snapshot.paused:
            sized[pool.key] = replace(
                sized[pool.key],
                nodes=status.desired,
                reason=Reason.PAUSED,
                text=f"{sized[pool.key].text}; {snapshot.paused}",
            )
    return sized, remembered


def lead_seconds_of(workload: ScaledWorkload, fleet: FleetSpec, snapshot: Snapshot) -> float:
    """Return the seconds until a replica asked for now would serve.

    Its cold start; and the provisioning of a node, where the ready nodes of its pool have no
    place for one more replica beside those asked for already.
    """
    replica = workload.spec.replica
    pool = next((pool for pool in fleet.pools if pool.key == replica.node_pool), None)
    status = snapshot.pools.get(pool.key) if pool is not None else None
    if pool is None or status is None:
        return replica.cold_start_seconds
    taken = sum(
        seen.replicas.desired * tenant.spec.replica.gpus
        for tenant in _tenants(fleet, pool.key)
        if (seen := snapshot.observations.get(tenant.key)) is not None
    )
    free = status.ready * pool.spec.gpus_per_node - taken
    waits = pool.spec.provisioning_seconds if free < replica.gpus else 0.0
    return replica.cold_start_seconds + waits


def _tenants(fleet: FleetSpec, pool: str) -> Iterable[ScaledWorkload]:
    return (w for w in fleet.workloads if w.spec.replica.node_pool == pool)
