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
from autoscaler.adapters.kubernetes.followed import Followed, Names, Target, followed
from autoscaler.adapters.kubernetes.kinds import Kind, Kinds
from autoscaler.adapters.kubernetes.pods import (
    Pod,
    PodIndex,
    read_pod,
)
from autoscaler.adapters.kubernetes.requests import KubernetesError
from autoscaler.adapters.kubernetes.scalers import Reference
from autoscaler.adapters.kubernetes.sight import Around, Say, Sights, TargetSeen, nobody_else
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
from autoscaler.core.workload import FleetSpec


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
        self._sights = Sights(say)
        self._pods: tuple[Watched[Pod], ...] = ()
        self._followed: Followed | None = None
        self._budgets: BudgetIndex | None = None

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
        if self._followed is None or self._followed.fleet is not fleet:
            self._followed = followed(fleet, everywhere=self._limits.places(fleet) is None)
        asked = self._followed
        kinds: dict[Names, Kind] = {}
        missing: dict[str, Gap] = {}
        for names in asked.kinds:
            try:
                kinds[names] = self._kinds.find(*names)
            except ObservationError as error:
                gap = Gap(GapReason.ERROR, str(error))
                missing.update((one.key, gap) for one in asked.targets if one.names == names)
        collections = {
            (names, place): self._watches.want(kinds[names].path(place), trim_target)
            for names, place in asked.collections
            if names in kinds
        }
        around = self._around(fleet, now, asked, kinds, collections)
        unusable: dict[tuple[Names, str], str] = {}
        for at, watched in collections.items():
            unusable[at] = watched.unusable(self._limits.max_age_seconds)
            if watched.not_served:
                self._kinds.drop(kinds[at[0]].api_version)
        observed: dict[str, TargetSeen] = {}
        for one in asked.targets:
            at = (one.names, one.place)
            if at not in collections:
                continue
            try:
                body = _body(one, collections[at], unusable[at])
                observed[one.key] = self._sights.see(one.workload, body, around, one.place)
            except _AbsentError as error:
                missing[one.key] = Gap(GapReason.EMPTY, str(error))
            except (ObservationError, KeyError, TypeError, ValueError, AttributeError) as error:
                missing[one.key] = Gap(GapReason.ERROR, f"{one}: {error}")
        return TargetsSeen(observed, missing)

    def _around(
        self,
        fleet: FleetSpec,
        now: float,
        asked: Followed,
        kinds: Mapping[Names, Kind],
        collections: Mapping[tuple[Names, str], Watched[Json]],
    ) -> Around:
        pods: dict[str, Watched[Pod]] = {}
        budgets: dict[str, Watched[Budget]] = {}
        for place in asked.places:
            within = f"/namespaces/{place}" if place else ""
            pods[place] = self._watches.want(f"/api/v1{within}/pods", read_pod)
            budgets[place] = self._watches.want(
                f"/apis/policy/v1{within}/poddisruptionbudgets", read_budget
            )
        self._pods = tuple(pods.values())
        self._watches.settle(self._limits.first_read_seconds)
        limits = self._limits
        limit = limits.max_age_seconds
        every = [budget for watched in budgets.values() for budget in watched.all()]
        if self._budgets is None or self._budgets.budgets != every:
            self._budgets = BudgetIndex(every)
        return Around(
            now=now,
            pods=PodIndex(self.pods),
            no_pods={place: watched.unusable(limit) for place, watched in pods.items()},
            budgets=self._budgets,
            no_budgets={place: watched.unusable(limit) for place, watched in budgets.items()},
            scales=self._scales(asked.targets, kinds, collections),
            patience={
                pool.key: max(limits.unschedulable_seconds, 2 * pool.spec.provisioning_seconds)
                for pool in fleet.pools
            },
            least_patience=limits.unschedulable_seconds,
        )

    def _scales(
        self,
        targets: Iterable[Target],
        kinds: Mapping[Names, Kind],
        collections: Mapping[tuple[Names, str], Watched[Json]],
    ) -> Mapping[str, Scale | str]:
        """Ask `/scale` of the targets whose kinds keep their count who knows where."""
        odd = {
            names
            for names, kind in kinds.items()
            if (kind.group, kind.kind) not in USUAL
            and not inference_service.is_inference_service(kind.api_version, kind.kind)
        }
        if not odd:
            return {}
        asked = [
            one
            for one in targets
            if one.names in odd
            and collections[one.names, one.place].get(one.namespace, one.name) is not None
        ]
        if not asked:
            return {}
        end = self._connection.monotonic() + self._limits.scale_seconds
        with ThreadPoolExecutor(min(self._limits.threads, len(asked))) as threads:
            found = threads.map(lambda one: self._scale(one, kinds[one.names], end), asked)
            return {one.key: scale for one, scale in zip(asked, found, strict=True)}

    def _scale(self, one: Target, kind: Kind, end: float) -> Scale | str:
        left = end - self._connection.monotonic()
        if left <= 0:
            return f"its /scale was not asked within {self._limits.scale_seconds:g} s"
        path = kind.path(one.namespace, one.name, "scale")
        try:
            return read_scale(self._connection.get(path, deadline_seconds=left))
        except (KubernetesError, ObservationError) as error:
            return str(error)


def _body(one: Target, watched: Watched[Json], unusable: str) -> Json:
    if unusable:
        raise ObservationError(unusable)
    body = watched.get(one.namespace, one.name)
    odd = watched.odd(one.namespace, one.name)
    if odd:
        raise ObservationError(odd)
    if body is None:
        raise _AbsentError(f"there is no {one}")
    if "deletionTimestamp" in body["metadata"]:
        raise _AbsentError(f"{one} is being deleted")
    return body


class _AbsentError(ObservationError):
    """The cluster answered: there is no such target."""


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
