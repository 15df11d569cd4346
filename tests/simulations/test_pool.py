"""What the plain pool does at moments that are easy to get wrong; worked by hand."""

import pytest

from simulations.nodes import Nodes
from simulations.pool import Phase, ReplicaPool
from simulations.request import Request
from tests.simulations.builders import a_pool, a_profile, a_request
from tests.simulations.fast.worlds import BOTH, a_world


def arrive(pool: ReplicaPool, *requests: Request) -> None:
    for request in requests:
        pool.advance(request.arrival)
        pool.arrive(request, request.arrival)


def test_a_draining_replica_that_is_kept_serves_the_gateway_at_once() -> None:
    pool = ReplicaPool("chat", a_profile(), 1, lambda: 30.0)
    long, late = a_request(0, 0.0, output=100), a_request(1, 0.3)
    arrive(pool, long)
    pool.advance(0.1)
    pool.scale(0, 0.1)
    arrive(pool, late)
    assert pool.gateway_queue == 1

    pool.advance(0.5)
    pool.scale(1, 0.5)

    assert (pool.gateway_queue, late.routed) == (0, 0.5)


def test_the_gateways_queue_waits_while_nobody_is_kept() -> None:
    pool = ReplicaPool("chat", a_profile(), 0, lambda: 30.0)
    arrive(pool, a_request(0, 0.3))

    pool.scale(1, 0.5)

    assert pool.gateway_queue == 1


def test_a_leaving_node_goes_with_the_last_of_its_replicas() -> None:
    """The replica that drains longer is listed first: it ends at 2.0 s, the other at 1.0 s."""
    nodes = Nodes(a_pool(gpus=2), 1, lambda: 60.0)
    pool = ReplicaPool("chat", a_profile(), 2, lambda: 30.0, nodes=nodes, gpus=1)
    arrive(pool, a_request(0, 0.0, output=200), a_request(1, 0.0, output=100))
    pool.advance(0.5)
    pool.scale(0, 0.5)
    nodes.scale(0, 0.5)

    pool.advance(9.0)

    assert [m.number for m in pool.past] == [1, 0]
    assert [m.released for m in pool.past] == [pytest.approx(1.0), pytest.approx(2.0)]
    assert [node.gone for node in nodes.past] == [pytest.approx(2.0)]


@BOTH
def test_replicas_that_become_ready_at_one_moment_share_the_gateways_queue(compiled: bool) -> None:
    world = a_world(*[(0.1, 10, 5)] * 4, ready=0, cold_start=1.0)
    fast, plain = world.fast(compiled=compiled), world.reference()

    fast.scale(2, 0.0)
    plain.scale(2, 0.0)
    fast.advance(9.0)
    plain.advance(9.0)

    assert plain.served_by == {0: 0, 1: 1, 2: 0, 3: 1}
    assert fast.details["replica"].tolist() == [0, 1, 0, 1]


@BOTH
def test_one_whose_node_comes_when_another_is_ready_shares_the_queue_as_well(
    compiled: bool,
) -> None:
    """A replica serves at 1.0 s; then a node comes, and whoever waits for it starts in no time."""
    world = a_world(*[(0.1, 10, 5)] * 4, ready=0)
    fast, plain = world.fast(compiled=compiled), world.reference()
    for pool in (fast, plain):
        nodes = Nodes(a_pool(gpus=1), 1, lambda: 1.0)
        pool._nodes, pool._cold_start = nodes, iter((1.0, 0.0)).__next__
        pool.scale(2, 0.0)
        nodes.scale(2, 0.0)
        pool.advance(9.0)

    assert plain.served_by == {0: 0, 1: 1, 2: 0, 3: 1}
    assert fast.details["replica"].tolist() == [0, 1, 0, 1]
    assert set(fast.details["routed"]) == {1.0}
    assert plain.count(Phase.READY) == fast.count(Phase.READY) == 2
