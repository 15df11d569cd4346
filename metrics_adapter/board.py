"""What one plan lets us answer: every value of every workload, written out before anybody asks.

A board never changes. Asking it is a look-up and, with a selector, a few comparisons.
"""

import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from metrics_adapter.plan import Plan, Workload
from metrics_adapter.selectors import Selector
from metrics_adapter.values import Scaled, Value, values_of, without

FEWEST_INTERVALS: Final = 4
FEWEST_SECONDS: Final = 60.0
KEPT_PLANS: Final = 20
"""So many plans a name is kept that a workload has no longer: five minutes as a rule."""
_TOGETHER: Final = 8
"""So many values are put in their places, or forgotten, in one small step."""
_FEW: Final = 8
"""So many rows are looked through; more are found by their labels."""

Name = tuple[str, str]
"""Namespace and metric."""
ObjectName = tuple[str, str, str]
"""Namespace, resource and name of an object that is scaled."""
Objects = dict[ObjectName, dict[str, list[Value]]]
"""Values of each object, by metric."""


@dataclass(slots=True)
class Group:
    """All values under one name in one namespace, in the order of the plan."""

    values: list[Value] = field(default_factory=list)
    of_pods: bool = False
    """Whether pods may show one of them."""
    _places: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """Of the values that have a label, by its name and what it says."""

    def index(self, place: int) -> None:
        """Prepare to find the value at a place by its labels, once all of them are there."""
        if len(self.values) > _FEW:
            for label, said in self.values[place].labels.items():
                if label not in self._places:
                    self._places[label] = {}
                places = self._places[label]
                if said in places:
                    places[said].append(place)
                else:
                    places[said] = [place]

    def forget(self) -> Iterator[None]:
        """Forget every value, in small steps."""
        while self.values:
            del self.values[-_TOGETHER:]
            yield
        for places in self._places.values():
            yield from _forget(places)
        self._places.clear()

    def candidates(self, selector: Selector) -> Sequence[Value]:
        """Return the values that a selector may match, those that it matches among them."""
        if not selector.requirements or len(self.values) <= _FEW:
            return self.values
        found = [
            [self._places.get(one.key, {}).get(value, []) for value in one.values]
            for one in selector.requirements
            if one.operator == "in"
        ]
        if not found:
            return self.values
        fewest = found[0]
        if len(found) > 1:
            fewest = min(found, key=lambda places: sum(map(len, places)))
        places = fewest[0] if len(fewest) == 1 else sorted(chain.from_iterable(fewest))
        return [self.values[place] for place in places]


@dataclass(frozen=True, slots=True)
class Board:
    """One plan, ready to be asked.

    Whoever asks takes what is needed without waiting in between: once the next one has taken its
    place, its values are forgotten.

    Attributes:
        cycle: Of the plan.
        time: Of the decision, Unix seconds by the controller's clock.
        max_age_seconds: An older plan answers nothing.
        groups: Values by namespace and metric.
        objects: Values of each scaled object, by metric.
        workloads: The plan's workloads by key, for other protocols; forgotten like the values.
        external_names: Every external metric, sorted.
        custom_names: Every custom metric as resource/metric, sorted.
    """

    cycle: str
    time: float
    max_age_seconds: float
    groups: Mapping[Name, Group]
    objects: Objects
    workloads: dict[str, Workload]
    external_names: tuple[str, ...]
    custom_names: tuple[str, ...]


def board_end(board: Board) -> Generator[None, None, None]:
    """Forget the values of a board that was replaced, in small steps.

    Many values that go at once take as long as thirty requests.
    """
    yield from _forget(board.objects)
    for group in board.groups.values():
        yield from group.forget()
    yield from _forget(board.workloads)


def _forget(known: dict[Any, Any]) -> Iterator[None]:
    """Forget everything, in small steps."""
    while known:
        for _ in range(min(_TOGETHER, len(known))):
            known.popitem()
        yield


