"""Room for the fast simulator's state: it begins small, and is doubled where it is not enough."""

import math
from typing import Any, Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.fast import state
from simulations.fast.state import World, table
from simulations.fast.tally import Limits
from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS
from simulations.profiles import Profile
from simulations.trace import IntArray

FEW_REPLICAS: Final = 4
FEW_FLIGHTS: Final = 1024
LONGEST_SECONDS: Final = 366 * 86_400.0


def first_world(profile: Profile, limits: Limits, *, detailed: bool, gaps: bool = False) -> World:
    """Return a world without replicas and requests.

    Raises:
        ValueError: A number of the profile's step law is negative: then the steps of a stretch
            would not grow.
    """
    law = table(state.LawRow, 1)
    for name in state.LawRow.__annotations__:
        law[name] = getattr(profile, name)
    if min(law[0].tolist()) < 0:
        raise ValueError(f"{profile.name}: no number of the step law should be negative")
    nothing = _frozen(np.zeros(0), np.dtype(np.float64))
    no_tokens = _frozen(np.zeros(0), np.dtype(np.int64))
    return with_more_flights(
        World(
            law=law,
            pool=_pool_row(limits, detailed=detailed, gaps=detailed and gaps),
            replicas=replica_rows(FEW_REPLICAS),
            flights=table(state.FlightRow, 0),
            finishes=np.zeros((FEW_REPLICAS, profile.max_sequences), dtype=np.int64),
            counts=np.zeros((FEW_REPLICAS, state.COUNTS), dtype=np.int64),
            due=np.full(FEW_REPLICAS, math.inf),
            due_tree=np.zeros(2 * FEW_REPLICAS, dtype=np.int64),
            load=np.full(FEW_REPLICAS, state.UNROUTABLE),
            load_tree=np.zeros(2 * FEW_REPLICAS, dtype=np.int64),
            arrivals=nothing,
            prompts=no_tokens,
            outputs=no_tokens,
            minutes=np.zeros((0, 2), dtype=np.int64),
            durations=np.zeros((3, state.BUCKETS), dtype=np.int64),
            details=table(state.DetailRow, 0),
            ttft_bounds=np.array(TTFT_BOUNDS),
            itl_bounds=np.array(ITL_BOUNDS),
            e2e_bounds=np.array(E2E_BOUNDS),
        )
    )


def with_requests(
    world: World, arrivals: FloatArray, prompts: IntArray, outputs: IntArray, *, after: float
) -> World:
    """Let these requests arrive after those that have not arrived yet, and not before `after`.

    Raises:
        ValueError: They are not rows of a trace, or do not come after the others.
    """
    pool = world.pool[0]
    at = pool.upcoming
    last = float(world.arrivals[-1]) if at < len(world.arrivals) else after
    # Compiled code does not look whether it is inside its arrays: this has to be right.
    if not len(arrivals) == len(prompts) == len(outputs):
        raise ValueError("the columns of a trace should have one length")
    if len(arrivals):
        if not np.all(arrivals[1:] >= arrivals[:-1]) or not last <= arrivals[0] <= arrivals[-1]:
            raise ValueError(f"arrivals should not fall, and not be before {last:g} s")
        if arrivals[-1] > LONGEST_SECONDS:
            raise ValueError(f"arrivals should be within a year, not {arrivals[-1]:g} s")
        if min(np.min(prompts), np.min(outputs)) < 1:
            raise ValueError("every request should have at least one token each way")
    columns = [
        _frozen(np.concatenate((old[at:], new)) if at < len(old) else new, old.dtype)
        for old, new in zip(
            (world.arrivals, world.prompts, world.outputs),
            (arrivals, prompts, outputs),
            strict=True,
        )
    ]
    requests = len(columns[0])
    pool.passed += at
    pool.upcoming = 0
    minutes = int(columns[0][-1] // 60) + 1 if requests else 0
    return world._replace(
        arrivals=columns[0],
        prompts=columns[1],
        outputs=columns[2],
        minutes=_longer(world.minutes, minutes),
        details=_with_details(world.details, pool.passed + requests if pool.detailed else 0),
    )


def with_more_flights(world: World) -> World:
    """Double the room for requests in flight.

    Raises:
        MemoryError: There would be more of them than can be numbered.
    """
    before, pool = len(world.flights), world.pool[0]
    after = max(FEW_FLIGHTS, 2 * before)
    if after > state.MOST_FLIGHTS:
        raise MemoryError(f"more than {before:,} requests are in flight: the pool is too small")
    more = table(state.FlightRow, after - before)
    more["index"] = state.NOBODY
    more["following"] = np.arange(before + 1, after + 1)
    more["following"][-1] = pool.free_flight
    pool.free_flight = before
    return world._replace(flights=_joined(world.flights, more))


def with_more_replicas(world: World) -> World:
    """Double the room for replicas; the trees have to be seeded then."""
    before = len(world.replicas)
    return world._replace(
        replicas=_joined(world.replicas, replica_rows(before)),
        finishes=_longer(world.finishes, 2 * before),
        counts=_longer(world.counts, 2 * before),
        due=np.append(world.due, np.full(before, math.inf)),
        load=np.append(world.load, np.full(before, state.UNROUTABLE)),
        due_tree=np.zeros(4 * before, dtype=np.int64),
        load_tree=np.zeros(4 * before, dtype=np.int64),
    )


def replica_rows(rows: int) -> Any:
    """Return rows in which no replica stands."""
    replicas = table(state.ReplicaRow, rows)
    for name in ("first_waiting", "last_waiting", "youngest", "partial"):
        replicas[name] = state.NOBODY
    return replicas


def _pool_row(limits: Limits, *, detailed: bool, gaps: bool) -> Any:
    pool = table(state.PoolRow, 1)
    one = pool[0]
    one.free_flight = one.gateway_first = one.gateway_last = state.NOBODY
    one.next_ready = math.inf
    one.detailed, one.gaps = int(detailed), int(gaps)
    one.ttft_limit, one.itl_limit, one.e2e_limit = limits.ttft, limits.itl, limits.e2e
    return pool


def _with_details(details: Any, requests: int) -> Any:
    more = table(state.DetailRow, max(0, requests - len(details)))
    more["replica"] = state.NOBODY
    for name in ("routed", "admitted", "first_token", "finished", "widest_gap"):
        more[name] = math.nan
    return _joined(details, more)


def _frozen(column: Any, kind: np.dtype[Any]) -> Any:
    """Return an array that cannot be written to, as traces' arrays cannot: one type to compile."""
    array = np.ascontiguousarray(column, dtype=kind).view()
    array.flags.writeable = False
    return array


def _longer(array: IntArray, rows: int) -> IntArray:
    """Return an array with at least `rows` rows, new ones full of zeros."""
    missing = max(0, rows - len(array))
    return np.concatenate((array, np.zeros((missing, *array.shape[1:]), dtype=array.dtype)))


def _joined(rows: Any, more: Any) -> Any:
    # Concatenating forgets that rows are records.
    return np.concatenate((rows, more)).view(rows.dtype)
