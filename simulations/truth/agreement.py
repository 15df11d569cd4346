"""The compiled pool against the plain reference, on a world too large for the random tests."""

from dataclasses import replace
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.lengths import CONVERSATION_OUTPUTS, CONVERSATION_PROMPTS
from simulations.profiles import profiles
from simulations.trace import Trace
from simulations.truth.rows import Row, many, one
from simulations.truth.served import Served, served_fast, served_plainly

PROFILE: Final = "llama-3.1-8b/h100/tp1/bfloat16"
REPLICAS: Final = 4
RATE: Final = 15.0
"""Requests/s for each replica: about 70 % of what it can carry."""
SMALL_KV: Final = 40_000
"""KV tokens with which sequences are thrown out."""


def conversations(requests: int) -> Trace:
    """Return Poisson arrivals with the lengths of the conversations that Azure published."""
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(1 / (REPLICAS * RATE), requests))
    prompts, answers = (
        law.draw(requests, rng) for law in (CONVERSATION_PROMPTS, CONVERSATION_OUTPUTS)
    )
    return Trace("conversations", arrivals, prompts, answers)


def rows(requests: int) -> list[Row]:
    """Compare counters, every request, and the percentiles that a score reports."""
    trace = conversations(requests)
    found: list[Row] = []
    for kv_tokens in (profiles()[PROFILE].kv_tokens, SMALL_KV):
        profile = replace(profiles()[PROFILE], kv_tokens=kv_tokens)
        truth = served_plainly(profile, REPLICAS, trace)
        ours, pool = served_fast(profile, REPLICAS, trace)
        basis = f"{REPLICAS} replicas, {kv_tokens:,} KV tokens each, compiled: {pool.compiled}"
        found += _same(basis, truth, ours)
        tally = pool.tally(float(np.max(ours.finished)))
        for name, exact, fine in (("TTFT", truth.ttft, tally.ttft), ("ITL", truth.itl, tally.itl)):
            for percent in (50, 95, 99):
                binned = fine.percentile(percent)
                if binned is not None:
                    pair = float(np.nanpercentile(exact, percent)), binned
                    figure = f"{name} p{percent} from fine buckets, s"
                    found.append(one("fast pool", basis, figure, len(trace), *pair))
    return found


def _same(basis: str, truth: Served, ours: Served) -> list[Row]:
    count = len(truth.trace)
    times: tuple[tuple[str, FloatArray, FloatArray], ...] = (
        ("first token of each request", truth.ttft, ours.ttft),
        ("last token of each request", truth.e2e, ours.e2e),
    )
    counters = [("steps", truth.steps, ours.steps)]
    if truth.preemptions:
        counters.append(("preemptions", truth.preemptions, ours.preemptions))
    return [
        *(one("fast pool", basis, name, count, *pair) for name, *pair in counters),
        *(many("fast pool", basis, name, exact, found) for name, exact, found in times),
    ]
