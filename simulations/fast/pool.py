"""The replicas of one workload, many requests at a time: stands where a `ReplicaPool` stands."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.at_best import AtBest
from simulations.fast import state
from simulations.fast.compile import can_compile, engine_of
from simulations.fast.minutes import MinuteLog
from simulations.fast.room import (
    FEW_REPLICAS,
    first_world,
    replica_rows,
    with_more_flights,
    with_more_replicas,
    with_requests,
)
from simulations.fast.tally import Durations, Limits, Tally
from simulations.minutes import MINUTE, Minutes
from simulations.nodes import Nodes
from simulations.outcomes import Outcomes
from simulations.pool import Member, Phase
from simulations.profiles import Profile
from simulations.request import Request
from simulations.scrapes import Seen
from simulations.trace import IntArray


@dataclass(slots=True, eq=False)
class FastMember(Member):
    """A replica with its life; its `engine` is always None.

    Attributes:
        row: Where its numbers stand, while it holds GPUs.
    """

    row: int = state.NOBODY


class FastPool:
    """The replicas of one workload behind one gateway.

    It does what `ReplicaPool` does, and takes requests in by itself: `offer` says what will
    arrive, and `advance` lets it arrive.

    Attributes:
        members: Replicas that hold GPUs, by number.
        pending: Replicas that wait for a node, by number.
        past: Replicas that gave them back.
        most: The most replicas that held GPUs at one time.
    """

    def __init__(  # noqa: PLR0913  # keywords, each with a default
        self,
        name: str,
        profile: Profile,
        ready: int,
        cold_start: Callable[[], float],
        *,
        nodes: Nodes | None = None,
        gpus: int = 1,
        limits: Limits | None = None,
        detailed: bool = False,
        gaps: bool = False,
        compiled: bool | None = None,
    ) -> None:
        """Begin at time 0 with `ready` replicas.

        Args:
            name: What the pods' names begin with.
            profile: What each replica is.
            ready: How many serve from the start, as far as the nodes have room for them.
            cold_start: Returns the seconds that the next replica takes to start.
            nodes: Where replicas lie; nobody else uses them.
            gpus: GPUs of each replica; matters to the nodes alone.
            limits: What each request is judged by.
            detailed: Keep what became of every single request: 64 bytes each, and a little
                slower.
            gaps: Of each request the widest gap between tokens, too, for small worlds: much
                slower.
            compiled: Whether numba compiles the engine; if it can, when absent.

        Raises:
            ValueError: A number of the profile's step law is negative: then steps of a stretch
                would not grow.
        """
        self.members: list[FastMember] = []
        self.pending: deque[FastMember] = deque()
        self.past: list[FastMember] = []
        self.most = 0
        self._name = name
        self._profile = profile
        self._cold_start = cold_start
        self._nodes = nodes
        self._gpus = gpus
        self._count = 0
        self._pending_seconds = 0.0
        self._steps_of_past = 0
        self._reached = 0.0
        self._stirred = True
        self._answering: tuple[IntArray, IntArray] | None = None
        self._free = [*range(FEW_REPLICAS)][::-1]
        self._engine = engine_of(compiled=can_compile() if compiled is None else compiled)
        self._world = first_world(profile, limits or Limits(), detailed=detailed, gaps=gaps)
        self._offered: list[tuple[FloatArray, IntArray, IntArray]] = []
        self._minutes = MinuteLog()
        for _ in range(ready):
            self._ask_for_one(0.0)
        self._allocate(0.0, lambda: 0.0)
        self._engine.seed_trees(self._world)
        self.advance(0.0)

    @property
    def compiled(self) -> bool:
        """Whether numba compiled the engine."""
        return self._engine.compiled

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
        return int(self._pool["gateway"][0])

    @property
    def waiting(self) -> int:
        """Requests in the wait lists of all replicas."""
        return int(np.add.reduce(self._replicas["waiting"]))

    @property
    def running(self) -> int:
        """Sequences in the batches of all replicas."""
        return int(np.add.reduce(self._replicas["running"]))

    @property
    def arrived(self) -> int:
        """Requests that have arrived."""
        return int(self._pool["passed"][0] + self._pool["upcoming"][0])

    @property
    def to_come(self) -> int:
        """Requests that were offered and have not arrived."""
        return len(self._world.arrivals) - int(self._pool["upcoming"][0])

    @property
    def steps(self) -> int:
        """Engine steps that have ended, or are part of a stretch in progress."""
        replicas = self._replicas
        return self._steps_of_past + int(replicas["steps"].sum() + replicas["stretch"].sum())

    @property
    def details(self) -> Any:
        """One record for each request offered (see `state.DetailRow`); none unless detailed."""
        return self._world.details

    def replica_seconds(self, now: float) -> float:
        """Return how long replicas have held their GPUs by `now`, summed over all of them."""
        return sum(member.gpu_held_seconds(now) for member in (*self.past, *self.members))

    def pending_seconds(self, now: float) -> float:
        """Return how long replicas have waited for a node by `now`, summed over all of them."""
        return self._pending_seconds + sum(now - member.asked for member in self.pending)

    def offer(self, arrivals: FloatArray, prompts: IntArray, outputs: IntArray) -> None:
        """Say what will arrive, after all that was offered before.

        A whole trace may be offered at once, or piece by piece to save memory. The arrays are
        not copied and should not change until all has arrived.

        Args:
            arrivals: Seconds since the simulation began, not falling; shape (n,).
            prompts: Tokens to read, at least 1 each; shape (n,).
            outputs: Tokens to write, at least 1 each; shape (n,).

        Raises:
            ValueError: They are not such rows, or would arrive in the past.
        """
        self._world = with_requests(self._world, arrivals, prompts, outputs, after=self._reached)
        self._stirred = True
        if self._pool["detailed"][0]:
            self._offered.append((arrivals, prompts, outputs))

    def advance(self, until: float) -> None:
        """Let time pass: requests arrive, replicas compute, become ready, are released when empty.

        Raises:
            ValueError: `until` is not finite.
        """
        if not math.isfinite(until):
            raise ValueError(f"time should pass until a finite moment, not {until}")
        if until <= self._reached and not self._stirred:
            return
        self._stirred = False
        while (node_at := self._next_node()) <= until:
            self._pass_time(math.nextafter(node_at, -math.inf))
            self.use_nodes(node_at)
        self._pass_time(until)
        if self._nodes is not None:
            self._nodes.advance(until)
        phases, running, waiting = (
            self._replicas[name] for name in ("phase", "running", "waiting")
        )
        for member in self._in(Phase.STARTING):
            if phases[member.row] == state.READY:
                member.phase = Phase.READY
                self._answering = None
        ended = [
            (max(float(self._replicas["clock"][m.row]), m.drained_from or 0.0), m.number, m)
            for m in self._in(Phase.DRAINING)
            if not running[m.row] + waiting[m.row]
        ]
        for at, _, member in sorted(ended):
            self._release(member, at)

    def use_nodes(self, now: float) -> None:
        """Let pending replicas take what room there is; to be called when nodes have changed."""
        if self._nodes is not None:
            self._stirred = True
            self._nodes.advance(now)
            self._allocate(now, self._cold_start)

    def scale(self, replicas: int, now: float) -> None:
        """Set the number asked for; `advance(now)` has been called.

        Growing keeps draining replicas first, the oldest before the others, then starts new
        ones. Shrinking cancels pending ones first, then starting ones, the youngest before the
        others, then drains the least loaded, the youngest among equals.
        """
        if replicas == self.desired:
            return
        self._stirred = True
        for _ in range(replicas - self.desired):
            draining = self._in(Phase.DRAINING)
            if draining:
                self._keep(min(draining, key=self._age))
            else:
                self._ask_for_one(now)
        for _ in range(self.desired - replicas):
            if self.pending:
                self._pending_seconds += now - self.pending.pop().asked
                continue
            starting = self._in(Phase.STARTING)
            if starting:
                self._release(starting[-1], now)
            else:
                ready = self._in(Phase.READY)
                self._drain(min(ready, key=lambda m: (self._load(m), -self._age(m))), now)
        self._allocate(now, self._cold_start)
        starts = [member.ready_at for member in self._in(Phase.STARTING)]
        self._pool[0].next_ready = min(starts, default=math.inf)
        self._engine.seed_trees(self._world)
        self.advance(now)

    def seen(self, now: float) -> Seen:
        """Return what a scrape sees; `advance(now)` has been called."""
        numbers, rows = self._who_answers()
        counters = np.empty((len(rows), state.COUNTS - 1))
        gauges = np.empty((len(rows), state.GAUGES))
        self._engine.look(self._world, rows, float(now), counters, gauges)
        waiting, running, kv, busy, ready, ready_at = gauges.T
        return Seen(
            numbers=numbers,
            ready=ready > 0,
            ready_at=ready_at,
            waiting=waiting,
            running=running,
            kv_usage=kv / self._profile.kv_tokens,
            busy_seconds=busy,
            counters=counters,
        )

    def tally(self, now: float) -> Tally:
        """Judge all requests so far; `advance(now)` has been called."""
        pool, world = self._pool[0], self._world
        flights: Any = world.flights
        waits = flights[(flights["index"] != state.NOBODY) & (flights["admitted"] == 0)]
        arrived, met = world.minutes.T
        busy = arrived > 0
        ttft, itl, e2e = (Durations(counts.copy()) for counts in world.durations)
        return Tally(
            requests=self.arrived,
            finished=int(pool.finished),
            failed=int(pool.failed),
            ttft_met=int(pool.ttft_met),
            itl_met=int(pool.itl_met),
            e2e_met=int(pool.e2e_met),
            met=int(pool.met),
            worst_minute=float(np.min(met[busy] / arrived[busy], initial=1.0)),
            waited_seconds=float(pool.waited_seconds + np.sum(now - waits["arrival"])),
            preemptions=int(pool.preemptions),
            ttft=ttft,
            itl=itl,
            e2e=e2e,
        )

    def at_best(self, now: float) -> AtBest:
        """Return what all requests offered can still come to; `advance(now)` has been called.

        That is if whoever has not missed a limit yet meets all of them. What is forgotten, such as
        the time between tokens so far, is taken to be well.
        """
        pool, world = self._pool[0], self._world
        flights: Any = world.flights
        # Times are compared with a margin: the engine's own sums decide.
        spent = np.where(np.isnan(flights["first_token"]), now, flights["first_token"])
        late = spent - flights["arrival"] > float(pool.ttft_limit) + 1e-6
        open_ones = flights["arrival"][(flights["index"] != state.NOBODY) & ~late]
        arrived, met = world.minutes.T
        over = min(len(arrived), int(now // MINUTE))  # later ones still get requests
        waiting = np.bincount((open_ones // MINUTE).astype(np.int64), minlength=over)
        busy = arrived[:over] > 0
        shares = (met[:over] + waiting[:over])[busy] / arrived[:over][busy]
        everybody = self.arrived + self.to_come
        return AtBest(
            (int(pool.met) + len(open_ones) + self.to_come) / everybody,
            float(np.min(shares, initial=1.0)),
        )

    def outcomes(self) -> Outcomes:
        """Return what became of every request that has arrived; of none unless detailed."""
        details = self.details[: self.arrived]
        arrivals, _, outputs = self._columns()
        return Outcomes(
            arrival=arrivals,
            output_tokens=outputs,
            failed=details["failed"] != 0,
            admitted=details["admitted"],
            first_token=details["first_token"],
            finished=details["finished"],
            preemptions=details["preemptions"],
        )

    def requests(self) -> list[Request]:
        """Return every request that has arrived, one by one; none unless detailed."""
        rows = zip(*(column.tolist() for column in self._columns()), strict=True)
        return [
            Request(
                index,
                arrival,
                prompt,
                output,
                failed=bool(one.failed),
                routed=float(one.routed),
                admitted=_known(one.admitted),
                first_token=_known(one.first_token),
                finished=_known(one.finished),
                preemptions=int(one.preemptions),
            )
            for index, ((arrival, prompt, output), one) in enumerate(
                zip(rows, self.details, strict=False)
            )
        ]

    def minutes(self, now: float) -> Minutes:
        """Return how each minute went; `advance(now)` has been called, and nothing later.

        The percentiles are within 1.6 %.
        """
        arrived, met = self._world.minutes.T
        return self._minutes.until(now, arrived, met, self._world.durations)

    def _columns(self) -> tuple[FloatArray, IntArray, IntArray]:
        """Return arrivals, prompts and outputs of what has arrived; of nothing unless detailed."""
        nothing = (np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        arrivals, prompts, outputs = (
            np.concatenate(column)[: self.arrived]
            for column in zip(nothing, *self._offered, strict=True)
        )
        return arrivals, prompts, outputs

    @property
    def _pool(self) -> Any:
        return self._world.pool

    @property
    def _replicas(self) -> Any:
        return self._world.replicas

    def _in(self, phase: Phase) -> list[FastMember]:
        return [member for member in self.members if member.phase is phase]

    def _who_answers(self) -> tuple[IntArray, IntArray]:
        """Return numbers and rows of the replicas that answer a scrape; equal ones are the same."""
        if self._answering is None:
            serving = [one for one in self.members if one.phase is not Phase.STARTING]
            self._answering = (
                np.array([one.number for one in serving], dtype=np.int64),
                np.array([one.row for one in serving], dtype=np.int64),
            )
        return self._answering

    def _load(self, member: FastMember) -> int:
        one = self._replicas[member.row]
        return int(one.waiting + one.running)

    def _age(self, member: FastMember) -> int:
        return int(self._replicas[member.row].age)

    def _pass_time(self, until: float) -> None:
        """Let time pass as far as it has not, and note how each minute went when it is over."""
        self._reached = max(self._reached, until)
        while until > (over := self._minutes.over):
            # What a user has at the very end of a minute, the engine gave a little before.
            self._run(math.nextafter(over - self._profile.overhead_seconds, 0.0))
            self._minutes.note(self._world.durations)
        self._run(until)

    def _run(self, until: float) -> None:
        while not self._engine.run(self._world, float(until)):
            self._world = with_more_flights(self._world)

    def _next_node(self) -> float:
        """When the next node is ready that somebody waits for; infinite if there is none."""
        return math.inf if self._nodes is None or not self.pending else self._nodes.next_ready

    def _ask_for_one(self, now: float) -> None:
        name = f"{self._name}-{self._count}"
        member = FastMember(name, self._count, Phase.PENDING, math.inf, math.inf, asked=now)
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
            self._take_row(member)

    def _take_row(self, member: FastMember) -> None:
        if not self._free:
            before = len(self._replicas)
            self._world = with_more_replicas(self._world)
            self._engine.seed_trees(self._world)
            self._free = [*range(before, 2 * before)][::-1]
        member.row = self._free.pop()
        one, pool = self._replicas[member.row], self._pool[0]
        one.phase, one.number, one.ready_at = state.STARTING, member.number, member.ready_at
        pool.next_ready = min(pool.next_ready, member.ready_at)

    def _keep(self, member: FastMember) -> None:
        member.phase, member.drained_from = Phase.READY, None
        self._replicas[member.row].phase = state.READY
        self._world.load[member.row] = self._load(member) * state.ONE_REQUEST + self._age(member)
        self._pool[0].ready += 1

    def _drain(self, member: FastMember, now: float) -> None:
        member.phase, member.drained_from = Phase.DRAINING, now
        self._replicas[member.row].phase = state.DRAINING
        self._world.load[member.row] = state.UNROUTABLE
        self._pool[0].ready -= 1

    def _release(self, member: FastMember, now: float) -> None:
        member.phase, member.released = Phase.OFF, now
        self._answering = None
        self.members.remove(member)
        self.past.append(member)
        self._steps_of_past += int(self._replicas[member.row].steps)
        self._replicas[member.row] = replica_rows(1)[0]
        self._world.counts[member.row] = 0
        self._free.append(member.row)
        member.row = state.NOBODY
        if self._nodes is not None:
            self._nodes.release(member.name, now)


def _known(time: float) -> float | None:
    return None if math.isnan(time) else float(time)
