"""Small worlds, and the plain reference driven through them: what the fast pool must agree with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from simulations.fast.compile import can_compile
from simulations.fast.pool import FastPool
from simulations.fast.tally import Limits
from simulations.nodes import Nodes
from simulations.pool import Phase, ReplicaPool
from simulations.profiles import Profile
from simulations.replica import Replica
from simulations.request import Request
from simulations.trace import Trace
from tests.simulations.builders import a_pool, a_profile, a_trace

BOTH = pytest.mark.parametrize(
    "compiled",
    [
        pytest.param(False, id="plain"),
        pytest.param(
            True,
            id="compiled",
            marks=pytest.mark.skipif(not can_compile(), reason="numba is not installed"),
        ),
    ],
)
"""Once as plain Python, once compiled."""


@dataclass(frozen=True)
class Room:
    """Nodes, each with four GPUs.

    Attributes:
        ready: How many at the start.
        gpus: Of each replica.
        scales: (seconds, nodes): the nodes are scaled at these times, rising.
        provisioning: Seconds that each takes, in turn; the last is repeated.
    """

    ready: int
    gpus: int
    scales: Sequence[tuple[float, int]]
    provisioning: Sequence[float]

    def nodes(self) -> Nodes:
        return Nodes(a_pool(gpus=4), self.ready, in_turn(self.provisioning))


@dataclass(frozen=True)
class SmallWorld:
    """Everything that decides what happens.

    Attributes:
        profile: Of every replica.
        trace: What arrives.
        ready: Replicas at the start.
        scales: (seconds, replicas): the pool is scaled at these times, rising.
        cold_starts: Seconds, in turn; the last is repeated.
        room: The nodes; None where there is always room.
    """

    profile: Profile
    trace: Trace
    ready: int
    scales: Sequence[tuple[float, int]]
    cold_starts: Sequence[float]
    room: Room | None = None

    def fast(
        self,
        *,
        compiled: bool,
        limits: Limits | None = None,
        offered: bool = True,
        detailed: bool = True,
    ) -> FastPool:
        pool = FastPool(
            "chat",
            self.profile,
            self.ready,
            in_turn(self.cold_starts),
            **self.nodes(),
            limits=limits,
            detailed=detailed,
            gaps=detailed,
            compiled=compiled,
        )
        if offered:
            trace = self.trace
            pool.offer(trace.arrivals, trace.prompt_tokens, trace.output_tokens)
        return pool

    def reference(self) -> "Reference":
        return Reference(self)

    def nodes(self) -> dict[str, Any]:
        return {} if self.room is None else {"nodes": self.room.nodes(), "gpus": self.room.gpus}


def in_turn(numbers: Sequence[float]) -> Callable[[], float]:
    return partial(next, chain(numbers[:-1], repeat(numbers[-1])))


class Reference(ReplicaPool):
    """The plain pool, which notes who served whom."""

    def __init__(self, world: SmallWorld) -> None:
        self.served_by: dict[int, int] = {}
        super().__init__(
            "chat", world.profile, world.ready, in_turn(world.cold_starts), **world.nodes()
        )
        trace = world.trace
        self.offer(trace.arrivals, trace.prompt_tokens, trace.output_tokens)

    def _route(self, request: Request, now: float) -> None:
        super()._route(request, now)
        for member, engine in self._ready:
            if engine._waiting and engine._waiting[-1] is request:
                self.served_by[request.index] = member.number

    @property
    def engines(self) -> list[Replica]:
        """Of all replicas that ever served."""
        return [m.engine for m in (*self.past, *self.members) if m.engine is not None]

    @property
    def steps(self) -> int:
        return sum(engine.steps for engine in self.engines)

    @property
    def serving(self) -> list[Replica]:
        return [
            m.engine for m in self.members if m.engine is not None and m.phase is not Phase.STARTING
        ]


# No two of these numbers are in a simple proportion: what happens at one moment does so because it
# must, not by accident of rounding.
laws = st.builds(
    a_profile,
    step_seconds=st.sampled_from([0.0101234567, 0.0304567891]),
    token_seconds=st.sampled_from([0.0, 1.0193e-4]),
    free_tokens=st.sampled_from([0, 7]),
    sequence_seconds=st.sampled_from([0.0, 1.3571e-3]),
    kv_token_seconds=st.sampled_from([0.0, 1.1717e-5, 2.3331e-4]),
    kv_token_seconds_mixed=st.sampled_from([0.0, 3.0177e-5]),
    attended_seconds=st.sampled_from([0.0, 1.7331e-6]),
    kv_tokens=st.integers(30, 150),
    context_tokens=st.none() | st.integers(20, 60),
    max_sequences=st.integers(1, 6),
    step_tokens=st.integers(6, 40),
    overhead_seconds=st.sampled_from([0.0, 0.0081113]),
)
rows = st.tuples(st.integers(0, 120), st.integers(1, 25), st.integers(1, 30))
handwritten = st.lists(rows, min_size=1, max_size=20)


@st.composite
def crowds(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Many requests, so that replicas fill up, in fewer draws."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(15, 60)), draw(st.integers(10, 150))
    columns = rng.integers(0, width, count), rng.integers(1, 26, count), rng.integers(1, 31, count)
    return list(zip(*(column.tolist() for column in columns), strict=True))


traces = st.one_of(crowds(), handwritten).map(
    lambda rows: a_trace(*sorted((ms * 0.003, prompt, output) for ms, prompt, output in rows))
)
scalings = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=8, unique_by=lambda scale: scale[0]
).map(lambda scales: sorted((tick * 0.0117, replicas) for tick, replicas in scales))
rooms = st.builds(
    Room,
    ready=st.integers(0, 3),
    gpus=st.integers(1, 6),
    scales=scalings,
    provisioning=st.lists(st.sampled_from([0.0, 0.0213, 0.1117]), min_size=1, max_size=4),
)
small_worlds = st.builds(
    SmallWorld,
    profile=laws,
    trace=traces,
    ready=st.integers(0, 4),
    scales=scalings,
    cold_starts=st.lists(st.sampled_from([0.0, 0.0313, 0.0777, 0.5]), min_size=1, max_size=4),
    room=st.none() | rooms,
)


def a_world(
    *requests: tuple[float, int, int],
    ready: int = 1,
    scales: Sequence[tuple[float, int]] = (),
    cold_start: float = 0.5,
    **law: float,
) -> SmallWorld:
    return SmallWorld(a_profile(**law), a_trace(*requests), ready, scales, (cold_start,))


def busy_minutes(rate: float, seed: int = 1, **changes: float) -> SmallWorld:
    """Five minutes of conversations on replicas such as a replay would use."""
    rng = np.random.default_rng(seed)
    count = int(rate * 300)
    return SmallWorld(
        a_profile(
            step_seconds=0.0069,
            token_seconds=2.0e-5,
            free_tokens=200,
            sequence_seconds=7.79e-6,
            kv_token_seconds=4.066e-8,
            kv_token_seconds_mixed=4.066e-8,
            attended_seconds=1.13e-9,
            kv_tokens=60_000,
            max_sequences=64,
            step_tokens=2048,
            overhead_seconds=0.008,
            **changes,
        ),
        a_trace(
            *zip(
                np.sort(rng.uniform(0, 300, count)).tolist(),
                np.maximum(1, rng.lognormal(6.9, 0.8, count)).astype(int).tolist(),
                np.maximum(1, rng.lognormal(4.9, 0.7, count)).astype(int).tolist(),
                strict=True,
            )
        ),
        2,
        [(60.0, 6), (120.0, 1), (130.0, 4), (200.0, 0), (215.0, 5)],
        (37.7, 11.1, 52.3),
    )
