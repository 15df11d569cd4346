"""The replica of `simulations.replica` and the pool of `simulations.pool`, without idle work.

The rules are those of the plain reference, and stand there. Here is how they are followed in a
fraction of the time:

- As long as no prompt is being read and nobody can be admitted, each step is longer than the one
  before by the same amount: with D sequences decoding, k steps take k*t + D*d*k*(k-1)/2 seconds.
  Such a stretch is carried out at once. It ends when a sequence ends or the KV cache is full, or
  with the step in which somebody is routed to the replica that might be admitted.
- A replica is looked after when its stretch ends, and not before: only then can its number of
  outstanding requests fall.
- Tournament trees know the replica whose stretch ends first, and the least loaded one.

Times are sums in another order than the reference's, and so differ in the last digits. Where two
things happen within that distance of each other, and not at the very same time, who is first may
differ.

Every function is plain Python, in the part of it that numba compiles. Only numbers travel.
"""

import math
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.fast.batch import advance, lasting, steps_begun, steps_within
from simulations.fast.counting import minute_of, tell
from simulations.fast.order import rise, seed
from simulations.fast.state import (
    COMPLETIONS,
    E2E,
    ITL,
    NOBODY,
    ONE_REQUEST,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    READY,
    STARTING,
    TTFT,
    World,
)
from simulations.trace import IntArray

CALLED_FROM_OUTSIDE: Final = ("run", "look", "seed_trees")


def run(world: World, until: float) -> bool:
    """Let time pass until `until`; return False when more flights are needed to go on.

    At one and the same moment steps end, then replicas become ready, then requests arrive.
    """
    pool, arrivals = world.pool[0], world.arrivals
    while True:
        arrival = arrivals[pool.upcoming] if pool.upcoming < len(arrivals) else math.inf
        now = min(arrival, pool.next_ready, until)
        settle(world, now)
        if pool.next_ready <= now:
            make_ready(world)
        elif arrival <= now:
            if pool.free_flight == NOBODY:
                return False
            arrive(world)
        elif pool.gateway == 0 or pool.ready == 0:
            return True
        # All that become ready at one moment share what has queued up.
        while pool.gateway and pool.ready and pool.next_ready > now:
            slot = pool.gateway_first
            pool.gateway_first = world.flights[slot].following
            pool.gateway -= 1
            world.flights[slot].following = NOBODY
            route(world, slot, now)


def settle(world: World, until: float) -> None:
    """Let the replicas whose number of outstanding requests may have changed compute."""
    while True:
        row = world.due_tree[1]
        if world.due[row] > until:
            return
        advance(world, row, until)
        rise(world.due_tree, world.due, row)
        one = world.replicas[row]
        if one.phase == READY:
            load = (one.waiting + one.running) * ONE_REQUEST + one.age
            if world.load[row] != load:
                world.load[row] = load
                rise(world.load_tree, world.load, row)


def arrive(world: World) -> None:
    """Put the next request at the gateway's end, or refuse it."""
    pool, law = world.pool[0], world.law[0]
    at = pool.upcoming
    pool.upcoming += 1
    now = world.arrivals[at]
    prompt, output = world.prompts[at], world.outputs[at]
    world.minutes[minute_of(now), 0] += 1
    if prompt + output > law.longest_request:
        pool.failed += 1
        if pool.detailed:
            world.details[pool.passed + at].failed = 1
        return
    slot = pool.free_flight
    flight = world.flights[slot]
    pool.free_flight = flight.following
    flight.index = pool.passed + at
    flight.following = NOBODY
    flight.prompt, flight.output = prompt, output
    flight.written = flight.read = flight.admitted = 0
    flight.arrival = now
    flight.first_token = math.nan
    flight.widest_gap = 0.0
    if pool.gateway == 0:
        pool.gateway_first = slot
    else:
        world.flights[pool.gateway_last].following = slot
    pool.gateway_last = slot
    pool.gateway += 1


def route(world: World, slot: int, now: float) -> None:
    """Give a request to the ready replica with the fewest outstanding ones, the oldest first."""
    row = world.load_tree[1]
    one, flight = world.replicas[row], world.flights[slot]
    flight.routed = now
    if world.pool[0].detailed:
        detail = world.details[flight.index]
        detail.routed = now
        detail.replica = one.number
    if one.waiting == 0:
        one.first_waiting = slot
    else:
        world.flights[one.last_waiting].following = slot
    one.last_waiting = slot
    one.waiting += 1
    world.load[row] += ONE_REQUEST
    rise(world.load_tree, world.load, row)
    if one.stretch == 0:
        one.clock = max(one.clock, now)
        world.due[row] = np.nextafter(one.clock, math.inf)
        rise(world.due_tree, world.due, row)
    elif one.stretch > 1 and one.waiting == 1 and one.running < world.law[0].max_sequences:
        # It may be admitted when the step in progress ends: the stretch ends there.
        one.stretch = steps_begun(one, now)
        one.ends = one.clock + lasting(one, one.stretch)
        world.due[row] = one.ends
        rise(world.due_tree, world.due, row)


def make_ready(world: World) -> None:
    """Let the next starting replica serve, the one asked for first among equals."""
    pool = world.pool[0]
    now, found = pool.next_ready, NOBODY
    following = math.inf
    for row in range(len(world.replicas)):
        one = world.replicas[row]
        if one.phase != STARTING:
            continue
        if one.ready_at > now:
            following = min(following, one.ready_at)
        elif found == NOBODY:
            found = row
        else:
            following = now
            if one.number < world.replicas[found].number:
                found = row
    pool.next_ready = following
    one = world.replicas[found]
    one.phase = READY
    one.clock = now
    one.age = pool.ages
    pool.ages += 1
    pool.ready += 1
    world.load[found] = one.age
    rise(world.load_tree, world.load, found)


def look(
    world: World, rows: IntArray, now: float, counters: FloatArray, gauges: FloatArray
) -> None:
    """Write down what a scrape at `now` sees of some replicas; time has passed until `now`.

    Args:
        world: The state; the tokens of steps that have ended are counted, nothing else changes.
        rows: Which replicas; shape (n,).
        now: Seconds.
        counters: Filled with prompt tokens, output tokens, completions, and the cumulative buckets
            of TTFT, ITL and E2E; shape (n, COUNTS - 1).
        gauges: Filled with waiting, running, KV places taken, seconds computed so far, whether it
            is ready (1 or 0), and since when; shape (n, GAUGES).
    """
    for at in range(len(rows)):
        row = rows[at]
        one = world.replicas[row]
        kv, busy = one.decode_kv + one.prompt_kv, one.busy_seconds
        if one.stretch:
            tell(world, row, steps_within(one, now))
            kv += one.decoding * steps_begun(one, now)
            busy += now - one.clock
        gauges[at, 0] = one.waiting
        gauges[at, 1] = one.running
        gauges[at, 2] = kv
        gauges[at, 3] = busy
        gauges[at, 4] = one.phase == READY
        gauges[at, 5] = one.ready_at
        counts = world.counts[row]
        counters[at, 0] = counts[PROMPT_TOKENS]
        counters[at, 1] = counts[OUTPUT_TOKENS]
        counters[at, 2] = counts[COMPLETIONS]
        total = 0
        for column in range(TTFT, len(counts)):
            if column in (TTFT, ITL, E2E):
                total = 0
            total += counts[column]
            counters[at, column - 1] = total


def seed_trees(world: World) -> None:
    """Play every game again, after replicas have come, gone, or changed their phase."""
    seed(world.due_tree, world.due)
    seed(world.load_tree, world.load)
