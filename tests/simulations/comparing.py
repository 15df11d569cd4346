"""Small worlds for what compares runs: traffic with one burst, and slow replicas."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from autoscaler.core.policy import Policy
from autoscaler.core.spec import Slo
from autoscaler.core.workload import ScaledWorkload
from policies.reactive.queue_drain import QueueDrain
from policies.reactive.target_tracking import TargetTracking
from simulations.arrivals import Lengths, Traffic, synthesize
from simulations.compare import compare
from simulations.run import Settings
from simulations.runs import Candidate, Comparison
from simulations.trace import Trace
from tests.simulations.builders import Fixed, a_workload

SLOW = "llama-3.1-70b/a100/tp4/bfloat16"
PROMISED = Slo(ttft_p95_seconds=1.0, itl_p95_seconds=0.1, attainment=0.8)
SETTINGS = Settings(drain_seconds=120)


@cache
def a_burst(seconds: float = 300.0, seed: int = 1) -> Trace:
    """Five minutes of little, with one of a lot from the middle on."""
    traffic = Traffic(
        seconds=seconds,
        requests_per_second=16.0,
        swing=0.0,
        burst_from=seconds / 2,
        burst_seconds=seconds / 5,
        burst_factor=6,
        prompt=Lengths(300, 900, 2000),
        output=Lengths(20, 60, 200),
    )
    return synthesize(traffic, np.random.default_rng(seed), "a-burst")


def serving(
    *policies: Policy,
    cold_start: float = 30.0,
    minimum: int = 1,
    maximum: int = 6,
    slo: Slo = PROMISED,
    signals: Sequence[str] = ("queue_length", "in_flight"),
) -> ScaledWorkload:
    return a_workload(
        *signals,
        policies=policies or [QueueDrain(signal="queue_length")],
        profile=SLOW,
        slo=slo,
        cold_start=cold_start,
        minimum=minimum,
        maximum=maximum,
    )


def candidates() -> list[Candidate]:
    tracking = TargetTracking(signal="in_flight", target=20)
    return [
        Candidate("drain", serving(QueueDrain(signal="queue_length"), tracking)),
        Candidate("still", serving(Fixed(replicas=1))),
    ]


@cache
def a_comparison() -> Comparison:
    return compare(a_burst(), candidates(), SETTINGS)
