"""Read the columns of a CSV file: whole blocks at once where they are plain, else row by row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.errors import TraceError
from simulations.columns import BadFieldError, Column, shown
from simulations.grid import Grid
from simulations.lengths import IntArray
from simulations.source import Source

_PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read from a file.

    Attributes:
        columns: Those that are needed; the first is the time.
        rising: Whether two rows may not have one time.
        most_rows: More are refused.
        numbered: Whether the line of every row is kept.
    """

    columns: tuple[Column, ...]
    rising: bool
    most_rows: int
    numbered: bool = False


@dataclass(slots=True, eq=False)
class Table:
    """Columns as they grow.

    Attributes:
        reading: What is read.
        rows: How many there are so far.
    """

    reading: Reading
    rows: int = 0
    _pieces: list[list[NDArray[Any]]] = field(default_factory=list)
    _lines: list[IntArray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without rows."""
        self._pieces = [[] for _ in self.reading.columns]

    def add(self, columns: Sequence[NDArray[Any]], lines: Any) -> None:
        """Add rows; `lines` are the numbers of their lines."""
        self.rows += len(columns[0])
        for pieces, column in zip(self._pieces, columns, strict=True):
            pieces.append(column)
        if self.reading.numbered:
            self._lines.append(np.asarray(lines, dtype=np.int64))

    def take(self) -> list[NDArray[Any]]:
        """Return the columns, one after another, so that little is there twice."""
        taken = []
        for pieces, column in zip(self._pieces, self.reading.columns, strict=True):
            taken.append(np.concatenate(pieces) if pieces else np.zeros(0, dtype=column.kind))
            pieces.clear()
        return taken

    def lines(self) -> IntArray:
        """Return the line of every row."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._lines])


def header_of(line: str, source: Source) -> list[str]:
    """Return the names of a header line; none where it is empty.

    Raises:
        TraceError: It is not CSV.
    """
    try:
        names = next(csv.reader([line], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise source.wrong("", f"not CSV: {error}") from error
    return [name.strip() for name in names]


def read_table(source: Source, names: Sequence[str], reading: Reading) -> Table:
    """Read the rows below a header.

    Args:
        source: The file, read up to the header.
        names: The header.
        reading: What is needed; every column's name is in the header once.

    Raises:
        TraceError: A row is wrong: file, line, column, rule, and the value found.
    """
    table = Table(reading)
    places = [names.index(column.name) for column in reading.columns]
    above = _Above()
    while block := source.block():
        fits = table.rows + block.count(b"\n") < reading.most_rows
        columns = _plain(block, len(names), places, reading, above) if fits else None
        if columns is None:
            _row_by_row(source, block, names, table, above)
            break
        first, rows = source.line + 1, len(columns[0])
        table.add(columns, np.arange(first, first + rows) if reading.numbered else ())
        source.line += rows
    return table


@dataclass(slots=True)
class _Above:
    """The time of the row above."""

    time: float = 0.0
    text: str = ""


def _plain(
    block: bytes, width: int, places: Sequence[int], reading: Reading, above: _Above
) -> list[NDArray[Any]] | None:
    """Return the columns of a block; None where it should be read row by row."""
    grid = Grid.of(block, width)
    if grid is None:
        return None
    columns: list[NDArray[Any]] = []
    for column, place in zip(reading.columns, places, strict=True):
        read = column.of_fields(grid, place)
        if read is None:
            return None
        columns.append(read)
    times = columns[0]
    steps = np.diff(times)
    least = min(steps.min() if len(steps) else 1, times[0] - above.time if above.text else 1)
    if least < 0 or (reading.rising and least == 0):
        return None
    above.time, above.text = times[-1].item(), grid.last(places[0])
    return columns


def _row_by_row(
    source: Source, block: bytes, names: Sequence[str], table: Table, above: _Above
) -> None:
    """Read the rest of a file."""
    reading = table.reading
    places = [names.index(column.name) for column in reading.columns]
    pieces: list[list[float]] = [[] for _ in reading.columns]
    lines: list[int] = []

    def flush() -> None:
        columns = zip(pieces, reading.columns, strict=True)
        table.add([np.array(piece, dtype=column.kind) for piece, column in columns], lines)
        for piece in pieces:
            piece.clear()
        lines.clear()

    rows = csv.reader(source.lines(block), skipinitialspace=True, strict=True)
    try:
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                rule = f"should have {len(names)} fields, as the header, not {len(row)}"
                raise source.wrong("", rule)
            _read_row(source, [row[place] for place in places], reading, above, pieces)
            if table.rows + len(lines) == reading.most_rows:
                raise source.wrong("", f"should have at most {reading.most_rows:,} rows")
            lines.append(source.line)
            if len(lines) == _PIECE:
                flush()
    except csv.Error as error:
        raise TraceError(f"{source.path}:{source.line}: not CSV: {error}") from error
    flush()


def _read_row(
    source: Source,
    fields: Sequence[str],
    reading: Reading,
    above: _Above,
    pieces: Sequence[list[float]],
) -> None:
    """Read the fields of one row, the time first."""
    for column, text, piece in zip(reading.columns, fields, pieces, strict=True):
        try:
            value = column.of_text(text)
        except BadFieldError as error:
            raise source.wrong(column.name, str(error)) from error
        if piece is pieces[0]:
            if above.text and (value < above.time or (reading.rising and value == above.time)):
                should = "be after" if reading.rising else "not be before"
                raise source.wrong(
                    column.name,
                    f"should {should} the row above ({above.text}): sort the rows by time; "
                    f"found {shown(text)}",
                )
            above.time, above.text = value, text
        piece.append(value)
