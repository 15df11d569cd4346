"""Checks of workloads against the node pools that they name: which pool, and whether they fit."""

from collections.abc import Iterable, Iterator, Sequence

from autoscaler.config.draft import Draft
from autoscaler.config.problems import Problem, did_you_mean
from autoscaler.core.node_pools import Demand, NodePool, nodes_needed
from autoscaler.core.spec import Replica
from autoscaler.core.workload import ScaledWorkload


def pool_warnings(drafts: Iterable[Draft]) -> Iterator[Problem]:
    """Yield what is allowed and probably not meant, of all documents together."""
    drafts = list(drafts)
    pools = {draft.pool.key: (draft, draft.pool) for draft in drafts if draft.pool is not None}
    tenants: dict[str, list[ScaledWorkload]] = {name: [] for name in pools}
    for draft in drafts:
        workload = draft.workload
        name = workload.spec.replica.node_pool if workload is not None else None
        if workload is None or name is None:
            continue
        if name not in pools:
            yield draft.problem(
                ("spec", "replica", "nodePool"),
                f"no node pool here is called '{name}'{did_you_mean(name, pools)}: it is not "
                "sized with this workload, and a replay always has room",
            )
            continue
        tenants[name].append(workload)
        yield from _too_many(draft, workload, *pools[name])
    for name, (draft, pool) in pools.items():
        if not tenants[name]:
            yield draft.problem(
                ("metadata", "name"),
                f"no workload here names this pool: it would be sized to nodes.min "
                f"({pool.spec.nodes.min})",
            )
        elif len(tenants[name]) > 1:
            yield from _minimums(draft, pool, tenants[name])


def nodes_of_each(replica: Replica, pool: NodePool) -> int:
    """Return how many nodes one replica takes; 1 where it shares one."""
    return nodes_needed([Demand(1, replica.gpus)], pool.spec.gpus_per_node)


def _too_many(
    draft: Draft, workload: ScaledWorkload, owner: Draft, pool: NodePool
) -> Iterator[Problem]:
    """Warn where the nodes can never hold `replicas.max`."""
    gpus, most = workload.spec.replica.gpus, workload.spec.replicas.max
    spec = pool.spec
    needed = nodes_needed([Demand(most, gpus)], spec.gpus_per_node)
    if needed <= spec.nodes.max:
        return
    if gpus < spec.gpus_per_node:
        fit = spec.nodes.max * (spec.gpus_per_node // gpus)
    else:
        fit = spec.nodes.max // nodes_of_each(workload.spec.replica, pool)
    place = owner.problem(("spec", "nodes", "max"), "")
    yield draft.problem(
        ("spec", "replicas", "max"),
        f"{most} replicas of {gpus} GPUs need {needed} nodes of {spec.gpus_per_node}, and node "
        f"pool {pool.key} has at most {spec.nodes.max} ({place.place}): {fit} fit",
    )


def _minimums(draft: Draft, pool: NodePool, tenants: Sequence[ScaledWorkload]) -> Iterator[Problem]:
    """Warn where the nodes cannot hold what is always to run."""
    spec = pool.spec
    demands = [Demand(w.spec.replicas.min, w.spec.replica.gpus) for w in tenants]
    needed = nodes_needed(demands, spec.gpus_per_node)
    if needed > spec.nodes.max:
        names = ", ".join(workload.key for workload in tenants)
        yield draft.problem(
            ("spec", "nodes", "max"),
            f"the minimums of {names} together need {needed} nodes, not {spec.nodes.max}",
        )
