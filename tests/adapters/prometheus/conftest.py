"""A reader of what a double of Prometheus answers."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.adapters.prometheus.answers import Answer
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.adapters.prometheus.plan import plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.adapters.prometheus.fleets import QUEUE, asking_all
from tests.fakes.prometheus_double import Asked, Line, PrometheusDouble, always


class Models:
    """What the double knows: a value for each model; the newest raw sample is every 5 s."""

    def __init__(self, **values: float) -> None:
        self.values: dict[str, Callable[[float], float | None]] = {
            model: always(value) for model, value in values.items()
        }
        self.dies: dict[str, float] = {}
        self.extra: dict[str, str] = {}
        self.series = 1

    def __call__(self, asked: Asked) -> Iterator[Line]:
        for model, value in self.values.items():
            labels = {"model": model, **self.extra}
            yield Line(labels, value, self._raw(model), series=lambda _: self.series)

    def _raw(self, model: str) -> Callable[[float], float | None]:
        end = self.dies.get(model, math.inf)
        return lambda at: math.floor(at / 5) * 5 if at <= end else None


def a_signal(query: str = QUEUE, window: int = 120, step: int = 15, **spec: Any) -> dict[str, Any]:
    return {"query": query, "windowSeconds": window, "stepSeconds": step, **spec}


def wanting(name: str, *, source: str = "default", **signals: dict[str, Any]) -> ScaledWorkload:
    return asking_all(name, signals or {"queue": a_signal()}, source, {"model": name})


@pytest.fixture
def models() -> Models:
    return Models(chat=3.0, code=5.0)


@pytest.fixture
def double(models: Models) -> Iterator[PrometheusDouble]:
    with PrometheusDouble(models) as server:
        yield server


Reading = Callable[..., SignalReader]


@pytest.fixture
def reading() -> Iterator[Reading]:
    opened: list[Any] = []

    def make(*doubles: PrometheusDouble, **how: Any) -> SignalReader:
        settings = {"retry": {"attempts": 1}, **how.pop("settings", {})}
        sources = {}
        for name, double in zip(("default", "west"), doubles, strict=False):
            document = {"name": name, "url": double.url, **settings}
            sources[name] = PrometheusSource(SourceSettings.model_validate(document))
        reader = SignalReader(sources, plan_queries, **{"jitter_seconds": 0.0, **how})
        opened.extend([reader, *sources.values()])
        return reader

    yield make
    for one in opened:
        one.close()


def until_loaded(reader: SignalReader, fleet: FleetSpec, now: float) -> dict[str, SignalsSeen]:
    """Read until nothing says that the past is being loaded."""
    gaps: list[str] = []
    for _ in range(200):
        seen = dict(reader.read(fleet, now))
        gaps = [gap.detail for one in seen.values() for gap in one.missing.values()]
        if not any("being loaded" in detail for detail in gaps):
            return seen
        time.sleep(0.01)
    raise AssertionError(gaps)


class Sluggish(PrometheusSource):
    """Takes longer than it is allowed to: until it is told to go on."""

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__(settings)
        self.goes_on = threading.Event()

    def query_range(self, *given: Any, deadline: float | None = None) -> Answer:
        self.goes_on.wait(60)
        return super().query_range(*given)
