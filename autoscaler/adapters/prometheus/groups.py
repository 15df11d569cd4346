"""Signals that ask the same thing, put together: what one query can answer for many workloads."""

from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.adapters.prometheus.promql import Reach, Shape, shape_of
from autoscaler.adapters.prometheus.template import range_seconds
from autoscaler.core.errors import ConfigError
from autoscaler.core.workload import FleetSpec

Served = tuple[str, str]
"""Whom an answer serves: the key of a workload and the name of its signal."""


@dataclass(frozen=True, slots=True)
class Group:
    """Signals with the same source, template, label names, window and step.

    Attributes:
        source: Name of the Prometheus.
        template: The query with its placeholders.
        labels: The label names of `spec.match`, sorted.
        window_seconds: How far back samples are wanted.
        step_seconds: Seconds between them.
        range_seconds: What `$window` stands for.
        shape: What the template says of its query.
        members: Whom each combination of label values serves.
    """

    source: str
    template: str
    labels: tuple[str, ...]
    window_seconds: int
    step_seconds: int
    range_seconds: int
    shape: Shape
    members: Mapping[tuple[str, ...], tuple[Served, ...]]

    @property
    def shared(self) -> bool:
        """Whether one query can serve all members, told apart by their labels."""
        return self.shape.reach is Reach.EACH

    @property
    def served(self) -> int:
        """How many signals of workloads it answers."""
        return sum(map(len, self.members.values()))


def grouped(fleet: FleetSpec, scrape_seconds: float) -> tuple[Group, ...]:
    """Return the signals of a fleet, put together; in the order in which they first appear.

    Args:
        fleet: The workloads.
        scrape_seconds: How often Prometheus scrapes them; see `range_seconds`.

    Raises:
        ConfigError: A template is no PromQL; policy files that `autoscaler check` accepts have
            none.
    """
    found: dict[tuple[str, str, tuple[str, ...], int, int], dict[tuple[str, ...], list[Served]]]
    found = {}
    for workload in fleet.workloads:
        spec, key = workload.spec, workload.key
        labels = tuple(sorted(spec.match))
        values = tuple(spec.match[label] for label in labels)
        for name, signal in spec.signals.items():
            ident = (
                spec.source, signal.query.strip(), labels, signal.window_seconds,
                signal.step_seconds,
            )  # fmt: skip
            found.setdefault(ident, {}).setdefault(values, []).append((key, name))
    return tuple(
        Group(
            source, template, labels, window, step,
            range_seconds=(range_ := range_seconds(step, scrape_seconds)),
            shape=_shape(template, labels, range_, members),
            members={values: tuple(served) for values, served in members.items()},
        )
        for (source, template, labels, window, step), members in found.items()
    )  # fmt: skip


def _shape(
    template: str,
    labels: tuple[str, ...],
    range_: int,
    members: Mapping[tuple[str, ...], list[Served]],
) -> Shape:
    try:
        return shape_of(template, labels, range_)
    except ValueError as error:
        key, signal = next(iter(members.values()))[0]
        raise ConfigError(
            f"{key}: spec.signals.{signal}.query: should be PromQL: {error}"
        ) from error
