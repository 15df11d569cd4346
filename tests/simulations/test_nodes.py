"""Nodes: who lies where, when they are ready, and that a node with a replica never goes."""

import math
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from simulations.nodes import NodePhase, Nodes
from tests.simulations.builders import a_pool


def some_nodes(ready: int, *, gpus: int = 8, provisioning: float = 60.0) -> Nodes:
    return Nodes(a_pool(gpus=gpus), ready, lambda: provisioning)


def phases(nodes: Nodes) -> dict[str, str]:
    return {node.name: node.phase.value for node in (*nodes.past, *nodes.present)}


# Placement


def test_a_replica_goes_to_the_fullest_node_that_has_room() -> None:
    nodes = some_nodes(3)

    placed = [nodes.place(name, gpus) for name, gpus in zip("abcde", (5, 4, 3, 2, 2), strict=True)]

    assert placed == [True] * 5
    assert nodes.places() == {
        "a": {"h100-0": 5},
        "b": {"h100-1": 4},  # 3 are left on the first
        "c": {"h100-0": 3},  # fuller than the second
        "d": {"h100-1": 2},
        "e": {"h100-1": 2},
    }


def test_the_oldest_of_equal_nodes_is_taken() -> None:
    nodes = some_nodes(2)
    nodes.place("a", 4)
    nodes.place("b", 8)
    nodes.release("a", 1.0)
    nodes.release("b", 1.0)

    nodes.place("c", 4)

    assert nodes.places() == {"c": {"h100-0": 4}}


def test_a_replica_is_never_split() -> None:
    """Three GPUs are free on each of two nodes, and none has room for four."""
    nodes = some_nodes(2)
    assert nodes.place("a", 5)
    assert nodes.place("b", 5)

    assert not nodes.place("c", 4)
    assert nodes.place("d", 3)


@pytest.mark.parametrize(
    ("gpus", "taken"),
    [
        pytest.param(8, {"h100-1": 8}, id="as large as a node"),
        pytest.param(12, {"h100-1": 8, "h100-2": 8}, id="a part of a node is a whole node to it"),
        pytest.param(16, {"h100-1": 8, "h100-2": 8}, id="two nodes"),
    ],
)
def test_a_large_replica_takes_whole_empty_nodes(gpus: int, taken: dict[str, int]) -> None:
    nodes = some_nodes(3)
    nodes.place("small", 1)

    assert nodes.place("large", gpus)
    assert nodes.places()["large"] == taken


def test_a_large_replica_waits_until_all_its_nodes_are_empty() -> None:
    nodes = some_nodes(2)
    nodes.place("small", 1)
    assert not nodes.place("large", 16)

    nodes.release("small", 5.0)

    assert nodes.place("large", 16)
    assert not nodes.place("small", 1)


# A node's life


def test_an_ordered_node_is_ready_after_its_provisioning() -> None:
    nodes = some_nodes(1)
    nodes.scale(2, 10.0)

    nodes.advance(69.9)
    before, soon = nodes.status, nodes.next_ready
    nodes.advance(70.0)

    assert (before.desired, before.ready, soon) == (2, 1, 70.0)
    assert (nodes.status.desired, nodes.status.ready, nodes.next_ready) == (2, 2, math.inf)


def test_nodes_can_take_different_times() -> None:
    times = iter([50.0, 20.0])
    nodes = Nodes(a_pool(), 0, lambda: next(times))
    nodes.scale(2, 0.0)

    nodes.advance(20.0)

    assert phases(nodes) == {"h100-0": "ordered", "h100-1": "ready"}


def test_a_node_of_no_provisioning_is_ready_at_once() -> None:
    nodes = some_nodes(0, provisioning=0.0)

    nodes.scale(1, 10.0)

    assert nodes.status.ready == 1


def test_shrinking_cancels_the_youngest_ordered_node_first() -> None:
    nodes = some_nodes(1)
    nodes.scale(3, 10.0)

    nodes.scale(2, 20.0)

    assert phases(nodes) == {"h100-2": "gone", "h100-0": "ready", "h100-1": "ordered"}
    assert nodes.past[0].held_seconds(100.0) == 10.0


def test_an_empty_node_is_gone_at_once_and_the_youngest_of_them_first() -> None:
    nodes = some_nodes(3)
    nodes.place("a", 1)

    nodes.scale(2, 20.0)

    assert phases(nodes) == {"h100-2": "gone", "h100-0": "ready", "h100-1": "ready"}


