"""One replica's batch: stretches of steps that are alike, and what happens between them."""

import math

import numpy as np

from simulations.fast.counting import bucket, fine_bucket, judge, tell
from simulations.fast.order import lift, sink, take_out
from simulations.fast.state import (
    COMPLETIONS,
    E2E,
    FLIGHT_BITS,
    FLIGHT_MASK,
    ITL,
    NOBODY,
    OUTPUT_TOKENS,
    PREEMPTIONS,
    PROMPT_TOKENS,
    TTFT,
    ReplicaRow,
    World,
)


def lasting(one: ReplicaRow, steps: int) -> float:
    """Return how long the first `steps` steps of a stretch take."""
    return steps * one.first_seconds + one.growth_seconds * (0.5 * steps * (steps - 1))


def steps_within(one: ReplicaRow, now: float) -> int:
    """Return how many steps of a stretch have ended by `now`, which is before its end."""
    passed = now - one.clock
    most = one.stretch - 1
    if most == 0 or passed <= 0.0:
        return 0
    # The root of the quadratic, in the form that is stable when steps hardly grow.
    half = one.first_seconds - 0.5 * one.growth_seconds
    root = half + math.sqrt(half * half + 2.0 * one.growth_seconds * passed)
    steps = min(most, int(2.0 * passed / root))
    while steps < most and one.clock + lasting(one, steps + 1) <= now:
        steps += 1
    while steps > 0 and one.clock + lasting(one, steps) > now:
        steps -= 1
    return steps


def steps_begun(one: ReplicaRow, now: float) -> int:
    """Return how many steps of a stretch began before `now`, which is before its end."""
    steps = steps_within(one, now)
    return steps + 1 if one.clock + lasting(one, steps) < now else steps


def begin_stretch(world: World, row: int) -> None:
    """Begin the next step, and those that are sure to be like it."""
    one, law = world.replicas[row], world.law[0]
    while one.decoding and one.decode_kv + one.prompt_kv + one.decoding > law.kv_tokens:
        preempt_youngest(world, row)
    decoding = one.decoding
    kv_read = one.decode_kv + decoding
    budget = law.step_tokens - decoding
    left, attended = budget, 0.0
    slot = one.partial
    while left > 0:
        if slot == NOBODY:
            slot = admit(world, row, kv_read)
            if slot == NOBODY:
                break
        flight = world.flights[slot]
        piece = min(left, flight.to_read - flight.read)
        attended += piece * (flight.read + 0.5 * piece)
        flight.read += piece
        left -= piece
        if flight.read < flight.to_read:
            break
        one.read_to_end += 1
        slot = NOBODY
    one.partial = slot
    tokens = budget - left
    costly = tokens + decoding - law.free_tokens
    per_kv = law.kv_token_seconds_mixed if tokens else law.kv_token_seconds
    one.first_seconds = (
        law.step_seconds
        + (law.token_seconds * costly if costly > 0 else 0.0)
        + law.sequence_seconds * decoding
        + per_kv * kv_read
        + law.attended_seconds * attended
    )
    one.told = 0
    if tokens:
        one.stretch = 1
        one.growth_seconds = 0.0
    else:
        to_finish = (world.finishes[row, 0] >> FLIGHT_BITS) - one.steps
        to_full = (law.kv_tokens - one.decode_kv) // decoding
        one.stretch = min(to_finish, to_full)
        one.growth_seconds = per_kv * decoding
    one.ends = one.clock + lasting(one, one.stretch)


def preempt_youngest(world: World, row: int) -> None:
    """Put the sequence admitted last back to the head of the wait list."""
    one = world.replicas[row]
    slot = one.youngest
    flight = world.flights[slot]
    one.youngest = flight.older
    if flight.older != NOBODY:
        world.flights[flight.older].younger = NOBODY
    one.running -= 1
    if slot == one.partial:
        one.partial = NOBODY
        one.prompt_kv -= flight.to_read
    else:
        take_out(world.finishes[row], one.decoding, slot)
        one.decoding -= 1
        flight.written = flight.output - (flight.last_step - one.steps)
        one.decode_kv -= flight.prompt + flight.written - 1
        flight.last_token = one.clock
    flight.read = 0
    world.counts[row, PREEMPTIONS] += 1
    world.pool[0].preemptions += 1
    if world.pool[0].detailed:
        world.details[flight.index].preemptions += 1
    if one.waiting == 0:
        one.last_waiting = slot
    flight.following = one.first_waiting
    one.first_waiting = slot
    one.waiting += 1


