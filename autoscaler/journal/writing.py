"""Writing a journal: cycles to lines, and a file that is there when it is whole."""

import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
import orjson
from pydantic import TypeAdapter

from autoscaler.core.decision import Cycle
from autoscaler.core.errors import ConfigError, JournalError
from autoscaler.core.observation import FloatArray, Series
from autoscaler.core.workload import FleetSpec

VERSION: Final = 1

_CYCLE: Final = TypeAdapter(Cycle)
_FLOATS: Final[TypeAdapter[Any]] = TypeAdapter(FloatArray)
NO_SAMPLES: Final = Series.of([])
_LONGEST_HEADER: Final = 16 * 1024 * 1024
"""Of a file that may be anything, no more is read."""

SeriesByKey = dict[tuple[str, str], Series]


class JournalFile:
    """Writes cycles to a file that appears under its name only when it is whole.

    Until then it is a partial file of another name beside it, one for each writer. That one is
    gone afterwards, whatever happens.
    """

    def __init__(self, path: Path, fleet: FleetSpec) -> None:
        """Open `path` for writing; a link is followed, an earlier journal is replaced at the end.

        Raises:
            ConfigError: The folder is absent or cannot be written, or what has that name now is
                neither empty nor a journal.
            JournalError: The header cannot be written.
        """
        self._path = path
        self._cycles = 0
        self._written: SeriesByKey = {}
        try:
            _refuse_anything_else(path)
            self._target = Path(os.path.realpath(path))
            self._partial = self._target.with_name(f".{uuid.uuid4().hex[:12]}.partial")
            self._file: BinaryIO = self._partial.open("xb")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {why(error)}") from error
        try:
            self._write(header(fleet))
        except BaseException:
            self.discard()
            raise

    def record(self, cycle: Cycle) -> None:
        """Append one cycle.

        Raises:
            JournalError: It cannot be written, as where the disk is full.
        """
        self._cycles += 1
        self._write(encode(cycle, self._cycles, self._written))

    def close(self) -> None:
        """Give the file its name.

        Raises:
            JournalError: It cannot be written to its end, or cannot have that name.
        """
        try:
            with self._naming_the_file():
                self._file.close()
                self._partial.replace(self._target)
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind that has not its name yet."""
        try:
            with suppress(OSError):  # what could not be written is thrown away
                self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _write(self, document: Mapping[str, Any]) -> None:
        with self._naming_the_file():
            self._file.write(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
            self._file.write(b"\n")

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalError(f"{self._path}: cannot be written: {why(error)}") from error


def _refuse_anything_else(path: Path) -> None:
    """Refuse to replace what is no journal: a wrong name must not cost anybody a file.

    Raises:
        ConfigError: There is such a thing under that name.
        OSError: It cannot be looked at.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path}: is a folder; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: is not a regular file; name another file")
    if status.st_size and not _begins_with_header(path):
        raise ConfigError(f"{path}: is not a journal; name another file, or remove it first")


def _begins_with_header(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline(_LONGEST_HEADER)
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("kind") == "header"


def why(error: OSError) -> str:
    """Return what the system says of a file, in lower case."""
    return (error.strerror or str(error)).lower()


def header(fleet: FleetSpec) -> dict[str, Any]:
    """Return the first line of a journal: the policy files that decided."""
    document: dict[str, Any] = {
        "kind": "header",
        "version": VERSION,
        "workloads": [
            workload.model_dump(mode="json", by_alias=True, exclude_none=True)
            for workload in fleet.workloads
        ],
    }
    if fleet.pools:
        document["pools"] = [
            pool.model_dump(mode="json", by_alias=True, exclude_none=True) for pool in fleet.pools
        ]
    return document


def encode(cycle: Cycle, number: int, written: SeriesByKey) -> dict[str, Any]:
    """Return a cycle as a line's document.

    Args:
        cycle: The cycle.
        number: Its number in the journal, from 1.
        written: The series as last written, by (workload, signal); updated in place.
    """
    snapshot = cycle.snapshot
    bare = {key: replace(seen, signals={}) for key, seen in snapshot.observations.items()}
    document: dict[str, Any] = _CYCLE.dump_python(
        replace(cycle, snapshot=replace(snapshot, observations=bare)),
        mode="json",
        exclude_defaults=True,
    )
    for key, seen in snapshot.observations.items():
        document["snapshot"]["observations"][key]["signals"] = {
            name: _new_samples(series, (key, name), written)
            for name, series in seen.signals.items()
        }
    plan = document["plan"]
    if "acting" in plan:  # a set has no order of its own: another process has another one
        plan["acting"] = sorted(plan["acting"])
    document["kind"] = "cycle"
    document["cycle"] = number
    return document


def _new_samples(series: Series, name: tuple[str, str], written: SeriesByKey) -> dict[str, Any]:
    before, written[name] = written.get(name, NO_SAMPLES), series
    if not len(series):
        return {"from": None, "times": [], "values": []}
    start = float(series.times[0])
    kept = before.since(np.nextafter(start, -np.inf))
    new = series.since(before.latest_time) if len(before) else series
    if len(kept) + len(new) != len(series) or kept != _head(series, len(kept)):
        start, new = float(series.times[0]), series
        return {"all": True, **_samples(start, new)}
    return _samples(start, new)


def _head(series: Series, count: int) -> Series:
    return Series(series.times[:count], series.values[:count])


def _samples(start: float, new: Series) -> dict[str, Any]:
    return {
        "from": start,
        "times": new.times.tolist(),
        "values": _FLOATS.dump_python(new.values, mode="json"),
    }