def test_a_node_with_a_replica_leaves_only_when_that_has_ended() -> None:
    nodes = some_nodes(1)
    nodes.place("a", 4)
    nodes.scale(0, 20.0)
    leaving, refused = phases(nodes), nodes.place("b", 4)
    assert nodes.status.desired == nodes.status.ready == 0

    nodes.release("a", 33.0)

    assert leaving == {"h100-0": "leaving"}
    assert not refused
    assert phases(nodes) == {"h100-0": "gone"}
    assert nodes.gpu_seconds(100.0) == 8 * 33.0


def test_the_emptiest_node_is_asked_away() -> None:
    nodes = some_nodes(2)
    for name, gpus in (("a", 5), ("b", 6), ("c", 2)):
        nodes.place(name, gpus)  # 5 on the first, 6 and 2 on the second

    nodes.scale(1, 20.0)

    assert phases(nodes) == {"h100-0": "leaving", "h100-1": "ready"}


def test_a_large_replica_holds_all_its_nodes_until_it_ends() -> None:
    nodes = some_nodes(2)
    nodes.place("large", 16)
    nodes.scale(0, 20.0)
    assert set(phases(nodes).values()) == {"leaving"}

    nodes.release("large", 30.0)

    assert set(phases(nodes).values()) == {"gone"}


def test_growing_keeps_leaving_nodes_before_it_orders_new_ones() -> None:
    nodes = some_nodes(2)
    nodes.place("a", 8)
    nodes.place("b", 8)
    nodes.scale(0, 20.0)

    nodes.scale(3, 30.0)

    assert phases(nodes) == {"h100-0": "ready", "h100-1": "ready", "h100-2": "ordered"}
    assert nodes.most == 3


def test_a_node_is_paid_for_from_order_to_end() -> None:
    """One from the start, one ordered at 10 s and ready at 70 s; the second is gone at 100 s."""
    nodes = some_nodes(1)
    nodes.scale(2, 10.0)
    nodes.advance(100.0)
    nodes.scale(1, 100.0)

    assert nodes.gpu_seconds(50.0) == 8 * (50 + 40)
    assert nodes.gpu_seconds(200.0) == 8 * (200 + 90)


# What is true of every history


class Histories(RuleBasedStateMachine):
    """Replicas of every size come and go while nodes do."""

    @initialize(ready=st.integers(0, 3))
    def begin(self, ready: int) -> None:
        self.nodes = some_nodes(ready, gpus=4, provisioning=5.0)
        self.sizes: dict[str, int] = {}
        self.now = 0.0
        self.asked = 0

    @rule(seconds=st.integers(0, 7))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.nodes.advance(self.now)

    @rule(gpus=st.integers(1, 9))
    def a_replica_comes(self, gpus: int) -> None:
        name = f"r{self.asked}"
        self.asked += 1
        if self.nodes.place(name, gpus):
            self.sizes[name] = gpus

    @precondition(lambda self: self.sizes)
    @rule(which=st.integers(0, 99))
    def a_replica_ends(self, which: int) -> None:
        name = sorted(self.sizes)[which % len(self.sizes)]
        self.nodes.release(name, self.now)
        del self.sizes[name]

    @rule(count=st.integers(0, 5))
    def somebody_sets_the_number(self, count: int) -> None:
        before = {node.name for node in self.nodes.present if node.free < 4}
        self.nodes.scale(count, self.now)
        assert self.nodes.status.desired == count
        assert before <= {node.name for node in self.nodes.present}

    @invariant()
    def no_node_holds_more_than_it_has(self) -> None:
        used = Counter[str]()
        for shares in self.nodes.places().values():
            used.update(shares)
        for node in self.nodes.present:
            assert node.free == 4 - used[node.name]
            assert 0 <= node.free <= 4
        assert set(used) <= {node.name for node in self.nodes.present}

    @invariant()
    def every_replica_has_its_gpus_once(self) -> None:
        places = self.nodes.places()
        assert places.keys() == self.sizes.keys()
        for name, gpus in self.sizes.items():
            assert sum(places[name].values()) == (gpus if gpus < 4 else -(-gpus // 4) * 4)
            assert gpus >= 4 or len(places[name]) == 1

    @invariant()
    def only_leaving_nodes_stay_with_somebody_on_them(self) -> None:
        for node in self.nodes.present:
            assert node.phase is not NodePhase.GONE
            assert node.phase is not NodePhase.LEAVING or node.free < 4
            assert node.phase is not NodePhase.ORDERED or node.free == 4
        for node in self.nodes.past:
            assert node.phase is NodePhase.GONE
            assert node.gone is not None
            assert node.ordered <= node.gone <= self.now


TestHistories = Histories.TestCase
