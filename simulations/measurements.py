"""The measurements that the simulator knows: what a policy file's signal can mean in a replay."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import SignalSpec
from simulations import scrapes
from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS, quantile
from simulations.scrapes import PodGauges, Scrapes


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement at one scrape.

    Attributes:
        value: Of the workload; NaN as Prometheus gives it, None where it has no series.
        pods: Of each replica, by pod name, where it can be told apart.
        window_seconds: What the replicas' values average over.
    """

    value: float | None
    pods: Mapping[str, float] = field(default_factory=dict)
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
    def sample(self, seen: Scrapes, range_seconds: float) -> Sample:
        """Return what a query at the newest scrape would; rates look back `range_seconds`."""


@dataclass(frozen=True, slots=True)
class PodGauge(Measurement):
    """A gauge of each replica: summed over all that answer, or averaged over the ready ones."""

    read: Callable[[PodGauges], float]
    mean: bool = False

    def sample(self, seen: Scrapes, range_seconds: float) -> Sample:
        pods = {name: float(self.read(gauges)) for name, gauges in seen.gauges.items()}
        counted = [
            pods[name] for name, gauges in seen.gauges.items() if gauges.ready or not self.mean
        ]
        total = sum(counted) / len(counted) if counted and self.mean else sum(counted)
        return Sample(total if counted else None, pods, seen.scrape_seconds)


@dataclass(frozen=True, slots=True)
class PodRate(Measurement):
    """The increase of counters per second, summed over replicas."""

    columns: Sequence[int]

    def sample(self, seen: Scrapes, range_seconds: float) -> Sample:
        pods = {
            name: float(sum(rates[column] for column in self.columns))
            for name, rates in seen.rates(range_seconds).items()
        }
        return Sample(sum(pods.values()) if pods else None, pods, range_seconds)


@dataclass(frozen=True, slots=True)
class P95(Measurement):
    """The 95th percentile of a histogram whose buckets are summed over replicas."""

    buckets: slice
    bounds: Sequence[float]

    def sample(self, seen: Scrapes, range_seconds: float) -> Sample:
        rates = [pod[self.buckets] for pod in seen.rates(range_seconds).values()]
        if not rates:
            return Sample(None)
        return Sample(quantile(0.95, self.bounds, np.sum(rates, axis=0).tolist()))


@dataclass(frozen=True, slots=True)
class GatewayRate(Measurement):
    """Arrivals per second at the gateway."""

    def sample(self, seen: Scrapes, range_seconds: float) -> Sample:
        return Sample(seen.arrival_rate(range_seconds))


@dataclass(frozen=True, slots=True)
class GatewayQueue(Measurement):
    """Requests held at the gateway."""

    def sample(self, seen: Scrapes, range_seconds: float) -> Sample:
        return Sample(float(seen.gateway_queue))


_TOKENS: Final = (scrapes.PROMPT_TOKENS, scrapes.OUTPUT_TOKENS)

CATALOGUE: Final[Mapping[str, Measurement]] = MappingProxyType({
    "queue_length": PodGauge(
        "requests", "waiting in the engines, not counting the gateway", lambda pod: pod.waiting
    ),
    "running": PodGauge("requests", "in the engines' batches", lambda pod: pod.running),
    "in_flight": PodGauge(
        "requests", "waiting or running in the engines", lambda pod: pod.waiting + pod.running
    ),
    "kv_usage": PodGauge(
        "share, 0 to 1",
        "KV cache taken, mean over ready replicas",
        lambda pod: pod.kv_usage,
        mean=True,
    ),
    "gpu_utilization": PodGauge(
        "share, 0 to 1",
        "time computing since the scrape before, mean over ready replicas",
        lambda pod: pod.busy,
        mean=True,
    ),
    "prompt_tokens_per_second": PodRate(
        "tokens/s", "prompts read; a prompt counts when it has been read", (_TOKENS[0],)
    ),
    "generation_tokens_per_second": PodRate("tokens/s", "tokens written", (_TOKENS[1],)),
    "tokens_per_second": PodRate("tokens/s", "tokens read and written", _TOKENS),
    "requests_per_second": PodRate("requests/s", "finished", (scrapes.COMPLETIONS,)),
    "ttft_p95": P95(
        "s", "p95 from routing to first token, as first tokens come", scrapes.TTFT, TTFT_BOUNDS
    ),
    "itl_p95": P95("s", "p95 between two tokens, one sample a token", scrapes.ITL, ITL_BOUNDS),
    "e2e_p95": P95(
        "s", "p95 from routing to last token, as answers end", scrapes.E2E, E2E_BOUNDS
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
