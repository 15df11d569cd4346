"""The live ends of a controller: what it sees the fleet with, and what it changes the cluster with.

Looking is three readings at once (signals, targets, node pools), each with the same deadline:
what has not come back by then is missing, and delays nobody else. Changing asks before every
single write whether we still lead and whether there is time left.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from autoscaler.adapters.parts import Parts
from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import ActuationError, ObservationError
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    NodePoolStatus,
    Observation,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Series,
    Snapshot,
)
from autoscaler.core.workload import FleetSpec

T = TypeVar("T")


class SignalsSeen(Protocol):
    """The signals of one workload."""

    @property
    def pod_samples(self) -> Mapping[str, Mapping[str, PodSample]]:
        """Of each pod, where a query keeps the label `pod`: by signal, then by pod."""
        ...

    @property
    def signals(self) -> Mapping[str, Series]:
        """By name."""
        ...

    @property
    def missing(self) -> Mapping[str, Gap]:
        """Why the others brought nothing."""
        ...

    @property
    def parts(self) -> Mapping[str, int]:
        """How many raw series are behind each signal, by name; absent where that is unknown."""
        ...


class TargetSeen(Protocol):
    """The target of one workload."""

    @property
    def replicas(self) -> ReplicaStatus:
        """Its replicas."""
        ...

    @property
    def pods(self) -> tuple[PodStatus, ...]:
        """Its pods, where a policy asks for them."""
        ...

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """What people and other controllers have said."""
        ...


class TargetsSeen(Protocol):
    """The targets of a fleet."""

    @property
    def observed(self) -> Mapping[str, TargetSeen]:
        """By workload key."""
        ...

    @property
    def missing(self) -> Mapping[str, Gap]:
        """Why the others were not seen, by workload key."""
        ...


class SignalSource(Protocol):
    """Reads the signals of a fleet."""

    def read(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        """Return what was seen, by workload key. Never raises for a source that is down."""
        ...


class TargetSource(Protocol):
    """Reads the targets of a fleet."""

    def read(self, fleet: FleetSpec, now: float) -> TargetsSeen:
        """Return what was seen, and why the others were not. Never raises for one target."""
        ...


class PoolSource(Protocol):
    """Reads the node pools of a fleet."""

    def read(
        self, fleet: FleetSpec, now: float
    ) -> tuple[Mapping[str, NodePoolStatus], Mapping[str, Gap]]:
        """Return what was seen, and why the others were not, both by pool name."""
        ...


class Scaling(Protocol):
    """Makes one change in the cluster."""

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        """Make it. A failure is an outcome that is not done, or an ActuationError."""
        ...


@dataclass(frozen=True, slots=True)
class _Nothing:
    signals: Mapping[str, Series] = field(default_factory=dict)
    missing: Mapping[str, Gap] = field(default_factory=dict)
    pod_samples: Mapping[str, Mapping[str, PodSample]] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)


_NOTHING: Final = _Nothing()
_KUBERNETES: Final = "the Kubernetes API"

UNREAD: Final = Intervention(
    InterventionKind.PAUSED, "everything is paused until the kill switch was read once"
)
"""What holds before the first answer: whoever threw the switch before we started is not overlooked,
however slowly we learn of it."""


class LiveObserver:
    """Sees the fleet through Prometheus and Kubernetes.

    Attributes:
        latest: What was seen last; None before the first look.
    """

    def __init__(
        self,
        *,
        signals: SignalSource,
        targets: TargetSource,
        pools: PoolSource,
        seconds: float,
        paused: Callable[[], Intervention | None] = lambda: None,
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """Look with these readers.

        Args:
            signals: Reads the signals.
            targets: Reads the targets.
            pools: Reads the node pools.
            seconds: Longest that a look may take.
            paused: What pauses everything; None where nothing does. Until it has answered once,
                everything is paused; while it does not answer later, its last answer holds.
            trouble: Why the newest request to the Kubernetes API failed; empty if it did not.
        """
        self._signals, self._targets, self._pools = signals, targets, pools
        self._seconds = seconds
        self._paused = paused
        self._trouble = trouble
        self._pause: Intervention | None = UNREAD
        self.latest: Snapshot | None = None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="look")
        self._busy: dict[str, Future[Any]] = {}
        self._parts = Parts()

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        self._parts.follow(fleet)
        asked: dict[str, Future[Any] | None] = {
            "signals": self._ask("signals", lambda: self._signals.read(fleet, now)),
            "targets": self._ask("targets", lambda: self._targets.read(fleet, now)),
            "pools": self._ask("pools", lambda: self._pools.read(fleet, now)),
            "switch": self._ask("switch", self._paused),
        }
        wait([one for one in asked.values() if one is not None], timeout=self._seconds)
        signals, unsigned = self._answer(asked["signals"], "Prometheus")
        targets, untold = self._answer(asked["targets"], _KUBERNETES)
        pools, unpooled = self._answer(asked["pools"], _KUBERNETES)
        pause, unread = self._answer(asked["switch"], _KUBERNETES)
        # Not read this time: what was read last still holds.
        self._pause = self._pause if unread is not None else pause
        everywhere = () if self._pause is None else (self._pause,)
        seen, missing = ({}, {}) if targets is None else (targets.observed, targets.missing)
        sized, unsized = pools if pools is not None else ({}, {})
        observations: dict[str, Observation] = {}
        gaps: dict[str, Gap] = {**missing, **unsized}
        signals = signals or {}
        for workload in fleet.workloads:
            key = workload.key
            target = seen.get(key)
            if target is None:
                gaps.setdefault(key, untold or Gap(GapReason.EMPTY, "no target was read"))
                continue
            read: SignalsSeen = signals.get(key, _NOTHING)
            partial = self._parts.lacking(workload, read.parts, target.replicas, now)
            lost = {} if unsigned is None else dict.fromkeys(workload.spec.signals, unsigned)
            observations[key] = Observation(
                now=now,
                replicas=target.replicas,
                signals=read.signals,
                missing={**lost, **partial, **read.missing},
                pods=target.pods,
                pod_samples=read.pod_samples,
                interventions=(*everywhere, *target.interventions),
            )
        if unpooled is not None:
            for pool in fleet.pools:
                gaps.setdefault(pool.key, unpooled)
        paused = "" if self._pause is None else self._pause.text
        self.latest = Snapshot(now, observations, gaps, sized, paused)
        return self.latest

    def kept(self) -> Mapping[str, Any]:
        """Return what was whole of each workload's signals, for the next process: JSON."""
        return self._parts.kept()

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what another process kept."""
        self._parts.restore(kept)

    def close(self) -> None:
        """Wait for nothing: readers that hang end with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str, read: Callable[[], T]) -> "Future[T] | None":
        """Begin to read, unless the last reading has not come back yet."""
        before = self._busy.get(name)
        if before is not None and not before.done():
            return None
        self._busy[name] = future = self._threads.submit(read)
        return future

    def _answer(self, future: "Future[Any] | None", whom: str) -> tuple[Any, Gap | None]:
        """Return what was read, or why it was not."""
        if future is None:
            return None, Gap(GapReason.ERROR, f"{whom} has not answered the cycle before yet")
        if not future.done():
            late = f"{whom} did not answer within {self._seconds:g} s"
            why = self._trouble() if whom == _KUBERNETES else ""
            return None, Gap(GapReason.ERROR, f"{late}: {why}" if why else late)
        try:
            return future.result(), None
        except ObservationError as error:
            return None, Gap(GapReason.ERROR, str(error))
        except Exception as error:  # noqa: BLE001  # a bug in a reader must not stop the others
            text = f"{type(error).__name__}: {error}".partition("\n")[0]
            return None, Gap(GapReason.ERROR, f"reading {whom} failed: {text}")


OUT_OF_TIME: Final = "the time for changes in this cycle is over; the next one tries again"
NOT_LEADING: Final = "we no longer hold the lease; the leader acts"


class FencedActuator:
    """Changes the cluster while we lead and while there is time. For many threads."""

    def __init__(
        self,
        scaling: Scaling,
        *,
        leads: Callable[[], bool],
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Act through `scaling`.

        Args:
            scaling: Makes one change.
            leads: Whether we still lead; asked right before every change.
            seconds: Longest that the changes of one cycle may take together.
            monotonic: Measures that.
        """
        self._scaling = scaling
        self._leads = leads
        self._seconds = seconds
        self._monotonic = monotonic
        self._cycle: float | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        with self._lock:
            if self._cycle != now:
                self._cycle, self._until = now, self._monotonic() + self._seconds
        if not self._leads():
            raise ActuationError(NOT_LEADING)
        if self._monotonic() >= self._until:
            raise ActuationError(OUT_OF_TIME)
        try:
            return self._scaling.act(action, now)
        except ActuationError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ActuationError(f"internal error: {text}") from error
