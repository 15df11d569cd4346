"""What was seen: series, replicas and pods of one workload; all workloads in one snapshot.

Everything here is a frozen value. Times are Unix seconds (float), taken from the samples
themselves, never from the moment of asking.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import PlainSerializer, PlainValidator

from autoscaler.core.behavior import Behavior
from autoscaler.core.spec import Bounds, Replica, Slo
from autoscaler.core.swift import swift


def _frozen(values: ArrayLike) -> NDArray[np.float64]:
    if isinstance(values, np.ndarray) and values.dtype == np.float64 and not values.flags.writeable:
        return values
    array: NDArray[np.float64] = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


def _as_text_if_odd(value: float) -> float | str:
    """Write NaN and the infinities as words: JSON has no numbers for them."""
    return value if math.isfinite(value) else str(value)


def _as_lists(array: NDArray[np.float64]) -> list[Any]:
    if array.ndim > 1:
        return [_as_lists(row) for row in array]
    return [_as_text_if_odd(value) for value in array.tolist()]


FloatArray = Annotated[
    NDArray[np.float64],
    PlainValidator(_frozen),
    PlainSerializer(_as_lists),
]
"""Read-only numbers; written to JSON as lists."""

AnyFloat = Annotated[float, PlainSerializer(_as_text_if_odd)]
"""A float that may be NaN or infinite and survives JSON."""

Memory = Mapping[str, Any]
"""What a policy wants to find again next cycle: JSON values only, so that it can be journalled."""


@swift
@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The samples of one signal, oldest first.

    Attributes:
        times: Sample times, Unix seconds, strictly rising; shape (n,).
        values: Sample values in the signal's unit, finite or not, as the source gave them;
            shape (n,).
    """

    times: FloatArray
    values: FloatArray

    def __post_init__(self) -> None:
        """Freeze the arrays; those that are frozen already are not copied.

        Raises:
            ValueError: The shapes differ, or the times do not rise.
        """
        object.__setattr__(self, "times", _frozen(self.times))
        object.__setattr__(self, "values", _frozen(self.values))
        if self.times.ndim != 1 or self.times.shape != self.values.shape:
            raise ValueError(
                f"times and values should be two rows of one length, "
                f"not {self.times.shape} and {self.values.shape}"
            )
        if not bool((self.times[1:] > self.times[:-1]).all()):
            raise ValueError("times should rise strictly")

    @classmethod
    def of(cls, samples: Iterable[tuple[float, float]]) -> "Series":
        """Build a series from (time, value) pairs, oldest first."""
        pairs = list(samples)
        return cls(
            np.array([time for time, _ in pairs], dtype=np.float64),
            np.array([value for _, value in pairs], dtype=np.float64),
        )

    @classmethod
    def sound(cls, times: FloatArray, values: FloatArray) -> "Series":
        """Build a series of arrays that are read-only and fit already: nothing is checked."""
        series = object.__new__(cls)
        _set_times(series, times)
        _set_values(series, values)
        return series

    def __len__(self) -> int:
        return len(self.times)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return np.array_equal(self.times, other.times) and np.array_equal(
            self.values, other.values, equal_nan=True
        )

    def __hash__(self) -> int:
        return hash((self.times.tobytes(), self.values.tobytes()))

    @property
    def latest(self) -> float:
        """The newest value; NaN where there is no sample."""
        values = self.values
        return values.item(-1) if len(values) else math.nan

    @property
    def latest_time(self) -> float:
        """The time of the newest sample; minus infinity where there is none."""
        times = self.times
        return times.item(-1) if len(times) else -math.inf

    def finite(self) -> "Series":
        """Return the series without its NaN and infinite samples."""
        keep = np.isfinite(self.values)
        if np.logical_and.reduce(keep):  # as `keep.all()`, without its detour
            return self
        return Series.sound(_frozen(self.times[keep]), _frozen(self.values[keep]))

    def since(self, time: float) -> "Series":
        """Return the samples that are newer than `time`."""
        times = self.times
        if len(times) and times.item(0) > time:
            return self  # most often nothing is older: no need to search
        return self.tail(int(times.searchsorted(time, side="right")))

    def tail(self, first: int) -> "Series":
        """Return the samples from the index `first` on."""
        return Series.sound(self.times[first:], self.values[first:]) if first else self


# The slots themselves: cheaper than to find them by name, for each signal of each cycle.
_set_times, _set_values = (vars(Series)[name].__set__ for name in ("times", "values"))


