"""What must never stand in a log: tokens, passwords, the user part of an address."""

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "***"

_SECRET_NAMES: Final = frozenset(
    {
        "access_token", "api_key", "apikey", "authorization", "client_secret", "cookie", "passwd",
        "password", "proxy_authorization", "secret", "set_cookie", "token", "x_api_key",
    }
)  # fmt: skip
_PATTERNS: Final = (
    # Authorization: Bearer abc, 'authorization': 'Basic abc'
    (
        re.compile(
            r"(authorization['\"]?\s*[:=]\s*['\"]?)(?:[\w-]+[ \t]+)?[^\s'\",]+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    # Bearer abc; but not "bearer token", "basic authentication"
    (
        re.compile(
            r"\b(bearer|basic)([ \t]+)"
            r"(?!(?:tokens?|auth\w*|credentials?|realm|\*+)(?:\W|$))[^\s'\",]+",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    # https://user:password@host
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s'\"?#]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # ?token=abc
    (
        re.compile(
            r"([?&;](?:access_token|api_?key|auth|key|passw(?:or)?d|secret|sig(?:nature)?|token)=)"
            r"[^&;\s'\"]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # a JSON web token, wherever it stands
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),
)


def redacted(value: Any, name: str = "") -> Any:
    """Return a value without what is secret in it.

    Args:
        value: Anything that is logged: texts, mappings and lists of them are looked through.
        name: Under which name it is logged; some names alone say that it is secret.
    """
    if name.lower().replace("-", "_") in _SECRET_NAMES:
        return HIDDEN
    match value:
        case None | bool() | float():
            return value
        case int() if abs(value) < 2**63:  # what JSON's readers take
            return value
        case Mapping():
            return {str(key): redacted(one, str(key)) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redacted(one) for one in value]
        case _:
            return _clean(
                value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            )


def _clean(text: str) -> str:
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text.encode(errors="replace").decode()  # half a pair of surrogates is no text
