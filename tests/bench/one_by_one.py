"""The plain way, measured: a query of its own for each workload and signal, as KEDA's Prometheus
scaler and prometheus-adapter's external metrics ask. `python -m tests.bench.one_by_one ORDER`.

Only the asking is in it: nothing is judged, decided or remembered. A sample is asked, and what all
would cost is the sample's cost times their number: each query is like the other.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import orjson

from autoscaler.adapters.prometheus.groups import grouped
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.adapters.prometheus.template import fill, matchers
from autoscaler.core.workload import FleetSpec
from tests.bench.fleet import fleet_of


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask.

    Attributes:
        workloads: How many there are.
        prometheus: Its address.
        sample: Queries that are really asked.
        at_once: Of these.
    """

    workloads: int
    prometheus: str
    sample: int
    at_once: int = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """What the sample cost.

    Attributes:
        queries: That all workloads need, once.
        asked: Of these.
        cpu_seconds: Of this process, for those asked.
        wall_seconds: Until the last of those was answered.
    """

    queries: int
    asked: int
    cpu_seconds: float
    wall_seconds: float


def texts(fleet: FleetSpec) -> Iterator[str]:
    """Yield the query of each workload and signal."""
    for group in grouped(fleet, 15.0):
        for values, served in group.members.items():
            pairs = zip(group.labels, values, strict=True)
            match = matchers({label: (value,) for label, value in pairs})
            for _ in served:
                yield fill(group.template, match, group.labels, group.range_seconds)


def measure(order: Order) -> Cost:
    """Ask a sample."""
    every = list(texts(fleet_of(order.workloads)))
    some = every[:: max(1, len(every) // order.sample)][: order.sample]
    settings = SourceSettings(url=order.prometheus, max_concurrency=order.at_once)
    with PrometheusSource(settings) as source, ThreadPoolExecutor(order.at_once) as threads:
        list(threads.map(lambda text: source.query(text, 1.7e9), some[: order.at_once]))
        cpu, wall = time.process_time(), time.monotonic()
        answers = list(threads.map(lambda text: source.query(text, 1.7e9), some))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    if not all(len(answer.rows) == 1 for answer in answers):
        raise RuntimeError("each query should be answered with one series")
    return Cost(len(every), len(some), cpu, wall)


def main() -> None:
    order = Order(**orjson.loads(sys.argv[1]))
    sys.stdout.buffer.write(orjson.dumps(asdict(measure(order))) + b"\n")


if __name__ == "__main__":
    main()
