"""Every fault of the table, struck at four workloads at once: what FAULTS.md says happens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import kubernetes_faults, own_faults, prometheus_faults
from tests.faults.injection import INJECTIONS
from tests.faults.table import DOCUMENT, Row, rows
from tests.faults.world import CYCLE_SECONDS, DEPLOYMENTS, SITUATIONS, Line, Situation, World

__all__ = ["kubernetes_faults", "own_faults", "prometheus_faults"]

TABLE = rows(DOCUMENT.read_text(encoding="utf-8"))
STRIKES = 4
"""Cycles before the fault."""

QUICK = {"connection reset", "NaN", "write: 409, once each", "lease: 500", "nothing"}
"""What `make check` runs, too."""

PATIENT_CYCLES = 3
"""Cycles that are looked at after everybody has what is needed."""


class Struck:
    """A world, the cycles in which its fault lasted, and when all was well again."""

    def __init__(self, world: World, row: Row) -> None:
        self.world, self.row = world, row
        fault = INJECTIONS[row.fault]
        versions = {one.name: self._version(one) for one in SITUATIONS}
        for _ in range(STRIKES):
            world.cycle()
        with fault.strike(world):
            self.first = world.cycles
            for _ in range(fault.cycles):
                world.cycle()
            self.end = world.cycles
        goal = {one.name: one.after for one in SITUATIONS}
        self.well: int | None = None
        most = self.end + int(row.seconds / CYCLE_SECONDS)
        while self.well is None and world.cycles <= most:
            world.cycle()
            if world.counts[-1] == goal:
                self.well = world.cycles - 1
        for _ in range(PATIENT_CYCLES):
            world.cycle()
        self.changes = {
            one.name: self._version(one)[1] - versions[one.name][1]
            for one in SITUATIONS
            if self._version(one)[0] == versions[one.name][0]
        }

    def _version(self, one: Situation) -> tuple[str, int]:
        meta = self.world.api.peek(f"{DEPLOYMENTS}/{one.name}")["metadata"]
        return meta["uid"], meta["generation"]

    def problems(self) -> Iterator[str]:
        """Yield what is not as the table and its rules say."""
        for one in SITUATIONS:
            yield from self._of(one)
        if self.well is None:
            yield f"not well {self.row.seconds} s later: {dict(self.world.counts[-1])}"
        yield from self._told()

    def _of(self, one: Situation) -> Iterator[str]:
        counts = [found[one.name] for found in self.world.counts]
        shown = ", ".join(map(str, counts))
        known = [count for count in counts if count is not None]
        low, high = sorted((one.before, one.after))
        if not all(max(low, one.least) <= count <= high for count in known):
            yield f"{one.name} leaves {low} to {high}: {shown}"
        if known != sorted(known, reverse=not one.grows):
            yield f"{one.name} goes back and forth: {shown}"
        during = [count for count in counts[self.first : self.end] if count is not None]
        moved = bool(during) and during[-1] == one.after
        held = all(count == one.before for count in during)
        expected = self.row.during[one.name]
        if not (held if expected == "holds" else moved and expected == _way(one)):
            yield f"{one.name} should be one that {expected}: {shown}"
        if self.changes.get(one.name, 1) != 1:
            yield f"{one.name} was changed {self.changes[one.name]} times"

    def _told(self) -> Iterator[str]:
        lines = self.world.log
        during = [line for line in lines if self.first <= line.cycle < self.end]
        loud = [line for line in during if line.level in {"warning", "error"}]
        if self.row.says and not any(self.row.says in line.text for line in during):
            yield f"nothing tells {self.row.says!r}: {_shown(during)}"
        if not self.row.says and loud:
            yield f"there was nothing to tell: {_shown(loud)}"
        told: set[tuple[str, ...]] = set()
        for line in lines:
            kind = (line.event if not line.reason else "", line.about, _plain(line))
            if kind in told and line.level in {"warning", "error"}:
                yield f"told again in cycle {line.cycle}: {_shown([line])}"
            told.add(kind)


def _way(one: Situation) -> str:
    return "grows" if one.grows else "shrinks"


def _plain(line: Line) -> str:
    """The line without what differs from one cycle to the next."""
    return re.sub(r"[0-9.]+", "#", line.text)


def _shown(lines: list[Line]) -> str:
    return " / ".join(f"[{one.cycle}] {one.level} {one.about} {one.text}" for one in lines) or "-"


def _case(row: Row) -> object:
    marks = () if row.fault in QUICK else (pytest.mark.slow,)
    return pytest.param(row, id=row.fault, marks=marks)


@pytest.mark.parametrize("row", [_case(row) for row in TABLE])
def test_what_the_table_says_happens(row: Row, tmp_path: Path) -> None:
    fault = INJECTIONS[row.fault]
    world = World(
        tmp_path,
        strikes=STRIKES + fault.demand_after,
        due=STRIKES + fault.early,
        pace=fault.pace,
        journals=fault.journals,
    )
    try:
        problems = list(Struck(world, row).problems())
    finally:
        world.close()

    assert problems == []


def test_the_table_has_every_fault_once() -> None:
    assert sorted(row.fault for row in TABLE) == sorted(INJECTIONS)


def test_there_are_more_than_forty_faults() -> None:
    assert len(TABLE) > 40


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("| x | holds | holds | holds | holds | soon | — |", id="no time"),
        pytest.param("| x | holds | holds | holds | waits | 15 s | — |", id="an unknown word"),
        pytest.param("| x | holds | holds | holds | 15 s | — |", id="a cell too few"),
        pytest.param("| x | holds | holds | holds | holds | 15 s | a line |", id="no code"),
    ],
)
def test_a_row_that_says_nothing_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a row of the table"):
        rows(line)
