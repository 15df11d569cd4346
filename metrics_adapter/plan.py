"""The controller's plan as it arrives: `GET /v1/plan`, checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, SkipValidation, ValidationError
from pydantic.alias_generators import to_camel

from autoscaler.core.errors import ObservationError

VERSION = 1
"""Of the document: it rises when a field goes away or changes its meaning."""


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

    time: float | None
    """Time of that sample, Unix seconds."""

    state: str
    """fresh, ageing, stale, missing or suspect."""

    why: str = ""
    """What made it other than fresh."""

    role: str = "other"
    """What it speaks of: queue, throughput, latency, utilization, arrivals or other."""

    max_age_seconds: float | None = None
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
    current: int | None
    desired: int | None
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

    time: float
    """Of the decision, Unix seconds by the controller's clock."""

    interval_seconds: float
    workloads: Annotated[list[Any], SkipValidation]
    """Rows as they came; `rows` reads them one by one."""

    def rows(self) -> Iterator[WorkloadRow]:
        """Yield each workload.

        One at a time: they are many, and whoever serves meanwhile must not wait for all of them.

        Raises:
            ObservationError: One is not what it should be.
        """
        for place, row in enumerate(self.workloads):
            try:
                yield WorkloadRow.model_validate(row)
            except ValidationError as error:
                raise _wrong(error, "workloads", place) from error


def read_plan(body: bytes) -> Plan:
    """Read the document, all but its rows.

    Raises:
        ObservationError: It is not a plan, or of a version that is not known here.
    """
    try:
        document = orjson.loads(body)
        version = document["version"] if isinstance(document, dict) else None
        if version != VERSION:
            raise ObservationError(f"the plan should be of version {VERSION}, not {version!r}")
        return Plan.model_validate(document)
    except (orjson.JSONDecodeError, KeyError) as error:
        raise ObservationError(f"the plan is no JSON document with a version: {error}") from error
    except ValidationError as error:
        raise _wrong(error) from error


def _wrong(error: ValidationError, *place: object) -> ObservationError:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, (*place, *first["loc"])))
    return ObservationError(f"the plan: {where}: {first['msg']}")
