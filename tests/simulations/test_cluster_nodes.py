"""A cluster with nodes: replicas wait for room, and nobody loses the node under a replica."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decision import Action, NodeAction
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import Gap, GapReason, NodePoolStatus
from simulations.cluster import Engine, SimulatedCluster
from simulations.pool import Phase, ReplicaPool
from simulations.request import End
from simulations.score import score
from simulations.trace import Trace
from tests.simulations.builders import (
    START,
    a_pool,
    a_profile,
    a_trace,
    a_workload,
    fleet,
    scale,
    scale_nodes,
    seen,
)


def a_cluster(
    *rows: tuple[float, int, int],
    replicas: int = 1,
    gpus: int = 4,
    cold_start: float = 30.0,
    pool: NodePool | None = None,
    minimum: int = 1,
) -> SimulatedCluster:
    """Replicas of 4 GPUs with a cold start of 30 s, on nodes of 8 that take 60 s."""
    return SimulatedCluster(
        a_trace(*(rows or ((1000.0, 10, 1),))),
        a_workload(node_pool="h100", gpus=gpus, cold_start=cold_start, minimum=minimum),
        start=START,
        replicas=replicas,
        profile=a_profile(),
        engine=Engine.PLAIN,
        pools=[a_pool("other", gpus=1), pool or a_pool()],
    )


def lives(cluster: SimulatedCluster) -> dict[str, tuple[float, float, float | None]]:
    """When each replica was asked for, got its GPUs, and gave them back."""
    everyone = [*cluster.pool.past, *cluster.pool.members]
    return {m.name: (m.asked, m.allocated, m.released) for m in everyone}


def node_phases(cluster: SimulatedCluster) -> dict[str, str]:
    assert cluster.nodes is not None
    return {n.name: n.phase.value for n in (*cluster.nodes.past, *cluster.nodes.present)}


# The start


@pytest.mark.parametrize(
    ("replicas", "pool", "nodes", "ready"),
    [
        pytest.param(3, a_pool(), 2, 3, id="what the replicas need"),
        pytest.param(1, a_pool(minimum=3), 3, 1, id="at least the minimum"),
        pytest.param(0, a_pool(), 0, 0, id="nothing for nobody"),
        pytest.param(5, a_pool(maximum=1), 1, 2, id="not more than the maximum"),
        pytest.param(2, a_pool(gpus=1, maximum=7), 7, 1, id="multi-node replicas"),
        pytest.param(1, a_pool(gpus=1, maximum=3), 3, 0, id="no room for a single one"),
    ],
)
def test_it_begins_with_the_nodes_that_the_replicas_need(
    replicas: int, pool: NodePool, nodes: int, ready: int
) -> None:
    cluster = a_cluster(replicas=replicas, pool=pool, minimum=0)

    moment = cluster.moment()

    assert (moment.nodes, moment.nodes_ready) == (nodes, nodes)
    assert (moment.ready, moment.pending, moment.starting) == (
        ready, replicas - ready, replicas - ready,
    )  # fmt: skip
    assert moment.desired == replicas
    assert cluster.pool.most == ready


def test_without_the_file_of_its_pool_there_is_always_room() -> None:
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 1)),
        a_workload(node_pool="h100"),
        start=START,
        profile=a_profile(),
        engine=Engine.PLAIN,
        pools=[a_pool("other")],
    )
    scale(cluster, 10.0, 10)

    moment = cluster.moment()

    assert cluster.nodes is None
    assert (moment.starting, moment.pending, moment.nodes) == (9, 0, None)


# Waiting for a node


def test_a_replica_begins_its_cold_start_when_a_node_has_room() -> None:
    """Two fit the first node; the third waits for the node ordered at 10 s."""
    cluster = a_cluster()
    scale(cluster, 10.0, 3)
    scale_nodes(cluster, 10.0, 2)
    waits = cluster.moment()

    almost, ready = seen(cluster, 99.9).replicas, seen(cluster, 100.0).replicas

    assert (waits.starting, waits.pending, waits.nodes, waits.nodes_ready) == (2, 1, 2, 1)
    assert (almost.ready, almost.desired) == (2, 3)
    assert ready.ready == 3
    assert lives(cluster) == {
        "chat-0": (0.0, 0.0, None),
        "chat-1": (10.0, 10.0, None),
        "chat-2": (10.0, 70.0, None),
    }
    assert cluster.pool.replica_seconds(100.0) == 100 + 90 + 30
    assert cluster.pool.pending_seconds(50.0 + 50.0) == 60


def test_a_node_of_no_provisioning_gives_room_at_once() -> None:
    cluster = a_cluster(pool=a_pool(provisioning=0.0))
    scale(cluster, 10.0, 3)
    assert cluster.moment().pending == 1

    scale_nodes(cluster, 10.0, 2)

    assert cluster.moment().pending == 0
    assert lives(cluster)["chat-2"] == (10.0, 10.0, None)


def test_who_is_pending_goes_first_when_the_number_shrinks() -> None:
    cluster = a_cluster(replicas=2, pool=a_pool(maximum=1))
    scale(cluster, 10.0, 4)

    scale(cluster, 25.0, 3)
    first = [member.name for member in cluster.pool.pending]
    scale(cluster, 30.0, 1)

    assert first == ["chat-2"]
    assert not cluster.pool.pending
    assert cluster.pool.pending_seconds(100.0) == 15 + 20
    assert lives(cluster).keys() == {"chat-0", "chat-1"}


def test_growing_keeps_draining_replicas_before_anybody_waits_for_a_node() -> None:
    cluster = a_cluster((1.0, 10, 500), (1.0, 10, 500), replicas=2, pool=a_pool(maximum=1))
    scale(cluster, 1.5, 1)
    assert cluster.pool.count(Phase.DRAINING) == 1

    scale(cluster, 2.0, 3)

    assert cluster.pool.count(Phase.DRAINING) == 0
    assert [member.name for member in cluster.pool.pending] == ["chat-2"]


def test_requests_wait_at_the_gateway_for_a_node_and_a_replica() -> None:
    """Asked for at 5 s: the node is ready at 65 s, the replica at 95 s."""
    cluster = a_cluster((1.0, 10, 1), replicas=0, minimum=0)
    scale_nodes(cluster, 5.0, 1)
    scale(cluster, 5.0, 1)

    cluster.advance(START + 100.0)

    assert [request.routed for request in cluster.requests] == [95.0]
    assert cluster.served


def test_what_waits_for_a_node_is_seen_as_a_pending_pod() -> None:
    cluster = a_cluster(replicas=2, pool=a_pool(maximum=1))
    scale(cluster, 10.0, 3)

    pods = seen(cluster, 20.0).pods

    assert [(p.name, p.phase, p.ready, p.started) for p in pods] == [
        ("chat-0", "Running", True, START),
        ("chat-1", "Running", True, START),
        ("chat-2", "Pending", None, None),
    ]


# Shrinking


def test_a_node_goes_when_its_last_replica_has_drained() -> None:
    """Each node carries one replica; the drained one writes 500 tokens until 6.0 s."""
    cluster = a_cluster((1.0, 10, 500), (1.0, 10, 500), replicas=2, gpus=8)
    scale(cluster, 2.0, 1)
    scale_nodes(cluster, 2.0, 1)
    leaving = node_phases(cluster)
    cluster.advance(START + 60.0)

    assert leaving == {"h100-0": "ready", "h100-1": "leaving"}
    assert node_phases(cluster) == {"h100-0": "ready", "h100-1": "gone"}
    assert cluster.nodes is not None
    assert cluster.nodes.past[0].gone == cluster.pool.past[0].released == pytest.approx(6.0)
    assert [request.end for request in cluster.requests] == [End.FINISHED] * 2


def test_a_replica_that_serves_keeps_a_node_that_was_asked_away() -> None:
    """The idle one of the first node ends, so two halves are on two nodes: nobody is moved."""
    cluster = a_cluster((1.0, 10, 900), (1.0, 10, 1), (1.0, 10, 900), replicas=3)
    scale(cluster, 2.0, 2)
    assert lives(cluster)["chat-1"] == (0.0, 0.0, 2.0)

    scale_nodes(cluster, 4.0, 1)
    cluster.advance(START + 500.0)

    assert set(node_phases(cluster).values()) == {"ready", "leaving"}
    assert (cluster.moment().ready, cluster.moment().draining) == (2, 0)
    assert (cluster.moment().nodes, cluster.moment().nodes_ready) == (1, 1)


def test_a_leaving_node_that_is_kept_gives_room_at_once() -> None:
    cluster = a_cluster(replicas=3, pool=a_pool(maximum=2))
    scale_nodes(cluster, 4.0, 1)
    scale(cluster, 5.0, 4)
    assert cluster.moment().pending == 1

    scale_nodes(cluster, 6.0, 2)

    assert lives(cluster)["chat-3"] == (5.0, 6.0, None)


# Seeing and acting


def test_the_pool_is_seen_and_other_pools_are_missing() -> None:
    cluster = a_cluster()
    scale_nodes(cluster, 10.0, 3)

    pools = [a_pool("other"), a_pool()]
    snapshot = cluster.observe(fleet(cluster.workload, pools=pools), START + 20.0)

    assert snapshot.pools == {"h100": NodePoolStatus(desired=3, ready=1)}
    assert snapshot.missing == {
        "other": Gap(GapReason.ERROR, "only the nodes of h100 are simulated")
    }


def test_a_pool_whose_nodes_are_not_simulated_is_missing() -> None:
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 1)), a_workload(), start=START, profile=a_profile()
    )

    snapshot = cluster.observe(fleet(cluster.workload, pools=[a_pool()]), START + 20.0)

    assert snapshot.pools == {}
    assert snapshot.missing == {"h100": Gap(GapReason.ERROR, "nodes are not simulated")}
    outcome = cluster.act(NodeAction("h100", 0, 1), START + 20.0)
    assert (outcome.done, outcome.detail) == (False, "nodes are not simulated")


@pytest.mark.parametrize(
    ("action", "detail"),
    [
        (NodeAction("h100", 2, 3), "found 1 nodes, not 2"),
        (NodeAction("h100", 1, -1), "cannot run -1 nodes"),
        (NodeAction("other", 0, 3), "only the nodes of h100 are simulated"),
    ],
    ids=["conflict", "negative", "another pool"],
)
def test_an_action_on_nodes_that_does_not_fit_is_refused(action: NodeAction, detail: str) -> None:
    cluster = a_cluster()

    outcome = cluster.act(action, START + 10.0)

    assert (outcome.done, outcome.detail) == (False, detail)
    assert cluster.moment().nodes == 1
    assert cluster.node_changes == []


def test_changes_of_nodes_are_kept_and_those_of_nothing_are_not() -> None:
    cluster = a_cluster()

    for at, after in ((10.0, 3), (20.0, 3), (30.0, 2)):
        scale_nodes(cluster, at, after)

    assert cluster.node_changes == [(10.0, 1, 3), (30.0, 3, 2)]


# The score


def test_idle_gpus_of_a_node_are_paid_for_too() -> None:
    """One replica of 4 GPUs on a node of 8, for an hour, at 3.00 an hour for a GPU."""
    cluster = a_cluster((1.0, 10, 1))
    cluster.advance(START + 3600.0)

    told = score(cluster)

    assert told.gpu_hours == pytest.approx(4.0)
    assert told.node_gpu_hours == pytest.approx(8.0)
    assert told.cost == pytest.approx(24.0)
    assert (told.max_nodes, told.node_changes, told.pending_hours) == (1, 0, 0.0)


def test_a_pool_that_is_too_small_is_told_by_the_hours_waited() -> None:
    cluster = a_cluster((1.0, 10, 1), (200.0, 990, 5), replicas=0, gpus=16, minimum=0)
    scale(cluster, 10.0, 2)
    cluster.advance(START + 3610.0)

    told = score(cluster)

    assert (told.unfinished, told.attainment) == (2, 0.0)
    assert told.pending_hours == pytest.approx(2.0)
    assert (told.gpu_hours, told.node_gpu_hours, told.max_nodes) == (0.0, 0.0, 0)


def test_without_nodes_the_score_is_silent_about_them() -> None:
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 1)), a_workload(), start=START, profile=a_profile()
    )
    cluster.advance(START + 60.0)

    told = score(cluster)

    assert told.node_gpu_hours is told.pending_hours is None
    assert told.max_nodes is told.node_changes is None
    assert told.cost == pytest.approx(3.0 * told.gpu_hours)


# Properties of small worlds


traffic = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 60), st.integers(1, 120)),
    min_size=1,
    max_size=20,
).map(lambda rows: a_trace(*sorted((tenth / 10, prompt, out) for tenth, prompt, out in rows)))
moves = st.lists(
    st.tuples(st.integers(0, 90), st.booleans(), st.integers(0, 4)), max_size=12
).map(sorted)  # fmt: skip


def a_world(
    trace: Trace, gpus: int, maximum: int, *, cold_start: float, provisioning: float
) -> SimulatedCluster:
    return SimulatedCluster(
        trace,
        a_workload(minimum=0, cold_start=cold_start, node_pool="h100", gpus=gpus),
        start=START,
        replicas=1,
        profile=a_profile(),
        engine=Engine.PLAIN,
        pools=[a_pool(gpus=4, maximum=maximum, provisioning=provisioning)],
    )


@given(
    trace=traffic,
    actions=moves,
    gpus=st.integers(1, 9),
    maximum=st.integers(1, 4),
    cold_start=st.sampled_from([0.0, 7.0]),
    provisioning=st.sampled_from([0.0, 11.0]),
)
def test_nothing_is_lost_and_no_replica_loses_its_node(
    trace: Trace,
    actions: list[tuple[int, bool, int]],
    gpus: int,
    maximum: int,
    cold_start: float,
    provisioning: float,
) -> None:
    cluster = a_world(trace, gpus, maximum, cold_start=cold_start, provisioning=provisioning)
    pool, nodes = cluster.pool, cluster.nodes
    assert nodes is not None
    for second, on_nodes, count in actions:
        if on_nodes:
            serving = [m for m in pool.members if m.released is None]
            scale_nodes(cluster, float(second), min(count, maximum))
            assert all(m in pool.members for m in serving if m.phase is not Phase.OFF)
        else:
            scale(cluster, float(second), count)
            assert pool.desired == count
        places = nodes.places()
        assert places.keys() == {member.name for member in pool.members}
        used = Counter[str]()
        for shares in places.values():
            used.update(shares)
        assert all(used[node.name] == 4 - node.free for node in nodes.present)
        assert all(0 <= node.free <= 4 for node in nodes.present)
        assert len(nodes.present) <= max(maximum, nodes.most)
        assert not (pool.pending and pool.count(Phase.DRAINING))
        assert all(member.phase is Phase.PENDING for member in pool.pending)
        assert cluster.moment().starting == cluster.moment().desired - cluster.moment().ready
    scale_nodes(cluster, 100.0, 4)
    scale(cluster, 100.0, max(1, pool.desired))
    cluster.advance(START + 700.0)

    requests = cluster.requests
    assert [request.index for request in requests] == list(range(len(trace)))
    assert cluster.served
    ends = Counter(request.end for request in requests)
    assert ends[End.FINISHED] + ends[End.FAILED] == len(trace)
    names = [member.name for member in (*pool.past, *pool.members, *pool.pending)]
    assert len(names) == len(set(names))
    for member in (*pool.past, *pool.members):
        assert member.asked <= member.allocated < math.inf
        assert member.allocated <= (member.released or math.inf)
        if member.engine is not None and member.number:
            assert member.ready_at == member.allocated + cold_start
    assert pool.replica_seconds(700.0) * gpus <= nodes.gpu_seconds(700.0) + 1e-6


@given(
    trace=traffic,
    actions=moves,
    looks=st.lists(st.floats(0, 90), max_size=10),
    gpus=st.integers(1, 9),
)
def test_looking_more_often_changes_no_outcome(
    trace: Trace, actions: list[tuple[int, bool, int]], looks: list[float], gpus: int
) -> None:
    def world(extra: list[float]) -> list[object]:
        cluster = a_world(trace, gpus, 4, cold_start=7.0, provisioning=11.0)
        events = [(float(second), on_nodes, count) for second, on_nodes, count in actions]
        for second, on_nodes, count in sorted([*events, *((look, True, -1) for look in extra)]):
            seen(cluster, second)
            if count >= 0:
                (scale_nodes if on_nodes else scale)(cluster, second, count)
        cluster.advance(START + 120.0)
        assert cluster.nodes is not None
        ends = [(request.first_token, request.finished) for request in cluster.requests]
        return [ends, lives(cluster), [(n.ordered, n.gone) for n in cluster.nodes.past]]

    assert world(looks) == world([])


def test_a_replica_asked_for_twice_is_refused() -> None:
    cluster = a_cluster(replicas=2, pool=a_pool(maximum=1))
    scale(cluster, 10.0, 3)

    outcome = cluster.act(Action("llm/chat", 2, 3), START + 11.0)

    assert (outcome.done, outcome.detail) == (False, "found 3 replicas, not 2")


def test_a_pool_without_nodes_has_no_use_for_them() -> None:
    pool = ReplicaPool("chat", a_profile(), 1, lambda: 5.0)

    pool.use_nodes(1.0)

    assert (pool.desired, len(pool.pending), pool.pending_seconds(9.0)) == (1, 0, 0.0)
