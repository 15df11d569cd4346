"""Who is next: tournaments between replicas, and a heap of finishes for each of them."""

from autoscaler.core.observation import FloatArray
from simulations.fast.state import FLIGHT_MASK
from simulations.trace import IntArray


def rise(tree: IntArray, keys: FloatArray | IntArray, row: int) -> None:
    """Play the games of one replica again, after its key has changed.

    Args:
        tree: Node 1 is the winner, nodes 2n and 2n+1 play for node n, the rows are the leaves.
        keys: The lowest wins; among equals the first.
        row: Whose key has changed.
    """
    node = (len(tree) >> 1) + row
    while node > 1:
        rival = tree[node ^ 1]
        winner = tree[node]
        if keys[rival] < keys[winner]:
            winner = rival
        node >>= 1
        if tree[node] == winner and winner != row:
            return
        tree[node] = winner


def seed(tree: IntArray, keys: FloatArray | IntArray) -> None:
    """Play every game."""
    leaves = len(tree) >> 1
    for row in range(leaves):
        tree[leaves + row] = row
    for node in range(leaves - 1, 0, -1):
        one, other = tree[2 * node], tree[2 * node + 1]
        tree[node] = other if keys[other] < keys[one] else one


def lift(heap: IntArray, at: int, finish: int) -> None:
    """Put a finish where it belongs between `at` and the top."""
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] <= finish:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = finish


def sink(heap: IntArray, size: int, at: int, finish: int) -> None:
    """Put a finish where it belongs between `at` and the bottom."""
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= finish:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = finish


def take_out(heap: IntArray, size: int, slot: int) -> None:
    """Remove a flight's finish from a heap of `size`."""
    at = 0
    while heap[at] & FLIGHT_MASK != slot:
        at += 1
    last = heap[size - 1]
    if at == size - 1:
        return
    if at > 0 and heap[(at - 1) >> 1] > last:
        lift(heap, at, last)
    else:
        sink(heap, size - 1, at, last)
