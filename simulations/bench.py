"""How fast the simulator is here: `python -m simulations.bench`.

Every row serves the same requests with the compiled pool; with the whole control cycle around it;
and, the first of them, with the plain pool. The pool is looked at every 15 s of simulated time, as
a scrape does. On a machine that does other things too, the figures for a core-second are the ones
to compare.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from math import ceil, pi
from time import perf_counter, process_time
from typing import Final

import numpy as np

from autoscaler.config import load_fleet
from autoscaler.core.decision import Cycle
from autoscaler.core.observation import FloatArray
from autoscaler.core.planner import FleetState, plan_cycle
from autoscaler.core.spec import Bounds
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.plugins import load_combiner
from simulations.arrivals import Lengths
from simulations.fast.compile import can_compile
from simulations.fast.pool import FastPool
from simulations.pool import ReplicaPool
from simulations.profiles import profiles
from simulations.replay import replay
from simulations.request import Request
from simulations.trace import Trace

PROFILE: Final = "llama-3.1-8b/h100/tp1/bfloat16"
PRESET: Final = files("policies") / "presets" / "vllm-queue-latency.yaml"
SCRAPE_SECONDS: Final = 15.0
DAY: Final = 86_400.0
DAY_REQUESTS: Final = 3_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that resemble one of the traces that Azure published in 2023 (Splitwise, ISCA'24).

    Attributes:
        name: What they are.
        prompt: Prompt lengths, with the trace's median and 95th percentile.
        output: Output lengths, likewise.
        per_replica: Requests/s for each replica: about 70 % of what it can carry.
    """

    name: str
    prompt: Lengths
    output: Lengths
    per_replica: float

    def trace(self, arrivals: FloatArray, rng: np.random.Generator) -> Trace:
        """Return requests that arrive then."""
        count = len(arrivals)
        return Trace(
            self.name, arrivals, self.prompt.draw(count, rng), self.output.draw(count, rng)
        )

    def poisson(self, requests: int, replicas: int, rng: np.random.Generator) -> Trace:
        """Return requests at the rate that so many replicas carry."""
        gaps = rng.exponential(1 / (self.per_replica * replicas), requests)
        return self.trace(np.cumsum(gaps), rng)


LOADS: Final = (
    Load("conversation", Lengths(1020, 4083, 16_000), Lengths(129, 451, 2_000), 15.0),
    Load("code", Lengths(1469, 7303, 16_000), Lengths(13, 90, 2_000), 12.0),
)
REPLICAS: Final = (1, 16, 128)


@dataclass(frozen=True, slots=True)
class Speed:
    """One measurement.

    Attributes:
        requests: Requests simulated.
        steps: Engine steps simulated; 0 where nobody counted.
        seconds: How long it took.
        core_seconds: How long a core worked on it: less, where others wanted the core too.
    """

    requests: int
    steps: int
    seconds: float
    core_seconds: float

    @property
    def rate(self) -> float:
        """Requests per second of wall time."""
        return self.requests / self.seconds

    @property
    def core_rate(self) -> float:
        """Requests per second of one core."""
        return self.requests / self.core_seconds


class Watch:
    """Measures from its making."""

    def __init__(self) -> None:
        """Start."""
        self._wall, self._core = perf_counter(), process_time()

    def speed(self, requests: int, steps: int = 0) -> Speed:
        """Return how fast requests and steps were since the start."""
        wall, core = perf_counter() - self._wall, process_time() - self._core
        # Clocks tick: what took no time at all took less than a tick.
        return Speed(requests, steps, max(wall, 1e-6), max(core, 1e-6))


def fast(trace: Trace, replicas: int) -> Speed:
    """Serve a trace with the fast pool."""
    pool = FastPool("bench", profiles()[PROFILE], replicas, lambda: 0.0)
    pool.offer(trace.arrivals, trace.prompt_tokens, trace.output_tokens)
    watch, now = Watch(), 0.0
    while pool.to_come or pool.waiting or pool.running:
        now += SCRAPE_SECONDS
        pool.advance(now)
        pool.seen(now)
    return watch.speed(len(trace), pool.steps)


