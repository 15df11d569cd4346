"""A world for elections: one record, candidates with clocks of their own, requests that go wrong.

Time passes inside requests: while one candidate waits for an answer, the others go on. After every
step of time the world looks whether two lead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autoscaler.adapters.kubernetes.election import DEFAULT_DURATIONS, Durations, Election
from autoscaler.adapters.kubernetes.lease import Claim, ConflictError, Lease, read_lease
from autoscaler.core.errors import ActuationError

TICK = 0.25


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls one request: seconds on the way there and back, and what is lost."""

    there: float = 0.0
    back: float = 0.0
    request_lost: bool = False
    answer_lost: bool = False
    late: float = 0.0
    """Seconds after the loss of its answer at which a request takes effect after all."""


@dataclass(slots=True)
class Candidate:
    """One process."""

    name: str
    rate: float
    offset: float
    election: Election = field(init=False)
    next_try: float = 0.0
    asking: bool = False
    paused_until: float = 0.0
    dead: bool = False
    faults: list[Fault] = field(default_factory=list)

    def clock(self, world: "World") -> float:
        return self.offset + world.time * self.rate


class World:
    """Everything that elections can see, under the test's control."""

    def __init__(self, durations: Durations = DEFAULT_DURATIONS) -> None:
        self.time = 0.0
        self.durations = durations
        self.record: dict[str, Any] | None = None
        self.version = 0
        self.candidates: list[Candidate] = []
        self.pending: list[tuple[float, Callable[[], object]]] = []
        self.outage_until = 0.0
        self.history: list[str] = []

    def join(
        self, name: str, *, rate: float = 1.0, offset: float = 0.0, wall: float = 0.0
    ) -> Candidate:
        one = Candidate(name, rate, offset)
        one.election = Election(
            Store(self, one),
            name,
            now=lambda: 1.7e9 + wall + self.time,
            chance=lambda: (self.version * 0.37 + self.time) % 1.0,
            durations=self.durations,
            monotonic=lambda: one.clock(self),
        )
        one.next_try = self.time
        self.candidates.append(one)
        return one

    def leaders(self) -> list[str]:
        return [one.name for one in self.candidates if not one.dead and one.election.is_leader()]

    def pass_time(self, seconds: float) -> None:
        """Let time pass: who is due tries, what is late lands, nobody leads beside another."""
        end = self.time + seconds
        while True:
            leaders = self.leaders()
            assert len(leaders) <= 1, f"{leaders} lead at {self.time}: {self.history[-30:]}"
            if self.time >= end:
                return
            self.time = min(end, self.time + TICK)
            for due, land in list(self.pending):
                if due <= self.time:
                    self.pending.remove((due, land))
                    land()
            for one in self.candidates:
                due_now = max(one.next_try, one.paused_until) <= self.time
                if due_now and not one.dead and not one.asking:
                    one.asking = True
                    wait = one.election.attempt()
                    one.asking = False
                    one.next_try = self.time + max(wait / one.rate, TICK)

    def put(self, spec: dict[str, Any], version: str | None) -> dict[str, Any]:
        """Replace the record (None: make it), as the API server does."""
        found = None if self.record is None else self.record["metadata"]["resourceVersion"]
        if found != version:
            raise ConflictError(f"version {found}, not {version}")
        self.version += 1
        self.record = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}
        self.history.append(f"{self.time}: {spec['holderIdentity']} v{self.version}")
        return self.record

    def delete(self) -> None:
        self.record = None
        self.history.append(f"{self.time}: deleted")


class Store:
    """The record as one candidate reaches it."""

    def __init__(self, world: World, candidate: Candidate) -> None:
        self._world = world
        self._candidate = candidate

    def read(self) -> Lease | None:
        return self._through(lambda: self._world.record)

    def create(self, claim: Claim) -> Lease:
        made = self._through(lambda: self._world.put(claim.on(None), None))
        assert made is not None
        return made

    def replace(self, lease: Lease, claim: Claim) -> Lease:
        written = self._through(lambda: self._world.put(claim.on(lease), lease.version))
        assert written is not None
        return written

    def _through(self, do: Callable[[], dict[str, Any] | None]) -> Lease | None:
        world = self._world
        fault = self._candidate.faults.pop() if self._candidate.faults else Fault()
        world.pass_time(fault.there)
        if world.time < world.outage_until:
            raise ActuationError("the API server is not there")
        if fault.request_lost:
            if fault.late:
                world.pending.append((world.time + fault.late, lambda: _quietly(do)))
            raise ActuationError("the request is lost")
        error: ConflictError | None = None
        answer = None
        try:
            answer = do()
        except ConflictError as conflict:
            error = conflict
        world.pass_time(fault.back)
        if fault.answer_lost:
            raise ActuationError("the answer is lost")
        if error is not None:
            raise error
        return None if answer is None else read_lease(answer)


def _quietly(do: Callable[[], object]) -> None:
    try:
        do()
    except ConflictError:
        return
