"""The nodes of one pool in simulated time: which there are, and which replica lies on which."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import NodePoolStatus


class NodePhase(StrEnum):
    """Where a node stands between being ordered and being gone."""

    ORDERED = "ordered"
    """It is paid for, and nothing can start on it yet."""
    READY = "ready"
    """Replicas can start on it."""
    LEAVING = "leaving"
    """It gets no more replicas, and goes with the last that it has."""
    GONE = "gone"
    """It is paid for no longer."""


@dataclass(slots=True, eq=False)
class Node:
    """One node with its life; times are seconds since the simulation began.

    Attributes:
        name: What it is called.
        number: Counts up from 0; a higher one was ordered later.
        phase: Where it stands.
        ordered: When it was ordered.
        ready_at: When replicas can start on it.
        free: GPUs that no replica has.
        gone: When it was gone.
    """

    name: str
    number: int
    phase: NodePhase
    ordered: float
    ready_at: float
    free: int
    gone: float | None = None

    def held_seconds(self, now: float) -> float:
        """Return for how long it has been paid for by `now`."""
        return (now if self.gone is None else min(now, self.gone)) - self.ordered


class Nodes:
    """The nodes of one pool.

    A replica goes to the fullest node that has room for it, the oldest among equals. One that is
    as large as a node or larger takes whole nodes, which nobody else is on, all at once.

    Attributes:
        pool: The pool's file.
        present: Nodes that are paid for, by number.
        past: Nodes that are gone.
        most: The most nodes that were paid for at one time.
    """

    def __init__(self, pool: NodePool, ready: int, provisioning: Callable[[], float]) -> None:
        """Begin at time 0 with `ready` empty nodes.

        Args:
            pool: The pool's file.
            ready: How many replicas can start on at once.
            provisioning: Returns the seconds that the next node takes to be ready.
        """
        self.pool = pool
        self.present: list[Node] = []
        self.past: list[Node] = []
        self.most = 0
        self._gpus = pool.spec.gpus_per_node
        self._provisioning = provisioning
        self._count = 0
        self._places: dict[str, list[tuple[Node, int]]] = {}
        for _ in range(ready):
            self._order(0.0, 0.0)
        self.advance(0.0)

    @property
    def status(self) -> NodePoolStatus:
        """What an observer sees: nodes asked for, and those that replicas can start on."""
        ready = self.count(NodePhase.READY)
        return NodePoolStatus(desired=self.count(NodePhase.ORDERED) + ready, ready=ready)

    @property
    def next_ready(self) -> float:
        """When the next ordered node is ready; infinite if none is ordered."""
        return min((n.ready_at for n in self.present if n.phase is NodePhase.ORDERED), default=inf)

    def count(self, phase: NodePhase) -> int:
        """Return how many nodes are in a phase."""
        return sum(node.phase is phase for node in self.present)

    def gpu_seconds(self, now: float) -> float:
        """Return GPUs times seconds paid for by `now`, summed over all nodes."""
        return self._gpus * sum(node.held_seconds(now) for node in (*self.past, *self.present))

    def advance(self, until: float) -> None:
        """Let time pass: ordered nodes become ready."""
        for node in self.present:
            if node.phase is NodePhase.ORDERED and node.ready_at <= until:
                node.phase = NodePhase.READY

    def scale(self, nodes: int, now: float) -> None:
        """Set the number asked for; `advance(now)` has been called.

        Growing keeps leaving nodes first, the oldest before the others, then orders new ones.
        Shrinking cancels ordered nodes first, the youngest before the others, then asks the
        emptiest away, the youngest among equals: an empty one is gone at once, the others leave.
        """
        change = nodes - self.status.desired
        for _ in range(change):
            leaving = next((n for n in self.present if n.phase is NodePhase.LEAVING), None)
            if leaving is not None:
                leaving.phase = NodePhase.READY
            else:
                self._order(now, now + self._provisioning())
        for _ in range(-change):
            ordered = [n for n in self.present if n.phase is NodePhase.ORDERED]
            if ordered:
                self._go(ordered[-1], now)
                continue
            ready = [n for n in self.present if n.phase is NodePhase.READY]
            emptiest = max(ready, key=lambda node: (node.free, node.number))
            emptiest.phase = NodePhase.LEAVING
            self._go_if_empty(emptiest, now)
        self.advance(now)

    def place(self, replica: str, gpus: int) -> bool:
        """Give a replica its GPUs if there is room now; return whether there was."""
        ready = [n for n in self.present if n.phase is NodePhase.READY]
        if gpus < self._gpus:
            with_room = [node for node in ready if node.free >= gpus]
            if not with_room:
                return False
            fullest = min(with_room, key=lambda node: (node.free, node.number))
            taken = [(fullest, gpus)]
        else:
            whole = -(-gpus // self._gpus)
            empty = [node for node in ready if node.free == self._gpus][:whole]
            if len(empty) < whole:
                return False
            taken = [(node, self._gpus) for node in empty]
        for node, share in taken:
            node.free -= share
        self._places[replica] = taken
        return True

    def release(self, replica: str, now: float) -> None:
        """Take a replica's GPUs back; a leaving node that is empty now is gone."""
        for node, share in self._places.pop(replica):
            node.free += share
            self._go_if_empty(node, now)

    def places(self) -> dict[str, dict[str, int]]:
        """Return the GPUs that each replica has, by node name."""
        return {
            replica: {node.name: share for node, share in taken}
            for replica, taken in self._places.items()
        }

    def _order(self, now: float, ready_at: float) -> None:
        name = f"{self.pool.key}-{self._count}"
        self.present.append(
            Node(name, self._count, NodePhase.ORDERED, now, ready_at, free=self._gpus)
        )
        self._count += 1
        self.most = max(self.most, len(self.present))

    def _go_if_empty(self, node: Node, now: float) -> None:
        if node.phase is NodePhase.LEAVING and node.free == self._gpus:
            self._go(node, now)

    def _go(self, node: Node, now: float) -> None:
        node.phase, node.gone = NodePhase.GONE, now
        self.present.remove(node)
        self.past.append(node)
