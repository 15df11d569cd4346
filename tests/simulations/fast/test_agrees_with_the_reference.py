"""The fast pool and the plain one: the same decisions, and the same times to a nanosecond."""

import math
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.fast.pool import FastPool
from simulations.fast.tally import Limits
from simulations.pool import Phase
from simulations.replica import Replica
from simulations.request import End, Request
from tests.simulations.fast.worlds import (
    BOTH,
    Reference,
    SmallWorld,
    a_world,
    busy_minutes,
    small_worlds,
)

AT_LEAST_200 = settings(max_examples=max(200, settings.default.max_examples))  # type: ignore[union-attr]


def close(seconds: object) -> object:
    """Equal to far below a microsecond."""
    return pytest.approx(seconds, rel=1e-9, abs=1e-9, nan_ok=True)


def number(seconds: float | None) -> float:
    return float("nan") if seconds is None else seconds


def agree(fast: FastPool, plain: Reference, now: float) -> None:
    """Everything that can be asked of both has one answer."""
    assert fast.arrived == len(plain.requests)
    assert fast.gateway_queue == plain.gateway_queue
    assert (fast.waiting, fast.running) == (plain.waiting, plain.running)
    assert (fast.desired, fast.most) == (plain.desired, plain.most)
    assert [(m.name, m.phase, m.ready_at, m.allocated) for m in fast.members] == [
        (m.name, m.phase, m.ready_at, m.allocated) for m in plain.members
    ]
    assert {m.name: m.released for m in fast.past} == {
        m.name: close(m.released) for m in plain.past
    }
    assert fast.replica_seconds(now) == close(plain.replica_seconds(now))
    nodes_agree(fast, plain, now)
    scrapes_agree(fast, plain, now)
    for request in plain.requests:
        requests_agree(fast, plain, request)
    tallies_agree(fast, plain, now)


def nodes_agree(fast: FastPool, plain: Reference, now: float) -> None:
    assert [m.name for m in fast.pending] == [m.name for m in plain.pending]
    assert fast.pending_seconds(now) == close(plain.pending_seconds(now))
    if fast._nodes is not None and plain._nodes is not None:
        assert fast._nodes.status == plain._nodes.status
        assert fast._nodes.places() == plain._nodes.places()
        assert fast._nodes.gpu_seconds(now) == close(plain._nodes.gpu_seconds(now))


def scrapes_agree(fast: FastPool, plain: Reference, now: float) -> None:
    seen = fast.seen(now)
    serving = [m for m in plain.members if m.phase is not Phase.STARTING]
    assert seen.numbers.tolist() == [m.number for m in serving]
    assert seen.ready.tolist() == [m.phase is Phase.READY for m in serving]
    assert seen.ready_at.tolist() == [m.ready_at for m in serving]
    assert seen.waiting.tolist() == [engine.waiting for engine in plain.serving]
    assert seen.running.tolist() == [engine.running for engine in plain.serving]
    assert seen.kv_usage.tolist() == close(
        [engine.kv_used / engine.profile.kv_tokens for engine in plain.serving]
    )
    assert seen.busy_seconds.tolist() == close([e.busy_seconds(now) for e in plain.serving])
    for counted, engine in zip(seen.counters, plain.serving, strict=True):
        assert counted.tolist() == counters(engine)


def counters(engine: Replica) -> list[int]:
    return [
        engine.prompt_tokens,
        engine.output_tokens,
        engine.completions,
        *accumulate(engine.ttft.counts),
        *accumulate(engine.itl.counts),
        *accumulate(engine.e2e.counts),
    ]


def requests_agree(fast: FastPool, plain: Reference, request: Request) -> None:
    detail = fast.details[request.index]
    assert detail.failed == request.failed
    assert detail.replica == plain.served_by.get(request.index, -1)
    assert detail.preemptions == request.preemptions
    assert [detail.routed, detail.admitted, detail.first_token, detail.finished] == close(
        [
            request.routed,
            number(request.admitted),
            number(request.first_token),
            number(request.finished),
        ]
    )
    if request.end is End.FINISHED:
        assert detail.widest_gap == close(request.widest_gap)


