"""The public layouts of request-level traces, told apart by their header or first JSON object.

| layout | columns | time |
|---|---|---|
| ours | `arrival_s,prompt_tokens,output_tokens` | seconds since the trace began |
| Azure LLM inference | `TIMESTAMP,ContextTokens,GeneratedTokens` | date and time |
| BurstGPT | `Timestamp,Request tokens,Response tokens` | seconds since a midnight |
| Mooncake | `timestamp`, `input_length`, `output_length` | milliseconds |

Sources: Azure/AzurePublicDataset (2023 and 2024), HPMLL/BurstGPT, kvcache-ai/Mooncake.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from autoscaler.core.observation import FloatArray
from simulations.columns import LONGEST_SECONDS, Column, Seconds, Stamps, Tokens, shown
from simulations.grid import TICKS
from simulations.lengths import MOST_TOKENS, IntArray
from simulations.source import Source
from simulations.table import Reading, Table, read_table

MOST_REQUESTS: Final = 250_000_000
"""More than these are not read or drawn: at 24 bytes each they take 6 GB."""
STEP_SECONDS: Final = 3.0
"""The step of a coarse clock that the file does not show: that of Mooncake's traces."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a request-level trace keeps what is needed.

    Attributes:
        name: What it is called.
        columns: Time, prompt tokens, output tokens.
        per_second: Units of the time column in a second.
        absolute: Whether the times are dates, so that the start is known.
        relative: Whether the times already count from the start of the trace.
        coarse: Whether the clock has steps that many requests share.
        empty_failed: Whether an answer of 0 tokens is a request that failed.
    """

    name: str
    columns: tuple[Column, Column, Column]
    per_second: float = 1.0
    absolute: bool = False
    relative: bool = False
    coarse: bool = False
    empty_failed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)


OURS: Final = Layout(
    "request-level",
    (Seconds("arrival_s"), Tokens("prompt_tokens", least=1), Tokens("output_tokens")),
    relative=True,
)
AZURE: Final = Layout(
    "Azure LLM inference",
    (Stamps("TIMESTAMP"), Tokens("ContextTokens"), Tokens("GeneratedTokens")),
    per_second=TICKS,
    absolute=True,
)
BURSTGPT: Final = Layout(
    "BurstGPT",
    (Seconds("Timestamp"), Tokens("Request tokens"), Tokens("Response tokens")),
    coarse=True,
    empty_failed=True,
)
MOONCAKE: Final = Layout(
    "Mooncake",
    (
        Seconds("timestamp", most=1000 * LONGEST_SECONDS),
        Tokens("input_length"),
        Tokens("output_length"),
    ),
    per_second=1000.0,
    coarse=True,
)
CSV_LAYOUTS: Final = (OURS, AZURE, BURSTGPT)


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """The rows of a request-level trace.

    Attributes:
        arrivals: Seconds since the trace began, not falling; shape (n,).
        prompts: Prompt tokens, at least 1; shape (n,).
        outputs: Output tokens, at least 1; shape (n,).
        empty_answers: How many recorded 0 output tokens.
        start: When the trace began, Unix seconds; None where the file does not say.
        notes: What a reader should know of how the rows were read, a sentence each.
    """

    arrivals: FloatArray
    prompts: IntArray
    outputs: IntArray
    empty_answers: int = 0
    start: float | None = None
    notes: tuple[str, ...] = ()


def layout_of(names: Sequence[str], source: Source) -> Layout:
    """Return the layout of a CSV header.

    Raises:
        TraceError: It is none of them, or has a column twice.
    """
    if not any(names):
        rule = f"should be a header with {_listed(OURS.names)}; the file is empty"
        raise source.wrong("", rule)
    layout = max(CSV_LAYOUTS, key=lambda one: len(set(one.names) & set(names)))
    check_names(names, layout.names, source)
    return layout


def check_names(names: Sequence[str], needed: Sequence[str], source: Source) -> None:
    """Refuse a header without the columns that are needed.

    Raises:
        TraceError: A column is missing, or there twice.
    """
    missing = [name for name in needed if name not in names]
    if missing:
        found = ", ".join(repr(name[:40]) for name in names[:12])
        raise source.wrong("", f"should have the columns {_listed(missing)}; found {found}")
    twice = [name for name in needed if names.count(name) > 1]
    if twice:
        raise source.wrong(twice[0], "should be one column, found two of this name")


def read_rows(source: Source, names: Sequence[str], layout: Layout) -> Requests:
    """Read the rows below a CSV header.

    Raises:
        TraceError: A row is wrong, or there is none.
    """
    table = read_table(
        source, names, Reading(layout.columns, rising=False, most_rows=MOST_REQUESTS)
    )
    return _requests(source, layout, table)


def read_objects(source: Source, first: str) -> Requests:
    """Read JSON lines in Mooncake's layout, of which the first line has been read.

    Raises:
        TraceError: A line is no such object.
    """
    table = Table(Reading(MOONCAKE.columns, rising=False, most_rows=MOST_REQUESTS))
    pieces: list[list[float]] = [[], [], []]
    above = 0.0
    for line in _with_first(first, source):
        if not line.strip():
            continue
        row = _row(line, source)
        if row[0] < above:
            rule = f"should not be before the row above ({above:.15g}): sort the rows by time"
            raise source.wrong("timestamp", f"{rule}; found {row[0]:.15g}")
        above = row[0]
        for piece, value in zip(pieces, row, strict=True):
            piece.append(value)
        if len(pieces[0]) > MOST_REQUESTS:
            raise source.wrong("", f"should have at most {MOST_REQUESTS:,} rows")
    kinds = (column.kind for column in MOONCAKE.columns)
    table.add([np.array(piece, dtype=kind) for piece, kind in zip(pieces, kinds, strict=True)], ())
    return _requests(source, MOONCAKE, table)


def _with_first(first: str, source: Source) -> Iterator[str]:
    yield first
    yield from source.lines(source.block())


def _row(line: str, source: Source) -> tuple[float, int, int]:
    try:
        row = orjson.loads(line)
    except ValueError as error:
        raise source.wrong(
            "", f"should be a JSON object: {str(error).partition(':')[0]}"
        ) from error
    if not isinstance(row, dict):
        raise source.wrong("", f"should be a JSON object, not {shown(line.strip())}")
    missing = [name for name in MOONCAKE.names if name not in row]
    if missing:
        found = ", ".join(repr(name[:40]) for name in list(row)[:12])
        raise source.wrong("", f"should have {_listed(missing)}; found {found or 'nothing'}")
    return (
        _milliseconds(row["timestamp"], source),
        _tokens(row["input_length"], "input_length", source),
        _tokens(row["output_length"], "output_length", source),
    )


def _milliseconds(value: Any, source: Source) -> float:
    most = 1000 * LONGEST_SECONDS
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise source.wrong("timestamp", f"should be a number of milliseconds, not {shown(value)}")
    if not 0 <= value <= most:
        rule = "not be negative" if value < 0 else f"be at most {most:.0f} (a year)"
        raise source.wrong("timestamp", f"should {rule}, not {shown(value)}")
    return float(value)


def _tokens(value: Any, name: str, source: Source) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise source.wrong(name, f"should be a whole number of tokens, not {shown(value)}")
    if not 0 <= value <= MOST_TOKENS:
        rule = "not be negative" if value < 0 else f"be at most {MOST_TOKENS}"
        raise source.wrong(name, f"should {rule}, not {shown(value)}")
    return value


def _requests(source: Source, layout: Layout, table: Table) -> Requests:
    """Turn the columns of a layout into requests."""
    if not table.rows:
        rule = "should have at least one request below the header, has 0 rows"
        raise source.wrong("", rule)
    times, prompts, outputs = table.take()
    notes: list[str] = []
    empty = outputs == 0
    empty_answers = int(empty.sum())
    if layout.empty_failed and empty_answers:
        if empty_answers == len(times):
            raise source.wrong("", "should have a request with an answer: every one has 0 tokens")
        times, prompts, outputs = (column[~empty] for column in (times, prompts, outputs))
        notes.append(f"Requests that failed (0 response tokens), left out: {empty_answers:,}.")
        empty_answers = 0
    elif empty_answers:
        outputs[empty] = 1
        notes.append(
            f"Answers of 0 tokens, counted as 1 (the end-of-text token): {empty_answers:,}."
        )
    no_prompt = prompts == 0
    if no_prompt.any():
        prompts[no_prompt] = 1
        notes.append(f"Prompts of 0 tokens, counted as 1: {int(no_prompt.sum()):,}.")
    first = times[0].item()
    if not layout.relative:
        times -= times[0]  # in place: there may be a hundred million
    arrivals = times if layout.per_second == 1 else times / layout.per_second
    del times
    if arrivals[-1] > LONGEST_SECONDS:
        rule = f"should be within a year of the first row, is {arrivals[-1]:.0f} s after it"
        raise source.wrong(layout.names[0], rule)
    if layout.coarse:
        arrivals = spread(arrivals)
    start = first / layout.per_second if layout.absolute else None
    return Requests(arrivals, prompts, outputs, empty_answers, start, tuple(notes))


def spread(arrivals: FloatArray) -> FloatArray:
    """Spread requests that share a time stamp evenly over one step of the clock.

    A step is the smallest time between two stamps: 3 s in Mooncake's traces, 1 s in BurstGPT's
    first ones, and next to nothing where the clock is fine. The first of each keeps its time.
    """
    stamps, first, counts = np.unique(arrivals, return_index=True, return_counts=True)
    step = float(np.diff(stamps).min()) if len(stamps) > 1 else STEP_SECONDS
    rank: NDArray[np.int64] = np.arange(len(arrivals)) - np.repeat(first, counts)
    later: FloatArray = arrivals + step * rank / np.repeat(counts, counts)
    return later


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
