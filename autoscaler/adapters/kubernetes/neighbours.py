"""Who else has a say in a workload: annotations, other writers, followers that are absent."""

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Quiet:
    """What was so of a workload when nobody else had a say in it.

    As long as all of this is the same, nobody has a say later either: times in it only run out.
    """

    workload: ScaledWorkload
    body: Json
    scalers: Scalers
    number: tuple[int, float]
    now: float

    def holds(
        self,
        workload: ScaledWorkload,
        body: Json,
        scalers: Scalers,
        number: tuple[int, float],
        now: float,
    ) -> bool:
        """Whether nothing has changed; a clock that was set back is a change."""
        return (
            body is self.body
            and workload is self.workload
            and scalers.confirms(self.scalers)
            and number == self.number
            and now >= self.now
        )


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
        self._now = 0.0
        self._quiet: dict[str, _Quiet] = {}
        self._quiet_before: dict[str, _Quiet] = {}

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
        if now != self._now:  # who is not asked about any more is forgotten
            self._now, self._quiet_before, self._quiet = now, self._quiet, {}
        key, namespace = workload.key, workload.metadata.namespace
        uid = str(mapping(body.get("metadata")).get("uid", ""))
        since = self._counts.see(key, uid, count, now)
        scalers = self._scalers.read(namespace, now)
        quiet = self._quiet_before.get(key)
        if (
            quiet is not None
            and quiet.holds(workload, body, scalers, (count, since), now)
            and self._counts.unsigned(key) is None
        ):
            self._quiet[key] = quiet
            return ()
        target = workload.spec.target
        reference = Reference(target.api_version, target.kind, namespace, target.name)
        said = read_annotations(body, str(reference), now)
        self._tell(key, said.problems)
        writers = interventions(
            body,
            reference,
            workload.spec.actuation,
            scalers,
            now,
            respect=self._respect,
            unchanged_since=since,
        )
        found = (*said.interventions, *(writers or self._unsigned(workload, body, reference, now)))
        if not found and not said.problems:
            self._quiet[key] = _Quiet(workload, body, scalers, (count, since), now)
        return found

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
