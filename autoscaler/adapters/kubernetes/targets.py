"""The targets of a fleet, read: replicas, pods, disruption budgets, and who else has a say.

Everything is read from collections that are followed by watch, so that 10,000 workloads cost no
more requests than ten. What was not confirmed lately is not used: the workload becomes a gap.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes import inference_service
from autoscaler.adapters.kubernetes.budgets import Budget, BudgetIndex, read_budget
from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import Kind, Kinds
from autoscaler.adapters.kubernetes.pods import (
    Pod,
    PodIndex,
    read_pod,
)
from autoscaler.adapters.kubernetes.requests import KubernetesError
from autoscaler.adapters.kubernetes.scalers import Reference
from autoscaler.adapters.kubernetes.sight import Around, Say, TargetSeen, nobody_else, see
from autoscaler.adapters.kubernetes.target_objects import (
    USUAL,
    Json,
    Scale,
    read_scale,
    trim_target,
)
from autoscaler.adapters.kubernetes.watch import Watched
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import (
    Gap,
    GapReason,
)
from autoscaler.core.workload import FleetSpec, ScaledWorkload


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How targets are read.

    Attributes:
        max_age_seconds: What the API server confirmed longer ago is not used.
        first_read_seconds: How long the first reading may wait for all first lists.
        namespaces: A fleet in more namespaces is followed cluster-wide: one watch instead of
            many, at the price of a ClusterRole.
        unschedulable_seconds: A pod that no node takes for longer is failing; at least twice
            the provisioning time of its node pool, where that is known.
        threads: For kinds that are read by `/scale`, one request a workload.
        scale_seconds: For all of those together.
    """

    max_age_seconds: float = 90.0
    first_read_seconds: float = 10.0
    namespaces: int = 8
    unschedulable_seconds: float = 600.0
    threads: int = 16
    scale_seconds: float = 10.0

    def places(self, fleet: FleetSpec) -> frozenset[str] | None:
        """Return the namespaces that a fleet is followed in; None: everywhere at once."""
        found = frozenset(workload.metadata.namespace for workload in fleet.workloads)
        return None if len(found) > self.namespaces else found


DEFAULT_READ: Final = ReadLimits()


@dataclass(frozen=True, slots=True)
class TargetsSeen:
    """What was seen of all targets, by workload key; who is in neither was not asked for."""

    observed: Mapping[str, TargetSeen]
    missing: Mapping[str, Gap]


