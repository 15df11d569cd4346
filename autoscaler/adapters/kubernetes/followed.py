"""Which objects a fleet makes us follow: worked out once for each fleet, not in each cycle."""

from dataclasses import dataclass

from autoscaler.core.workload import FleetSpec, ScaledWorkload

Names = tuple[str, str]
"""apiVersion and kind of a target, as its policy file has them."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a fleet, and where it is followed.

    Attributes:
        workload: Its file.
        key: The workload's.
        names: apiVersion and kind of the target.
        namespace: Where it lies.
        name: Its name.
        place: The namespace that is followed; empty for all of them at once.
    """

    workload: ScaledWorkload
    key: str
    names: Names
    namespace: str
    name: str
    place: str

    def __str__(self) -> str:
        return f"{self.names[1]} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Followed:
    """Every target of a fleet, and the collections that they are found in.

    Attributes:
        fleet: Whose targets they are.
        targets: In file order.
        kinds: Every apiVersion and kind.
        collections: Every one of those with the place that it is followed in.
        places: Every place.
    """

    fleet: FleetSpec
    targets: tuple[Target, ...]
    kinds: tuple[Names, ...]
    collections: tuple[tuple[Names, str], ...]
    places: tuple[str, ...]


def followed(fleet: FleetSpec, *, everywhere: bool) -> Followed:
    """Return where the targets of a fleet are found.

    Args:
        fleet: The policy files.
        everywhere: Whether collections are followed over all namespaces at once.
    """
    targets = tuple(_target(workload, everywhere=everywhere) for workload in fleet.workloads)
    return Followed(
        fleet,
        targets,
        tuple(dict.fromkeys(one.names for one in targets)),
        tuple(dict.fromkeys((one.names, one.place) for one in targets)),
        tuple(dict.fromkeys(one.place for one in targets)),
    )


def _target(workload: ScaledWorkload, *, everywhere: bool) -> Target:
    namespace, target = workload.metadata.namespace, workload.spec.target
    names = (target.api_version, target.kind)
    place = "" if everywhere else namespace
    return Target(workload, workload.key, names, namespace, target.name, place)
