"""The replicas of one workload: off, starting, ready, draining; who serves the next request."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.nodes import Nodes
from simulations.profiles import Profile
from simulations.replica import Replica
from simulations.request import Request
from simulations.scrapes import COUNTERS, Seen, counters
from simulations.trace import IntArray


class Phase(StrEnum):
    """Where a replica stands between being asked for and giving its GPUs back."""

    PENDING = "pending"
    """It waits for a node that has room for it, and holds no GPUs."""
    STARTING = "starting"
    """It has its GPUs, and does not serve yet."""
    READY = "ready"
    """It serves."""
    DRAINING = "draining"
    """It finishes what it has, and gets nothing new."""
    OFF = "off"
    """Its GPUs are free again."""


@dataclass(slots=True, eq=False)
class Member:
    """One replica with its life; times are seconds since the simulation began.

    Attributes:
        name: Its pod's name.
        number: Counts up from 0; a higher one was asked for later.
        phase: Where it stands.
        allocated: When it got its GPUs; infinite while it is pending.
        ready_at: When it serves, or will; infinite while it is pending.
        engine: What computes; None before it is ready.
        drained_from: When it was last told to drain.
        released: When its GPUs were free again.
        asked: When it was asked for.
    """

    name: str
    number: int
    phase: Phase
    allocated: float
    ready_at: float
    engine: Replica | None = None
    drained_from: float | None = None
    released: float | None = None
    asked: float = 0.0

    def gpu_held_seconds(self, now: float) -> float:
        """Return for how long it has held its GPUs by `now`."""
        return (now if self.released is None else min(now, self.released)) - self.allocated


class ReplicaPool:
    """The replicas of one workload behind one gateway.

    Requests go to the ready replica with the fewest outstanding requests, the oldest among equals;
    while none is ready they queue at the gateway, first come, first served.

    Where there are nodes, a replica is pending until one of them has room for it; its cold start
    begins then. Without nodes there is always room.

    Attributes:
        members: Replicas that hold GPUs, by number.
        pending: Replicas that wait for a node, by number.
        past: Replicas that gave them back.
        gateway: Requests that no replica has.
        requests: Every request that was offered and has arrived.
        most: The most replicas that held GPUs at one time.
    """

    def __init__(
        self,
        name: str,
        profile: Profile,
        ready: int,
        cold_start: Callable[[], float],
        *,
        nodes: Nodes | None = None,
        gpus: int = 1,
    ) -> None:
        """Begin at time 0 with `ready` replicas.

        Args:
            name: What the pods' names begin with.
            profile: What each replica is.
            ready: How many serve from the start, as far as the nodes have room for them.
            cold_start: Returns the seconds that the next replica takes to start.
            nodes: Where replicas lie; nobody else uses them.
            gpus: GPUs of each replica; matters to the nodes alone.
        """
        self.members: list[Member] = []
        self.past: list[Member] = []
        self.pending: deque[Member] = deque()
        self.gateway: deque[Request] = deque()
        self.requests: list[Request] = []
        self.most = 0
        self._to_come: deque[tuple[float, int, int]] = deque()
        self._name = name
        self._profile = profile
        self._cold_start = cold_start
        self._nodes = nodes
        self._gpus = gpus
        self._count = 0
        self._pending_seconds = 0.0
        self._ready: list[tuple[Member, Replica]] = []
        self._draining: list[tuple[Member, Replica]] = []
        for _ in range(ready):
            self._ask_for_one(0.0)
        self._allocate(0.0, lambda: 0.0)
        for member in self.members:
            self._make_ready(member)

    @property
    def desired(self) -> int:
        """Replicas asked for: those that are pending, those that start, those that are ready."""
        return len(self.pending) + len(self.members) - self.count(Phase.DRAINING)

    def count(self, phase: Phase) -> int:
        """Return how many replicas are in a phase."""
        return [member.phase for member in self.members].count(phase)

    @property
    def gateway_queue(self) -> int:
        """Requests that no replica has."""
        return len(self.gateway)

    @property
    def arrived(self) -> int:
        """Requests that were offered and have arrived."""
        return len(self.requests)

    @property
    def to_come(self) -> int:
        """Requests that were offered and have not arrived."""
        return len(self._to_come)

    @property
    def waiting(self) -> int:
        """Requests in the wait lists of all replicas."""
        return sum(engine.waiting for _, engine in self._serving())

    @property
    def running(self) -> int:
        """Sequences in the batches of all replicas."""
        return sum(engine.running for _, engine in self._serving())

    def replica_seconds(self, now: float) -> float:
        """Return how long replicas have held their GPUs by `now`, summed over all of them."""
        return sum(member.gpu_held_seconds(now) for member in (*self.past, *self.members))

    def pending_seconds(self, now: float) -> float:
        """Return how long replicas have waited for a node by `now`, summed over all of them."""
        return self._pending_seconds + sum(now - member.asked for member in self.pending)

    def offer(self, arrivals: FloatArray, prompts: IntArray, outputs: IntArray) -> None:
        """Say what will arrive, after all that was offered before.

        Args:
            arrivals: Seconds since the simulation began, not falling; shape (n,).
            prompts: Tokens to read, at least 1 each; shape (n,).
            outputs: Tokens to write, at least 1 each; shape (n,).
        """
        columns = (arrivals, prompts, outputs)
        self._to_come.extend(zip(*(column.tolist() for column in columns), strict=True))

    def advance(self, until: float) -> None:
        """Let time pass: requests arrive, replicas compute, become ready, are released when empty.

        At one and the same moment steps end, then replicas become ready, then requests arrive.
        """
        while self._to_come and self._to_come[0][0] <= until:
            arrival, prompt, output = self._to_come.popleft()
            request = Request(len(self.requests), arrival, prompt, output)
            self.requests.append(request)
            self._pass_time(arrival)
            self.arrive(request, arrival)
        self._pass_time(until)

    def use_nodes(self, now: float) -> None:
        """Let pending replicas take what room there is; to be called when nodes have changed.

        What another replica gives back is of no use to them: while one drains nobody is pending,
        for growing keeps draining replicas before it asks for new ones.
        """
        if self._nodes is not None:
            self._nodes.advance(now)
            self._allocate(now, self._cold_start)

    def arrive(self, request: Request, now: float) -> None:
        """Take a request in; `advance(now)` has been called."""
        if not self._profile.can_hold(request.prompt_tokens, request.output_tokens):
            request.failed = True
        elif self._ready:
            self._route(request, now)
        else:
            self.gateway.append(request)

    def scale(self, replicas: int, now: float) -> None:
        """Set the number asked for; `advance(now)` has been called.

        Growing keeps draining replicas first, the oldest before the others, then starts new
        ones. Shrinking cancels pending ones first, then starting ones, the youngest before the
        others, then drains the least loaded, the youngest among equals.
        """
        for _ in range(replicas - self.desired):
            if self._draining:
                self._keep(self._draining[0])
            else:
                self._ask_for_one(now)
        for _ in range(self.desired - replicas):
            if self.pending:
                self._pending_seconds += now - self.pending.pop().asked
                continue
            starting = [m for m in self.members if m.phase is Phase.STARTING]
            if starting:
                self._release(starting[-1], now)
            else:
                self._drain(now)
        self._allocate(now, self._cold_start)
        # A cold start of no seconds serves at once, and so does a replica that is kept.
        self.advance(now)
        self._serve_gateway(now)

    def seen(self, now: float) -> Seen:
        """Return what a scrape sees; `advance(now)` has been called."""
        pairs = sorted(self._serving(), key=lambda pair: pair[0].number)
        members, engines = [member for member, _ in pairs], [engine for _, engine in pairs]
        floats = np.array(
            [
                (m.ready_at, e.waiting, e.running, e.kv_used / self._profile.kv_tokens)
                for m, e in pairs
            ],
            dtype=np.float64,
        )
        ready_at, waiting, running, kv_usage = floats.reshape(-1, 4).T
        counted = [counters(engine) for engine in engines]
        return Seen(
            numbers=np.array([member.number for member in members], dtype=np.int64),
            ready=np.array([member.phase is Phase.READY for member in members], dtype=np.bool_),
            ready_at=ready_at,
            waiting=waiting,
            running=running,
            kv_usage=kv_usage,
            busy_seconds=np.array([engine.busy_seconds(now) for engine in engines]),
            counters=np.array(counted, dtype=np.float64).reshape(-1, COUNTERS),
        )

    def _pass_time(self, until: float) -> None:
        while True:
            node_at = self._next_node()
            due = self._next_ready(min(until, math.nextafter(node_at, -math.inf)))
            if due:
                now = due[0].ready_at
                self._compute(now)
                for member in due:
                    self._make_ready(member)
                self._serve_gateway(now)
            elif node_at <= until:
                self.use_nodes(node_at)
            else:
                break
        self._compute(until)
        if self._nodes is not None:
            self._nodes.advance(until)

    def _serving(self) -> list[tuple[Member, Replica]]:
        return [*self._ready, *self._draining]

    def _next_ready(self, until: float) -> list[Member]:
        """Return those that become ready first by `until`, all at one moment, by number."""
        starting = [member for member in self.members if member.phase is Phase.STARTING]
        first = min((member.ready_at for member in starting), default=math.inf)
        return [m for m in starting if m.ready_at == first] if first <= until else []

    def _next_node(self) -> float:
        """When the next node is ready that somebody waits for; infinite if there is none."""
        return math.inf if self._nodes is None or not self.pending else self._nodes.next_ready

    def _compute(self, until: float) -> None:
        for _, engine in self._serving():
            engine.advance(until)
        ended = [
            (max(engine.clock, member.drained_from or 0.0), member.number, member, engine)
            for member, engine in self._draining
            if not engine.outstanding
        ]
        # In the order of their ends: a node goes with the last replica on it.
        for at, _, member, engine in sorted(ended, key=lambda one: one[:2]):
            self._draining.remove((member, engine))
            self._release(member, at)

    def _serve_gateway(self, now: float) -> None:
        while self.gateway and self._ready:
            self._route(self.gateway.popleft(), now)

    def _route(self, request: Request, now: float) -> None:
        _, engine = min(self._ready, key=lambda pair: pair[1].outstanding)
        engine.join(request, now)

    def _ask_for_one(self, now: float) -> None:
        name = f"{self._name}-{self._count}"
        member = Member(name, self._count, Phase.PENDING, math.inf, math.inf, asked=now)
        self._count += 1
        self.pending.append(member)

    def _allocate(self, now: float, cold_start: Callable[[], float]) -> None:
        """Begin the cold start of pending replicas, in order, as far as there is room."""
        while self.pending:
            member = self.pending[0]
            if self._nodes is not None and not self._nodes.place(member.name, self._gpus):
                return
            self.pending.popleft()
            self._pending_seconds += now - member.asked
            member.phase, member.allocated = Phase.STARTING, now
            member.ready_at = now + cold_start()
            self.members.append(member)
            self.most = max(self.most, len(self.members))

    def _make_ready(self, member: Member) -> None:
        member.phase = Phase.READY
        member.engine = Replica(self._profile, member.ready_at)
        self._ready.append((member, member.engine))

    def _keep(self, pair: tuple[Member, Replica]) -> None:
        self._draining.remove(pair)
        pair[0].phase, pair[0].drained_from = Phase.READY, None
        self._ready.append(pair)
        self._ready.sort(key=lambda ready: (ready[0].ready_at, ready[0].number))

    def _drain(self, now: float) -> None:
        pair = min(reversed(self._ready), key=lambda ready: ready[1].outstanding)
        self._ready.remove(pair)
        pair[0].phase, pair[0].drained_from = Phase.DRAINING, now
        self._draining.append(pair)
        self._draining.sort(key=lambda draining: (draining[0].ready_at, draining[0].number))

    def _release(self, member: Member, now: float) -> None:
        member.phase, member.released = Phase.OFF, now
        self.members.remove(member)
        self.past.append(member)
        if self._nodes is not None:
            self._nodes.release(member.name, now)
