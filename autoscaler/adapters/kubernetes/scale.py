"""Replicas changed: read, compared with what was decided on, and only then written.

A write holds only for the version that was read. Whoever comes between makes it fail, and then it
is read again: the same number as before is tried again, any other is somebody else's and stays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes import inference_service
from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.drain import DRAINED_KINDS, Drain, Loads, no_loads
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER, MERGE_PATCH, KubernetesError
from autoscaler.adapters.kubernetes.target_objects import Json, read_scale
from autoscaler.core.decision import Action, Outcome
from autoscaler.core.errors import ActuationError, ObservationError
from autoscaler.core.workload import FleetSpec, ScaledWorkload

MOST_TRIES: Final = 5
"""Conflicts in a row before we leave it to the next cycle."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Where an object keeps its count, and how it is changed.

    Attributes:
        path: Of the object, or of its `/scale`.
        count: Reads the count; raises ObservationError where there is none.
        patch: Makes the merge patch that sets it, held against the version that was read.
    """

    path: str
    count: Callable[[Json], int]
    patch: Callable[[Json, int], Mapping[str, Any]]


def by_scale(path: str) -> Counted:
    """Count by a `/scale` subresource."""
    return Counted(path, lambda body: read_scale(body).desired, _scale_patch)


def always() -> bool:
    """Allow every write."""
    return True


def nothing_first(body: Json) -> str:
    """Do nothing before a write."""
    return ""


@dataclass(frozen=True, slots=True)
class Change:
    """One count to change.

    Attributes:
        named: What a person calls the object.
        where: Where its count stands.
        before: The count that was decided on.
        after: The count to set.
        unit: What is counted.
    """

    named: str
    where: Counted
    before: int
    after: int
    unit: str = "replicas"


def make(
    connection: Connection,
    change: Change,
    *,
    deadline_seconds: float,
    may_write: Callable[[], bool] = always,
    first: Callable[[Json], str] = nothing_first,
) -> tuple[bool, str]:
    """Make a change, at most once, whatever comes between.

    Args:
        connection: Whom to ask.
        change: What to change.
        deadline_seconds: For everything together.
        may_write: Asked right before each write: whether we still lead.
        first: Done once before the first write, with the object as read; returns what to tell.

    Returns:
        Whether the count is now the one wanted, and what to tell of it.

    Raises:
        ActuationError: It could not be read or written.
    """
    named, where = change.named, change.where
    end = connection.monotonic() + deadline_seconds
    told, tries, written = None, 0, False
    while True:
        tries += 1
        left = end - connection.monotonic()
        try:
            body = connection.get(where.path, deadline_seconds=max(0.1, left))
            found = where.count(body)
            if found == change.after:
                return True, told or "" if written else f"{named} has {found} already"
            if found != change.before:
                return False, (
                    f"{named} left alone: {found} {change.unit} found where {change.before} were "
                    f"seen, so it was changed meanwhile; {change.after} not set"
                )
            if told is None:
                told = first(body)
            if not may_write():
                raise ActuationError(f"{named}: we no longer lead, nothing written")
            written = True
            answer = connection.ask(
                "PATCH",
                where.path,
                query=(("fieldManager", FIELD_MANAGER),),
                body=where.patch(body, change.after),
                content_type=MERGE_PATCH,
                deadline_seconds=max(0.1, end - connection.monotonic()),
                retry=False,
            )
            now = where.count(answer)
        except (ObservationError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ActuationError(f"{named}: {error}") from error
        except KubernetesError as error:
            # Also where the answer was lost: reading again tells whether it was done.
            again = error.status == 409 or error.passes
            wait = connection.wait_after(tries, error)
            late = connection.monotonic() + wait >= end
            if not again or late or tries >= MOST_TRIES:
                raise ActuationError(f"{error} (tried {tries} times)") from error
            connection.pause(wait)
            continue
        if now != change.after:
            return False, f"{named}: {change.after} asked for, and the API server made it {now}"
        return True, told


class Scaler:
    """Changes the replicas of workloads. May be used from many threads, one for each workload."""

    def __init__(
        self,
        connection: Connection,
        kinds: Kinds,
        *,
        drain: Drain | None = None,
        loads: Loads = no_loads,
        may_write: Callable[[], bool] = always,
        deadline_seconds: float = 10.0,
    ) -> None:
        """Know no workload before `use`.

        Args:
            connection: Whom to ask.
            kinds: How kinds are served.
            drain: Chooses who goes first; without it, Kubernetes does.
            loads: The load of each pod of a workload, where it is known.
            may_write: Asked right before each write: whether we still lead.
            deadline_seconds: For one action.
        """
        self._connection = connection
        self._kinds = kinds
        self._drain = drain
        self._loads = loads
        self._may_write = may_write
        self._deadline = deadline_seconds
        self._workloads: Mapping[str, ScaledWorkload] = {}

    def use(self, fleet: FleetSpec) -> None:
        """Know the workloads of this fleet from now on."""
        self._workloads = {workload.key: workload for workload in fleet.workloads}

    def act(self, action: Action, now: float) -> Outcome:
        """Set a workload's replicas.

        An action whose number is there already is done, with nothing written: to make it twice
        changes nothing twice.

        Args:
            action: What to change.
            now: Unix seconds.

        Raises:
            ActuationError: It could not be done; the message says why.
        """
        workload = self._workloads.get(action.workload)
        if workload is None:
            raise ActuationError(f"{action.workload}: no policy file is about it any more")
        target, namespace = workload.spec.target, workload.metadata.namespace
        named = f"{target.kind} {namespace}/{target.name}"
        try:
            kind = self._kinds.find(target.api_version, target.kind)
        except ObservationError as error:
            raise ActuationError(f"{named}: {error}") from error
        if inference_service.is_inference_service(target.api_version, target.kind):
            where = Counted(
                kind.path(namespace, target.name),
                inference_service.wished,
                inference_service.change,
            )
        elif kind.scalable:
            where = by_scale(kind.path(namespace, target.name, "scale"))
        else:
            raise ActuationError(f"{named} cannot be scaled: {target.kind} has no /scale")
        first: Callable[[Json], str] = nothing_first
        drain, gone = self._drain, action.before - action.after
        if drain is not None and gone > 0 and (kind.group, kind.kind) in DRAINED_KINDS:

            def first(body: Json) -> str:
                return drain.prepare(
                    namespace,
                    read_scale(body).selector,
                    gone,
                    loads=self._loads(action.workload),
                    now=now,
                    may_write=self._may_write,
                )

        change = Change(named, where, int(action.before), int(action.after))
        done, detail = make(
            self._connection,
            change,
            deadline_seconds=self._deadline,
            may_write=self._may_write,
            first=first,
        )
        return Outcome(action, done=done, detail=detail)


def _scale_patch(body: Json, replicas: int) -> Mapping[str, Any]:
    version = (body.get("metadata") or {}).get("resourceVersion", "")
    return {"metadata": {"resourceVersion": version}, "spec": {"replicas": int(replicas)}}
