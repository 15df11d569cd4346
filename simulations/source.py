"""A trace file as it is read: plain or gzip, in blocks of whole lines, with the line in errors."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Final

from autoscaler.core.errors import TraceError

LONGEST_LINE: Final = 65_536
BLOCK_BYTES: Final = 1 << 20
GZIP_MAGIC: Final = b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Iterator["Source"]:
    """Open a trace file, whatever its name says about compression.

    Raises:
        TraceError: The file cannot be read, now or later.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(len(GZIP_MAGIC))
            raw.seek(0)
            if start == GZIP_MAGIC:
                with gzip.GzipFile(fileobj=raw) as plain:
                    yield Source(path, plain)
            elif path.suffix == ".gz" and start:
                rule = f"should be gzip data, as its name says; starts with {start!r}"
                raise TraceError(f"{path}:1: {rule}")
            else:
                yield Source(path, raw)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TraceError(f"{path}: cannot be read: {reason}") from error


class Source:
    """One pass over one file.

    Attributes:
        path: The file.
        line: Lines that the reader is done with, or the one that it is in.
    """

    def __init__(self, path: Path, file: BufferedReader | gzip.GzipFile) -> None:
        """Begin at the start of the file."""
        self.path = path
        self.line = 0
        self._file = file
        self._rest = b""
        self._failure: tuple[str, Exception] | None = None
        self._pushed = b""

    @property
    def name(self) -> str:
        """The file's name without what says how it is packed."""
        name = self.path.name.removesuffix(".gz")
        return name.removesuffix(".csv").removesuffix(".jsonl")

    def wrong(self, column: str, rule: str, line: int | None = None) -> TraceError:
        """Return the error that names this file, the line, and the column unless it is empty."""
        place = f"{self.path}:{self.line if line is None else line}: "
        return TraceError(f"{place}{column}: {rule}" if column else f"{place}{rule}")

    def first_line(self) -> str:
        """Read the first line, without a byte-order mark; empty where the file is.

        Raises:
            TraceError: It cannot be read.
        """
        block = self.block()
        self.line = 1
        line = block[: block.find(b"\n") + 1] or block
        self._pushed = block[len(line) :]
        return self._text(line).removeprefix("\ufeff")

    def block(self) -> bytes:
        """Return the next whole lines, about a megabyte of them; empty at the end.

        Raises:
            TraceError: A line is too long, or the gzip data broken.
        """
        if self._pushed:
            block, self._pushed = self._pushed, b""
            return block
        while self._failure is None:
            more = self._read()
            found = self._rest + more
            cut = found.rfind(b"\n") + 1
            if not more and self._failure is None:
                self._rest = b""
                return found
            self._rest = found[cut:]
            if len(self._rest) >= LONGEST_LINE:
                # What stands before it is read first: an error there comes first, too.
                self._failure = _TOO_LONG
            if cut:
                return found[:cut]
        rule, error = self._failure
        raise self.wrong("", rule, self.line + 1) from error

    def lines(self, block: bytes) -> Iterator[str]:
        """Yield the lines of a block and of all that follow, each with its end; count them.

        Raises:
            TraceError: A line is too long or no UTF-8, or the gzip data broken.
        """
        while block:
            for line in BytesIO(block):
                self.line += 1
                yield self._text(line)
            block = self.block()

    def _text(self, line: bytes) -> str:
        if len(line) >= LONGEST_LINE:
            raise self.wrong("", _TOO_LONG[0])
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise self.wrong("", f"should be UTF-8, found byte 0x{byte:02x}") from error

    def _read(self) -> bytes:
        """Return about a block more; what breaks is noted."""
        pieces: list[bytes] = []
        size = 0
        try:
            while size < BLOCK_BYTES:
                piece = self._file.read1(BLOCK_BYTES)
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
        except EOFError as error:
            self._failure = "the gzip data ends early: the file is truncated", error
        except (gzip.BadGzipFile, zlib.error) as error:
            self._failure = f"the gzip data is broken: {error}", error
        return b"".join(pieces)


_TOO_LONG: Final = (
    f"a line should be shorter than {LONGEST_LINE} bytes",
    ValueError("an endless line"),
)
