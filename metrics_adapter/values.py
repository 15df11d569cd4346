"""Every value of one workload, written out: the number decided, its signals, their forecasts."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from metrics_adapter.plan import Forecast, Signal, WorkloadRow
from metrics_adapter.quantities import UnfitError, quantity_of

DESIRED: Final = "desired_replicas"
"""The name of the number decided."""
WORKLOAD: Final = "workload"
"""The label that every value has: the name of its policy file."""
_USABLE: Final = frozenset({"fresh", "ageing"})
_SHARED: Final = {
    "queue": True, "arrivals": True, "throughput": True, "utilization": False, "latency": False,
}  # fmt: skip
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class Scaled:
    """The object that is scaled."""

    api_version: str
    kind: str
    name: str


class Value(NamedTuple):
    """One number of one workload, or why there is none.

    A tuple: there are many, and it is made in a third of the time of a frozen dataclass.

    Attributes:
        workload: Its key, namespace/name.
        target: The object that it describes.
        labels: What selectors of metrics see.
        object_labels: What selectors of objects see.
        quantity: The number as it is answered; empty where there is none.
        shared: Whether it is a total that pods share; else each pod shows it whole. None where
            neither is known to be right.
        number: The number as it was measured.
        sampled: Time of its sample, Unix seconds.
        expires: When that sample is too old, Unix seconds by the controller's clock.
        problem: Why there is no number, in one line; empty where there is one.
        item: The value as an item of an external answer.
        lost: Plans in a row that had it no longer.
    """

    workload: str
    target: Scaled
    labels: Mapping[str, str]
    object_labels: Mapping[str, str]
    quantity: str = ""
    shared: bool | None = None
    number: float = 0.0
    sampled: float = 0.0
    expires: float = math.inf
    problem: str = ""
    item: bytes = b""
    lost: int = 0

    def lacks(self, now: float) -> str:
        """Return why it must not be answered at `now`; empty where it may."""
        if not self.problem and now > self.expires:
            return f"newest sample is {now - self.sampled:.0f} s old"
        return self.problem


@lru_cache(maxsize=1024)
def servable(metric: str) -> bool:
    """Whether a name can be part of a path and of discovery."""
    return (
        0 < len(metric) <= _LONGEST_NAME
        and metric.isascii()
        and metric.isprintable()
        and not set(metric) & set('/%?# \\"<>')
        and metric not in (".", "..", "*")
    )


def values_of(workload: WorkloadRow, now: float) -> Iterator[tuple[str, Value]]:
    """Yield every value of a workload; the number decided and signals go before forecasts."""
    labels = {**workload.match, WORKLOAD: workload.name}
    target = sys.intern(workload.target.api_version), sys.intern(workload.target.kind)
    empty = Value(
        f"{workload.namespace}/{workload.name}",
        Scaled(*target, workload.target.name),
        labels,
        {**workload.labels, **labels} if workload.labels else labels,
    )
    if workload.desired is None or workload.desired < 0:
        why = workload.blind or workload.reason or "no number was decided"
        yield DESIRED, without(empty, f"{DESIRED}: {why}")
    else:
        yield DESIRED, _with(empty, DESIRED, float(workload.desired), now)
    names = {DESIRED}
    for name, signal in workload.signals.items():
        if servable(name) and name not in names:
            names.add(name)
            yield name, _of_signal(empty, name, signal)
    for name, (of, number) in _forecasts(workload.forecasts).items():
        if servable(name) and name not in names:
            names.add(name)
            yield name, _of_forecast(empty, name, number, workload.signals.get(of), now)


def _of_signal(empty: Value, name: str, signal: Signal) -> Value:
    if signal.state not in _USABLE or signal.value is None or signal.time is None:
        why = f": {signal.why}" if signal.why else ""
        return without(empty, f"{name} is {signal.state}{why}")
    return _with(empty, name, signal.value, signal.time, signal)


def _of_forecast(
    empty: Value, name: str, number: float, signal: Signal | None, now: float
) -> Value:
    """A forecast is as old as the newest sample that it rests on."""
    if signal is None:
        return _with(empty, name, number, now)
    if signal.state not in _USABLE or signal.time is None:
        return without(empty, f"{name}: its signal is {signal.state}")
    return _with(empty, name, number, signal.time, signal)


def _forecasts(forecasts: Iterable[Forecast]) -> dict[str, tuple[str, float]]:
    """Return by metric name the signal and the highest value within the horizon.

    Where several policies forecast one signal, the highest counts: who follows must not be short.
    """
    found: dict[str, tuple[str, float]] = {}
    for forecast in forecasts:
        for quantile, row in zip(forecast.quantiles, forecast.values, strict=False):
            name = f"{forecast.signal}_forecast_p{quantile * 100:g}"
            numbers = [math.nan if value is None else value for value in row]
            if not numbers:
                continue
            peak = math.nan if any(map(math.isnan, numbers)) else max(numbers)
            known = found.get(name)
            if known is None or math.isnan(known[1]) or peak > known[1]:
                found[name] = forecast.signal, peak
    return found


def _with(
    empty: Value, metric: str, number: float, sampled: float, signal: Signal | None = None
) -> Value:
    try:
        quantity = quantity_of(number)
    except UnfitError as error:
        return without(empty, f"{metric} {error}")
    item = {
        "metricName": metric,
        "metricLabels": empty.labels,
        "timestamp": rfc3339(sampled),
        "value": quantity,
    }
    longest = signal.max_age_seconds if signal is not None else None
    return Value(
        empty.workload,
        empty.target,
        empty.labels,
        empty.object_labels,
        quantity=quantity,
        shared=_SHARED.get(signal.role) if signal is not None else None,
        number=number,
        sampled=sampled,
        expires=math.inf if longest is None else sampled + longest,
        # A copy of the right size: orjson's own holds on to 4 KiB.
        item=bytes(memoryview(orjson.dumps(item))),
    )


def without(empty: Value, problem: str, lost: int = 0) -> Value:
    """Return a value without a number, of the same workload as another."""
    return Value(
        empty.workload,
        empty.target,
        empty.labels,
        empty.object_labels,
        problem=problem,
        lost=lost,
    )


def rfc3339(seconds: float) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return _rfc3339(math.floor(seconds))


@lru_cache(maxsize=4096)
def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def share(value: Value, pods: int) -> str:
    """Return the quantity that each of `pods` shows of a value."""
    if not value.shared or pods <= 1:
        return value.quantity
    return quantity_of(value.number / pods)
