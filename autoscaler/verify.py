"""Verify: what was recorded, decided again by the present code, with what would change."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from autoscaler.config.draft import read_draft
from autoscaler.config.installed import Installed
from autoscaler.config.json_source import read_json
from autoscaler.config.problems import Problem
from autoscaler.core.decision import Cycle, Decision, NodePoolDecision
from autoscaler.core.errors import ConfigError
from autoscaler.core.node_pools import NodePool
from autoscaler.core.planner import FleetState, note_outcomes, plan_cycle
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.journal import SeriesByKey, encode, read_header, read_journal, state_in

FIRST_SHOWN: Final = 3
"""How many differences of a workload are kept if nobody says."""

_DECISION: Final = TypeAdapter(Decision)


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision that would be another one now.

    Attributes:
        line: Line of the journal.
        cycle: The cycle as recorded.
        recorded: The decision in it.
        now: The decision of the present code on the same snapshot.
    """

    line: int
    cycle: Cycle
    recorded: Decision
    now: Decision

    @property
    def of_count(self) -> bool:
        """Whether the number itself differs, and not only how it came about."""
        return self.recorded.replicas != self.now.replicas


@dataclass(frozen=True, slots=True)
class WorkloadVerdict:
    """What became of one workload's decisions.

    Attributes:
        key: The workload.
        cycles: Cycles that were decided again.
        differ: Cycles whose decision or trail differs.
        counts_differ: Cycles whose number of replicas differs.
        first: The first differences, oldest first: those in the number where there are any.
    """

    key: str
    cycles: int = 0
    differ: int = 0
    counts_differ: int = 0
    first: tuple[Difference, ...] = ()

    def after(self, difference: Difference | None, keep: int) -> "WorkloadVerdict":
        """Return this verdict with one more cycle."""
        if difference is None:
            return replace(self, cycles=self.cycles + 1)
        kept = self.first
        if difference.of_count and not self.counts_differ:
            kept = ()
        if len(kept) < keep and (difference.of_count or not self.counts_differ):
            kept = (*kept, difference)
        return replace(
            self,
            cycles=self.cycles + 1,
            differ=self.differ + 1,
            counts_differ=self.counts_differ + difference.of_count,
            first=kept,
        )


@dataclass(frozen=True, slots=True)
class PoolVerdict:
    """What became of one node pool's decisions.

    Attributes:
        pool: Its name.
        cycles: Cycles that were decided again.
        differ: Cycles whose decision differs.
        line: Line of the first difference; 0 without one.
        recorded: The decision there, as recorded.
        now: The decision there, of the present code.
    """

    pool: str
    cycles: int = 0
    differ: int = 0
    line: int = 0
    recorded: NodePoolDecision | None = None
    now: NodePoolDecision | None = None

    def after(self, line: int, cycle: Cycle, again: Cycle) -> "PoolVerdict":
        """Return this verdict with one more cycle."""
        then, now = cycle.plan.pools.get(self.pool), again.plan.pools.get(self.pool)
        more = replace(self, cycles=self.cycles + 1)
        if then is None or then == now:
            return more
        if self.differ:
            return replace(more, differ=self.differ + 1)
        return replace(more, differ=1, line=line, recorded=then, now=now)