def tallies_agree(fast: FastPool, plain: Reference, now: float) -> None:
    """The words are those of `simulations.score`."""
    tally, limits = fast.tally(now), LIMITS
    done = [r for r in plain.requests if r.end is End.FINISHED]
    ttft = [number(r.ttft_seconds) <= limits.ttft for r in done]
    itl = [r.itl_seconds is None or r.itl_seconds <= limits.itl for r in done]
    e2e = [number(r.e2e_seconds) <= limits.e2e for r in done]
    assert (tally.requests, tally.finished) == (len(plain.requests), len(done))
    assert tally.failed == sum(r.failed for r in plain.requests)
    assert tally.unfinished == sum(r.end is End.UNFINISHED for r in plain.requests)
    assert (tally.ttft_met, tally.itl_met, tally.e2e_met) == (sum(ttft), sum(itl), sum(e2e))
    good = {r.index for r, *each in zip(done, ttft, itl, e2e, strict=True) if all(each)}
    assert tally.met == len(good)
    if plain.requests:
        assert tally.worst_minute == worst_minute(plain.requests, good)
    assert tally.preemptions == sum(r.preemptions for r in plain.requests)
    assert tally.waited_seconds == close(
        sum(
            (now if r.admitted is None else r.admitted) - r.arrival
            for r in plain.requests
            if not r.failed
        )
    )
    assert tally.ttft.counts.sum() == sum(r.first_token is not None for r in plain.requests)
    assert tally.itl.counts.sum() == sum(r.itl_seconds is not None for r in plain.requests)
    assert tally.e2e.counts.sum() == len(done)


