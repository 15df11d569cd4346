"""Throughput against MLPerf Inference v4.1, Llama 2 70B: a loose check.

The submissions run TensorRT-LLM, tuned, with larger batches than our profiles' seats; Llama 3.1 70B
has the same layers with a larger vocabulary. All requests wait at the beginning (Offline). The
table gives the mean answer; the lengths' law and the prompts' mean are assumed: both log-normal, as
long as each other. On B200 the submission computes in fp4, which no profile here does.
"""

from pathlib import Path
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.lengths import scattered
from simulations.profiles import Profile, profiles
from simulations.trace import Trace
from simulations.truth.readings import readings
from simulations.truth.rows import Row, one
from simulations.truth.served import served_fast

SYSTEMS: Final = {
    "DGX-H100_H100-SXM-80GBx8_TRT": 8,
    "H200-SXM-141GBx8_TRT": 8,
}
"""GPUs of NVIDIA's own submissions."""
CLOSEST: Final = {
    "DGX-H100_H100-SXM-80GBx8_TRT": (
        "llama-3.1-70b/h100/tp2/fp8",
        "llama-3.1-70b/h100/tp4/fp8",
        "llama-3.1-70b/h100/tp4/fp8/measured",
    ),
    "H200-SXM-141GBx8_TRT": (
        "llama-3.1-70b/h200/tp1/fp8",
        "llama-3.1-70b/h200/tp2/fp8",
        "llama-3.1-70b/h200/tp1/fp8/measured",
    ),
}
REQUESTS: Final = 4000
VARIATION: Final = 0.6
"""Squared coefficient of variation of lengths; assumed."""


def throughput(profile: Profile, mean: float, requests: int = REQUESTS) -> float:
    """Return the tokens that a replica writes in a second when there is always more to do.

    Args:
        profile: What it is.
        mean: Mean tokens of a prompt, and of an answer.
        requests: How many wait at the beginning.
    """
    rng = np.random.default_rng(0)
    means: FloatArray = np.full(requests, mean)
    prompts, answers = (np.minimum(scattered(means, VARIATION, rng), 1024) for _ in range(2))
    served, _ = served_fast(profile, 1, Trace("offline", np.zeros(requests), prompts, answers))
    begin, end = np.percentile(served.finished, [10, 80])
    within = (served.finished > begin) & (served.finished <= end)
    return float(np.sum(answers[within]) / (end - begin))


def rows(data: Path) -> list[Row]:
    """Compare the closest profiles with NVIDIA's Offline results."""
    columns = ("submitter", "system", "scenario", "tokens_per_s", "samples_per_s")
    found = []
    for row in readings(data, "mlperf_v41_llama2_70b.csv", columns):
        chosen = (row["submitter"], row["scenario"]) == ("NVIDIA", "Offline")
        if not chosen or row["system"] not in SYSTEMS:
            continue
        tokens = float(row["tokens_per_s"])
        mean = tokens / float(row["samples_per_s"])
        for name in CLOSEST[row["system"]]:
            profile = profiles()[name]
            found.append(
                one(
                    "MLPerf Offline",
                    f"{name}, {row['system']}",
                    "tokens/s for each GPU",
                    REQUESTS,
                    tokens / SYSTEMS[row["system"]],
                    throughput(profile, mean) / profile.gpus,
                )
            )
    return found
