"""What is counted: the buckets of a replica's metrics, and how users were served."""

import math

from autoscaler.core.observation import FloatArray
from simulations.fast.state import (
    ITL,
    LOWEST_OCTAVE,
    OCTAVES,
    OUTPUT_TOKENS,
    PER_OCTAVE,
    FlightRow,
    World,
)


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
