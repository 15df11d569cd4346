"""The lines of `/metrics` that each workload has: nearly the whole page, so they are made at once.

At 10,000 workloads a page has 300,000 lines. Each family is one loop over what all workloads have
in common, and joins its lines itself. A workload's labels are written once for all its lines, and
for all pages until the policy files change.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, attrgetter, itemgetter
from typing import Any, Final

import numpy as np
import orjson
from prometheus_client.utils import floatToGoString

from autoscaler.core.decision import Cycle, Decision
from autoscaler.core.policy import Forecast
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.telemetry.families import PREFIX
from autoscaler.telemetry.report import CycleReport
from autoscaler.telemetry.sight import by_label, why_blind

Lines = Mapping[str, list[str]]
"""The lines of a page, each with its newline, one or many in a text, by the family's name without
the prefix."""

_ORDINARY: Final = 1e6
"""From here on Go writes an exponent."""
_SMALL: Final = 1e-3
"""Smaller numbers have an exponent in Python, or in JSON; each at another size."""


class _Numbers(dict[float, str]):
    """Numbers as Go writes them; small counts, which most samples are, are there already."""

    def __missing__(self, value: float) -> str:
        value = float(value)
        if abs(value) < _ORDINARY:
            return repr(value)
        return str(floatToGoString(value))  # type: ignore[no-untyped-call]


NUMBERS: Final[Mapping[float, str]] = _Numbers(
    {float(count): f"{count}.0" for count in range(1000)}
)
"""The text of each number."""


def texts_of(numbers: Sequence[float]) -> list[str]:
    """Return the text of each of many numbers, as `NUMBERS` has it.

    JSON has most of them in the same form, and orjson writes forty thousand at once.
    """
    values = np.array(numbers, np.float64) + 0.0  # nor is there a minus before zero
    texts = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")
    size = np.abs(values)
    alike = (size == 0) | (size >= _SMALL) & (size < _ORDINARY)
    for at in np.flatnonzero(~alike).tolist():
        texts[at] = NUMBERS[values.item(at)]
    return texts if numbers else []


Columns = tuple[tuple[str, Callable[[Any], float | None]], ...]
"""Families that have one line for each workload, and where its number stands."""

_BOUNDS: Final[Columns] = (
    ("min_replicas", attrgetter("min")),
    ("max_replicas", attrgetter("max")),
)
_REPLICAS: Final[Columns] = (
    ("current_replicas", attrgetter("desired")),
    ("ready_replicas", attrgetter("ready")),
    ("starting_replicas", attrgetter("starting")),
    ("failing_replicas", attrgetter("failing")),
    ("rolling", attrgetter("rolling")),
)
_COSTS: Final[Columns] = (("desired_gpus", itemgetter(0)), ("cost_per_hour", itemgetter(1)))
_DECIDED: Final[Columns] = (
    ("combined_replicas", attrgetter("combined")),
    ("decided_replicas", attrgetter("replicas")),
)


def escaped(label: str) -> str:
    """Return a label's value as it stands between quotes."""
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


_repeated = lru_cache(maxsize=1024)(escaped)
"""For labels that many workloads have: names of policies and signals."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one workload, in text, as they stand in its lines.

    Attributes:
        first: Those before all others.
        last: Those behind all others.
        both: For families that have no others.
    """

    first: str
    last: str
    both: str

    @classmethod
    def of(cls, namespace: str, name: str) -> "Labels":
        """Write them."""
        first, last = f'{{namespace="{escaped(namespace)}",', f'workload="{escaped(name)}"}} '
        return cls(first, last, first + last)


class _Known:
    """The labels of the fleet that was shown last."""

    def __init__(self) -> None:
        self._last: tuple[FleetSpec | None, Mapping[str, Labels]] = None, {}

    def labels_of(self, fleet: FleetSpec) -> Mapping[str, Labels]:
        """Return the labels of a fleet's workloads by their keys, in file order."""
        last, labels = self._last  # read once: pages may be made in several threads
        if last is not fleet:
            labels = {
                workload.key: Labels.of(workload.metadata.namespace, workload.metadata.name)
                for workload in fleet.workloads
            }
            self._last = fleet, labels
        return labels


_KNOWN: Final = _Known()

_Decided = Sequence[tuple[Labels, Decision]]


def add_workloads(lines: Lines, report: CycleReport) -> int:
    """Add the lines of every workload; return how many of them are blind."""
    cycle, workloads = report.cycle, report.fleet.workloads
    labels = _KNOWN.labels_of(report.fleet)
    every = [one.both for one in labels.values()]
    _add(lines, _BOUNDS, every, [workload.spec.replicas for workload in workloads])
    decisions = cycle.plan.decisions
    decided = [(labels[key], decisions[key]) for key in labels if key in decisions]
    both = [one.both for one, _ in decided]
    blind = [bool(why_blind(cycle, decision)) for _, decision in decided]
    _add(lines, (("blind", bool),), both, blind)
    _add(lines, _DECIDED, both, [decision for _, decision in decided])
    _add_seen(lines, cycle, labels, [one for one in workloads if one.key in decisions])
    _add_reasons(lines, decided)
    _add_signals(lines, decided)
    _add_proposals(lines, cycle.plan.now, decided)
    return sum(blind)


