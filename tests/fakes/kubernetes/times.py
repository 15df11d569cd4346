"""Times as the API writes them."""

import re
from datetime import UTC, datetime

_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def seconds(at: float) -> str:
    """Return `Time`: whole seconds, UTC."""
    return f"{datetime.fromtimestamp(int(at), UTC):%Y-%m-%dT%H:%M:%SZ}"


def micro(at: float) -> str:
    """Return `MicroTime`: exactly six digits after the point, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def is_micro(text: object) -> bool:
    """Tell whether this is a `MicroTime`: exactly six digits and a zone."""
    return isinstance(text, str) and _MICRO.fullmatch(text) is not None


def is_time(text: object) -> bool:
    """Tell whether this is a `Time`."""
    return isinstance(text, str) and _SECONDS.fullmatch(text) is not None


def parse(text: str) -> float:
    """Return Unix seconds."""
    return datetime.fromisoformat(text).timestamp()
