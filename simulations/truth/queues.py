"""The simulator against queueing theory: seats as servers, with exponential service.

A step of constant length makes a replica a queue: an answer of n tokens holds a seat for n steps,
whatever else is in the batch. Geometric lengths make the service as good as exponential, so that
one replica with c seats, and Poisson arrivals, is an M/M/c queue. Time is in steps, which are short
beside a service of 1 s; a wait of less than one step is the way to the step's end and no wait.

Several replicas of one seat each, where requests join the least loaded, are "join the shortest
queue": it waits longer than M/M/c, whose servers share one queue, and approaches it as the load
approaches 1 (Foschini and Salz 1978). For two of them the Markov chain is solved.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.fast.compile import can_compile
from simulations.profiles import Profile
from simulations.trace import Trace
from simulations.truth.rows import Row, one
from simulations.truth.served import Served, served_fast, served_plainly

SEEDS: Final = 20
T999: Final = 3.883
"""Student's t, 99.9 % two-sided, with one degree of freedom less than `SEEDS`."""
SERVICE_SECONDS: Final = 1.0
FEWEST: Final = 10
"""Requests for each seed."""
WARM_UP: Final = 0.1
"""Share of the requests at the beginning that are not counted."""

STEP_SECONDS: Final = 1e-5
PLAIN_STEP_SECONDS: Final = 0.01
"""Longer, for the plain reference carries every step out."""

