"""The measurements that the simulator knows: what a policy file's signal can mean in a replay."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import FloatArray
from autoscaler.core.spec import SignalSpec
from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS, quantile
from simulations.scrapes import (
    COMPLETIONS,
    E2E,
    ITL,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    TTFT,
    Scrapes,
)
from simulations.trace import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A measurement at one scrape.

    Attributes:
        value: Of the workload; NaN as Prometheus gives it, None where it has no series.
        numbers: Replicas that can be told apart (their `Member.number`); shape (n,).
        pods: The value of each of them; shape (n,).
        window_seconds: What the replicas' values average over.
    """

    value: float | None
    numbers: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    pods: FloatArray = field(default_factory=lambda: np.zeros(0))
    window_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement(ABC):
    """One thing that can be measured.

    Attributes:
        unit: What it is counted in.
        text: What it is.
    """

    unit: str
    text: str

    @abstractmethod
    def sample(self, scrapes: Scrapes, range_seconds: float) -> Sample:
        """Return what a query at the newest scrape would; rates look back `range_seconds`."""


@dataclass(frozen=True, slots=True)
class PodGauge(Measurement):
    """A gauge of each replica: summed over all that answer, or averaged over the ready ones."""

    read: Callable[[Scrapes], FloatArray]
    mean: bool = False

    def sample(self, scrapes: Scrapes, range_seconds: float) -> Sample:
        pods, seen = self.read(scrapes), scrapes.seen
        counted = pods[seen.ready] if self.mean else pods
        total = float(counted.mean() if self.mean else counted.sum()) if len(counted) else None
        return Sample(total, seen.numbers, pods, scrapes.scrape_seconds)


@dataclass(frozen=True, slots=True)
class PodRate(Measurement):
    """The increase of counters per second, summed over replicas."""

    columns: slice

    def sample(self, scrapes: Scrapes, range_seconds: float) -> Sample:
        rates = scrapes.rates(range_seconds)
        pods = rates.counters[:, self.columns].sum(axis=1)
        return Sample(float(pods.sum()) if len(pods) else None, rates.numbers, pods, range_seconds)


@dataclass(frozen=True, slots=True)
class P95(Measurement):
    """The 95th percentile of a histogram whose buckets are summed over replicas."""

    buckets: slice
    bounds: Sequence[float]

    def sample(self, scrapes: Scrapes, range_seconds: float) -> Sample:
        rates = scrapes.rates(range_seconds).counters
        if not len(rates):
            return Sample(None)
        return Sample(quantile(0.95, self.bounds, rates[:, self.buckets].sum(axis=0).tolist()))


@dataclass(frozen=True, slots=True)
class GatewayRate(Measurement):
    """Arrivals per second at the gateway."""

    def sample(self, scrapes: Scrapes, range_seconds: float) -> Sample:
        return Sample(scrapes.arrival_rate(range_seconds))


@dataclass(frozen=True, slots=True)
class GatewayQueue(Measurement):
    """Requests held at the gateway."""

    def sample(self, scrapes: Scrapes, range_seconds: float) -> Sample:
        return Sample(float(scrapes.gateway_queue))


_PROMPTS: Final = slice(PROMPT_TOKENS, PROMPT_TOKENS + 1)
_OUTPUTS: Final = slice(OUTPUT_TOKENS, OUTPUT_TOKENS + 1)
_TOKENS: Final = slice(PROMPT_TOKENS, OUTPUT_TOKENS + 1)
_COMPLETIONS: Final = slice(COMPLETIONS, COMPLETIONS + 1)

CATALOGUE: Final[Mapping[str, Measurement]] = MappingProxyType({
    "queue_length": PodGauge(
        "requests",
        "waiting in the engines, not counting the gateway",
        lambda now: now.seen.waiting,
    ),
    "running": PodGauge("requests", "in the engines' batches", lambda now: now.seen.running),
    "in_flight": PodGauge(
        "requests",
        "waiting or running in the engines",
        lambda now: now.seen.waiting + now.seen.running,
    ),
    "kv_usage": PodGauge(
        "share, 0 to 1",
        "KV cache taken, mean over ready replicas",
        lambda now: now.seen.kv_usage,
        mean=True,
    ),
    "gpu_utilization": PodGauge(
        "share, 0 to 1",
        "time computing since the scrape before, mean over ready replicas",
        lambda now: now.busy,
        mean=True,
    ),
    "prompt_tokens_per_second": PodRate(
        "tokens/s", "prompts read; a prompt counts when it has been read", _PROMPTS
    ),
    "generation_tokens_per_second": PodRate("tokens/s", "tokens written", _OUTPUTS),
    "tokens_per_second": PodRate("tokens/s", "tokens read and written", _TOKENS),
    "requests_per_second": PodRate("requests/s", "finished", _COMPLETIONS),
    "ttft_p95": P95(
        "s", "p95 from routing to first token, as first tokens come", TTFT, TTFT_BOUNDS
    ),
    "itl_p95": P95("s", "p95 between two tokens, one sample a token", ITL, ITL_BOUNDS),
    "e2e_p95": P95(
        "s", "p95 from routing to last token, as answers end", E2E, E2E_BOUNDS
    ),
    "arrivals_per_second": GatewayRate("requests/s", "arriving at the gateway"),
    "gateway_queue_length": GatewayQueue(
        "requests", "held at the gateway because no replica is ready"
    ),
})  # fmt: skip


def measurements_of(signals: Mapping[str, SignalSpec]) -> dict[str, Measurement]:
    """Return what each signal of a policy file measures: its `measures`, or else its own name.

    Raises:
        ConfigError: A signal measures nothing that the simulator knows.
    """
    names = {name: spec.measures or name for name, spec in signals.items()}
    problems = [
        f"spec.signals.{name}.measures: no measurement is called {meant!r}; the simulator knows: "
        f"{', '.join(sorted(CATALOGUE))}"
        for name, meant in names.items()
        if meant not in CATALOGUE
    ]
    if problems:
        raise ConfigError(*problems)
    return {name: CATALOGUE[meant] for name, meant in names.items()}
