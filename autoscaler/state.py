"""What decisions remember, kept between processes: written whole, trusted only when it is whole.

A state that is absent, broken, of another version or too old is no state: every workload then
begins unproven and may only be raised for one whole window (`planner.unproven`).
"""

import hashlib
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from pydantic import TypeAdapter

from autoscaler.core.errors import AutoscalerError
from autoscaler.core.past import Mark, Past
from autoscaler.core.planner import FleetState, unproven
from autoscaler.core.workload import FleetSpec

VERSION: Final = 3

_STATE: Final = TypeAdapter(FleetState)
_NAMES: Final = frozenset(one.name for one in fields(FleetState))
_PAST_NAMES: Final = frozenset(one.name for one in fields(Past))


class StateError(AutoscalerError):
    """A saved state cannot be used or kept."""


class StateStore(Protocol):
    """Where a state is kept between processes."""

    def load(self) -> bytes | None:
        """Return what was saved last; None where nothing was.

        Raises:
            StateError: It cannot be read.
        """
        ...

    def save(self, data: bytes) -> None:
        """Keep `data` in place of what was there, whole or not at all.

        Raises:
            StateError: It cannot be written; what was there is still there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Restored:
    """A state to begin with.

    Attributes:
        state: For every workload of the fleet.
        problem: Why nothing, or not everything, of a saved state is in it; empty if all is well.
        kept: What the ends of the controller remembered of each workload, by their names, then
            by workload key. It is never too old: whoever remembers it compares it with what is
            found.
    """

    state: FleetState
    problem: str = ""
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def dump_state(
    state: FleetState, now: float, kept: Mapping[str, Mapping[str, Any]] | None = None
) -> bytes:
    """Return a state as bytes; equal states give equal bytes.

    Args:
        state: What to keep.
        now: Unix seconds.
        kept: What else to keep beside it, by name: of each workload, by its key, JSON.
    """
    said = {
        **{name: rows for name, rows in (kept or {}).items() if rows},
        **{name: getattr(state, name) for name in _NAMES},
    }
    body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    head = {"version": VERSION, "saved": now, "sha256": hashlib.sha256(body).hexdigest()}
    return orjson.dumps(head, option=orjson.OPT_SORT_KEYS) + b"\n" + body


def load_state(data: bytes) -> tuple[FleetState, float]:
    """Read what `dump_state` wrote.

    Returns:
        The state, and when it was saved (Unix seconds).

    Raises:
        StateError: It is broken, or of another version.
    """
    body, saved = _opened(data)
    return _read(body)[0], saved


def _opened(data: bytes) -> tuple[bytes, float]:
    """Return what was saved, and when; it is whole."""
    head, _, body = data.partition(b"\n")
    try:
        said: Any = orjson.loads(head)
        version, saved, digest = said["version"], float(said["saved"]), said["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise StateError("the saved state is not one of ours") from error
    if version != VERSION:
        raise StateError(f"the saved state is of version {version!r}, not {VERSION}")
    if hashlib.sha256(body).hexdigest() != digest:
        raise StateError("the saved state is damaged: its checksum does not fit")
    return body, saved


def _read(body: bytes) -> tuple[FleetState, Mapping[str, Mapping[str, Any]]]:
    """Return the state in it, and what else was kept: by name, then by workload key."""
    try:
        said: Any = orjson.loads(body)
        state = _state_in(said)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise StateError("the saved state does not fit this version of the program") from error
    others = {name: rows for name, rows in said.items() if name not in _NAMES}
    return state, {name: rows for name, rows in others.items() if isinstance(rows, dict)}


def _state_in(said: Any) -> FleetState:
    if any(past.keys() != _PAST_NAMES for past in said["pasts"].values()):
        raise ValueError("a past of other fields")
    state: FleetState = _STATE.validate_python({name: said[name] for name in _NAMES})
    return state


def restore(
    store: StateStore,
    fleet: FleetSpec,
    now: float,
    *,
    max_age_seconds: float,
    gap_seconds: float = 60.0,
    own: FleetState | None = None,
) -> Restored:
    """Return the state to begin with: the saved one where it can be trusted.

    Args:
        store: Where it may lie.
        fleet: The policy files; what the state holds of others is dropped.
        now: Unix seconds.
        max_age_seconds: An older state is not trusted.
        gap_seconds: Where nobody decided for longer, the sizes at the end of the gap count as
            wanted: a decrease then waits for a whole window.
        own: What a process that watched until now remembers itself: it fills the time since the
            state was saved, and stands for a state that cannot be trusted. None at a start.
    """
    instead = unproven(fleet, now) if own is None else own
    try:
        data = store.load()
        if data is None:
            return Restored(instead, "no saved state was found")
        body, saved = _opened(data)
        state, kept = _read(body)
    except StateError as error:
        return Restored(instead, str(error))
    keys = {workload.key for workload in fleet.workloads}
    kept = {
        name: {key: one for key, one in rows.items() if key in keys} for name, rows in kept.items()
    }
    if not -max_age_seconds <= now - saved <= max_age_seconds:
        why = f"the saved state is {now - saved:.0f} s old; {max_age_seconds:.0f} s are trusted"
        return Restored(instead, why, kept)
    last = saved
    if own is not None:
        state = _since(state, saved, own)
        marks = (mark for past in own.pasts.values() for mark in past.recommendations)
        last = max((mark.time for mark in marks), default=saved)
    if abs(now - max(saved, last)) > gap_seconds:
        state = state.resumed(fleet, now)
    return Restored(adopt(state.inherited(), fleet, now), kept=kept)


def _since(state: FleetState, saved: float, own: FleetState) -> FleetState:
    """Return a state with what another process recommended since it was saved.

    Changes made since then are not taken from there: what is found is compared with what was
    saved, and the difference counts (`core.replicas.notice`).
    """

    def later(marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
        return tuple(mark for mark in marks if mark.time > saved)

    pasts = dict(own.pasts)
    for key, past in state.pasts.items():
        mine = own.pasts.get(key)
        more = later(mine.recommendations) if mine is not None else ()
        pasts[key] = replace(past, recommendations=(*past.recommendations, *more))
    needed = dict(own.nodes_needed)
    for name, marks in state.nodes_needed.items():
        needed[name] = (*marks, *later(own.nodes_needed.get(name, ())))
    seen = {**state.nodes_seen, **own.nodes_seen}
    return replace(state, pasts=pasts, nodes_needed=needed, nodes_seen=seen)


def adopt(state: FleetState, fleet: FleetSpec, now: float) -> FleetState:
    """Return the state for these policy files: what is new begins unproven, what is gone is gone.

    Args:
        state: Of the policy files before.
        fleet: The policy files now.
        now: Unix seconds.
    """
    keys = [workload.key for workload in fleet.workloads]
    pools = {pool.key for pool in fleet.pools}
    new = Past(unproven_since=now)
    return replace(
        state,
        pasts={key: state.pasts.get(key, new) for key in keys},
        nodes_needed={name: marks for name, marks in state.nodes_needed.items() if name in pools},
        nodes_seen={name: count for name, count in state.nodes_seen.items() if name in pools},
    )


class FileStore:
    """A state in a file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Keep it at `path`; the folder must be there."""
        self._path = path

    def load(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self._path}: {_why(error)}") from error

    def save(self, data: bytes) -> None:
        partial = self._path.with_name(f".{uuid.uuid4().hex[:12]}.partial")
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            raise StateError(f"{self._path}: {_why(error)}") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
