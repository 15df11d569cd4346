"""Reading a journal: every line is checked, so that an edited one is told by its number."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
from pydantic import BaseModel, Field, FiniteFloat, PositiveInt, TypeAdapter, ValidationError

from autoscaler.core.decision import Cycle
from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import Series
from autoscaler.journal.rotation import may_grow
from autoscaler.journal.writing import NO_SAMPLES, VERSION, SeriesByKey, why

_CYCLE: Final = TypeAdapter(Cycle)
_LATEST: Final = 253_402_300_799
"""No time after the year 9999 can be shown."""


class _Metadata(BaseModel):
    name: str
    namespace: str = "default"


class _Replica(BaseModel):
    nodePool: str = ""  # noqa: N815 - as the policy file writes it


class _Spec(BaseModel):
    replica: _Replica = _Replica()


class _Workload(BaseModel):
    metadata: _Metadata
    spec: _Spec


class _Header(BaseModel):
    """As much of the header as its readers rely on without reading the policy files."""

    workloads: Annotated[list[_Workload], Field(min_length=1)]
    pools: list[dict[str, Any]] = []


class _Samples(BaseModel):
    start: Annotated[FiniteFloat | None, Field(alias="from")]
    times: list[FiniteFloat]
    values: list[float]
    all: bool = False


class _Observation(BaseModel):
    signals: dict[str, _Samples]


_Time = Annotated[float, Field(ge=0, le=_LATEST)]


class _Snapshot(BaseModel):
    now: _Time
    observations: dict[str, _Observation] = {}


class _Plan(BaseModel):
    now: _Time


class _Line(BaseModel):
    """What a line of a cycle holds beyond the cycle itself."""

    kind: Literal["cycle"]
    cycle: PositiveInt
    snapshot: _Snapshot
    plan: _Plan


def read_header(path: Path) -> dict[str, Any]:
    """Return a journal's first line: at least one policy file, each with the name of its workload.

    Raises:
        ConfigError: The file cannot be read, or is no journal of ours.
    """
    for _, document in _lines(path):
        if document.get("kind") != "header" or document.get("version") != VERSION:
            break
        try:
            _Header.model_validate(document)
        except ValidationError as error:
            raise ConfigError(*(f"{path}:1: {problem}" for problem in _problems(error))) from error
        return document
    raise ConfigError(f"{path}:1: should be the header of a journal of version {VERSION}")


def read_journal(path: Path) -> Iterator[Cycle]:
    """Yield the cycles of a journal, oldest first: the first of them stands in line 2.

    Lines that are missing at the end cannot be noticed. In a file of a `RotatingJournal` the last
    line may be half there, because it is being written or was when a process was killed: it is
    left out.

    Raises:
        ConfigError: The file cannot be read, a line is missing, or is not what `JournalFile`
            writes; the message names file and line.
    """
    read_header(path)
    known: SeriesByKey = {}
    for number, document in _lines(path):
        if number == 1:
            continue
        expected, found = number - 1, document.get("cycle")
        if isinstance(found, int) and found != expected:
            rule = "is missing" if found > expected else f"should stand here, not cycle {found}"
            raise ConfigError(f"{path}:{number}: cycle {expected} {rule}")
        try:
            yield decode(document, known)
        except ValidationError as error:
            problem = _problems(error)[0]
            raise ConfigError(f"{path}:{number}: not a cycle of a journal: {problem}") from error
        except (TypeError, ValueError) as error:
            problem = str(error).partition("\n")[0]
            raise ConfigError(f"{path}:{number}: not a cycle of a journal: {problem}") from error


def _problems(error: ValidationError) -> list[str]:
    """Return each problem as field, rule and the value found."""
    problems = []
    for one in error.errors(include_url=False):
        text = f"{'.'.join(str(part) for part in one['loc'])}: {one['msg'].lower()}"
        if one["type"] != "missing":
            text += f", not {one['input']!r:.60}"
        problems.append("".join(letter if letter.isprintable() else "?" for letter in text))
    return problems


def decode(document: dict[str, Any], known: SeriesByKey) -> Cycle:
    """Return the cycle of a line's document.

    Args:
        document: What `encode` returned, after JSON.
        known: The series read so far, by (workload, signal); updated in place.

    Raises:
        ValidationError, TypeError, ValueError: Not such a document.
    """
    line = _Line.model_validate(document)
    snapshot = document["snapshot"]
    bare = {key: {**seen, "signals": {}} for key, seen in snapshot.get("observations", {}).items()}
    cycle = _CYCLE.validate_python({**document, "snapshot": {**snapshot, "observations": bare}})
    whole = {
        key: replace(
            seen,
            signals={
                name: _joined(samples, (key, name), known)
                for name, samples in line.snapshot.observations[key].signals.items()
            },
        )
        for key, seen in cycle.snapshot.observations.items()
    }
    return replace(cycle, snapshot=replace(cycle.snapshot, observations=whole))


def _joined(samples: _Samples, name: tuple[str, str], known: SeriesByKey) -> Series:
    times = np.array(samples.times, dtype=np.float64)
    values = np.array(samples.values, dtype=np.float64)
    if samples.start is not None and not samples.all:
        earlier = known.get(name, NO_SAMPLES).since(np.nextafter(samples.start, -np.inf))
        times = np.concatenate([earlier.times, times])
        values = np.concatenate([earlier.values, values])
    known[name] = Series(times, values)
    return known[name]


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") and may_grow(path):
                    return
                document = orjson.loads(line)
                if not isinstance(document, dict):
                    raise ConfigError(f"{path}:{number}: should be a JSON object")
                yield number, document
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {why(error)}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}:{number}: not JSON: {error.msg}") from error
