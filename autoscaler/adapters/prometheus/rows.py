"""The rows of an answer, sorted by workload: values, ages, counts, and what cannot be used."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.adapters.prometheus.plan import PlannedQuery
from autoscaler.adapters.prometheus.windows import Floats

PART: Final = "inference_autoscaler_part"
"""Label that tells values, ages and counts apart in an answer."""

Points = Sequence[tuple[Any, Any]]
"""Samples as an answer has them: time and "value", oldest first."""

Key = tuple[str, ...]
"""The label values that tell one workload from others."""

Column = Sequence[Points | None]
"""The points of each of a query's combinations of label values, in the order of its `serves`."""

MOST_TIMES: Final = 11_000
"""Prometheus never answers for more; an answer with more is another's, and too large to spread."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an answer: a line for each combination of label values of the query's `serves`.

    Attributes:
        times: Every time at which something was evaluated, Unix seconds, rising; shape (times,).
        there: At which of them there is a value; shape (lines, times).
        values: The values; NaN where there is none; shape (lines, times).
        ages: For each selector, its newest raw sample at each time, Unix seconds; NaN where there
            is none; shape (lines, times).
        counts: How many raw series the first selector finds, likewise.
        faults: Why a combination of label values cannot be used, in one sentence.
        pods: Where a query gives a value for each pod: the points of each, and of its raw samples.
    """

    times: Floats
    there: NDArray[np.bool_]
    values: Floats
    ages: tuple[Floats, ...]
    counts: Floats
    faults: Mapping[Key, str]
    pods: Mapping[Key, Mapping[str, tuple[Points, Points]]]


def sorted_rows(
    planned: PlannedQuery, places: Mapping[Key, int], answer_rows: Iterable[Mapping[str, Any]]
) -> Rows:
    """Sort the rows of an answer by workload; those that serve nobody are left out.

    Args:
        planned: What was asked.
        places: Where each combination of label values stands in `planned.serves`.
        answer_rows: As decoded.
    """
    sorter = _Sorter(planned, places)
    sorter.add(answer_rows)
    return sorter.rows()


