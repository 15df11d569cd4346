"""Who else has a say in a workload: annotations, other writers, followers that are absent."""

from collections.abc import Callable
from typing import Protocol

from autoscaler.adapters.kubernetes.annotations import read_annotations
from autoscaler.adapters.kubernetes.counts import Counts
from autoscaler.adapters.kubernetes.managed_fields import Json, mapping
from autoscaler.adapters.kubernetes.scalers import Reference, Scalers
from autoscaler.adapters.kubernetes.times import said_time
from autoscaler.adapters.kubernetes.writers import DEFAULT_RESPECT, Respect, interventions, ours
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload


class ScalersSource(Protocol):
    """Knows the autoscalers of others."""

    def read(self, namespace: str, now: float) -> Scalers:
        """Return what is there in a namespace at `now` (Unix seconds)."""
        ...


class Neighbours:
    """Tells who else has a say. For one thread."""

    def __init__(
        self,
        scalers: ScalersSource,
        *,
        counts: Counts | None = None,
        respect: Respect = DEFAULT_RESPECT,
        say: Callable[[str], None],
    ) -> None:
        """Know nothing yet.

        Args:
            scalers: The autoscalers of others.
            counts: Remembers the numbers, and what we tried to write.
            respect: How other writers are treated.
            say: Is told once of an annotation that is wrong, and again when it was right between.
        """
        self._scalers = scalers
        self._respect = respect
        self._say = say
        self._problems: dict[str, tuple[str, ...]] = {}
        self._counts = counts or Counts()

    def __call__(
        self, workload: ScaledWorkload, body: Json, count: int, now: float
    ) -> tuple[Intervention, ...]:
        """Return what others have said of a workload.

        Args:
            workload: Its file.
            body: Its target's object, managedFields included.
            count: The replicas that it asks for, wherever that stands in it.
            now: Unix seconds.
        """
        target, namespace = workload.spec.target, workload.metadata.namespace
        reference = Reference(target.api_version, target.kind, namespace, target.name)
        said = read_annotations(body, str(reference), now)
        self._tell(workload.key, said.problems)
        uid = str(mapping(body.get("metadata")).get("uid", ""))
        since = self._counts.see(workload.key, uid, count, now)
        writers = interventions(
            body,
            reference,
            workload.spec.actuation,
            self._scalers.read(namespace, now),
            now,
            respect=self._respect,
            unchanged_since=since,
        )
        return (*said.interventions, *(writers or self._unsigned(workload, body, reference, now)))

    def _unsigned(
        self, workload: ScaledWorkload, body: Json, reference: Reference, now: float
    ) -> tuple[Intervention, ...]:
        """Return the say of whoever changed the number and left no trace of it.

        A number that is signed with our name was set by us: by another process, if not by this.
        """
        found = self._counts.unsigned(workload.key)
        if found is None or workload.spec.actuation is not Actuation.SCALE or ours(body, reference):
            return ()
        before, count, at = found
        until = at + self._respect.edit_seconds
        if now >= until:
            return ()
        text = (
            f"somebody set {reference} from {before} to {count} replicas and left no trace of who: "
            f"left alone until {said_time(until)}"
        )
        return (Intervention(InterventionKind.EDITED, text, until=until),)

    def _tell(self, key: str, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._problems.get(key, ()):
                self._say(problem)
        if problems:
            self._problems[key] = problems
        else:
            self._problems.pop(key, None)
