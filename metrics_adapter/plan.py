"""The controller's plan as it arrives: `GET /v1/plan`, checked.

It is read row by row: whoever serves meanwhile never waits for more than one of them, which takes
4 ms for each thousand of its signals.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from autoscaler.core.errors import ObservationError
from metrics_adapter.json_text import JsonText

VERSION = 1
"""Of the document: it rises when a field goes away or changes its meaning."""
LIVE: Final = "live"
"""The mode in which one of several controllers leads."""

Time = Annotated[float, Field(ge=0, lt=253_402_300_800)]
"""Unix seconds, before the year 10000: what can be written as a date."""
Count = Annotated[int, Field(lt=2**31)]
"""A number of replicas, as Kubernetes holds it."""
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Wire(BaseModel):
    """A value of another process. New fields may come at any time: unknown ones are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class Target(_Wire):
    """The object that is scaled."""

    api_version: str
    kind: str
    name: str


class Signal(_Wire):
    """One signal, judged by the controller."""

    value: float | None
    """Newest finite value, in the signal's unit."""

    time: Time | None
    """Time of that sample, Unix seconds."""

    state: str
    """fresh, ageing, stale, missing or suspect."""

    why: str = ""
    """What made it other than fresh."""

    role: str = "other"
    """What it speaks of: queue, throughput, latency, utilization, arrivals or other."""

    max_age_seconds: Seconds | None = None
    """An older sample is stale; None where the controller does not say."""


class Forecast(_Wire):
    """Quantiles of a signal over a horizon."""

    signal: str
    times: tuple[float, ...]
    """Unix seconds."""

    quantiles: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]
    """One row for each quantile, one column for each time."""


class WorkloadRow(_Wire):
    """One workload: the number decided for it and what it rests on."""

    namespace: str
    name: str
    target: Target
    match: Mapping[str, str]
    labels: Mapping[str, str] = {}
    current: Count | None
    desired: Count | None
    """Replicas decided; None where the target was not seen."""

    reason: str = ""
    blind: str = ""
    """Why nothing useful is seen of it; empty where something is."""

    signals: Mapping[str, Signal]
    forecasts: tuple[Forecast, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """What is kept of a workload.

    Attributes:
        current: Replicas found; None where the target was not seen.
        desired: Replicas decided; None where the target was not seen.
        reason: Why, in one word.
        blind: Why nothing useful is seen of it; empty where something is.
    """

    current: int | None
    desired: int | None
    reason: str = ""
    blind: str = ""


class Plan(_Wire):
    """The numbers of one cycle."""

    cycle: str
    """Differs from that of every other cycle."""

    time: Time
    """Of the decision, Unix seconds by the controller's clock."""

    interval_seconds: Seconds
    mode: str = LIVE
    """live, or shadow: nothing is written by the controller itself."""

    leader: bool = True
    """Whether that controller may act."""

    workloads: list[Any]
    """Rows as they came; `rows` reads them one by one."""

    @property
    def standby(self) -> bool:
        """Whether another controller leads: what this one would do is done by nobody."""
        return self.mode == LIVE and not self.leader

    def rows(self) -> Iterator[WorkloadRow]:
        """Yield each workload once, and forget it: they are many.

        Raises:
            ObservationError: One is not what it should be.
        """
        left = self.workloads
        left.reverse()
        place = 0
        while left:
            try:
                yield WorkloadRow.model_validate(left.pop())
            except ValidationError as error:
                raise _wrong(error, "workloads", place) from error
            place += 1


def read_plan(body: bytes) -> Plan:
    """Read the document at once, all but its rows.

    Raises:
        ObservationError: It is not a plan, or of a version that is not known here.
    """
    reading = plan_steps(body)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            plan: Plan = end.value
            return plan


def plan_steps(body: bytes) -> Generator[None, None, Plan]:
    """Read the document in small steps, all but the check of its rows; return the plan.

    Raises:
        ObservationError: It is not a plan, or of a version that is not known here.
    """
    document: dict[str, Any] = {}
    rows: list[Any] = []
    try:
        text = JsonText(body)
        yield
        for name in text.names():
            if name == "workloads" and text.takes("["):
                document[name] = rows = []
                for row in text.items():
                    rows.append(row)
                    yield
            else:
                document[name] = text.value()
        version = document["version"]
    except (ValueError, KeyError, RecursionError) as error:
        raise ObservationError(f"the plan is no JSON document with a version: {error}") from error
    if version != VERSION:
        raise ObservationError(f"the plan should be of version {VERSION}, not {version!r}")
    if document.get("workloads") is rows:
        document["workloads"] = []
    try:
        plan = Plan.model_validate(document)
    except ValidationError as error:
        raise _wrong(error) from error
    plan.workloads.extend(rows)  # not checked with the rest: that would copy all of them at once
    return plan


def _wrong(error: ValidationError, *place: object) -> ObservationError:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, (*place, *first["loc"])))
    return ObservationError(f"the plan: {where}: {first['msg']}")
