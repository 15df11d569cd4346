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
from simulations.fast.state import (
    COMPLETIONS,
    E2E,
    FLIGHT_BITS,
    FLIGHT_MASK,
    ITL,
    LOWEST_OCTAVE,
    NOBODY,
    OCTAVES,
    ONE_REQUEST,
    OUTPUT_TOKENS,
    PER_OCTAVE,
    PREEMPTIONS,
    PROMPT_TOKENS,
    READY,
    STARTING,
    TTFT,
    FlightRow,
    ReplicaRow,
    World,
)
from simulations.trace import IntArray

CALLED_FROM_OUTSIDE: Final = ("run", "look", "seed_trees")

# --- tournaments: node 1 is the winner, the leaves are the rows ---------------------------------


def rise_due(world: World, row: int) -> None:
    """Play the games of one replica again, after its due time has changed."""
    tree, due = world.due_tree, world.due
    node = (len(tree) >> 1) + row
    while node > 1:
        rival = tree[node ^ 1]
        winner = tree[node]
        if due[rival] < due[winner]:
            winner = rival
        node >>= 1
        if tree[node] == winner and winner != row:
            return
        tree[node] = winner


def rise_load(world: World, row: int) -> None:
    """Play the games of one replica again, after its load has changed."""
    tree, load = world.load_tree, world.load
    node = (len(tree) >> 1) + row
    while node > 1:
        rival = tree[node ^ 1]
        winner = tree[node]
        if load[rival] < load[winner]:
            winner = rival
        node >>= 1
        if tree[node] == winner and winner != row:
            return
        tree[node] = winner


def seed_trees(world: World) -> None:
    """Play every game."""
    leaves = len(world.due_tree) >> 1
    for row in range(leaves):
        world.due_tree[leaves + row] = row
        world.load_tree[leaves + row] = row
    for node in range(leaves - 1, 0, -1):
        one, other = world.due_tree[2 * node], world.due_tree[2 * node + 1]
        world.due_tree[node] = other if world.due[other] < world.due[one] else one
        one, other = world.load_tree[2 * node], world.load_tree[2 * node + 1]
        world.load_tree[node] = other if world.load[other] < world.load[one] else one


# --- heaps of finishes: the soonest is first -----------------------------------------------------


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


# --- counting ------------------------------------------------------------------------------------


def bucket(bounds: FloatArray, seconds: float) -> int:
    """Return the first bucket whose upper bound is not below a duration."""
    at = 0
    while bounds[at] < seconds:
        at += 1
    return at


def minute_of(seconds: float) -> int:
    """Return the whole minutes, exactly; the operator // is slow when compiled."""
    minute = int(seconds / 60.0)
    return minute - 1 if minute * 60.0 > seconds else minute


def fine_bucket(seconds: float) -> int:
    """Return the bucket of the fine durations."""
    if seconds <= 0.0:
        return 0
    mantissa, exponent = math.frexp(seconds)
    at = (exponent - LOWEST_OCTAVE) * PER_OCTAVE + int((mantissa - 0.5) * (2 * PER_OCTAVE))
    return min(max(at, 0), PER_OCTAVE * OCTAVES - 1)


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


def tell(world: World, row: int, upto: int) -> None:
    """Count the tokens of a stretch's decodes, up to its step `upto`."""
    one = world.replicas[row]
    step, decoding = one.told, one.decoding
    if upto <= step:
        return
    one.told = upto
    if decoding == 0:
        return
    counts, bounds = world.counts, world.itl_bounds
    counts[row, OUTPUT_TOKENS] += decoding * (upto - step)
    first, growth = one.first_seconds, one.growth_seconds
    at = bucket(bounds, first + growth * step)
    # Steps grow: those from `step` to before `past` fall into one bucket.
    while True:
        past = upto
        if first + growth * (upto - 1) > bounds[at]:
            past = max(step, int((bounds[at] - first) / growth))
            while past > step and first + growth * (past - 1) > bounds[at]:
                past -= 1
            while first + growth * past <= bounds[at]:
                past += 1
        counts[row, ITL + at] += decoding * (past - step)
        if past == upto:
            return
        step, at = past, at + 1


# --- a replica's steps ---------------------------------------------------------------------------


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
    if world.pool[0].detailed:
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


def judge(world: World, flight: FlightRow, finished: float) -> None:
    """Note which limits a finished request has met."""
    pool = world.pool[0]
    e2e = finished - flight.arrival
    ttft_met = flight.first_token - flight.arrival <= pool.ttft_limit
    e2e_met = e2e <= pool.e2e_limit
    itl_met = True
    world.durations[2, fine_bucket(e2e)] += 1
    if flight.output > 1:
        itl = (finished - flight.first_token) / (flight.output - 1)
        itl_met = itl <= pool.itl_limit
        world.durations[1, fine_bucket(itl)] += 1
    pool.finished += 1
    pool.ttft_met += 1 if ttft_met else 0
    pool.itl_met += 1 if itl_met else 0
    pool.e2e_met += 1 if e2e_met else 0
    if ttft_met and itl_met and e2e_met:
        pool.met += 1
        world.minutes[minute_of(flight.arrival), 1] += 1


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


# --- the pool ------------------------------------------------------------------------------------


def settle(world: World, until: float) -> None:
    """Let the replicas whose number of outstanding requests may have changed compute."""
    while True:
        row = world.due_tree[1]
        if world.due[row] > until:
            return
        advance(world, row, until)
        rise_due(world, row)
        one = world.replicas[row]
        if one.phase == READY:
            load = (one.waiting + one.running) * ONE_REQUEST + one.age
            if world.load[row] != load:
                world.load[row] = load
                rise_load(world, row)


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
    rise_load(world, row)
    if one.stretch == 0:
        one.clock = max(one.clock, now)
        world.due[row] = np.nextafter(one.clock, math.inf)
        rise_due(world, row)
    elif one.stretch > 1 and one.waiting == 1 and one.running < world.law[0].max_sequences:
        # It may be admitted when the step in progress ends: the stretch ends there.
        one.stretch = steps_begun(one, now)
        one.ends = one.clock + lasting(one, one.stretch)
        world.due[row] = one.ends
        rise_due(world, row)


def arrive(world: World) -> None:
    """Put the next request at the gateway's end, or refuse it."""
    pool, law = world.pool[0], world.law[0]
    at = pool.upcoming
    pool.upcoming += 1
    now = world.arrivals[at]
    prompt, output = world.prompts[at], world.outputs[at]
    world.minutes[minute_of(now), 0] += 1
    if prompt + output - 1 > law.kv_tokens:
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
    rise_load(world, found)


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
        while pool.gateway and pool.ready:
            slot = pool.gateway_first
            pool.gateway_first = world.flights[slot].following
            pool.gateway -= 1
            world.flights[slot].following = NOBODY
            route(world, slot, now)


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
        gauges: Filled with waiting, running, KV places taken, and seconds computed so far; shape
            (n, 4).
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