def add_limited(lines: Lines, fleet: FleetSpec, counts: Mapping[tuple[str, str, str], int]) -> None:
    """Add how many cycles changed a number, by the workload's key, rule and reason."""
    labels_by_key = _KNOWN.labels_of(fleet)
    labels = []
    for key, rule, reason in counts:
        of_one = labels_by_key[key]
        others = f'reason="{reason}",rule="{_repeated(rule)}",'
        labels.append(f"{of_one.first}{others}{of_one.last}")
    _add_texts(lines, "limited_cycles_total", labels, map(NUMBERS.__getitem__, counts.values()))


def _add(lines: Lines, columns: Columns, labels: Sequence[str], rows: Sequence[Any]) -> None:
    """Add a line for each number that is there.

    Args:
        lines: Where to.
        columns: Which numbers.
        labels: Of each workload.
        rows: What has its numbers.
    """
    for name, number_of in columns:
        shown, numbers = labels, list(map(number_of, rows))
        if None in numbers:
            there = [at for at, number in enumerate(numbers) if number is not None]
            shown, numbers = [labels[at] for at in there], [numbers[at] for at in there]
        _add_texts(lines, name, shown, map(NUMBERS.__getitem__, numbers))  # type: ignore[arg-type]


def _add_texts(lines: Lines, name: str, labels: Sequence[str], texts: Iterable[str]) -> None:
    """Add one line for each number's text; all at once, for a page has very many."""
    if labels:
        family = PREFIX + name
        lines[name] += family, f"\n{family}".join(map(add, labels, texts)), "\n"


def _add_seen(
    lines: Lines, cycle: Cycle, labels: Mapping[str, Labels], decided: Iterable[ScaledWorkload]
) -> None:
    seen, replicas, costs = [], [], []
    for workload in decided:
        key = workload.key
        observation = cycle.snapshot.observations.get(key)
        if observation is None:
            continue
        status, replica, both = observation.replicas, workload.spec.replica, labels[key].both
        gpus = status.desired * replica.gpus
        seen.append(both)
        replicas.append(status)
        costs.append((gpus, gpus * replica.gpu_hour_price))
        if observation.interventions:
            found = {each.kind for each in observation.interventions if each.holds(cycle.plan.now)}
            family, rest = f"{PREFIX}intervention{{kind=", both[1:]
            lines["intervention"] += [f'{family}"{kind}",{rest}1.0\n' for kind in sorted(found)]
    _add(lines, _REPLICAS, seen, replicas)
    _add(lines, _COSTS, seen, costs)


def _add_reasons(lines: Lines, decided: _Decided) -> None:
    reasons, limited = lines["decision_reason"], lines["limited"]
    for labels, decision in decided:
        first, last = labels.first, labels.last
        reasons.append(f'{PREFIX}decision_reason{first}reason="{decision.reason}",{last}1.0\n')
        for rule, reason in dict.fromkeys((step.rule, step.reason) for step in decision.steps):
            others = f'reason="{reason}",rule="{_repeated(rule)}"'
            limited.append(f"{PREFIX}limited{first}{others},{last}1.0\n")


def _add_signals(lines: Lines, decided: _Decided) -> None:
    states = lines["signal_state"].append
    valued: list[str] = []
    values: list[float] = []
    aged: list[str] = []
    ages: list[float] = []
    for labels, decision in decided:
        first, last = labels.first, labels.last
        for reading in decision.readings:
            signal = f'{first}signal="{_repeated(reading.signal)}",'
            # Not in one text: how an Enum is formatted takes longer than all else here.
            states(f'{PREFIX}signal_state{signal}state="' + reading.state + f'",{last}1.0\n')
            both = signal + last
            if reading.value is not None:
                valued.append(both)
                values.append(reading.value)
            if reading.age_seconds is not None:
                aged.append(both)
                ages.append(reading.age_seconds)
    _add_texts(lines, "signal_value", valued, texts_of(values))
    _add_texts(lines, "signal_age_seconds", aged, texts_of(ages))


def _add_proposals(lines: Lines, now: float, decided: _Decided) -> None:
    shown: list[str] = []
    recommended: list[str] = []
    for labels, decision in decided:
        for label, proposal in by_label(decision.proposals):
            answer = proposal.recommendation
            if answer is None:
                continue
            first = f'{labels.first}policy="{_repeated(label)}",'
            if answer.replicas is not None:
                shown.append(first + labels.last)
                recommended.append(NUMBERS[answer.replicas])
            if answer.forecast is not None and len(answer.forecast.times):
                _add_forecast(lines, now, first, labels.last, answer.forecast)
    _add_texts(lines, "recommended_replicas", shown, recommended)


def _add_forecast(lines: Lines, now: float, first: str, last: str, forecast: Forecast) -> None:
    rest = f'signal="{escaped(forecast.signal)}",{last}'
    ahead = NUMBERS[float(forecast.times[-1]) - now]
    lines["forecast_horizon_seconds"].append(
        f"{PREFIX}forecast_horizon_seconds{first}{rest}{ahead}\n"
    )
    for level, value in zip(forecast.quantiles, forecast.values[:, -1], strict=True):
        labels = f'{first}quantile="{level}",{rest}'
        lines["forecast"].append(f"{PREFIX}forecast{labels}{NUMBERS[float(value)]}\n")