@dataclass(frozen=True, slots=True)
class Verification:
    """A journal decided again.

    Attributes:
        cycles: Cycles in the journal.
        started: Time of the first cycle, Unix seconds.
        workloads: A verdict for each workload that was decided again, in file order.
        pools: The same for each node pool.
        left_out: Workloads of the journal that the given files do not hold.
        other_lines: Lines that would be written with other bytes; None where the policy files are
            not those of the journal.
    """

    cycles: int
    started: float
    workloads: tuple[WorkloadVerdict, ...]
    pools: tuple[PoolVerdict, ...] = ()
    left_out: tuple[str, ...] = ()
    other_lines: int | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing would change."""
        return not self.other_lines and not self.decisions_differ

    @property
    def decisions_differ(self) -> bool:
        """Whether any decision would be another one, of replicas or of nodes."""
        return any(one.differ for one in self.workloads) or any(one.differ for one in self.pools)


def verify(
    journal: Path,
    fleet: FleetSpec | None = None,
    *,
    keep: int = FIRST_SHOWN,
    on_cycle: Callable[[int], None] | None = None,
) -> Verification:
    """Decide every recorded snapshot again.

    What the decisions remember is folded from the recorded snapshots and outcomes, as the
    controller did: the changes that count are those that were really made.

    Args:
        journal: The file of cycles.
        fleet: The policy files to decide by; those of the journal's header if absent. A workload
            keeps the actuation that it had when the journal was written.
        keep: How many differences of a workload to return.
        on_cycle: Called with the number of each cycle, from 1.

    Raises:
        ConfigError: The journal cannot be read, holds no cycle, or names a policy that is not
            installed; or the given files hold none of its workloads.
    """
    recorded = recorded_fleet(journal)
    deciding = recorded if fleet is None else _as_recorded(fleet, recorded, journal)
    verdicts = {workload.key: WorkloadVerdict(workload.key) for workload in deciding.workloads}
    pools = [PoolVerdict(pool.key) for pool in deciding.pools]
    keys = [workload.key for workload in recorded.workloads]
    state, written = _state_before(journal), SeriesByKey()
    cycles, other_lines, started = 0, 0, 0.0
    for line, raw, cycle in _cycles(journal):
        plan, state = plan_cycle(deciding, state, cycle.snapshot, leading=cycle.leading)
        again = Cycle(cycle.snapshot, plan, cycle.outcomes, cycle.leading)
        state = note_outcomes(deciding, state, again)
        for key, verdict in verdicts.items():
            difference = _difference(line, cycle, key, again)
            verdicts[key] = verdict.after(difference, keep)
        pools = [one.after(line, cycle, again) for one in pools]
        other_lines += line_of(again, line - 1, written) != raw
        started = started if cycles else cycle.plan.now
        cycles += 1
        if on_cycle is not None:
            on_cycle(cycles)
    if not cycles:
        raise ConfigError(f"{journal}: holds no cycle")
    return Verification(
        cycles=cycles,
        started=started,
        workloads=tuple(verdicts.values()),
        pools=tuple(pools),
        left_out=tuple(key for key in keys if key not in verdicts),
        other_lines=other_lines if fleet is None else None,
    )


def recorded_fleet(journal: Path) -> FleetSpec:
    """Return the policy files of a journal's header, as they decided then.

    Raises:
        ConfigError: The header is no such header, or names a policy that is not installed.
    """
    where, installed = f"{journal}:1", Installed()
    header = read_header(journal)
    workloads: list[ScaledWorkload] = []
    pools: list[NodePool] = []
    for document in (*header["workloads"], *header.get("pools", [])):
        problems: list[Problem] = []
        node = read_json(str(journal), json.dumps(document), problems)
        draft = read_draft(str(journal), node, installed, problems)
        if problems or draft is None:
            raise ConfigError(*(str(problem) for problem in problems))
        workloads.extend([draft.workload] if draft.workload is not None else [])
        pools.extend([draft.pool] if draft.pool is not None else [])
    combiners = {w.spec.combine: installed.combiner(w.spec.combine) for w in workloads}
    orders = _orders(journal, len(workloads))
    ordered = tuple(_in_order(workload, orders.get(workload.key, ())) for workload in workloads)
    try:
        return FleetSpec(ordered, combiners, tuple(pools))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _state_before(journal: Path) -> FleetState:
    """Return what the decisions remembered before the first cycle: nothing, unless it says so."""
    try:
        return state_in(read_header(journal))
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(
            f"{journal}:1: state.{field}: should be as the journal wrote it"
        ) from error


def _orders(journal: Path, workloads: int) -> dict[str, tuple[str, ...]]:
    """Return the signals of each workload in the order of its file.

    The keys of a journal are sorted, and only the readings of a decision stand in file order.
    """
    orders: dict[str, tuple[str, ...]] = {}
    for cycle in read_journal(journal):
        for key, decision in cycle.plan.decisions.items():
            if decision.readings and key not in orders:
                orders[key] = tuple(reading.signal for reading in decision.readings)
        if len(orders) == workloads:
            break
    return orders


def _in_order(workload: ScaledWorkload, order: tuple[str, ...]) -> ScaledWorkload:
    signals = workload.spec.signals
    first = {name: signals[name] for name in order if name in signals}
    spec = workload.spec.model_copy(update={"signals": {**first, **signals}})
    return workload.model_copy(update={"spec": spec})


def line_of(cycle: Cycle, number: int, written: SeriesByKey) -> bytes:
    """Return a cycle as the journal writes it, line end included.

    Args:
        cycle: The cycle.
        number: Its number in the journal, from 1.
        written: The series as last written; updated in place.
    """
    return orjson.dumps(encode(cycle, number, written), option=orjson.OPT_SORT_KEYS) + b"\n"


def _as_recorded(fleet: FleetSpec, recorded: FleetSpec, journal: Path) -> FleetSpec:
    """Return what the journal knows of the given fleet, acting as it acted then."""
    then = {workload.key: workload.spec.actuation for workload in recorded.workloads}
    known = tuple(
        workload.with_actuation(then[workload.key])
        for workload in fleet.workloads
        if workload.key in then
    )
    if not known:
        ours = ", ".join(workload.key for workload in fleet.workloads)
        raise ConfigError(f"{journal}: holds {', '.join(then)}, the policy files hold {ours}")
    pools_then = {pool.key: pool.spec.actuation for pool in recorded.pools}
    pools = tuple(
        pool.with_actuation(pools_then[pool.key]) for pool in fleet.pools if pool.key in pools_then
    )
    return FleetSpec(known, fleet.combiners, pools)


def _cycles(journal: Path) -> Iterator[tuple[int, bytes, Cycle]]:
    """Yield number, bytes and cycle of each line after the header."""
    with journal.open("rb") as lines:
        next(lines)
        for number, (raw, cycle) in enumerate(zip(lines, read_journal(journal), strict=False), 2):
            yield number, raw, cycle


def _difference(line: int, cycle: Cycle, key: str, again: Cycle) -> Difference | None:
    then, now = cycle.plan.decisions.get(key), again.plan.decisions[key]
    if then is None or _document(then) == _document(now):
        return None
    return Difference(line, cycle, then, now)


def _document(decision: Decision) -> bytes:
    """A decision's JSON: two are equal if a reader of the journal could not tell them apart."""
    document: dict[str, Any] = _DECISION.dump_python(decision, mode="json")
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