def plain(trace: Trace, replicas: int, requests: int) -> Speed:
    """Serve the first requests of a trace with the plain pool, step by step."""
    pool = ReplicaPool("bench", profiles()[PROFILE], replicas, lambda: 0.0)
    columns = (trace.arrivals, trace.prompt_tokens, trace.output_tokens)
    rows = [*zip(*(column[:requests].tolist() for column in columns), strict=True)]
    watch = Watch()
    for index, (arrival, prompt, output) in enumerate(rows):
        pool.advance(arrival)
        pool.arrive(Request(index, arrival, prompt, output), arrival)
    pool.advance(rows[-1][0] + 3600.0)
    return watch.speed(len(rows))


def the_workload(least: int, most: int) -> ScaledWorkload:
    """Return the preset's workload with these bounds, on the replicas of the benchmark."""
    with as_file(PRESET) as path:
        (workload,) = load_fleet([path]).workloads
    replica = workload.spec.replica.model_copy(
        update={"profile": PROFILE, "gpus": 1, "cold_start_seconds": 120.0}
    )
    changes = {"replicas": Bounds(min=least, max=most), "replica": replica}
    return workload.model_copy(update={"spec": workload.spec.model_copy(update=changes)})


def governed(trace: Trace, least: int, most: int) -> Speed:
    """Serve a trace under the preset's policies, with all that a replay does."""
    workload = the_workload(least, most)
    watch = Watch()
    replay(trace, workload)
    return watch.speed(len(trace))


class Tape:
    """A journal that keeps the cycles in memory."""

    def __init__(self) -> None:
        """Begin empty."""
        self.cycles: list[Cycle] = []

    def record(self, cycle: Cycle) -> None:
        """Keep one cycle."""
        self.cycles.append(cycle)


def decisions(load: Load, seconds: float, rng: np.random.Generator) -> Speed:
    """Decide again what a replay decided, from the same snapshots: `plan_cycle` alone."""
    workload, tape = the_workload(1, 64), Tape()
    replay(load.poisson(ceil(8 * load.per_replica * seconds), 8, rng), workload, journal=tape)
    combine = workload.spec.combine
    fleet, state = FleetSpec((workload,), {combine: load_combiner(combine)}), FleetState()
    watch = Watch()
    for cycle in tape.cycles:
        _, state = plan_cycle(fleet, state, cycle.snapshot)
    return watch.speed(len(tape.cycles))


def start_up(*arguments: str) -> float:
    """Return how long the command takes with these arguments, in seconds."""
    began = perf_counter()
    command = [sys.executable, "-m", "autoscaler", *arguments]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # our own command
    return perf_counter() - began


def a_day(load: Load, requests: int, rng: np.random.Generator) -> Trace:
    """Return a day that is quiet at its ends and six times as busy at noon."""
    edges = np.linspace(0.0, DAY, 1441)
    expected = np.cumsum(1 - 5 / 7 * np.cos(2 * pi * edges / DAY))
    marks = np.sort(rng.uniform(expected[0], expected[-1], requests))
    return load.trace(np.interp(marks, expected, edges), rng)


def several_days(load: Load, days: int, requests: int, rng: np.random.Generator) -> Trace:
    """Return days like `a_day`, each with so many requests."""
    total = days * requests
    arrivals = np.empty(total)
    prompts, outputs = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    for day in range(days):
        one, part = a_day(load, requests, rng), slice(day * requests, (day + 1) * requests)
        arrivals[part] = one.arrivals + day * DAY
        prompts[part], outputs[part] = one.prompt_tokens, one.output_tokens
    for column in (arrivals, prompts, outputs):
        column.flags.writeable = False  # a trace does not copy what is frozen
    return Trace(f"{days} days of {load.name}", arrivals, prompts, outputs)


def autoscaled(trace: Trace, load: Load) -> tuple[Speed, int]:
    """Serve a trace with a pool that follows its load every 15 s; return its most replicas, too."""
    pool = FastPool("bench", profiles()[PROFILE], 2, lambda: 120.0)
    pool.offer(trace.arrivals, trace.prompt_tokens, trace.output_tokens)
    watch, now, arrived = Watch(), 0.0, 0
    while pool.to_come or pool.waiting or pool.running:
        now += SCRAPE_SECONDS
        pool.advance(now)
        pool.seen(now)
        rate = (pool.arrived - arrived) / SCRAPE_SECONDS
        arrived = pool.arrived
        pool.scale(max(2, ceil(rate / load.per_replica)), now)
    return watch.speed(len(trace), pool.steps), pool.most