def worst_minute(requests: Sequence[Request], good: AbstractSet[int]) -> float:
    arrived = Counter(int(request.arrival // 60) for request in requests)
    met = Counter(int(r.arrival // 60) for r in requests if r.index in good)
    return min(met[minute] / count for minute, count in arrived.items())


def minutes_agree(fast: FastPool, plain: Reference, now: float) -> None:
    """Each minute's counts are the same, and its percentiles about the same."""
    minutes = fast.minutes(now)
    last = max(1, math.ceil(now / 60)) - 1
    times: dict[str, list[list[float]]] = {
        name: [[] for _ in range(last + 1)] for name in ("ttft", "itl", "e2e")
    }
    for request in plain.requests:
        if request.first_token is not None:
            came = min(last, int(request.first_token // 60))
            times["ttft"][came].append(number(request.ttft_seconds))
        if request.finished is not None:
            ended = min(last, int(request.finished // 60))
            times["e2e"][ended].append(number(request.e2e_seconds))
            if request.itl_seconds is not None:
                times["itl"][ended].append(request.itl_seconds)
    for name, values in times.items():
        p95 = [float(np.percentile(minute, 95)) if minute else math.nan for minute in values]
        assert getattr(minutes, f"{name}_p95").tolist() == pytest.approx(
            p95, rel=0.016, nan_ok=True
        )
    arrived = np.bincount([int(request.arrival // 60) for request in plain.requests])
    assert minutes.arrived[: len(arrived)].tolist() == arrived.tolist()
    assert minutes.arrived.sum() == len(plain.requests)
    assert minutes.met.sum() == fast.tally(now).met
    assert (minutes.met <= minutes.arrived).all()


LIMITS = Limits(ttft=0.1713, itl=0.0217, e2e=0.4519)


def rescale_nodes(pool: FastPool | Reference, nodes: int, now: float) -> None:
    """As `SimulatedCluster.act` does."""
    if pool._nodes is not None:
        pool._nodes.scale(nodes, now)
        pool.use_nodes(now)
        pool.advance(now)


def play(world: SmallWorld, *, compiled: bool, every: float = 0.1371) -> FastPool:
    """Play a world to its end in both, comparing them as it goes."""
    fast, plain = world.fast(compiled=compiled, limits=LIMITS), world.reference()
    moved = [*world.scales, *(world.room.scales if world.room else ())]
    end = max([world.trace.seconds, *(at for at, _ in moved)])
    looks = [(at, None, None) for at in (np.arange(1, int(end / every) + 2) * every).tolist()]
    scales = [(at, replicas, None) for at, replicas in world.scales]
    nodes = [(at, None, size) for at, size in (world.room.scales if world.room else ())]
    for at, replicas, size in sorted([*looks, *scales, *nodes], key=lambda moment: moment[0]):
        fast.advance(at)
        plain.advance(at)
        for pool in (fast, plain):
            if replicas is not None:
                pool.scale(replicas, at)
            if size is not None:
                rescale_nodes(pool, size, at)
        agree(fast, plain, at)
    for pool in (fast, plain):
        rescale_nodes(pool, 6, at)
        pool.scale(2, at)
    later = at + 1000.0
    fast.advance(later)
    plain.advance(later)
    agree(fast, plain, later)
    minutes_agree(fast, plain, later)
    assert fast.steps == plain.steps
    assert fast.tally(later).unfinished == 0
    return fast


@BOTH
@given(world=small_worlds)
def test_agrees_on_small_worlds(compiled: bool, world: SmallWorld) -> None:
    play(world, compiled=compiled)


@pytest.mark.slow
@BOTH
@AT_LEAST_200
@given(world=small_worlds)
def test_agrees_on_hundreds_of_small_worlds(compiled: bool, world: SmallWorld) -> None:
    play(world, compiled=compiled)


@pytest.mark.slow
@BOTH
def test_agrees_on_busy_minutes_with_drains_cold_starts_and_preemptions(compiled: bool) -> None:
    played = play(busy_minutes(rate=6.0), compiled=compiled, every=29.71)

    assert played.tally(2000.0).preemptions > 10
    assert len(played.past) > 5


@pytest.mark.slow
@BOTH
def test_plain_and_compiled_engines_give_the_same_bytes(compiled: bool) -> None:
    world = busy_minutes(rate=2.0, seed=3)

    once, again = (played(world, compiled=mode) for mode in (compiled, False))

    assert once == again


def played(world: SmallWorld, *, compiled: bool, every: float = 400.0) -> bytes:
    """Everything about every request, as bytes."""
    fast = world.fast(compiled=compiled)
    for at in np.arange(1, int(400 / every) + 1) * every:
        fast.advance(float(at))
        fast.seen(float(at))
    return bytes(fast.details.tobytes())


@pytest.mark.slow
def test_looking_more_often_changes_nothing_at_all() -> None:
    world = busy_minutes(rate=2.0, seed=4)

    assert played(world, compiled=False) == played(world, compiled=False, every=0.977)


@BOTH
@given(world=small_worlds)
def test_the_tally_needs_no_details(compiled: bool, world: SmallWorld) -> None:
    kept = world.fast(compiled=compiled, limits=LIMITS)
    bare = world.fast(compiled=compiled, limits=LIMITS, detailed=False)
    for pool in (kept, bare):
        pool.advance(0.3)
        pool.scale(2, 0.3)
        pool.advance(100.0)

    assert len(bare.details) == 0
    assert replace(bare.tally(100.0), **same) == replace(kept.tally(100.0), **same)


same: dict[str, Any] = dict.fromkeys(("ttft", "itl", "e2e"))
"""Arrays have no single answer to whether they are equal."""


@given(world=small_worlds, pieces=st.integers(1, 6))
def test_a_trace_may_be_offered_piece_by_piece(world: SmallWorld, pieces: int) -> None:
    trace = world.trace
    whole, parts = world.fast(compiled=False), world.fast(compiled=False, offered=False)
    for at in np.array_split(np.arange(len(trace)), pieces):
        parts.offer(trace.arrivals[at], trace.prompt_tokens[at], trace.output_tokens[at])
        if len(at) and at[-1] % 2:
            parts.advance(float(trace.arrivals[at[-1]]))
    for pool in (whole, parts):
        pool.advance(100.0)

    assert parts.arrived == whole.arrived
    assert parts.details.tobytes() == whole.details.tobytes()
    assert parts.tally(100.0).worst_minute == whole.tally(100.0).worst_minute


@BOTH
def test_steps_that_grow_across_a_bucket_are_counted_on_both_sides(compiled: bool) -> None:
    """10.1 ms and 1 ms more with each token: 15 steps to 25 ms, the rest above."""
    world = a_world((0.0, 1, 100), step_seconds=0.0091, kv_token_seconds=1e-3, kv_tokens=200)

    fast = play(world, compiled=compiled, every=0.3331)

    assert fast.steps == 100
