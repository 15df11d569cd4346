"""Who else has a say in a workload: annotations, other writers, followers that are absent."""

from collections.abc import Callable
from typing import Protocol

from autoscaler.adapters.kubernetes import inference_service
from autoscaler.adapters.kubernetes.annotations import read_annotations
from autoscaler.adapters.kubernetes.counts import Counts
from autoscaler.adapters.kubernetes.scalers import Reference, Scalers
from autoscaler.adapters.kubernetes.target_objects import Json, wished
from autoscaler.adapters.kubernetes.times import said_time
from autoscaler.adapters.kubernetes.writers import DEFAULT_RESPECT, Respect, interventions
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload


class ScalersSource(Protocol):
    """Knows the autoscalers of others."""

    def read(self, now: float) -> Scalers:
        """Return what is there at `now` (Unix seconds)."""
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
        self, workload: ScaledWorkload, body: Json, now: float
    ) -> tuple[Intervention, ...]:
        """Return what others have said of a workload.

        Args:
            workload: Its file.
            body: Its target's object, managedFields included.
            now: Unix seconds.
        """
        target = workload.spec.target
        reference = Reference(
            target.api_version, target.kind, workload.metadata.namespace, target.name
        )
        said = read_annotations(body, str(reference), now)
        self._tell(workload.key, said.problems)
        writers = interventions(
            body,
            reference,
            workload.spec.actuation,
            self._scalers.read(now),
            now,
            respect=self._respect,
            unchanged_since=self._seen_since(workload, body, now),
        )
        return (*said.interventions, *(writers or self._unsigned(workload, reference, now)))

    def _seen_since(self, workload: ScaledWorkload, body: Json, now: float) -> float:
        target = workload.spec.target
        served = inference_service.is_inference_service(target.api_version, target.kind)
        try:
            count = inference_service.wished(body) if served else wished(body)
        except (ObservationError, KeyError, TypeError, ValueError, AttributeError):
            return now
        return self._counts.see(workload.key, count, now)

    def _unsigned(
        self, workload: ScaledWorkload, reference: Reference, now: float
    ) -> tuple[Intervention, ...]:
        """Return the say of whoever changed the number and left no trace of it."""
        found = self._counts.unsigned(workload.key)
        if found is None or workload.spec.actuation is not Actuation.SCALE:
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
