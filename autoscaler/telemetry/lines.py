"""The lines of `/metrics` that each workload has: nearly the whole page, so they are made at once.

At 10,000 workloads a page has 300,000 lines. Each family is one loop over what all workloads have
in common, and a workload's labels are written once for all its lines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final

from prometheus_client.utils import floatToGoString

from autoscaler.core.decision import Cycle, Decision
from autoscaler.core.policy import Forecast
from autoscaler.core.workload import ScaledWorkload
from autoscaler.telemetry.families import PREFIX
from autoscaler.telemetry.report import CycleReport
from autoscaler.telemetry.sight import by_label, why_blind

Lines = Mapping[str, list[str]]
"""The lines of a page, each with its newline, by the family's name without the prefix."""

_ORDINARY: Final = 1e6
"""From here on Go writes an exponent."""


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
class _One:
    """One workload that was decided, and its labels in text: the first, the last, and both."""

    first: str
    last: str
    both: str
    workload: ScaledWorkload
    decision: Decision


def add_workloads(lines: Lines, report: CycleReport) -> int:
    """Add the lines of every workload; return how many of them are blind."""
    bounds, decided, blind = [], [], []
    for workload in report.fleet.workloads:
        namespace, name = workload.metadata.namespace, workload.metadata.name
        first, last = f'{{namespace="{escaped(namespace)}",', f'workload="{escaped(name)}"}} '
        both = first + last
        bounds.append((both, workload.spec.replicas))
        decision = report.cycle.plan.decisions.get(workload.key)
        if decision is not None:
            decided.append(_One(first, last, both, workload, decision))
            blind.append((both, bool(why_blind(report.cycle, decision))))
    _add(lines, _BOUNDS, bounds)
    _add(lines, (("blind", bool),), blind)
    _add(lines, _DECIDED, [(one.both, one.decision) for one in decided])
    _add_seen(lines, report.cycle, decided)
    _add_reasons(lines, decided)
    _add_signals(lines, decided)
    _add_proposals(lines, report.cycle.plan.now, decided)
    return sum(is_blind for _, is_blind in blind)


def _add(lines: Lines, columns: Columns, rows: Sequence[tuple[str, Any]]) -> None:
    """Add a line for each number that is there; rows are labels and what has the numbers."""
    for name, number_of in columns:
        family = PREFIX + name
        lines[name] += [
            f"{family}{labels}{NUMBERS[number]}\n"
            for labels, what in rows
            if (number := number_of(what)) is not None
        ]


def _add_seen(lines: Lines, cycle: Cycle, decided: Sequence[_One]) -> None:
    replicas, costs = [], []
    for one in decided:
        observation = cycle.snapshot.observations.get(one.decision.workload)
        if observation is None:
            continue
        status, replica = observation.replicas, one.workload.spec.replica
        gpus = status.desired * replica.gpus
        replicas.append((one.both, status))
        costs.append((one.both, (gpus, gpus * replica.gpu_hour_price)))
        if observation.interventions:
            found = {each.kind for each in observation.interventions if each.holds(cycle.plan.now)}
            family, rest = f"{PREFIX}intervention{{kind=", one.both[1:]
            lines["intervention"] += [f'{family}"{kind}",{rest}1.0\n' for kind in sorted(found)]
    _add(lines, _REPLICAS, replicas)
    _add(lines, _COSTS, costs)


def _add_reasons(lines: Lines, decided: Sequence[_One]) -> None:
    reasons, limited = lines["decision_reason"], lines["limited"]
    for one in decided:
        decision = one.decision
        reasons.append(
            f'{PREFIX}decision_reason{one.first}reason="{decision.reason}",{one.last}1.0\n'
        )
        for rule, reason in dict.fromkeys((step.rule, step.reason) for step in decision.steps):
            labels = f'reason="{reason}",rule="{escaped(rule)}"'
            limited.append(f"{PREFIX}limited{one.first}{labels},{one.last}1.0\n")


def _add_signals(lines: Lines, decided: Sequence[_One]) -> None:
    states, values, ages = (
        lines[f"signal_{what}"].append for what in ("state", "value", "age_seconds")
    )
    for one in decided:
        first, last = f"{one.first}signal=", one.last
        for reading in one.decision.readings:
            signal = f'"{_repeated(reading.signal)}",'
            states(f'{PREFIX}signal_state{first}{signal}state="{reading.state}",{last}1.0\n')
            if reading.value is not None:
                values(f"{PREFIX}signal_value{first}{signal}{last}{NUMBERS[reading.value]}\n")
            if reading.age_seconds is not None:
                age = NUMBERS[reading.age_seconds]
                ages(f"{PREFIX}signal_age_seconds{first}{signal}{last}{age}\n")


def _add_proposals(lines: Lines, now: float, decided: Sequence[_One]) -> None:
    recommended = lines["recommended_replicas"].append
    for one in decided:
        for label, proposal in by_label(one.decision.proposals):
            answer = proposal.recommendation
            if answer is None:
                continue
            policy = f'{one.first}policy="{_repeated(label)}",'
            if answer.replicas is not None:
                number = NUMBERS[answer.replicas]
                recommended(f"{PREFIX}recommended_replicas{policy}{one.last}{number}\n")
            if answer.forecast is not None and len(answer.forecast.times):
                _add_forecast(lines, now, policy, one.last, answer.forecast)


def _add_forecast(lines: Lines, now: float, first: str, last: str, forecast: Forecast) -> None:
    rest = f'signal="{escaped(forecast.signal)}",{last}'
    ahead = NUMBERS[float(forecast.times[-1]) - now]
    lines["forecast_horizon_seconds"].append(
        f"{PREFIX}forecast_horizon_seconds{first}{rest}{ahead}\n"
    )
    for level, value in zip(forecast.quantiles, forecast.values[:, -1], strict=True):
        labels = f'{first}quantile="{level}",{rest}'
        lines["forecast"].append(f"{PREFIX}forecast{labels}{NUMBERS[float(value)]}\n")