class TargetReader:
    """Reads the targets of a fleet. Not for several threads at once."""

    def __init__(
        self,
        connection: Connection,
        kinds: Kinds,
        watches: Watches,
        *,
        limits: ReadLimits = DEFAULT_READ,
        say: Say = nobody_else,
    ) -> None:
        """Nothing is asked before the first `read`.

        Args:
            connection: For kinds that are read by `/scale`.
            kinds: How kinds are served.
            watches: Collections of this reader alone.
            limits: How to read.
            say: Tells who else has a say.
        """
        self._connection = connection
        self._kinds = kinds
        self._watches = watches
        self._limits = limits
        self._say = say
        self._pods: tuple[Watched[Pod], ...] = ()

    def close(self) -> None:
        """Stop all watches."""
        self._watches.close()

    def uid_of(self, about: Reference) -> str:
        """Return the `metadata.uid` of a target, as last seen; empty where it is not known."""
        try:
            kind = self._kinds.find(about.api_version, about.kind)
        except ObservationError:
            return ""
        for place in (about.namespace, ""):
            watched = self._watches.known(kind.path(place))
            body = watched.get(about.namespace, about.name) if watched is not None else None
            if body is not None:
                return str(body["metadata"].get("uid", ""))
        return ""

    def pods(self) -> tuple[Pod, ...]:
        """Return every pod that is followed, as last seen."""
        return tuple(pod for watched in self._pods for pod in watched.all())

    def read(self, fleet: FleetSpec, now: float) -> TargetsSeen:
        """Return what is known of every target at `now` (Unix seconds).

        Never raises for a target: what could not be seen is in `missing`, with the reason.
        """
        missing: dict[str, Gap] = {}
        kinds: dict[str, Kind] = {}
        for workload in fleet.workloads:
            target = workload.spec.target
            try:
                kinds[workload.key] = self._kinds.find(target.api_version, target.kind)
            except ObservationError as error:
                missing[workload.key] = Gap(GapReason.ERROR, str(error))
        scope = _Scope("" if self._limits.places(fleet) is None else None)
        collections = {
            key: self._watches.want(kind.path(scope.of(workload)), trim_target)
            for workload in fleet.workloads
            if (kind := kinds.get(key := workload.key)) is not None
        }
        around = self._around(fleet, now, scope, kinds, collections)
        for key, watched in collections.items():
            if watched.not_served:
                self._kinds.drop(kinds[key].api_version)
        observed: dict[str, TargetSeen] = {}
        for workload in fleet.workloads:
            if workload.key not in kinds:
                continue
            try:
                body = self._body(workload, kinds[workload.key], collections[workload.key])
                observed[workload.key] = see(workload, body, around, scope.of(workload), self._say)
            except _AbsentError as error:
                missing[workload.key] = Gap(GapReason.EMPTY, str(error))
            except (ObservationError, KeyError, TypeError, ValueError, AttributeError) as error:
                named = f"{workload.spec.target.kind} {_place(workload)}"
                missing[workload.key] = Gap(GapReason.ERROR, f"{named}: {error}")
        return TargetsSeen(observed, missing)

    def _around(
        self,
        fleet: FleetSpec,
        now: float,
        scope: "_Scope",
        kinds: Mapping[str, Kind],
        collections: Mapping[str, Watched[Json]],
    ) -> Around:
        pods: dict[str, Watched[Pod]] = {}
        budgets: dict[str, Watched[Budget]] = {}
        for workload in fleet.workloads:
            place = scope.of(workload)
            if place not in pods:
                within = f"/namespaces/{place}" if place else ""
                pods[place] = self._watches.want(f"/api/v1{within}/pods", read_pod)
                budgets[place] = self._watches.want(
                    f"/apis/policy/v1{within}/poddisruptionbudgets", read_budget
                )
        self._pods = tuple(pods.values())
        self._watches.settle(self._limits.first_read_seconds)
        limits = self._limits
        limit = limits.max_age_seconds
        return Around(
            now=now,
            pods=PodIndex(self.pods),
            no_pods={place: watched.unusable(limit) for place, watched in pods.items()},
            budgets=BudgetIndex(budget for watched in budgets.values() for budget in watched.all()),
            no_budgets={place: watched.unusable(limit) for place, watched in budgets.items()},
            scales=self._scales(fleet.workloads, kinds, collections),
            patience={
                pool.key: max(limits.unschedulable_seconds, 2 * pool.spec.provisioning_seconds)
                for pool in fleet.pools
            },
            least_patience=limits.unschedulable_seconds,
        )

    def _scales(
        self,
        workloads: Iterable[ScaledWorkload],
        kinds: Mapping[str, Kind],
        collections: Mapping[str, Watched[Json]],
    ) -> Mapping[str, Scale | str]:
        """Ask `/scale` of the targets whose kinds keep their count who knows where."""
        asked = [
            workload
            for workload in workloads
            if (kind := kinds.get(workload.key)) is not None
            and (kind.group, kind.kind) not in USUAL
            and not inference_service.is_inference_service(kind.api_version, kind.kind)
            and collections[workload.key].get(*_name(workload)) is not None
        ]
        if not asked:
            return {}
        end = self._connection.monotonic() + self._limits.scale_seconds
        with ThreadPoolExecutor(min(self._limits.threads, len(asked))) as threads:
            found = threads.map(
                lambda workload: self._scale(workload, kinds[workload.key], end), asked
            )
            return {workload.key: scale for workload, scale in zip(asked, found, strict=True)}

    def _scale(self, workload: ScaledWorkload, kind: Kind, end: float) -> Scale | str:
        left = end - self._connection.monotonic()
        if left <= 0:
            return f"its /scale was not asked within {self._limits.scale_seconds:g} s"
        path = kind.path(*_name(workload), "scale")
        try:
            return read_scale(self._connection.get(path, deadline_seconds=left))
        except (KubernetesError, ObservationError) as error:
            return str(error)

    def _body(self, workload: ScaledWorkload, kind: Kind, watched: Watched[Json]) -> Json:
        trouble = watched.unusable(self._limits.max_age_seconds)
        if trouble:
            raise ObservationError(trouble)
        body = watched.get(*_name(workload))
        odd = watched.odd(*_name(workload))
        if odd:
            raise ObservationError(odd)
        if body is None:
            raise _AbsentError(f"there is no {kind.kind} {_place(workload)}")
        if "deletionTimestamp" in body["metadata"]:
            raise _AbsentError(f"{kind.kind} {_place(workload)} is being deleted")
        return body


class _AbsentError(ObservationError):
    """The cluster answered: there is no such target."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where collections are followed: in a workload's namespace, or (empty) everywhere."""

    everywhere: str | None

    def of(self, workload: ScaledWorkload) -> str:
        return workload.metadata.namespace if self.everywhere is None else self.everywhere


def _name(workload: ScaledWorkload) -> tuple[str, str]:
    return workload.metadata.namespace, workload.spec.target.name


def _place(workload: ScaledWorkload) -> str:
    return "/".join(_name(workload))


def a_reader(connection: Connection, *, follow: bool = True, **options: Any) -> TargetReader:
    """Compose a reader with its own watches.

    Args:
        connection: Whom to ask.
        follow: Whether to watch; else everything is listed at each reading.
        options: Further arguments of `TargetReader`.
    """
    return TargetReader(
        connection, Kinds(connection), Watches(connection, follow=follow), **options
    )