class GapReason(StrEnum):
    """Why a signal brought no usable sample."""

    EMPTY = "empty"
    """The source answered, and knows no such series."""
    NAN = "nan"
    """The newest sample is not a number."""
    INFINITE = "infinite"
    """The newest sample is infinite."""
    PARTIAL = "partial"
    """The source warned that the answer is incomplete."""
    ERROR = "error"
    """The source did not answer, or refused."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What was asked for and not seen."""

    reason: GapReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PodStatus:
    """One pod of a workload, as the per-pod rules of the HPA need it.

    Attributes:
        name: The pod's name.
        phase: Pending, Running, Succeeded, Failed or Unknown.
        ready: Status of the Ready condition; None where the condition is absent or Unknown.
        deleting: Whether it has a deletion timestamp.
        started: Its start time, Unix seconds; None before the kubelet has seen it.
        ready_changed: When the Ready condition last changed, Unix seconds.
        requests: What its containers request, by resource name (cores, bytes).
    """

    name: str
    phase: str = "Running"
    ready: bool | None = True
    deleting: bool = False
    started: float | None = None
    ready_changed: float | None = None
    requests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodSample:
    """A metric's value for one pod.

    Attributes:
        value: In the metric's unit.
        time: The sample's own time, Unix seconds.
        window_seconds: The range it averages over.
    """

    value: AnyFloat
    time: float
    window_seconds: float = 30.0


@swift
@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """The replicas of a workload.

    Attributes:
        desired: `spec.replicas` of the target, whoever set it.
        ready: Replicas that serve.
        total: `status.replicas`, pods that exist; None where it is not known (then `desired`).
        failing: Pods that crash, cannot pull their image, or cannot be scheduled for good.
        rolling: Whether a roll-out is under way.
        disruptions_allowed: Replicas that its PodDisruptionBudgets let go at once now; None
            where it has none.
    """

    desired: int
    ready: int
    total: int | None = None
    failing: int = 0
    rolling: bool = False
    disruptions_allowed: int | None = None

    @property
    def starting(self) -> int:
        """Replicas asked for but not serving yet."""
        return max(0, self.desired - self.ready)

    @property
    def status(self) -> int:
        """Pods that exist, as `status.replicas` tells."""
        return self.desired if self.total is None else self.total


class InterventionKind(StrEnum):
    """How somebody else has a say in a workload's size; the first that holds counts."""

    SUSPENDED = "suspended"
    """Another controller writes the same number: nothing changes."""
    PAUSED = "paused"
    """A person paused it: nothing changes."""
    REPLICAS = "replicas"
    """A person set the number, within replicas.min and replicas.max."""
    EDITED = "edited"
    """A person changed the number lately: nothing changes."""
    PAUSED_DOWN = "paused-down"
    """A person forbade decreases."""
    EXPECTED_MISSING = "expected-missing"
    """Whoever should follow our number is not there: only told."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """Somebody else's say in a workload's size.

    Attributes:
        kind: What it means.
        text: Who and where, in one sentence.
        replicas: The number set, where the kind is `replicas`.
        until: When it ends, Unix seconds; None where it lasts until it is taken back.
    """

    kind: InterventionKind
    text: str
    replicas: int | None = None
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it has not ended at `now`."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy file lets a policy know of its workload."""

    bounds: Bounds
    replica: Replica
    slo: Slo
    behavior: Behavior | None = None


DEFAULT_TERMS: Final = Terms(Bounds(max=1000), Replica(), Slo())


@swift
@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one workload; and, once shown to a policy, what goes with it.

    Attributes:
        now: The time of the cycle, Unix seconds.
        replicas: The target's replicas.
        signals: The series by signal name. A policy is shown only usable ones, without
            non-finite samples.
        missing: Why the others brought nothing.
        pods: The target's pods, where a policy asks for them (`Policy.needs_pods`).
        pod_samples: Per-pod values, likewise: signal name, then pod name.
        memory: What this policy returned as `Recommendation.memory` last time, if anything.
        lead_seconds: Seconds until a replica asked for now would serve.
        terms: What the policy file says that a policy may know.
        interventions: What people and other controllers have said of its size.
    """

    now: float
    replicas: ReplicaStatus
    signals: Mapping[str, Series] = field(default_factory=dict)
    missing: Mapping[str, Gap] = field(default_factory=dict)
    pods: tuple[PodStatus, ...] = ()
    pod_samples: Mapping[str, Mapping[str, PodSample]] = field(default_factory=dict)
    memory: Memory | None = None
    lead_seconds: float = 0.0
    terms: Terms = field(default=DEFAULT_TERMS)
    interventions: tuple[Intervention, ...] = ()

    def signal(self, name: str) -> Series:
        """Return the series of a signal that `needs` names; it has at least one finite sample.

        Raises:
            KeyError: The signal was not seen: it is not among the policy's `needs`.
        """
        return self.signals[name]


@dataclass(frozen=True, slots=True)
class NodePoolStatus:
    """The nodes of a pool.

    Attributes:
        desired: Nodes asked for, whoever asked.
        ready: Nodes that pods can start on.
    """

    desired: int
    ready: int


@swift
@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen of the whole fleet at one time.

    Attributes:
        now: The time of the cycle, Unix seconds.
        observations: By workload key (namespace/name). A workload whose target could not be
            read is absent here and present in `missing`.
        missing: Why a workload or a node pool could not be seen at all, by key.
        pools: Node pools by name.
        paused: Why nothing may be changed anywhere; empty where it may.
    """

    now: float
    observations: Mapping[str, Observation] = field(default_factory=dict)
    missing: Mapping[str, Gap] = field(default_factory=dict)
    pools: Mapping[str, NodePoolStatus] = field(default_factory=dict)
    paused: str = ""
