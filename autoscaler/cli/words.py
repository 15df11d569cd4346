"""What commands print: data to stdout, words to stderr, columns, times."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

_LATEST = 221_845_392_000.0


def say(text: str) -> None:
    """Print words for a person, to stderr."""
    print(text, file=sys.stderr)


def emit(text: str) -> None:
    """Print data, to stdout."""
    print(text)


def emit_json(document: object) -> None:
    """Print a document as JSON, with its keys in the order that they were put in."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def bold(text: str) -> str:
    """Return text that stands out on a terminal; as it is elsewhere, or with NO_COLOR."""
    plain = (
        not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    )
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def columns(rows: Sequence[Sequence[str]], indent: str = "", right: bool = False) -> list[str]:
    """Return the rows as lines with aligned columns; `right` aligns all but the first."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        (
            indent
            + "  ".join(
                cell.rjust(width) if right and index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        ).rstrip()
        for row in rows
    ]


def utc(seconds: float) -> str:
    """Write a time as 2026-01-05T00:10:00Z; fractions of a second only where there are some."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(
        timespec="seconds" if float(seconds).is_integer() else "milliseconds"
    )
    return text.replace("+00:00", "Z")


def read_time(text: str) -> float | None:
    """Return the Unix seconds of an ISO 8601 time, UTC unless it says otherwise.

    None where it is no such time, or one before 1970 or after 9000: such a time is a mistake.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return seconds if 0 <= seconds <= _LATEST else None
