"""A whole answer of the query API: its rows, and what the source said beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Prometheus answered.

    Attributes:
        kind: `matrix`, `vector`, `scalar` or `string`.
        rows: One for each series: `metric` and `values` (or `value`), decoded and else untouched.
        warnings: The source's own words. With any of them the answer may be incomplete.
        infos: Hints on the query; the answer is complete.
        date: The source's clock when it answered, Unix seconds, to the second; None if not told.
        received: When the answer was whole, monotonic seconds.
        body_bytes: Length of the body, decompressed.
    """

    kind: str
    rows: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    date: float | None = None
    received: float = 0.0
    body_bytes: int = field(default=0, compare=False)


def clock_in(date: str | None) -> float | None:
    """Read the time in an HTTP `Date` header, Unix seconds."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def texts(said: object) -> tuple[str, ...]:
    """Return the entries of a `warnings` or `infos` list."""
    return tuple(str(entry) for entry in said) if isinstance(said, list) else ()
