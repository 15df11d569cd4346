"""The query plan: N workloads that ask the same of one Prometheus are ONE query."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from autoscaler.adapters.prometheus.groups import Group, Served, grouped
from autoscaler.adapters.prometheus.promql import Reach
from autoscaler.adapters.prometheus.recording_rules import reading
from autoscaler.adapters.prometheus.template import fill, literal, matchers, quoted
from autoscaler.core.workload import FleetSpec

_AROUND: Final = 128
"""Bytes around each part of the text that is sent: a value, an age, or a count."""

Members = Sequence[tuple[tuple[str, ...], tuple[Served, ...]]]


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What a single query may grow to.

    Attributes:
        scrape_seconds: How often Prometheus scrapes the engines; `$window` is at least four times
            that. Too small a number makes rates empty, too large a one makes them late.
        longest_bytes: Longest text of a query, the questions for the age of its samples and the
            count of its series included.
            Prometheus takes megabytes, proxies in front of it often do not. A query of a single
            workload is never cut.
        most_groups: Most workloads in one query over histograms. Such a query costs Prometheus as
            much as one for each of them, so a large one is near the time-out: 300 workloads of
            four pods take about a second.
        recorded: Whether Prometheus has the recording rules for histograms, so that their series
            are read instead.
    """

    scrape_seconds: float = 15.0
    longest_bytes: int = 96 * 1024
    most_groups: int = 300
    recorded: bool = False

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could be asked.

        Raises:
            ValueError: A limit is not positive.
        """
        if not (self.scrape_seconds > 0 and self.longest_bytes > 0 and self.most_groups > 0):
            raise ValueError(f"limits of a query plan should be positive, not {self}")


DEFAULT_LIMITS: Final = PlanLimits()


@dataclass(frozen=True, slots=True)
class PlannedQuery:
    """One query, and whom its answer serves.

    Attributes:
        source: Name of the Prometheus to ask.
        promql: The query, nothing left to fill in.
        labels: The label names that tell its workloads apart, sorted. Empty where the whole
            answer belongs to everyone in `serves`: it should then be a single series.
        window_seconds: How far back samples are wanted.
        step_seconds: Seconds between them.
        range_seconds: What `$window` stood for: how far back rates look.
        selectors: The raw series behind the values, as instant selectors: the newest sample of
            each tells the age, `max by (labels) (timestamp(selector))`.
        serves: For each combination of label values (an absent label is an empty value), the
            workloads and signals that it belongs to. Answers with other combinations belong to
            nobody and are to be left alone: the union of matchers is wider than its members.
        costly: Whether it computes over raw histograms.
        template: What the policy files say.
        apart: Why it serves one set of matchers only; empty where it is shared.
    """

    source: str
    promql: str
    labels: tuple[str, ...]
    window_seconds: int
    step_seconds: int
    range_seconds: int
    selectors: tuple[str, ...]
    serves: Mapping[tuple[str, ...], tuple[Served, ...]]
    costly: bool
    template: str
    apart: str = ""

    @property
    def workloads(self) -> int:
        """How many workloads it serves."""
        return len({key for served in self.serves.values() for key, _ in served})


@dataclass(frozen=True)
class QueryPlan:
    """Every query of a cycle.

    Attributes:
        queries: In the order in which the signals stand in the policy files.
        signals: How many signals of workloads they answer: without sharing, as many queries.
    """

    queries: tuple[PlannedQuery, ...]
    signals: int

    @property
    def saved(self) -> int:
        """How many queries sharing saves in each cycle."""
        return self.signals - len(self.queries)

    @cached_property
    def selectors(self) -> Mapping[str, tuple[str, ...]]:
        """The distinct selectors of each source, whose samples' age is asked."""
        found: dict[str, dict[str, None]] = {}
        for query in self.queries:
            found.setdefault(query.source, {}).update(dict.fromkeys(query.selectors))
        return {source: tuple(selectors) for source, selectors in found.items()}


def plan_queries(fleet: FleetSpec, *, limits: PlanLimits = DEFAULT_LIMITS) -> QueryPlan:
    """Return the queries that answer every signal of a fleet.

    All workloads that share source, template, label names, window and step become one query, over
    the union of their matchers; it is split where it would grow beyond the limits. Pure: equal
    fleets give equal plans.

    Args:
        fleet: The workloads.
        limits: What a single query may grow to.

    Raises:
        ConfigError: A template is no PromQL; policy files that `autoscaler check` accepts have
            none.
    """
    groups = grouped(fleet, limits.scrape_seconds)
    return QueryPlan(
        queries=tuple(query for group in groups for query in _queries(group, limits)),
        signals=sum(group.served for group in groups),
    )