SEATS: Final = (1, 4, 16)
LOADS: Final = (0.5, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Waits:
    """What the waits of one queue are like.

    Attributes:
        mean: Seconds, over all requests.
        share: Of the requests, those that wait.
    """

    mean: float
    share: float


def erlang_c(seats: int, load: float) -> Waits:
    """Return the waits of M/M/c, first come, first served (Erlang 1917).

    Args:
        seats: c, the servers.
        load: Arrival rate over the rate of all servers, below 1.
    """
    offered, blocked = seats * load, 1.0
    for busy in range(1, seats + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    share = blocked / (1 - load * (1 - blocked))
    return Waits(share * SERVICE_SECONDS / (seats * (1 - load)), share)


def shortest_of_two(load: float, longest: int = 60) -> Waits:
    """Return the waits of two servers with a queue each, where requests join the shorter one.

    The Markov chain of both lengths is cut off at `longest` and solved.
    """
    states = [(i, j) for i in range(longest + 1) for j in range(i + 1)]  # i is the longer one
    at = {state: index for index, state in enumerate(states)}
    rates = np.zeros((len(states), len(states)))
    for (i, j), here in at.items():
        joined = (max(i, j + 1), min(i, j + 1))
        moves = [(joined, 2 * load)] if joined in at else []
        moves += [((max(i - 1, j), min(i - 1, j)), 1.0)] if i else []
        moves += [((i, j - 1), 1.0)] if j else []
        for there, rate in moves:
            rates[at[there], here] += rate
            rates[here, here] -= rate
    rates[0] = 1.0  # the probabilities add up to 1
    chances = np.linalg.solve(rates, np.eye(1, len(states))[0])
    queued = [max(i - 1, 0) + max(j - 1, 0) for i, j in states]
    waits = [j > 0 for _, j in states]
    mean = float(np.dot(chances, queued)) / (2 * load) * SERVICE_SECONDS
    return Waits(mean, float(np.dot(chances, waits)))


def seats_alone(seats: int, step_seconds: float) -> Profile:
    """Return a replica that is nothing but `seats` servers: every step takes as long."""
    return Profile(
        name=f"{seats} seats",
        gpus=1,
        step_seconds=step_seconds,
        token_seconds=0.0,
        free_tokens=0,
        sequence_seconds=0.0,
        kv_token_seconds=0.0,
        kv_token_seconds_mixed=0.0,
        attended_seconds=0.0,
        kv_tokens=1 << 40,
        max_sequences=seats,
        step_tokens=2 * seats,
        overhead_seconds=0.0,
    )


def exponential(
    count: int, servers: int, load: float, step_seconds: float, rng: np.random.Generator
) -> Trace:
    """Return Poisson arrivals with one-token prompts and geometric answers."""
    gaps = rng.exponential(SERVICE_SECONDS / (servers * load), count)
    answers = rng.geometric(step_seconds / SERVICE_SECONDS, count).astype(np.int64)
    return Trace("exponential", np.cumsum(gaps), np.ones(count, dtype=np.int64), answers)


def waits_of(served: Served, step_seconds: float) -> Waits:
    """Return what waits there were, once the queue had filled."""
    waits = served.waits[int(WARM_UP * len(served.trace)) :]
    long = waits > step_seconds * (1 + 1e-6)
    return Waits(float(np.mean(np.where(long, waits, 0.0))), float(np.mean(long)))


def simulated(
    replicas: int,
    seats: int,
    load: float,
    *,
    requests: int,
    step_seconds: float = STEP_SECONDS,
    plain: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Return mean wait and share of waits, one of each for every seed."""
    profile = seats_alone(seats, step_seconds)
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, replicas, seats, round(100 * load)])
        trace = exponential(requests, replicas * seats, load, step_seconds, rng)
        if plain:
            served = served_plainly(profile, replicas, trace)
        else:
            served, _ = served_fast(profile, replicas, trace)
        found.append(waits_of(served, step_seconds))
    means = np.array([waits.mean for waits in found])
    return means, np.array([waits.share for waits in found])


def one_replica(seats: int, load: float, requests: int) -> list[Row]:
    """Compare one replica of so many seats with Erlang C; `requests` for each seed."""
    pair = simulated(1, seats, load, requests=requests)
    basis = f"M/M/{seats} at {load:g}, one replica"
    return _pair("Erlang C", basis, requests, erlang_c(seats, load), pair)


def plain_reference(requests: int) -> list[Row]:
    """Compare the plain reference with Erlang C; `requests` for each seed."""
    pair = simulated(1, 1, 0.5, requests=requests, step_seconds=PLAIN_STEP_SECONDS, plain=True)
    return _pair("Erlang C", "M/M/1 at 0.5, plain reference", requests, erlang_c(1, 0.5), pair)


def two_replicas(load: float, requests: int) -> list[Row]:
    """Compare two replicas of one seat with the Markov chain; `requests` for each seed."""
    pair = simulated(2, 1, load, requests=requests)
    basis = f"2 replicas of 1 seat at {load:g}, Markov chain"
    return _pair("shortest queue", basis, requests, shortest_of_two(load), pair)


def many_replicas(replicas: int, load: float, requests: int) -> list[Row]:
    """Compare replicas of one seat with the queue that they approach; `requests` for each seed."""
    pair = simulated(replicas, 1, load, requests=requests)
    basis = f"{replicas} replicas of 1 seat at {load:g}, M/M/{replicas} (the limit)"
    return _pair("shared queue", basis, requests, erlang_c(replicas, load), pair)


def rows(requests: int) -> list[Row]:
    """Compare with theory.

    Args:
        requests: For each seed and queue, where the engine is compiled; else a tenth of it.
    """
    requests = requests if can_compile() else max(FEWEST, requests // 10)
    found = [one_replica(seats, load, requests) for seats in SEATS for load in LOADS]
    found.append(plain_reference(max(FEWEST, requests // 50)))
    found += [two_replicas(load, requests) for load in LOADS]
    found += [many_replicas(count, load, requests) for count in (4, 16) for load in (0.8, 0.95)]
    return [row for pair in found for row in pair]


def _pair(
    check: str, basis: str, requests: int, theory: Waits, found: tuple[FloatArray, FloatArray]
) -> list[Row]:
    return [
        one(
            check,
            basis,
            figure,
            SEEDS * requests,
            truth,
            float(np.mean(values)),
            spread=T999 * float(np.std(values, ddof=1)) / sqrt(SEEDS),
        )
        for figure, truth, values in (
            ("mean wait, s", theory.mean, found[0]),
            ("share that waits", theory.share, found[1]),
        )
    ]
