"""What one replica carries while the service-level objective holds, without a simulation.

A queue whose service rate depends on how many sequences are in the batch, for the seats, and an
M/G/1 queue for the prompts. It takes arrivals to be Poisson and answers in milliseconds. See
`Capacity` for how far it can be trusted.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from autoscaler.core.spec import Slo
from simulations.arrivals import Z95
from simulations.profiles import Profile
from simulations.trace import IntArray, Trace

MOST_BUSY: Final = 0.98
"""Share of the time for prompts that is not exceeded: beyond it, no formula of a mean holds."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What requests are like.

    Attributes:
        prompt: Mean prompt tokens.
        output: Mean output tokens.
        prompt_variation: Squared coefficient of variation of the prompt tokens.
        output_variation: The same of the output tokens.
    """

    prompt: float
    output: float
    prompt_variation: float
    output_variation: float

    @classmethod
    def of(cls, prompts: IntArray, outputs: IntArray) -> "Shape":
        """Return the shape of requests; at least one.

        Raises:
            ValueError: There is none.
        """
        if not len(prompts):
            raise ValueError("no request has a shape")
        return cls(
            float(prompts.mean()), float(outputs.mean()), _variation(prompts), _variation(outputs)
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """What users of one replica see at one rate, in seconds.

    Attributes:
        ttft: The asked-for percentile of the time to first token.
        itl: Mean time between tokens.
        e2e: The same percentile of the time to first token, and then a mean answer.
    """

    ttft: float
    itl: float
    e2e: float


def most_at_once(trace: Trace, profile: Profile) -> int:
    """Return how many requests are served at once, at most, if each has a replica of its own.

    More replicas than that change nothing, however impossible the limits are. An upper bound: it
    counts in whole seconds. Requests that no replica can hold are refused at once and not counted.
    """
    seconds = int(trace.seconds) + 1
    change = np.zeros(seconds + 1, dtype=np.int64)
    for first in range(0, len(trace), _PIECE):
        part = slice(first, first + _PIECE)
        prompts = trace.prompt_tokens[part].astype(np.float64)
        outputs = trace.output_tokens[part].astype(np.float64)
        held = prompts + outputs <= profile.longest_request
        begins = trace.arrivals[part][held]
        ends = begins + _alone(prompts[held], outputs[held], profile)
        change += np.bincount(begins.astype(np.int64), minlength=seconds + 1)
        gone = np.minimum(ends, seconds - 1).astype(np.int64) + 1
        change -= np.bincount(gone, minlength=seconds + 1)
    return int(np.cumsum(change).max())


_PIECE: Final = 1_000_000


def _alone(prompts: FloatArray, outputs: FloatArray, profile: Profile) -> FloatArray:
    """Return at most how long requests take on a replica of their own, in seconds."""
    reading = (
        profile.step_seconds * np.ceil(prompts / profile.step_tokens)
        + profile.token_seconds * prompts
        + profile.attended_seconds * prompts * prompts / 2
    )
    each_token = (
        profile.step_seconds
        + profile.token_seconds
        + profile.sequence_seconds
        + profile.kv_token_seconds * (prompts + outputs)
    )
    alone: FloatArray = profile.overhead_seconds + reading + (outputs - 1) * each_token
    return alone


class Capacity:
    """The rates that one replica can serve.

    Checked against the simulator on log-normal lengths: where the limits leave room above an idle
    replica, the rate at which the objective just holds is met within about 15 %, mostly from
    below. Near the latency of an idle replica it is far too careful.
    """

    def __init__(self, profile: Profile, shape: Shape) -> None:
        """Prepare for one kind of replica and one kind of request."""
        p, o = shape.prompt, max(1.0, shape.output)
        self._profile = profile
        self._shape = shape
        self._context = p + o * (1 + shape.output_variation) / 2
        self._seats = max(1, min(profile.max_sequences, int(profile.kv_tokens / self._context)))
        self._prompt_seconds = (
            profile.token_seconds * p
            + profile.attended_seconds * p * p * (1 + shape.prompt_variation) / 2
        )
        seats = np.arange(1, self._seats + 1, dtype=np.float64)
        rounds = (o - 1) * self._round_seconds(seats)
        # Requests per second that n sequences in the batch complete.
        self._service: FloatArray = seats / (
            rounds + seats * self._prompt_seconds + profile.step_seconds
        )

    @property
    def throughput(self) -> float:
        """Requests per second that a replica completes when it is always full."""
        return float(self._service[-1])

    def latency(self, rate: float, percentile: float = 0.95) -> Latency | None:
        """Return what users see at `rate` requests per second; None where the queue would grow.

        Args:
            rate: Poisson arrivals at one replica, above 0.
            percentile: For the time to first token, in (0, 1).
        """
        profile, shape = self._profile, self._shape
        load = rate / self._service
        if load[-1] >= 1:
            return None
        # Sequences in the batch: a birth-death chain whose tail, all seats taken, is geometric.
        weights = np.concatenate([[0.0], np.cumsum(np.log(load))])
        weights = np.exp(weights - weights.max())
        tail = float(weights[-1] * load[-1] / (1 - load[-1]))
        waiting = float(weights[-1] * load[-1] / (1 - load[-1]) ** 2)
        total = float(weights.sum()) + tail
        seats = np.arange(len(weights))
        running = (float((seats * weights).sum()) + self._seats * tail) / total
        seat_wait = waiting / total / rate
        each_round = float(self._round_seconds(np.array([max(1.0, running)]))[0])
        reading = self._prompt_seconds + shape.prompt * each_round / profile.step_tokens
        busy = rate * reading
        if busy >= MOST_BUSY or rate * self._prompt_seconds >= 1:
            return None
        spread = math.log1p(shape.prompt_variation)
        prompt_wait = busy * reading * (1 + shape.prompt_variation) / (2 * (1 - busy))
        itl = each_round / (1 - rate * self._prompt_seconds)
        rarity = 1 - percentile
        z = Z95 * math.log(1 / rarity) / math.log(20)  # near enough between 0.9 and 0.99
        ttft = (
            math.log(1 / rarity) * seat_wait
            + (prompt_wait / busy) * max(0.0, math.log(busy / rarity))
            + reading * math.exp(z * math.sqrt(spread) - spread / 2)
            + itl
            + profile.step_seconds
            + profile.overhead_seconds
        )
        return Latency(ttft, itl, ttft + (shape.output - 1) * itl)

    def rate(self, slo: Slo) -> float:
        """Return the largest rate at which the objective holds, requests per second.

        0 where it does not even hold for an idle replica.
        """
        percentile = min(0.999, max(0.5, slo.attainment))
        low, high = 0.0, self.throughput
        if not self._holds(1e-6 * high, slo, percentile):
            return 0.0
        for _ in range(30):
            middle = (low + high) / 2
            if self._holds(middle, slo, percentile):
                low = middle
            else:
                high = middle
        return low

    def _holds(self, rate: float, slo: Slo, percentile: float) -> bool:
        found = self.latency(rate, percentile)
        if found is None:
            return False
        limits = (
            (found.ttft, slo.ttft_p95_seconds),
            (found.itl, slo.itl_p95_seconds),
            (found.e2e, slo.e2e_p95_seconds),
        )
        return all(limit is None or seconds <= limit for seconds, limit in limits)

    def _round_seconds(self, sequences: FloatArray) -> FloatArray:
        """One step in which so many sequences decode and no prompt is read."""
        profile = self._profile
        rounds: FloatArray = (
            profile.step_seconds
            + profile.token_seconds * np.maximum(0.0, sequences - profile.free_tokens)
            + profile.sequence_seconds * sequences
            + profile.kv_token_seconds * sequences * self._context
        )
        return rounds


def _variation(lengths: IntArray) -> float:
    mean = float(lengths.mean())
    return float(lengths.var()) / (mean * mean)
