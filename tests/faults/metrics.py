"""What a Prometheus has scraped: samples with their own times, answered as Prometheus would."""

import bisect
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.fakes.prometheus_double import Asked, Line

LOOKBACK_SECONDS: Final = 300.0
"""For so long an instant vector answers with a series' last sample."""

RUNNING: Final = "vllm:num_requests_running"
WAITING: Final = "vllm:num_requests_waiting"


class Metrics:
    """Two gauges of each workload.

    Attributes:
        offset: Seconds that Prometheus' own clock is ahead of the truth.
        ended: Whether the last scrapes failed: their series answer nothing from then on.
    """

    def __init__(self, truth: Callable[[], float]) -> None:
        self.offset = 0.0
        self.ended = False
        self._truth = truth
        self._samples: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def clock(self) -> float:
        """Return what Prometheus' own clock shows."""
        return self._truth() + self.offset

    def scrape(self, demand: Mapping[str, float]) -> None:
        """Note how many requests each model runs; nobody ever waits."""
        now = self.clock()
        for model, running in demand.items():
            for metric, value in ((RUNNING, running), (WAITING, 0.0)):
                samples = self._samples.setdefault((metric, model), [])
                if not samples or samples[-1][0] < now:
                    samples.append((now, value))

    def remember(self, seconds: float, demand: Mapping[str, float]) -> None:
        """Have scraped the same values every minute for so long until now."""
        now = self.clock()
        for model, running in demand.items():
            for metric, value in ((RUNNING, running), (WAITING, 0.0)):
                times = [now - minute * 60.0 for minute in range(int(seconds // 60), 0, -1)]
                self._samples[metric, model] = [(time, value) for time in times]

    def forget_the_future(self) -> None:
        """Drop samples that lie ahead of the clock: else nothing new is taken before they pass."""
        now = self.clock()
        for samples in self._samples.values():
            del samples[bisect.bisect_right(samples, (now, float("inf"))) :]

    def answer(self, asked: Asked) -> Iterator[Line]:
        """Return the series that answer a query."""
        for metric, model in self._samples:
            if metric in asked.promql:
                labels = {"namespace": "llm", "model_name": model}
                yield Line(labels, self._value(metric, model), self._raw(metric, model))

    def _value(self, metric: str, model: str) -> Callable[[float], float | None]:
        def value(at: float) -> float | None:
            found = self._newest(metric, model, at)
            return None if found is None else found[1]

        return value

    def _raw(self, metric: str, model: str) -> Callable[[float], float | None]:
        def raw(at: float) -> float | None:
            found = self._newest(metric, model, at)
            return None if found is None else found[0]

        return raw

    def _newest(self, metric: str, model: str, at: float) -> tuple[float, float] | None:
        samples = self._samples[metric, model]
        place = bisect.bisect_right(samples, (at, float("inf"))) - 1
        if place < 0 or at - samples[place][0] >= LOOKBACK_SECONDS:
            return None
        if self.ended and at > samples[-1][0]:
            return None
        return samples[place]
