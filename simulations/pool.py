"""The replicas of one workload: off, starting, ready, draining; who serves the next request."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from simulations.profiles import Profile
from simulations.replica import Replica
from simulations.request import Request


class Phase(StrEnum):
    """Where a replica stands between being asked for and giving its GPUs back."""

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
        allocated: When it got its GPUs.
        ready_at: When it serves, or will.
        engine: What computes; None before it is ready.
        drained_from: When it was last told to drain.
        released: When its GPUs were free again.
    """

    name: str
    number: int
    phase: Phase
    allocated: float
    ready_at: float
    engine: Replica | None = None
    drained_from: float | None = None
    released: float | None = None

    def gpu_held_seconds(self, now: float) -> float:
        """Return for how long it has held its GPUs by `now`."""
        return (now if self.released is None else min(now, self.released)) - self.allocated


class ReplicaPool:
    """The replicas of one workload behind one gateway.

    Requests go to the ready replica with the fewest outstanding requests, the oldest among equals;
    while none is ready they queue at the gateway, first come, first served.

    Attributes:
        members: Replicas that hold GPUs, by number.
        past: Replicas that gave them back.
        gateway: Requests that no replica has.
        most: The most replicas that held GPUs at one time.
    """

    def __init__(
        self, name: str, profile: Profile, ready: int, cold_start: Callable[[], float]
    ) -> None:
        """Begin at time 0 with `ready` replicas.

        Args:
            name: What the pods' names begin with.
            profile: What each replica is.
            ready: How many serve from the start.
            cold_start: Returns the seconds that the next replica takes to start.
        """
        self.members: list[Member] = []
        self.past: list[Member] = []
        self.gateway: deque[Request] = deque()
        self.most = ready
        self._name = name
        self._profile = profile
        self._cold_start = cold_start
        self._count = 0
        self._ready: list[tuple[Member, Replica]] = []
        self._draining: list[tuple[Member, Replica]] = []
        for _ in range(ready):
            self._make_ready(self._ask_for_one(0.0, 0.0))

    @property
    def desired(self) -> int:
        """Replicas asked for: those that start and those that are ready."""
        return sum(member.phase in (Phase.STARTING, Phase.READY) for member in self.members)

    def count(self, phase: Phase) -> int:
        """Return how many replicas are in a phase."""
        return sum(member.phase is phase for member in self.members)

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

    def advance(self, until: float) -> None:
        """Let time pass: replicas compute, become ready, and are released when empty."""
        while starting := self._next_ready(until):
            self._compute(starting.ready_at)
            self._make_ready(starting)
            while self.gateway:
                self._route(self.gateway.popleft(), starting.ready_at)
        self._compute(until)

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
        ones. Shrinking cancels starting ones first, the youngest before the others, then drains
        the least loaded, the youngest among equals.
        """
        for _ in range(replicas - self.desired):
            if self._draining:
                self._keep(self._draining[0])
            else:
                self._ask_for_one(now, now + self._cold_start())
        for _ in range(self.desired - replicas):
            starting = [m for m in self.members if m.phase is Phase.STARTING]
            if starting:
                self._release(starting[-1], now)
            else:
                self._drain(now)
        # A cold start of no seconds serves at once.
        self.advance(now)

    def _serving(self) -> list[tuple[Member, Replica]]:
        return [*self._ready, *self._draining]

    def _next_ready(self, until: float) -> Member | None:
        due = [m for m in self.members if m.phase is Phase.STARTING and m.ready_at <= until]
        return min(due, key=lambda member: (member.ready_at, member.number)) if due else None

    def _compute(self, until: float) -> None:
        for _, engine in self._ready:
            engine.advance(until)
        for member, engine in [*self._draining]:
            engine.advance(until)
            if not engine.outstanding:
                self._draining.remove((member, engine))
                self._release(member, max(engine.clock, member.drained_from or 0.0))

    def _route(self, request: Request, now: float) -> None:
        _, engine = min(self._ready, key=lambda pair: pair[1].outstanding)
        engine.join(request, now)

    def _ask_for_one(self, now: float, ready_at: float) -> Member:
        member = Member(f"{self._name}-{self._count}", self._count, Phase.STARTING, now, ready_at)
        self._count += 1
        self.members.append(member)
        self.most = max(self.most, len(self.members))
        return member

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