def make_board(
    plan: Plan, before: Board | None = None, max_age_seconds: float | None = None
) -> Board:
    """Write out a plan at once; the arguments are those of `board_steps`."""
    making = board_steps(plan, before, max_age_seconds)
    while True:
        try:
            next(making)
        except StopIteration as end:
            board: Board = end.value
            return board


def board_steps(
    plan: Plan, before: Board | None = None, max_age_seconds: float | None = None
) -> Generator[None, None, Board]:
    """Write out a plan in small steps; return the board.

    Args:
        plan: The newest one. Its rows are forgotten.
        before: The board of the plan before it. Names that a workload had there and has no longer
            are kept for some plans, without a number: a forecast that fails once does not vanish.
        max_age_seconds: When a plan is too old; absent: four intervals, at least a minute.

    Raises:
        ObservationError: A row of the plan is not what it should be.
    """
    groups: dict[Name, Group] = {}
    workloads: dict[str, Workload] = {}
    here: dict[Name, set[str]] = {}
    for row in plan.rows():
        workloads[f"{row.namespace}/{row.name}"] = Workload(
            row.current, row.desired, sys.intern(row.reason), row.blind
        )
        for metric, value in values_of(row, plan.time):
            name = row.namespace, metric
            if name not in groups:
                groups[name], here[name] = Group(), set()
            groups[name].values.append(value)
            here[name].add(value.workload)
            yield
    if before is not None:
        yield from _keep_names(groups, here, before, workloads)
    objects, custom_names = yield from _by_object(groups)
    yield from _forget(here)
    return Board(
        cycle=plan.cycle,
        time=plan.time,
        max_age_seconds=max_age_seconds
        or max(FEWEST_SECONDS, FEWEST_INTERVALS * plan.interval_seconds),
        groups=groups,
        objects=objects,
        workloads=workloads,
        external_names=tuple(sorted({metric for _, metric in groups})),
        custom_names=tuple(sorted(map("/".join, custom_names))),
    )


def _by_object(
    groups: Mapping[Name, Group],
) -> Generator[None, None, tuple[Objects, set[tuple[str, str]]]]:
    """Prepare to find values by labels and objects; return them by object, and all their names."""
    objects: Objects = {}
    custom_names = set()
    for (namespace, metric), group in groups.items():
        for place, value in enumerate(group.values):
            group.index(place)
            resource = resource_of(value.target)
            described = namespace, resource, value.target.name
            if described not in objects:
                objects[described] = {}
            of_one = objects[described]
            if metric in of_one:
                of_one[metric].append(value)
            else:
                of_one[metric] = [value]
            custom_names.add((resource, metric))
            if value.shared is not None:
                group.of_pods = True
                custom_names.add(("pods", metric))
            if place % _TOGETHER == 0:
                yield
    return objects, custom_names


def _plural(kind: str) -> str:
    """Return the resource of a kind, as its authors will have called it."""
    name = kind.lower()
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def resource_of(target: Scaled) -> str:
    """Return what requests call the kind of an object, such as deployments.apps."""
    return _resource(target.api_version, target.kind)


@lru_cache(maxsize=256)
def _resource(api_version: str, kind: str) -> str:
    group, slash, _ = api_version.rpartition("/")
    return f"{_plural(kind)}.{group}" if slash else _plural(kind)


def _keep_names(
    groups: dict[Name, Group],
    here: Mapping[Name, AbstractSet[str]],
    before: Board,
    workloads: Mapping[str, Workload],
) -> Iterator[None]:
    """Add the values that workloads had before and are not `here` now."""
    for name, group in before.groups.items():
        known = here.get(name, frozenset())
        for place, value in enumerate(group.values):
            gone = value.workload not in known and value.workload in workloads
            if gone and value.lost < KEPT_PLANS:
                lost = without(value, f"{name[1]}: not in the newest plan", value.lost + 1)
                groups.setdefault(name, Group()).values.append(lost)
            if place % _TOGETHER == 0:
                yield
