"""Waiting until something comes about, on a machine that may be busy with other things."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PATIENCE_SECONDS: Final = 60.0
_ESTABLISHED: Final = "01"


def until(
    holds: Callable[[], object],
    what: str = "it did not come about",
    *,
    seconds: float = PATIENCE_SECONDS,
) -> float:
    """Wait until something holds; return the seconds that it took.

    Raises:
        AssertionError: It did not in time.
    """
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"waited {seconds:g} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


def has_ended(connection: socket.socket) -> bool:
    """Whether the other side has ended it, which reading would tell only after all that came."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return not any(
        row[1].endswith(f":{theirs:04X}") and row[2].endswith(f":{ours:04X}")
        for row in rows
        if row[3] == _ESTABLISHED
    )
