"""The controller's plan as it arrives: `GET /v1/plan`, checked."""

from collections.abc import Mapping

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
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


class Workload(_Wire):
    """One workload: the number decided for it and what it rests on."""

    namespace: str
    name: str
    target: Target
    actuation: str = "none"
    min: int
    max: int
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

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


class Plan(_Wire):
    """The numbers of one cycle."""

    version: int
    cycle: str
    """Differs from that of every other cycle."""

    time: float
    """Of the decision, Unix seconds by the controller's clock."""

    interval_seconds: float
    workloads: tuple[Workload, ...]


def read_plan(body: bytes) -> Plan:
    """Read the document.

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
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ObservationError(f"the plan: {where}: {first['msg']}") from error