def admit(world: World, row: int, kv_used: int) -> int:
    """Move the head of the wait list into the batch, if there is a seat and room."""
    one, law = world.replicas[row], world.law[0]
    if one.waiting == 0 or one.running >= law.max_sequences:
        return NOBODY
    slot = one.first_waiting
    flight = world.flights[slot]
    flight.to_read = flight.prompt + flight.written
    if kv_used + one.prompt_kv + flight.to_read > law.kv_tokens:
        return NOBODY
    one.first_waiting = flight.following
    one.waiting -= 1
    flight.older = one.youngest
    flight.younger = NOBODY
    if one.youngest != NOBODY:
        world.flights[one.youngest].younger = slot
    one.youngest = slot
    one.running += 1
    one.prompt_kv += flight.to_read
    if flight.admitted == 0:
        flight.admitted = 1
        world.pool[0].waited_seconds += one.clock - flight.arrival
        if world.pool[0].detailed:
            world.details[flight.index].admitted = one.clock
    return slot


def end_stretch(world: World, row: int) -> None:
    """Give everybody the tokens of the steps that have ended."""
    one = world.replicas[row]
    tell(world, row, one.stretch)
    longest = one.first_seconds + one.growth_seconds * (one.stretch - 1)
    one.steps += one.stretch
    one.busy_seconds += lasting(one, one.stretch)
    one.decode_kv += one.decoding * one.stretch
    one.clock = one.ends
    one.stretch = 0
    if world.pool[0].gaps:
        widen_gaps(world, row, longest)
    heap = world.finishes[row]
    while one.decoding and heap[0] >> FLIGHT_BITS <= one.steps:
        slot = heap[0] & FLIGHT_MASK
        one.decoding -= 1
        sink(heap, one.decoding, 0, heap[one.decoding])
        flight = world.flights[slot]
        one.decode_kv -= flight.prompt + flight.output - 1
        finish(world, row, slot)
    if one.read_to_end:
        slot = one.youngest
        if one.partial != NOBODY:
            slot = world.flights[slot].older
        while one.read_to_end:
            one.read_to_end -= 1
            older = world.flights[slot].older
            if give_first_token(world, row, slot):
                finish(world, row, slot)
            slot = older


def widen_gaps(world: World, row: int, longest: float) -> None:
    """Note the longest step of a stretch for every sequence that decoded in it."""
    one = world.replicas[row]
    slot = one.youngest
    behind = one.read_to_end + (1 if one.partial != NOBODY else 0)
    while slot != NOBODY:
        flight = world.flights[slot]
        if behind > 0:
            behind -= 1
        else:
            flight.widest_gap = max(flight.widest_gap, longest)
        slot = flight.older


def give_first_token(world: World, row: int, slot: int) -> bool:
    """Give the token that reading a prompt brings; return whether it is the last one."""
    one, flight = world.replicas[row], world.flights[slot]
    counts = world.counts
    one.prompt_kv -= flight.to_read
    flight.written += 1
    counts[row, OUTPUT_TOKENS] += 1
    if math.isnan(flight.first_token):
        flight.first_token = one.clock + world.law[0].overhead_seconds
        counts[row, PROMPT_TOKENS] += flight.prompt
        counts[row, TTFT + bucket(world.ttft_bounds, flight.first_token - flight.routed)] += 1
        world.durations[0, fine_bucket(flight.first_token - flight.arrival)] += 1
        if world.pool[0].detailed:
            world.details[flight.index].first_token = flight.first_token
    else:
        gap = one.clock - flight.last_token
        flight.widest_gap = max(flight.widest_gap, gap)
        counts[row, ITL + bucket(world.itl_bounds, gap)] += 1
    left = flight.output - flight.written
    if left == 0:
        return True
    one.decode_kv += flight.to_read
    flight.last_step = one.steps + left
    lift(world.finishes[row], one.decoding, (flight.last_step << FLIGHT_BITS) | slot)
    one.decoding += 1
    return False


def finish(world: World, row: int, slot: int) -> None:
    """Take a sequence that has all its tokens out of the batch, and free its flight."""
    one, flight, pool = world.replicas[row], world.flights[slot], world.pool[0]
    if flight.younger != NOBODY:
        world.flights[flight.younger].older = flight.older
    else:
        one.youngest = flight.older
    if flight.older != NOBODY:
        world.flights[flight.older].younger = flight.younger
    one.running -= 1
    finished = one.clock + world.law[0].overhead_seconds
    world.counts[row, COMPLETIONS] += 1
    world.counts[row, E2E + bucket(world.e2e_bounds, finished - flight.routed)] += 1
    judge(world, flight, finished)
    if pool.detailed:
        detail = world.details[flight.index]
        detail.finished = finished
        detail.widest_gap = flight.widest_gap
    flight.index = NOBODY
    flight.following = pool.free_flight
    pool.free_flight = slot


def advance(world: World, row: int, until: float) -> None:
    """Carry out every step that ends by `until`, and begin those that begin before it."""
    one = world.replicas[row]
    while True:
        if one.stretch:
            if one.ends > until:
                world.due[row] = one.ends
                return
            end_stretch(world, row)
        if one.running == 0 and one.waiting == 0:
            world.due[row] = math.inf
            return
        if one.clock >= until:
            # The next step begins with the first look after this moment.
            world.due[row] = np.nextafter(one.clock, math.inf)
            return
        begin_stretch(world, row)
