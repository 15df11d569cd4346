"""Requests that arrive whatever happens, against a replay through real vLLM.

300 requests of ShareGPT, 10/s, Llama 3.1 8B on one RTX PRO 6000, vLLM 0.19 with 128 seats: more
than it can take, so that TTFT is mostly waiting. Every request is simulated as it was sent.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.profiles import profiles
from simulations.trace import Trace
from simulations.truth.readings import readings
from simulations.truth.rows import Row, many, one
from simulations.truth.served import Served, served_plainly

RUN: Final = "rtxpro6000_llama31_8b_tp1"
SEATS: Final = 128
PROFILES: Final = (
    "llama-3.1-8b/rtx_pro_6000_server/tp1/bfloat16/llmservingsim",
    "llama-3.1-8b/rtx_pro_6000_server/tp1/bfloat16",
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The requests as they were sent, and what vLLM made of them.

    Attributes:
        trace: The requests.
        ttft: Seconds; shape (n,).
        itl: Mean seconds between tokens; shape (n,).
        e2e: Seconds; shape (n,).
    """

    trace: Trace
    ttft: FloatArray
    itl: FloatArray
    e2e: FloatArray


def measured_replay(data: Path) -> Replayed:
    """Return the replay."""
    columns = ("input_toks", "output_toks", "queued_s", "first_token_s", "last_token_s")
    table = readings(data, "vllm_replay_requests.csv", ("run", *columns))
    chosen = [[float(row[name]) for name in columns] for row in table if row["run"] == RUN]
    prompts, answers, sent, first, last = np.array(sorted(chosen, key=lambda row: row[2])).T
    trace = Trace(RUN, sent, prompts.astype(np.int64), answers.astype(np.int64))
    return Replayed(trace, first - sent, (last - first) / (answers - 1), last - sent)


def simulated(name: str, trace: Trace) -> Served:
    """Return what a profile makes of the requests, with the seats of the run."""
    return served_plainly(replace(profiles()[name], max_sequences=SEATS), 1, trace)


def rows(data: Path) -> list[Row]:
    """Compare means, percentiles, and single requests."""
    found: list[Row] = []
    real = measured_replay(data)
    count = len(real.trace)
    for name in PROFILES:
        ours = simulated(name, real.trace)
        for figure, truth, seconds in (
            ("TTFT", real.ttft, ours.ttft),
            ("ITL", real.itl, ours.itl),
            ("E2E", real.e2e, ours.e2e),
        ):
            check, means = "open loop", (float(np.mean(truth)), float(np.mean(seconds)))
            found.append(one(check, name, f"{figure} mean, s", count, *means))
            for percent in (50, 90, 99):
                pair = (float(np.percentile(times, percent)) for times in (truth, seconds))
                found.append(one(check, name, f"{figure} p{percent}, s", count, *pair))
            found.append(many(check, name, f"{figure} of each request", truth, seconds))
    return found
