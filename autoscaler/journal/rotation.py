"""A journal that never ends: files of bounded size in a folder, the oldest of which goes first.

Each file is self-contained: it begins with the policy files and with what the decisions remembered
before its first cycle, and its series are written in full once. Names rise in the order of writing.
A file appears when its first cycle is whole; each later cycle is appended whole, so that a process
that is killed loses at most the cycle that it was writing.
"""

import fcntl
import os
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson
from pydantic import TypeAdapter

from autoscaler.core.decision import Cycle
from autoscaler.core.errors import ConfigError, JournalError
from autoscaler.core.planner import FleetState
from autoscaler.core.workload import FleetSpec
from autoscaler.journal.writing import SeriesByKey, encode, header, why

RETRY_SECONDS: Final = 60.0
"""After a failure, how often a new file is tried: it begins with every series in full."""

_NAME: Final = re.compile(r"cycles-(?P<number>[0-9]{8,})-[0-9]{8}T[0-9]{6}Z\.jsonl")
_STATE: Final = TypeAdapter(FleetState)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept.

    Attributes:
        file_bytes: A file that has reached this is not written to any more. One may be larger by
            one cycle.
        files: How many files are kept, the one being written included.
    """

    file_bytes: int = 64_000_000
    files: int = 8


class RotatingJournal:
    """Writes cycles to files in a folder, within limits. Not for several threads."""

    def __init__(self, folder: Path, fleet: FleetSpec, limits: Limits | None = None) -> None:
        """Take the folder; what an earlier process left half-written there is mended.

        Raises:
            ConfigError: The folder cannot be made or written, or another process writes there.
        """
        self.problem = ""
        """Why cycles are not kept at present; empty while they are."""
        self._folder = folder
        self._limits = limits or Limits()
        self._fleet = fleet
        self._state = FleetState()
        self._file: _File | None = None
        self._retry_at = -float("inf")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = _locked(folder)
            for partial in folder.glob(".cycles-*.partial"):
                partial.unlink(missing_ok=True)
            files = rotated_files(folder)
            if files:
                _cut_torn_line(files[-1])
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written: {why(error)}") from error

    def expect(self, fleet: FleetSpec, state: FleetState) -> None:
        """Say what the next cycle is decided by; other policy files begin a new file.

        Args:
            fleet: The policy files in force.
            state: What the decisions remember before it.
        """
        if fleet is not self._fleet:
            self._fleet = fleet
            self._leave()
        self._state = state

    def record(self, cycle: Cycle) -> None:
        """Append one cycle.

        After a failure the next cycles are not kept, silently, until a new file can be written:
        that is tried every minute. `problem` says why as long as it lasts.

        Raises:
            JournalError: It cannot be written, as where the disk is full; raised once for each
                time that it begins.
        """
        now = cycle.plan.now
        if self.problem and abs(now - self._retry_at) < RETRY_SECONDS:
            return
        began = not self.problem
        try:
            self._append(cycle)
            self.problem = ""
        except OSError as error:
            self._retry_at = now
            self.problem = f"{self._folder}: cannot be written: {why(error)}"
            self._leave()
            if began:
                raise JournalError(self.problem) from error

    def close(self) -> None:
        """Write no more, and let another process have the folder; a second time does nothing."""
        self._leave()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, cycle: Cycle) -> None:
        if self._file is not None and (self._file.full(self._limits) or self._file.removed()):
            self._leave()
        if self._file is None:
            self._file = self._begun(cycle)
        else:
            self._file.append(cycle)

    def _begun(self, cycle: Cycle) -> "_File":
        files = rotated_files(self._folder)
        for old in files[: max(0, len(files) - self._limits.files + 1)]:
            old.unlink(missing_ok=True)
        number = _number(files[-1]) + 1 if files else 1
        time = datetime.fromtimestamp(cycle.plan.now, UTC)
        path = self._folder / f"cycles-{number:08d}-{time:%Y%m%dT%H%M%SZ}.jsonl"
        return _File(path, self._fleet, self._state, cycle)

    def _leave(self) -> None:
        """Write no more to the present file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _File:
    """One file of the journal, open at its end."""

    def __init__(self, path: Path, fleet: FleetSpec, state: FleetState, cycle: Cycle) -> None:
        self._cycles = 0
        self._written: SeriesByKey = {}
        self._size = 0
        first = header(fleet)
        first["state"] = _STATE.dump_python(state, mode="json", exclude_defaults=True)
        partial = path.with_name(f".cycles-{uuid.uuid4().hex[:12]}.partial")
        self._file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            self._write(_line(first))
            self.append(cycle)
            partial.rename(path)
        except BaseException:
            self.close()
            partial.unlink(missing_ok=True)
            raise

    def append(self, cycle: Cycle) -> None:
        """Append a cycle whole, or not at all."""
        self._cycles += 1
        self._write(_line(encode(cycle, self._cycles, self._written)))

    def full(self, limits: Limits) -> bool:
        """Whether no more should be written to it."""
        return self._size >= limits.file_bytes

    def removed(self) -> bool:
        """Whether somebody has taken its name away: what is written is lost."""
        return os.fstat(self._file).st_nlink == 0

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):  # nothing is buffered: there is nothing to lose
            os.close(self._file)

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)


def rotated_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that a journal wrote, oldest first.

    Raises:
        OSError: The folder cannot be read.
    """
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return tuple(sorted(found, key=_number))


def journal_files(path: Path) -> tuple[Path, ...]:
    """Return the files that `path` stands for: itself, or those of a folder, oldest first.

    Raises:
        ConfigError: It is a folder that cannot be read, or holds no journal.
    """
    if not path.is_dir():
        return (path,)
    try:
        files = rotated_files(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {why(error)}") from error
    if not files:
        raise ConfigError(f"{path}: holds no file of a journal (cycles-NUMBER-TIME.jsonl)")
    return files


def may_grow(path: Path) -> bool:
    """Whether a process may be writing to this file right now: its last line may be half there."""
    return _NAME.fullmatch(path.name) is not None


def state_in(header_line: dict[str, Any]) -> FleetState:
    """Return what the decisions remembered before the first cycle of a file.

    Args:
        header_line: The file's first line.

    Raises:
        ValidationError: It is no such state.
    """
    return _STATE.validate_python(header_line.get("state", {}))


def _number(path: Path) -> int:
    return int(path.name.split("-")[1])


def _line(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS) + b"\n"


def _cut_torn_line(path: Path) -> None:
    """Take away what a process that was killed had begun to write."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read(1) in (b"\n", b""):
            return
        whole = _end_of_whole_lines(file, size)
        file.truncate(whole)
    if not whole:
        path.unlink()


def _end_of_whole_lines(file: Any, size: int) -> int:
    block = 1 << 16
    for end in range(size, 0, -block):
        start = max(0, end - block)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + int(at) + 1
    return 0


def _locked(folder: Path) -> int:
    """Return an open file whose lock says that this process writes here."""
    file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise ConfigError(f"{folder}: another process keeps its journal there") from error
    return file
