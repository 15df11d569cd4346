"""Nodes are planned with the pods: enough for every replica, never given back for a lull."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.decision import Action, NodeAction, NodePoolDecision, Reason
from autoscaler.core.node_pools import (
    Demand,
    NodePool,
    nodes_needed,
    size_node_pool,
    without_target,
)
from autoscaler.core.observation import (
    Gap,
    GapReason,
    NodePoolStatus,
    Observation,
    ReplicaStatus,
    Snapshot,
)
from autoscaler.core.past import Mark
from autoscaler.core.planner import FleetState, plan_cycle
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.builders import NOON, Wants, a_workload, largest, seen


def a_pool(name: str = "h100", **spec: Any) -> NodePool:
    """A pool of at most 10 nodes of 8 GPUs, which shrinks after 600 s."""
    fields = {"actuation": "scale", "gpusPerNode": 8, "nodes": {"max": 10}, **spec}
    return NodePool.model_validate({"metadata": {"name": name}, "spec": fields})


def on_pool(*, wants: int, gpus: int = 4, name: str = "chat") -> ScaledWorkload:
    return a_workload(
        Wants(replicas=wants),
        name=name,
        replica={"gpus": gpus, "coldStartSeconds": 240, "nodePool": "h100"},
    )


def a_fleet_on(pool: NodePool, *workloads: ScaledWorkload) -> FleetSpec:
    return FleetSpec(workloads, {"highest": largest}, (pool,))


def a_snapshot_with(
    pool: NodePoolStatus | None, observations: dict[str, Observation], **missing: Gap
) -> Snapshot:
    return Snapshot(NOON, observations, missing, {"h100": pool} if pool else {})


@pytest.mark.parametrize(
    ("demands", "nodes"),
    [
        pytest.param([], 0, id="nobody"),
        pytest.param([(0, 4)], 0, id="no replicas"),
        pytest.param([(3, 4)], 2, id="two on a node"),
        pytest.param([(3, 8)], 3, id="one on a node"),
        pytest.param([(2, 5)], 2, id="a replica is never split"),
        pytest.param([(2, 16)], 4, id="a multi-node replica takes whole nodes"),
        pytest.param([(1, 12)], 2, id="a part of a node is a whole node to it"),
        pytest.param([(2, 5), (2, 3)], 2, id="small ones fill the gaps"),
        pytest.param([(1, 6), (3, 2)], 2, id="what is left over starts a new node"),
        pytest.param([(9, 1)], 2, id="many small ones"),
    ],
)
def test_nodes_that_hold_all_replicas(demands: list[tuple[int, int]], nodes: int) -> None:
    assert nodes_needed([Demand(*demand) for demand in demands], 8) == nodes


demand_lists = st.lists(st.builds(Demand, st.integers(0, 20), st.integers(1, 20)), max_size=5)


@given(demands=demand_lists, gpus=st.integers(1, 16))
def test_the_nodes_always_suffice_and_are_never_wildly_many(
    demands: list[Demand], gpus: int
) -> None:
    nodes = nodes_needed(demands, gpus)

    asked = sum(demand.replicas * demand.gpus for demand in demands)
    assert nodes * gpus >= asked
    assert nodes <= sum(demand.replicas * -(-demand.gpus // gpus) for demand in demands)


@given(demands=demand_lists, gpus=st.sampled_from([1, 2, 4, 8]))
def test_sizes_that_divide_each_other_are_packed_without_waste(
    demands: list[Demand], gpus: int
) -> None:
    halves = [Demand(demand.replicas, 2 ** (demand.gpus % 4)) for demand in demands]
    small = [demand for demand in halves if demand.gpus <= gpus]

    assert nodes_needed(small, gpus) == -(-sum(d.replicas * d.gpus for d in small) // gpus)


def sized(
    pool: NodePool,
    found: int,
    replicas: int,
    past: tuple[Mark, ...] = (),
    *,
    now: float = NOON,
    unseen: str = "",
) -> tuple[NodePoolDecision, tuple[Mark, ...]]:
    status = NodePoolStatus(found, found)
    return size_node_pool(pool, status, [Demand(replicas, 4)], past, now=now, unseen=unseen)


def test_a_pool_grows_at_once() -> None:
    decision, _ = sized(a_pool(), found=1, replicas=5)

    assert (decision.needed, decision.nodes, decision.reason) == (3, 3, Reason.RECOMMENDED)
    assert decision.text == "5 replicas of 4 GPUs need 3 nodes"


def test_a_pool_shrinks_to_the_most_that_was_needed_lately() -> None:
    pool = a_pool()
    _, past = sized(pool, found=4, replicas=8)
    soon, past = sized(pool, found=4, replicas=2, past=past, now=NOON + 599)
    late, _ = sized(pool, found=4, replicas=2, past=past, now=NOON + 600)

    assert (soon.nodes, soon.reason) == (4, Reason.STABILIZED)
    assert soon.text == ("2 replicas of 4 GPUs need 1 nodes; up to 4 were needed in the last 600 s")
    assert (late.nodes, late.reason) == (1, Reason.RECOMMENDED)


def test_what_runs_at_first_counts_as_needed() -> None:
    decision, _ = sized(a_pool(), found=6, replicas=2)

    assert decision.nodes == 6


@pytest.mark.parametrize(
    ("spec", "replicas", "nodes", "reason", "text"),
    [
        pytest.param(
            {"nodes": {"max": 2}},
            7,
            2,
            Reason.AT_MAXIMUM,
            "7 replicas of 4 GPUs need 4 nodes; nodes.max is 2, 2 too few",
            id="the quota has the last word",
        ),
        pytest.param(
            {"nodes": {"min": 3, "max": 9}},
            1,
            3,
            Reason.AT_MINIMUM,
            "1 replicas of 4 GPUs need 1 nodes; nodes.min is 3",
            id="spare nodes stay",
        ),
        pytest.param(
            {}, 2, 1, Reason.AT_TARGET, "2 replicas of 4 GPUs need 1 nodes", id="as it is"
        ),
    ],
)
def test_bounds(spec: dict[str, Any], replicas: int, nodes: int, reason: Reason, text: str) -> None:
    decision, _ = sized(a_pool(**spec), found=1, replicas=replicas)

    assert (decision.nodes, decision.reason, decision.text) == (nodes, reason, text)


def test_a_pool_with_an_unseen_workload_does_not_shrink() -> None:
    decision, _ = sized(a_pool(scaleDownSeconds=0), found=4, replicas=1, unseen="llm/chat not seen")

    assert (decision.nodes, decision.reason) == (4, Reason.BLIND_NO_LOWERING)
    assert decision.text.endswith("; no decrease: llm/chat not seen")


def test_pods_and_nodes_grow_in_one_cycle_nodes_first() -> None:
    workload = on_pool(wants=6)
    fleet = a_fleet_on(a_pool(), workload)
    snapshot = a_snapshot_with(NodePoolStatus(1, 1), {workload.key: seen(2)})

    plan, state = plan_cycle(fleet, FleetState(), snapshot)

    assert plan.actions() == (NodeAction("h100", 1, 3), Action(workload.key, 2, 6))
    assert state.nodes_needed["h100"][-1] == Mark(NOON, 3)


def test_nodes_are_given_back_last_and_only_what_no_pod_holds() -> None:
    workload = on_pool(wants=1)
    fleet = a_fleet_on(a_pool(scaleDownSeconds=0), workload)
    snapshot = a_snapshot_with(NodePoolStatus(5, 5), {workload.key: seen(6)})

    plan, _ = plan_cycle(fleet, FleetState(), snapshot)

    assert plan.actions() == (Action(workload.key, 6, 1), NodeAction("h100", 5, 3))


def test_a_pool_that_is_only_watched_gets_no_action() -> None:
    fleet = a_fleet_on(a_pool(actuation="none"), on_pool(wants=6))
    snapshot = a_snapshot_with(NodePoolStatus(1, 1), {"llm/chat": seen(2)})

    plan, _ = plan_cycle(fleet, FleetState(), snapshot)

    assert plan.pools["h100"].nodes == 3
    assert plan.actions() == (Action("llm/chat", 2, 6),)


def test_an_unseen_pool_is_left_alone_and_its_memory_kept() -> None:
    fleet = a_fleet_on(a_pool(), on_pool(wants=6))
    state = FleetState(nodes_needed={"h100": (Mark(NOON - 60, 4),)})
    gone = a_snapshot_with(None, {"llm/chat": seen(2)})
    failed = a_snapshot_with(None, {"llm/chat": seen(2)}, h100=Gap(GapReason.ERROR, "403"))

    plan, after = plan_cycle(fleet, state, gone)

    assert plan.pools["h100"].text == "the pool was not seen: it is not in the snapshot"
    assert plan.pools["h100"].nodes is None
    assert after.nodes_needed == state.nodes_needed
    assert plan_cycle(fleet, state, failed)[0].pools["h100"].text == (
        "the pool was not seen: error: 403"
    )


def test_a_workload_that_was_not_seen_keeps_its_nodes() -> None:
    fleet = a_fleet_on(a_pool(scaleDownSeconds=0), on_pool(wants=1), on_pool(wants=1, name="b"))
    snapshot = a_snapshot_with(NodePoolStatus(5, 5), {"llm/b": seen(1)})

    plan, _ = plan_cycle(fleet, FleetState(), snapshot)

    assert plan.pools["h100"].nodes == 5


class Foresight(Policy):
    """Says how far ahead it was told to look."""

    type: str = "foresight"

    def recommend(self, observation: Observation) -> Recommendation:
        return Recommendation(2, f"{observation.lead_seconds:g}")


@pytest.mark.parametrize(
    ("pool", "lead"),
    [
        pytest.param(NodePoolStatus(2, 2), "240", id="a node has a free place"),
        pytest.param(NodePoolStatus(2, 1), "540", id="the free node is not ready yet"),
        pytest.param(NodePoolStatus(1, 1), "540", id="every node is full"),
        pytest.param(None, "240", id="an unseen pool is not guessed at"),
    ],
)
def test_the_lead_time_includes_a_node_where_one_is_needed(
    pool: NodePoolStatus | None, lead: str
) -> None:
    workload = on_pool(wants=2)
    workload = workload.model_copy(
        update={"spec": workload.spec.model_copy(update={"policies": (Foresight(),)})}
    )
    observation = Observation(NOON, ReplicaStatus(desired=2, ready=1))

    plan, _ = plan_cycle(
        a_fleet_on(a_pool(), workload),
        FleetState(),
        a_snapshot_with(pool, {workload.key: observation}),
    )

    recommendation = plan.decisions[workload.key].proposals[0].recommendation
    assert recommendation is not None
    assert recommendation.reason == lead


def test_a_fleet_names_each_pool_once() -> None:
    with pytest.raises(ValueError, match="one of the node pools h100, h100 is defined twice"):
        FleetSpec((), {}, (a_pool(), a_pool()))


def test_a_replay_sizes_every_pool() -> None:
    fleet = a_fleet_on(a_pool(actuation="none"), on_pool(wants=1))

    assert fleet.acted_on().pools[0].spec.actuation is Actuation.SCALE


def test_bounds_are_in_order() -> None:
    with pytest.raises(ValidationError, match="min should be at most max, not 3 > 2"):
        a_pool(nodes={"min": 3, "max": 2})


MACHINES = {
    "apiVersion": "cluster.x-k8s.io/v1beta2",
    "kind": "MachineDeployment",
    "name": "h100",
    "namespace": "fleet",
}
STATIC = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "h100"}


def test_only_a_pool_that_is_scaled_live_needs_a_target() -> None:
    pools = [
        a_pool("a", target=MACHINES),
        a_pool("b"),
        a_pool("c", actuation="none"),
        a_pool("d", target=STATIC),
    ]

    ((key, why),) = without_target(pools)

    assert key == "b"
    assert why == (
        "spec.target: should name the object that makes the nodes (apiVersion, kind, name, "
        "namespace) where actuation is scale, and is missing"
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param(
            {**MACHINES, "namespace": None},
            "namespace should be given for a MachineDeployment",
            id="machines lie in a namespace",
        ),
        pytest.param(
            {**STATIC, "namespace": "fleet"},
            "namespace should be absent for a NodePool, not fleet",
            id="Karpenter's pools lie in none",
        ),
        pytest.param({**STATIC, "kind": ""}, "at least 1 character", id="a kind has a name"),
    ],
)
def test_a_target_lies_where_its_kind_does(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        a_pool(target=target)
