"""Traffic traces, one row for each request: read strictly; what is wrong names file and line."""

import csv
import gzip
import math
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.errors import TraceError
from autoscaler.core.observation import FloatArray

IntArray = NDArray[np.int64]

COLUMNS: Final = ("arrival_s", "prompt_tokens", "output_tokens")
MOST_ROWS: Final = 10_000_000
LONGEST_LINE: Final = 65_536
LONGEST_SECONDS: Final = 366 * 86_400.0
MOST_TOKENS: Final = 100_000_000
GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in the order of their arrival.

    Attributes:
        name: What to call it.
        arrivals: Seconds since the trace began, not falling; shape (n,), n at least 1.
        prompt_tokens: Tokens to read, at least 1 each; shape (n,).
        output_tokens: Tokens to write, at least 1 each; shape (n,).
        empty_answers: Rows that recorded 0 output tokens. An engine writes the end-of-text token
            even then, so such a row is 1 in `output_tokens`.
    """

    name: str
    arrivals: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    empty_answers: int = 0

    def __post_init__(self) -> None:
        """Freeze the arrays.

        Raises:
            ValueError: They are not such rows.
        """
        for field, kind in zip(COLUMNS, (np.float64, np.int64, np.int64), strict=True):
            attribute = "arrivals" if field == "arrival_s" else field
            array = np.array(getattr(self, attribute), dtype=kind)
            array.flags.writeable = False
            object.__setattr__(self, attribute, array)
        rows = self.arrivals.shape
        if len(rows) != 1 or rows[0] < 1:
            raise ValueError("a trace should have at least one request")
        if self.prompt_tokens.shape != rows or self.output_tokens.shape != rows:
            raise ValueError("the columns of a trace should have one length")
        if not np.all(np.isfinite(self.arrivals)) or self.arrivals[0] < 0:
            raise ValueError("arrivals should be finite and not negative")
        if np.any(np.diff(self.arrivals) < 0):
            raise ValueError("arrivals should not fall")
        if self.prompt_tokens.min() < 1 or self.output_tokens.min() < 1:
            raise ValueError("every request should have at least one token each way")

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def seconds(self) -> float:
        """When the last request arrives, in seconds since the trace began."""
        return float(self.arrivals[-1])


def read_trace(path: Path) -> Trace:
    """Read a request-level trace: CSV with a header, plain or gzip.

    The columns `arrival_s,prompt_tokens,output_tokens` may stand in any order, with others beside
    them. A byte-order mark, quoted fields, CRLF and empty lines are accepted. Memory is bounded
    by the rows that were read, not by what the file claims.

    Raises:
        TraceError: The file cannot be read or a row is wrong. The message is one line: file,
            line, column, rule, and the value found.
    """
    try:
        with path.open("rb") as raw:
            return _Reading(path, _opened(path, raw)).trace()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TraceError(f"{path}: cannot be read: {reason}") from error


def _opened(path: Path, raw: BinaryIO) -> BinaryIO:
    """Return the plain bytes of a file that may be compressed."""
    start = raw.read(len(GZIP_MAGIC))
    raw.seek(0)
    if start == GZIP_MAGIC:
        return BufferedReader(gzip.GzipFile(fileobj=raw))
    if path.suffix == ".gz" and start:
        raise TraceError(f"{path}:1: should be gzip data, as its name says; starts with {start!r}")
    return raw


class _Reading:
    """One pass over one file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._line = 0

    def trace(self) -> Trace:
        rows = csv.reader(self._lines(), skipinitialspace=True, strict=True)
        arrivals, prompts, outputs = array("d"), array("q"), array("q")
        empty = 0
        try:
            names = self._header(rows)
            at_arrival, at_prompt, at_output = (names.index(name) for name in COLUMNS)
            width, latest = len(names), 0.0
            for row in rows:
                if not row:
                    continue
                if len(row) != width:
                    raise self._wrong(
                        "", f"should have {width} fields, as the header, not {len(row)}"
                    )
                arrival = self._arrival(row[at_arrival], latest)
                prompt = self._tokens(row[at_prompt], "prompt_tokens")
                output = self._tokens(row[at_output], "output_tokens")
                if prompt == 0:
                    raise self._wrong("prompt_tokens", "should be at least 1, not 0")
                if output == 0:
                    empty, output = empty + 1, 1
                if len(arrivals) == MOST_ROWS:
                    raise self._wrong("", f"should have at most {MOST_ROWS:,} requests")
                latest = arrival
                arrivals.append(arrival)
                prompts.append(prompt)
                outputs.append(output)
        except csv.Error as error:
            raise TraceError(f"{self._path}:{self._line}: not CSV: {error}") from error
        if not arrivals:
            raise self._wrong("", "should have at least one request below the header, has 0 rows")
        return Trace(
            self._path.name.removesuffix(".gz").removesuffix(".csv"),
            np.array(arrivals),
            np.array(prompts),
            np.array(outputs),
            empty,
        )

    def _header(self, rows: Iterator[list[str]]) -> Sequence[str]:
        names = [name.strip() for name in next(rows, [])]
        if not any(names):
            self._line = max(1, self._line)
            raise self._wrong("", f"should be a header with {_listed(COLUMNS)}; the file is empty")
        missing = [name for name in COLUMNS if name not in names]
        if missing and {"t_s", "requests"} <= set(names):
            raise self._wrong(
                "",
                f"this is a rate-level trace ({', '.join(names)}); a replay needs one row for "
                f"each request, for now: {','.join(COLUMNS)}",
            )
        if missing:
            shown = ", ".join(repr(name[:40]) for name in names[:12])
            raise self._wrong("", f"should have the columns {_listed(missing)}; found {shown}")
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice:
            raise self._wrong(twice[0], "should be one column, found two of this name")
        return names

    def _arrival(self, text: str, latest: float) -> float:
        try:
            arrival = float(text)
        except ValueError:
            arrival = math.nan
        if "_" in text or not text.isascii() or math.isnan(arrival):
            raise self._wrong("arrival_s", f"should be a number of seconds, not {_shown(text)}")
        if not latest <= arrival <= LONGEST_SECONDS:
            if arrival < 0:
                raise self._wrong("arrival_s", f"should not be negative, not {_shown(text)}")
            if arrival < latest:
                rule = f"should not be before the row above ({latest:.15g}): sort the rows by time"
                raise self._wrong("arrival_s", f"{rule}; found {_shown(text)}")
            raise self._wrong(
                "arrival_s",
                f"should be seconds since the trace began, at most {LONGEST_SECONDS:.0f} "
                f"(a year), not {_shown(text)}",
            )
        return arrival

    def _tokens(self, text: str, column: str) -> int:
        # Nine digits hold the most tokens allowed: an endless number is never converted.
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            tokens = int(text)
            if tokens <= MOST_TOKENS:
                return tokens
        try:
            number = float(text) if "_" not in text and text.isascii() else math.nan
        except ValueError:
            number = math.nan
        if number < 0:
            raise self._wrong(column, f"should not be negative, not {_shown(text)}")
        if number > MOST_TOKENS:
            raise self._wrong(column, f"should be at most {MOST_TOKENS}, not {_shown(text)}")
        raise self._wrong(column, f"should be a whole number of tokens, not {_shown(text)}")

    def _lines(self) -> Iterator[str]:
        """Yield the file's lines, each with its end; count them."""
        while True:
            self._line += 1
            try:
                line = self._file.readline(LONGEST_LINE)
                text = line.decode("utf-8-sig" if self._line == 1 else "utf-8")
            except EOFError as error:
                rule = "the gzip data ends early: the file is truncated"
                raise self._wrong("", rule) from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise self._wrong("", f"the gzip data is broken: {error}") from error
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise self._wrong("", f"should be UTF-8, found byte 0x{byte:02x}") from error
            if not line:
                self._line -= 1
                return
            if len(line) == LONGEST_LINE:
                raise self._wrong("", f"a line should be shorter than {LONGEST_LINE} bytes")
            yield text

    def _wrong(self, column: str, rule: str) -> TraceError:
        where = (
            f"{self._path}:{self._line}: {column}: " if column else f"{self._path}:{self._line}: "
        )
        return TraceError(f"{where}{rule}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
