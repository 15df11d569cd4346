"""Times as Kubernetes writes them, and as Unix seconds."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = 0.0, 221_845_392_000.0  # 1970 and the year 9000: anything else is a mistake


def read_time(text: object) -> float | None:
    """Return the Unix seconds of an RFC 3339 or ISO 8601 time; UTC unless it says otherwise.

    None where it is no such time, or one before 1970 or after the year 9000.
    """
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        seconds = (aware - _EPOCH) / timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return seconds if _FIRST <= seconds <= _LAST else None


def micro_time(seconds: float) -> str:
    """Write a MicroTime: always six digits of a second, which the API server insists on."""
    return _at(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def said_time(seconds: float) -> str:
    """Write a time for a person, to the second: 2026-01-05T00:10:00Z."""
    return _at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