def _queries(group: Group, limits: PlanLimits) -> Iterator[PlannedQuery]:
    if group.shape.reach is Reach.FIXED:
        yield from _without_match(group)
    elif not group.shared:
        yield from _apart(group)
    else:
        template, costly = group.template, group.shape.costly
        if costly and limits.recorded:
            template, costly = reading(group), False
        members = _neighbours_together(group)
        most = limits.most_groups if costly else len(members)
        for some in _within(members, most):
            for few in _short_enough(some, template, group, limits.longest_bytes):
                yield _query(group, template, few, costly=costly)


def _query(group: Group, template: str, members: Members, *, costly: bool) -> PlannedQuery:
    columns = zip(*(values for values, _ in members), strict=True)
    match = matchers(
        {label: set(column) for label, column in zip(group.labels, columns, strict=True)}
    )
    return _planned(group, template, match, group.labels, dict(sorted(members)), costly=costly)


def _planned(
    group: Group,
    template: str,
    match: str,
    labels: tuple[str, ...],
    serves: Mapping[tuple[str, ...], tuple[Served, ...]],
    *,
    costly: bool,
    apart: str = "",
) -> PlannedQuery:
    return PlannedQuery(
        source=group.source,
        promql=fill(template, match, group.labels, group.range_seconds),
        labels=labels,
        window_seconds=group.window_seconds,
        step_seconds=group.step_seconds,
        range_seconds=group.range_seconds,
        selectors=tuple(
            fill(one, match, group.labels, group.range_seconds) for one in group.shape.selectors
        ),
        serves=serves,
        costly=costly,
        template=group.template,
        apart=apart,
    )


def _without_match(group: Group) -> Iterator[PlannedQuery]:
    """Yield the one query of a template that is the same for everybody."""
    if "$labels" in group.template:
        labels, serves = group.labels, dict(sorted(group.members.items()))
    else:
        labels = ()
        serves = {(): tuple(one for served in group.members.values() for one in served)}
    yield _planned(group, group.template, "", labels, serves, costly=group.shape.costly)


def _apart(group: Group) -> Iterator[PlannedQuery]:
    """Yield a query for each set of matchers, where workloads could not be told apart."""
    reason = "its answer does not keep the labels of spec.match: aggregate by ($labels) throughout"
    for values, served in group.members.items():
        match = matchers(
            {label: (value,) for label, value in zip(group.labels, values, strict=True)}
        )
        yield _planned(
            group, group.template, match, (), {(): served},
            costly=group.shape.costly, apart=reason,
        )  # fmt: skip


def _neighbours_together(group: Group) -> Members:
    """Return the members so that those with a common value of the commonest labels are adjacent.

    Parts of the list then repeat few values, and their unions hold few strangers.
    """
    counts = [len(set(column)) for column in zip(*group.members, strict=True)]
    order = sorted(range(len(counts)), key=lambda index: (counts[index], index))
    return sorted(group.members.items(), key=lambda it: [it[0][index] for index in order])


def _within(members: Members, most: int) -> Iterator[Members]:
    """Yield parts of about equal size with at most so many members."""
    parts = -(-len(members) // most)
    for index in range(parts):
        yield members[index * len(members) // parts : (index + 1) * len(members) // parts]


def _short_enough(members: Members, template: str, group: Group, longest: int) -> Iterator[Members]:
    """Yield parts whose query is at most so many bytes long; at least one member in each."""
    bare = matchers(dict.fromkeys(group.labels, ("", "")))
    selectors = group.shape.selectors
    parts = [template, *selectors, *selectors[:1]]  # the first is counted, too
    texts = [fill(part, bare, group.labels, group.range_seconds) for part in parts]
    fixed = sum(len(text.encode()) for text in texts)
    fixed += len(parts) * (_AROUND + sum(map(len, group.labels)))
    times = sum(part.count("$match") for part in parts)
    size, start = fixed, 0
    used: list[set[str]] = [set() for _ in group.labels]
    for at, (values, _) in enumerate(members):
        added = sum(_bytes(one) for one, seen in zip(values, used, strict=True) if one not in seen)
        if at > start and size + times * added > longest:
            yield members[start:at]
            size, start, used = fixed, at, [set() for _ in group.labels]
            added = sum(map(_bytes, values))
        size += times * added
        for one, seen in zip(values, used, strict=True):
            seen.add(one)
    yield members[start:]


def _bytes(value: str) -> int:
    """Return how much an alternative adds to a matcher: itself, escaped twice, and its bar."""
    return len(quoted(literal(value)).encode()) - 1