def best(tries: Sequence[Speed]) -> Speed:
    """Return the fastest of several tries: the others were disturbed."""
    return min(tries, key=lambda speed: speed.seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m simulations.bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000, help="for each row")
    parser.add_argument("--plain-requests", type=int, default=2_000, help="of them, served plainly")
    parser.add_argument("--decide-seconds", type=float, default=14_400.0, help="simulated")
    parser.add_argument("--tries", type=int, default=3, help="the best one counts")
    parser.add_argument(
        "--days", type=int, default=0, help="only this many days under the policy, such as 14"
    )
    parser.add_argument("--day-requests", type=int, default=DAY_REQUESTS, help="in each of them")
    chosen = parser.parse_args(arguments)
    began = perf_counter()
    FastPool("bench", profiles()[PROFILE], 1, lambda: 0.0)
    started = perf_counter() - began
    how = "compiled" if can_compile() else "not compiled: numba is not installed"
    _print(f"profile {PROFILE}; fast pool {how}; ready after {started:.1f} s")
    _print("")
    rng = np.random.default_rng(1)
    if chosen.days:
        _report_days(LOADS[0], chosen.days, chosen.day_requests, rng)
        return
    _print(
        f"{'lengths':<13} {'replicas':>8} {'requests':>10} {'requests/s':>11} "
        f"{'a core-second':>14} {'with a policy':>14} {'steps/s':>11} {'plain':>7} {'times':>6}"
    )
    for load in LOADS:
        for replicas in REPLICAS:
            trace = load.poisson(chosen.requests, replicas, rng)
            quick = best([fast(trace, replicas) for _ in range(chosen.tries)])
            whole = governed(trace, replicas, replicas)
            slow = plain(trace, replicas, chosen.plain_requests)
            _print(
                f"{load.name:<13} {replicas:>8} {quick.requests:>10,} {quick.rate:>11,.0f} "
                f"{quick.core_rate:>14,.0f} {whole.core_rate:>14,.0f} "
                f"{quick.steps / quick.seconds:>11,.0f} {slow.core_rate:>7,.0f} "
                f"{quick.core_rate / slow.core_rate:>6,.0f}"
            )
    _print("")
    _report_day(LOADS[0], min(chosen.day_requests, 3 * chosen.requests), rng)
    made = best([decisions(LOADS[0], chosen.decide_seconds, rng) for _ in range(chosen.tries)])
    _print(
        f"decisions: {made.rate:,.0f}/s ({made.core_rate:,.0f} a core-second), "
        f"{made.requests:,} of one workload with {PRESET.name}"
    )
    with as_file(PRESET) as path:
        for command in (("--help",), ("check", str(path))):
            seconds = min(start_up(*command) for _ in range(chosen.tries))
            _print(f"autoscaler {command[0]}: {seconds:.2f} s")
    _print(_peak_memory())


def _report_day(load: Load, requests: int, rng: np.random.Generator) -> None:
    day = a_day(load, requests, rng)
    speed, most = autoscaled(day, load)
    _print(
        f"a day of {speed.requests:,} {load.name} requests, looked at and scaled every "
        f"{SCRAPE_SECONDS:.0f} s:"
    )
    whole = governed(day, 2, 64)
    for how, one in ((f"to the arrivals, 2 to {most} replicas", speed), (PRESET.name, whole)):
        _print(
            f"  {how}: {one.seconds:.1f} s ({one.rate:,.0f} requests/s, "
            f"{one.core_rate:,.0f} a core-second)"
        )


def _report_days(load: Load, days: int, requests: int, rng: np.random.Generator) -> None:
    trace = several_days(load, days, requests, rng)
    one = governed(trace, 2, 64)
    cycles = ceil(days * DAY / SCRAPE_SECONDS)
    _print(
        f"{days} days of {len(trace):,} {load.name} requests under {PRESET.name}, "
        f"2 to 64 replicas: {one.core_seconds:.1f} s of one core, {one.seconds:.1f} s in all; "
        f"{cycles:,} cycles, "
        f"{one.core_seconds / cycles * 1000:.2f} ms of a core for each, its requests included"
    )
    _print(_peak_memory())


def _peak_memory() -> str:
    return f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
