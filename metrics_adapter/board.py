"""What one plan lets us answer: every value of every workload, written out before anybody asks.

A board never changes. Asking it is a look-up and, with a selector, a few comparisons.
"""

import math
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import orjson

from metrics_adapter.plan import Forecast, Plan, Signal, Workload, WorkloadRow
from metrics_adapter.quantities import UnfitError, quantity_of
from metrics_adapter.selectors import EVERYTHING, Selector

DESIRED: Final = "desired_replicas"
"""The name of the number decided."""
WORKLOAD: Final = "workload"
"""The label that every value has: the name of its policy file."""
FEWEST_INTERVALS: Final = 4
FEWEST_SECONDS: Final = 60.0
_USABLE: Final = frozenset({"fresh", "ageing"})
_SHARED: Final = {
    "queue": True, "arrivals": True, "throughput": True, "utilization": False, "latency": False,
}  # fmt: skip
_LONGEST_NAME: Final = 253
_FEW: Final = 8
"""So many rows are looked through; more are found by their labels."""

Name = tuple[str, str]
"""Namespace and metric."""
ObjectName = tuple[str, str, str]
"""Namespace, resource and name of an object that is scaled."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """The object that is scaled."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """One number of one workload, or why there is none.

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

    def lacks(self, now: float) -> str:
        """Return why it must not be answered at `now`; empty where it may."""
        if not self.problem and now > self.expires:
            return f"newest sample is {now - self.sampled:.0f} s old"
        return self.problem


@dataclass(slots=True)
class Group:
    """All values under one name in one namespace, in the order of the plan."""

    values: list[Value] = field(default_factory=list)
    _places: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def index(self, place: int) -> None:
        """Prepare to find the value at a place by its labels, once all of them are there."""
        if len(self.values) > _FEW:
            for label in self.values[place].labels.items():
                self._places.setdefault(label, []).append(place)

    def select(self, selector: Selector) -> Iterable[Value]:
        """Return the values whose labels the selector matches."""
        if selector is EVERYTHING or not selector.requirements:
            return self.values
        candidates = self._candidates(selector)
        return [value for value in candidates if selector.matches(value.labels)]

    def _candidates(self, selector: Selector) -> Iterable[Value]:
        if len(self.values) <= _FEW:
            return self.values
        fewest: list[int] | None = None
        for one in selector.requirements:
            if one.operator == "in":
                places = [p for value in one.values for p in self._places.get((one.key, value), ())]
                if fewest is None or len(places) < len(fewest):
                    fewest = places
        if fewest is None:
            return self.values
        return [self.values[place] for place in sorted(fewest)]


@dataclass(frozen=True, slots=True)
class Board:
    """One plan, ready to be asked.

    Whoever asks does so without waiting in between: the next one may take its place.

    Attributes:
        cycle: Of the plan.
        time: Of the decision, Unix seconds by the controller's clock.
        max_age_seconds: An older plan answers nothing.
        groups: Values by namespace and metric.
        objects: Values of each scaled object, by metric.
        workloads: The plan's workloads by key, for other protocols.
        external_names: Every external metric, sorted.
        custom_names: Every custom metric as resource/metric, sorted.
    """

    cycle: str
    time: float
    max_age_seconds: float
    groups: Mapping[Name, Group]
    objects: dict[ObjectName, dict[str, list[Value]]]
    workloads: Mapping[str, Workload]
    external_names: tuple[str, ...]
    custom_names: tuple[str, ...]


def board_end(board: Board) -> Generator[None, None, None]:
    """Forget the values of a board that was replaced, in small steps.

    Many values that go at once take as long as thirty requests.
    """
    for (namespace, _), group in board.groups.items():
        while group.values:
            target = group.values.pop().target
            board.objects.pop((namespace, resource_of(target), target.name), None)
            yield


def make_board(
    plan: Plan, before: Board | None = None, max_age_seconds: float | None = None
) -> Board:
    """Write out a plan at once; the arguments are those of `board_steps`."""
    making = board_steps(plan, before, max_age_seconds)
    while True:
        try:
            next(making)
        except StopIteration as end:
            board: Board = end.value
            return board