class _Sorter:
    """Puts rows where they belong."""

    def __init__(self, planned: PlannedQuery, places: Mapping[Key, int]) -> None:
        self.labels = planned.labels
        self.places = places
        self.values: list[Points | None] = [None] * len(places)
        self.counts = self.values.copy()
        self.ages = [self.values.copy() for _ in planned.selectors]
        self.faults: dict[Key, str] = {}
        self.pods: dict[Key, dict[str, Points]] = {}
        self.pod_ages: dict[Key, dict[str, Points]] = {}

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add every row; nearly all are the first of their kind, and need no second look."""
        width, key_of, place_of = len(self.labels) + 1, _key_of(self.labels), self.places.get
        parts = {str(part): column for part, column in enumerate((self.values, *self.ages))}
        parts[str(len(parts))] = self.counts
        for row in rows:
            try:
                metric, points = row["metric"], row["values"]
                column, place = parts[metric[PART]], place_of(key_of(metric))
            except KeyError:
                pass
            else:
                if len(metric) == width and points and (place is None or column[place] is None):
                    if place is not None:
                        column[place] = points
                    continue
            self._add_odd(row)
            if self.faults or self.pods:
                parts.pop("0", None)  # what a value means depends on those before it

    def rows(self) -> Rows:
        """Return what was added."""
        pods: dict[Key, dict[str, tuple[Points, Points]]] = {}
        for key, known in self.pods.items():
            raw = self.pod_ages.get(key, {})
            pods[key] = {pod: (points, raw.get(pod, ())) for pod, points in known.items()}
        cells = [_Cells.of(column) for column in (self.values, *self.ages, self.counts)]
        times = np.unique(np.concatenate([each.times for each in cells]))
        if len(times) > MOST_TIMES:
            raise ValueError(f"an answer should have up to {MOST_TIMES} times, not {len(times)}")
        there = np.zeros((len(self.places), len(times)), np.bool_)
        there[cells[0].at(times)] = True
        values, *ages, counts = [each.spread(len(there), times) for each in cells]
        return Rows(times, there, values, tuple(ages), counts, self.faults, pods)

    def _add_odd(self, row: Mapping[str, Any]) -> None:
        metric, points = row.get("metric", {}), row.get("values")
        key = tuple([metric.get(label, "") for label in self.labels])
        place, part = self.places.get(key), metric.get(PART, "0")
        if place is None:
            return
        if part == "0":
            self._value(key, place, metric, points)
        elif points and part.isdecimal() and int(part) <= len(self.ages):
            self._age(key, place, metric, points, self.ages[int(part) - 1])
        elif points and part == str(len(self.ages) + 1):
            self.counts[place] = points

    def _value(
        self, key: Key, place: int, metric: Mapping[str, str], points: Points | None
    ) -> None:
        labels, values = self.labels, self.values
        strange = () if len(metric) <= len(labels) + (PART in metric) else _strange(metric, labels)
        if points is None:
            fault = "the query gives native histograms; take histogram_quantile() of them"
            self.faults[key] = fault
        elif strange == ["pod"] and values[place] is None:
            self.pods.setdefault(key, {})[metric["pod"]] = points
        elif values[place] is not None or key in self.pods:
            values[place] = None
            self.pods.pop(key, None)
            self.faults[key] = f"the query gives several series; {_remedy(strange, labels)}"
        elif labels and strange:
            named = ", ".join(strange)
            self.faults[key] = f"the query keeps the label {named}; {_remedy(strange, labels)}"
        elif key not in self.faults:
            values[place] = points

    def _age(
        self,
        key: Key,
        place: int,
        metric: Mapping[str, str],
        points: Points,
        ages: list[Points | None],
    ) -> None:
        """Note the newest raw samples; of several pods the newest of them all."""
        pod, before = metric.get("pod"), ages[place]
        if pod is not None and "pod" not in self.labels:
            self.pod_ages.setdefault(key, {})[pod] = points
            if before is not None:
                newest = {float(at): float(raw) for at, raw in before}
                for at, raw in points:
                    newest[float(at)] = max(float(raw), newest.get(float(at), -math.inf))
                points = sorted(newest.items())
        ages[place] = points


@dataclass(frozen=True, slots=True)
class _Cells:
    """The points of one column, one after the other.

    Attributes:
        lines: Which combination of label values each belongs to.
        times: Unix seconds.
        values: As told.
    """

    lines: NDArray[np.intp]
    times: Floats
    values: Floats

    @classmethod
    def of(cls, column: Column) -> "_Cells":
        """Read all points in one pass."""
        lengths = [len(points) if points else 0 for points in column]
        numbers = chain.from_iterable(chain.from_iterable(filter(None, column)))
        pairs = np.array(list(map(float, numbers))).reshape(-1, 2)
        return cls(np.repeat(np.arange(len(column)), lengths), pairs[:, 0], pairs[:, 1])

    def at(self, times: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the line of each point, and the place of its time among `times`."""
        return self.lines, times.searchsorted(self.times)

    def spread(self, lines: int, times: Floats) -> Floats:
        """Return the values by line and time; NaN where there is none."""
        found = np.full((lines, len(times)), np.nan)
        found[self.at(times)] = self.values
        return found


def _key_of(labels: tuple[str, ...]) -> Callable[[Mapping[str, str]], Key]:
    """Return what takes the values of some labels; it raises KeyError where one is absent."""
    match labels:
        case ():
            return lambda metric: ()
        case (label,):
            return lambda metric: (metric[label],)
        case _:
            return itemgetter(*labels)


def _strange(metric: Mapping[str, str], labels: tuple[str, ...]) -> list[str]:
    return sorted(metric.keys() - {*labels, PART, "__name__"})


def _remedy(strange: Sequence[str], labels: tuple[str, ...]) -> str:
    how = "sum by ($labels) (...)" if labels else "sum(...)"
    return f"aggregate them with {how}" + (f" over {', '.join(strange)}" if strange else "")
