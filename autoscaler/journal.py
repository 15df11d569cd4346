"""The file of cycles: JSON lines with sorted keys; equal cycles give equal bytes.

The first line is a header with the policy files. A series is written once and then only its new
samples: each line says from when on the earlier ones still count. A file is self-contained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from autoscaler.core.decision import Cycle
from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import FloatArray, Series
from autoscaler.core.workload import FleetSpec

VERSION: Final = 1

_CYCLE: Final = TypeAdapter(Cycle)
_FLOATS: Final[TypeAdapter[Any]] = TypeAdapter(FloatArray)
_NO_SAMPLES: Final = Series.of([])

SeriesByKey = dict[tuple[str, str], Series]


class JournalFile:
    """Writes cycles to a file that appears under its name only when it is whole."""

    def __init__(self, path: Path, fleet: FleetSpec) -> None:
        """Open `path` for writing, through a temporary file beside it.

        Raises:
            ConfigError: The folder is absent or cannot be written.
        """
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._written: SeriesByKey = {}
        try:
            self._file: BinaryIO = self._partial.open("wb")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
        self._write(header(fleet))

    def record(self, cycle: Cycle) -> None:
        """Append one cycle."""
        self._write(encode(cycle, self._written))

    def close(self) -> None:
        """Give the file its name."""
        self._file.close()
        self._partial.replace(self._path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _write(self, document: Mapping[str, Any]) -> None:
        self._file.write(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
        self._file.write(b"\n")


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


def encode(cycle: Cycle, written: SeriesByKey) -> dict[str, Any]:
    """Return a cycle as a line's document.

    Args:
        cycle: The cycle.
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
    document["kind"] = "cycle"
    return document


def _new_samples(series: Series, name: tuple[str, str], written: SeriesByKey) -> dict[str, Any]:
    before, written[name] = written.get(name, _NO_SAMPLES), series
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


def read_header(path: Path) -> dict[str, Any]:
    """Return a journal's first line.

    Raises:
        ConfigError: The file cannot be read, or is no journal of ours.
    """
    for number, document in _lines(path):
        if number == 1 and document.get("kind") == "header" and document.get("version") == VERSION:
            return document
        break
    raise ConfigError(f"{path}:1: should be the header of a journal of version {VERSION}")


def read_journal(path: Path) -> Iterator[Cycle]:
    """Yield the cycles of a journal, oldest first.

    Raises:
        ConfigError: The file cannot be read or a line is not what `JournalFile` writes; the
            message names file and line.
    """
    read_header(path)
    known: SeriesByKey = {}
    for number, document in _lines(path):
        if number == 1:
            continue
        try:
            yield decode(document, known)
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise ConfigError(f"{path}:{number}: not a cycle of a journal: {first}") from error


def decode(document: dict[str, Any], known: SeriesByKey) -> Cycle:
    """Return the cycle of a line's document.

    Args:
        document: What `encode` returned, after JSON.
        known: The series read so far, by (workload, signal); updated in place.

    Raises:
        ValidationError, KeyError, TypeError, ValueError: Not such a document.
    """
    observations = document["snapshot"].get("observations", {})
    signals = {key: seen.pop("signals") for key, seen in observations.items()}
    cycle = _CYCLE.validate_python({k: v for k, v in document.items() if k != "kind"})
    whole = {
        key: replace(
            seen,
            signals={
                name: _joined(samples, (key, name), known) for name, samples in signals[key].items()
            },
        )
        for key, seen in cycle.snapshot.observations.items()
    }
    return replace(cycle, snapshot=replace(cycle.snapshot, observations=whole))


def _joined(samples: dict[str, Any], name: tuple[str, str], known: SeriesByKey) -> Series:
    times = np.asarray(samples["times"], dtype=np.float64)
    values = _FLOATS.validate_python(samples["values"])
    if samples["from"] is not None and not samples.get("all"):
        earlier = known.get(name, _NO_SAMPLES).since(np.nextafter(samples["from"], -np.inf))
        times = np.concatenate([earlier.times, times])
        values = np.concatenate([earlier.values, values])
    known[name] = Series(times, values)
    return known[name]


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                document = orjson.loads(line)
                if not isinstance(document, dict):
                    raise ConfigError(f"{path}:{number}: should be a JSON object")
                yield number, document
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}:{number}: not JSON: {error.msg}") from error