def board_steps(
    plan: Plan, before: Board | None = None, max_age_seconds: float | None = None
) -> Generator[None, None, Board]:
    """Write out a plan in small steps; return the board.

    Args:
        plan: The newest one. Its rows are forgotten.
        before: The board of the plan before it. Names that a workload had there and has no longer
            are kept, without a number: a forecast that fails once does not vanish.
        max_age_seconds: When a plan is too old; absent: four intervals, at least a minute.

    Raises:
        ObservationError: A row of the plan is not what it should be.
    """
    groups: dict[Name, Group] = {}
    workloads: dict[str, Workload] = {}
    for row in plan.rows():
        workloads[f"{row.namespace}/{row.name}"] = Workload(
            row.current, row.desired, sys.intern(row.reason), row.blind
        )
        for metric, value in _values(row, plan.time):
            groups.setdefault((row.namespace, metric), Group()).values.append(value)
        yield
    if before is not None:
        yield from _keep_names(groups, before, workloads)
    objects: dict[ObjectName, dict[str, list[Value]]] = {}
    custom_names = set()
    for (namespace, metric), group in groups.items():
        for place, value in enumerate(group.values):
            group.index(place)
            resource = resource_of(value.target)
            name = namespace, resource, value.target.name
            objects.setdefault(name, {}).setdefault(metric, []).append(value)
            custom_names.add((resource, metric))
            if value.shared is not None:
                custom_names.add(("pods", metric))
            yield
    return Board(
        cycle=plan.cycle,
        time=plan.time,
        max_age_seconds=max_age_seconds
        or max(FEWEST_SECONDS, FEWEST_INTERVALS * plan.interval_seconds),
        groups=groups,
        objects=objects,
        workloads=workloads,
        external_names=tuple(sorted({metric for _, metric in groups})),
        custom_names=tuple(sorted(map("/".join, custom_names))),
    )


def _plural(kind: str) -> str:
    """Return the resource of a kind, as its authors will have called it."""
    name = kind.lower()
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def resource_of(target: Scaled) -> str:
    """Return what requests call the kind of an object, such as deployments.apps."""
    return _resource(target.api_version, target.kind)


@lru_cache(maxsize=256)
def _resource(api_version: str, kind: str) -> str:
    group, slash, _ = api_version.rpartition("/")
    return f"{_plural(kind)}.{group}" if slash else _plural(kind)


def servable(metric: str) -> bool:
    """Whether a name can be part of a path and of discovery."""
    return (
        0 < len(metric) <= _LONGEST_NAME
        and metric.isascii()
        and metric.isprintable()
        and not set(metric) & set('/%?# \\"<>')
        and metric not in (".", "..", "*")
    )


def _values(workload: WorkloadRow, now: float) -> Iterator[tuple[str, Value]]:
    """Yield every value of a workload; the number decided and signals go before forecasts."""
    labels = {**workload.match, WORKLOAD: workload.name}
    target = sys.intern(workload.target.api_version), sys.intern(workload.target.kind)
    empty = Value(
        f"{workload.namespace}/{workload.name}",
        Scaled(*target, workload.target.name),
        labels,
        {**workload.labels, **labels},
    )
    if workload.desired is None or workload.desired < 0:
        why = workload.blind or workload.reason or "no number was decided"
        yield DESIRED, _without(empty, f"{DESIRED}: {why}")
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
        return _without(empty, f"{name} is {signal.state}{why}")
    return _with(empty, name, signal.value, signal.time, signal)


def _of_forecast(
    empty: Value, name: str, number: float, signal: Signal | None, now: float
) -> Value:
    """A forecast is as old as the newest sample that it rests on."""
    if signal is None:
        return _with(empty, name, number, now)
    if signal.state not in _USABLE or signal.time is None:
        return _without(empty, f"{name}: its signal is {signal.state}")
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
        return _without(empty, f"{metric} {error}")
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


def _without(empty: Value, problem: str) -> Value:
    return Value(empty.workload, empty.target, empty.labels, empty.object_labels, problem=problem)


def _keep_names(
    groups: dict[Name, Group], before: Board, workloads: Mapping[str, Workload]
) -> Iterator[None]:
    for name, group in before.groups.items():
        known = groups.get(name)
        here = {value.workload for value in known.values} if known else set()
        for value in group.values:
            if value.workload not in here and value.workload in workloads:
                lost = _without(value, f"{name[1]}: not in the newest plan")
                groups.setdefault(name, Group()).values.append(lost)
            yield


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
