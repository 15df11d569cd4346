"""The parts of a policy file: frozen values that forbid unknown names.

Field names are camelCase in the file and snake_case here. The docstring under a field feeds the
JSON schema, `autoscaler policies` and the error messages.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.alias_generators import to_camel

from autoscaler.core import quantity

DNS_LABEL = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class Spec(BaseModel):
    """A value that came from outside: frozen, camelCase, unknown names are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        strict=False,
    )

    def __copy__(self) -> Self:
        """Return a copy without what was worked out from the fields (`cached_property`).

        A copy may be made to change a field: `model_copy(update=...)` begins here.
        """
        copy = super().__copy__()
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy


def _not_bool(value: object) -> object:
    """Refuse true and false where a number belongs: Python counts them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"input should be a number, not {str(value).lower()}")
    return value


Number = BeforeValidator(_not_bool)
"""Annotation for numeric fields: booleans are not numbers."""

Seconds = Annotated[float, Number, Field(ge=0)]
"""A duration; 0 is one."""


class Actuation(StrEnum):
    """Who changes the replica count."""

    NONE = "none"
    """Watch, decide and record only: what every new file starts with."""
    SCALE = "scale"
    """We patch the target's /scale."""
    HPA = "hpa"
    """A HorizontalPodAutoscaler follows our published number."""


class Target(Spec):
    """The object whose replicas are counted and changed; it lies in `metadata.namespace`."""

    api_version: str = "apps/v1"
    """Group and version, such as apps/v1."""

    kind: str = "Deployment"
    """Anything with a /scale subresource."""

    name: Annotated[str, Field(pattern=DNS_LABEL, max_length=253)]
    """The object's name."""

    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] | None = None
    """Only to state it twice: must equal `metadata.namespace`."""


class Bounds(Spec):
    """The least and the most replicas, enforced on every path."""

    min: Annotated[int, Number, Field(ge=0, le=2**31 - 1)] = 1
    """Fewest replicas; 0 allows sleep."""

    max: Annotated[int, Number, Field(ge=1, le=2**31 - 1)]
    """Most replicas."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min should be at most max, not {self.min} > {self.max}")
        return self

    def clamp(self, replicas: int) -> int:
        """Return the allowed count nearest to `replicas`."""
        return min(max(replicas, self.min), self.max)


class Replica(Spec):
    """What one replica needs and how long it takes to start."""

    gpus: Annotated[PositiveInt, Number] = 1
    """GPUs of one replica."""

    cold_start_seconds: Annotated[float, Number, Field(ge=0, le=86400)] = 240.0
    """Seconds from asking for a replica until it serves, node already there."""

    node_pool: str | None = None
    """Name of the node pool that its pods land on."""

    profile: str | None = None
    """Serving profile for the simulator, such as llama-3.1-70b/h100/tp4/fp8."""

    gpu_hour_price: Annotated[float, Number, Field(ge=0)] = 0.0
    """Price of one GPU for one hour, in whatever money you count."""


class Slo(Spec):
    """The service-level objective; an absent limit is no limit."""

    ttft_p95_seconds: Annotated[PositiveFloat, Number] | None = None
    """95 % of first tokens come within this many seconds of arrival."""

    itl_p95_seconds: Annotated[PositiveFloat, Number] | None = None
    """95 % of gaps between tokens are at most this many seconds."""

    e2e_p95_seconds: Annotated[PositiveFloat, Number] | None = Field(
        default=None, alias="e2eP95Seconds"
    )
    """95 % of answers are complete within this many seconds of arrival."""

    attainment: Annotated[float, Number, Field(gt=0, le=1)] = 0.95
    """Share of requests that should meet every limit."""


class Role(StrEnum):
    """What a signal speaks of: decides how a zero is read."""

    QUEUE = "queue"
    THROUGHPUT = "throughput"
    LATENCY = "latency"
    UTILIZATION = "utilization"
    ARRIVALS = "arrivals"
    OTHER = "other"


class SignalKind(StrEnum):
    """Demand is what users send; state is what the fleet shows and our actions change."""

    DEMAND = "demand"
    STATE = "state"


class OnMissing(StrEnum):
    """What an unusable signal (stale, missing or suspect) means."""

    HOLD = "hold"
    """Policies that need it say nothing, and the workload does not shrink."""
    LAST = "last"
    """The last good sample counts, however old, but may only raise."""
    ZERO = "zero"
    """An answer without a sample is a true zero: only for sources that drop idle series."""
    FALLBACK = "fallback"
    """As hold, and `spec.fallback` applies even if other policies still see."""


class SignalSpec(Spec):
    """A named measurement of a workload."""

    query: Annotated[str, Field(min_length=1)]
    """PromQL template; $match, $labels and $window are filled in."""

    role: Role = Role.OTHER
    """queue, throughput, latency, utilization, arrivals or other."""

    kind: SignalKind = SignalKind.STATE
    """demand or state."""

    measures: str | None = None
    """The measurement in the catalogue's words, if the signal's own name is another one."""

    window_seconds: Annotated[PositiveInt, Number] = 120
    """How far back samples are kept."""

    step_seconds: Annotated[PositiveInt, Number] = 15
    """Seconds between samples."""

    max_age_seconds: Annotated[PositiveFloat, Number] | None = None
    """An older sample is stale, one older than half of it is ageing; absent: the larger of 60 s
    and three steps."""

    on_missing: OnMissing = OnMissing.HOLD
    """hold, last, zero or fallback."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.step_seconds > self.window_seconds:
            raise ValueError(
                f"stepSeconds should be at most windowSeconds, "
                f"not {self.step_seconds} > {self.window_seconds}"
            )
        if self.max_age < self.step_seconds:
            raise ValueError(
                f"maxAgeSeconds should be at least stepSeconds, "
                f"not {self.max_age:g} < {self.step_seconds}"
            )
        return self

    @property
    def max_age(self) -> float:
        """Seconds after which a sample is stale."""
        if self.max_age_seconds is not None:
            return self.max_age_seconds
        return max(60.0, 3.0 * self.step_seconds)


class Fallback(Spec):
    """What to run when nothing useful has been seen for a while; it may only raise."""

    after_seconds: Annotated[float, Number, Field(ge=0)] = 180.0
    """Seconds without a usable recommendation before it applies."""

    replicas: Literal["keep"] | Annotated[int, Number, Field(ge=0, le=2**31 - 1)] = "keep"
    """keep, or a count that the workload is raised to (never lowered)."""


def _quantity(value: object) -> object:
    """Read a tolerance as Kubernetes writes it: a number, "0.1", or "100m"."""
    return quantity.parse(value).approximate if isinstance(value, str) else value


Tolerance = Annotated[
    float,
    Field(ge=0),
    BeforeValidator(_quantity, json_schema_input_type=float | str),
    AfterValidator(float),
    Number,
]
