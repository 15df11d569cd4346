"""What an exception or a refusing answer means: one of our errors, in one line."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from http.client import IncompleteRead
from typing import Any, Final

import requests
from urllib3 import exceptions as urllib3

from autoscaler.adapters.prometheus.errors import (
    BadQueryError,
    MalformedError,
    OverloadedError,
    SourceError,
    TimedOutError,
    UnauthorisedError,
    UnreachableError,
)

Redact = Callable[[str], str]

_BROKEN: Final[tuple[tuple[tuple[type[Exception], ...], type[SourceError], str], ...]] = (
    ((requests.exceptions.ConnectTimeout,), UnreachableError, "no connection in time"),
    ((requests.exceptions.Timeout, urllib3.ReadTimeoutError), TimedOutError, "no answer in time"),
    ((requests.exceptions.ContentDecodingError,), MalformedError, "the compressed body is damaged"),
    (
        (urllib3.IncompleteRead, urllib3.InvalidChunkLength, IncompleteRead),
        UnreachableError,
        "the answer broke off in the middle",
    ),
    ((urllib3.NameResolutionError,), UnreachableError, "the name is not known"),
)
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_TOO_LARGE: Final = ("too many samples", "maximum resolution", "limit", "too long", "too large")
_LONGEST_EXCERPT: Final = 300


def of_exception(source: str, url: str, error: Exception, redact: Redact) -> SourceError:
    """Say what kept the call from being answered at all.

    Args:
        source: The source's name.
        url: Its address, without credentials.
        error: What requests raised.
        redact: Takes secrets out of a text.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            # A certificate does not become right by asking again; a broken handshake may.
            why = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
            retryable = not isinstance(cause, ssl.SSLCertVerificationError)
            return UnreachableError(source, redact(f"{url}: TLS: {why}"), retryable=retryable)
    for kinds, told_as, what in _BROKEN:
        if any(isinstance(cause, kinds) for cause in causes):
            return told_as(source, f"{url}: {what}", retryable=told_as is not MalformedError)
    for cause in causes:
        # requests derives its own exceptions from OSError: those say nothing of the system.
        ours = isinstance(cause, requests.RequestException)
        if isinstance(cause, OSError) and not ours and cause.strerror:
            what = redact(f"{url}: {cause.strerror.lower()}")
            return UnreachableError(source, what, retryable=True)
    if isinstance(error, requests.exceptions.ConnectionError):
        return UnreachableError(source, f"{url}: the connection was closed", retryable=True)
    # A file that is not there: requests says which, in its own words.
    return UnreachableError(source, redact(_one_line(f"{url}: {error}")))


def of_answer(
    source: str, url: str, answer: requests.Response, decoded: object, redact: Redact
) -> SourceError:
    """Say what an answer other than a result means.

    Args:
        source: The source's name.
        url: Its address, without credentials.
        answer: Status and headers.
        decoded: Its body, decoded; None if it is not JSON.
        redact: Takes secrets out of a text.
    """
    status = answer.status_code
    body: Mapping[str, Any] = decoded if isinstance(decoded, dict) else {}
    said = redact(_one_line(str(body.get("error") or body.get("message") or "")))
    where = f"(HTTP {status} from {url})"
    if status in (401, 403, 407):
        return UnauthorisedError(source, f"{said or 'the credentials are refused'} {where}")
    if status in _BUSY or body.get("errorType") in ("timeout", "canceled"):
        return OverloadedError(
            source,
            f"{said or answer.reason or 'no reason given'} {where}",
            retryable=True,
            retry_after=_seconds(answer.headers.get("Retry-After")),
            too_large=status in (408, 503, 504),
        )
    if status in (413, 414) or (said and body.get("status") == "error"):
        too_large = status in (413, 414) or any(word in said for word in _TOO_LARGE)
        return BadQueryError(source, f"{said or 'too long'} {where}", too_large=too_large)
    return MalformedError(source, f"{_foreign(answer, decoded, redact)} {where}")


def _foreign(answer: requests.Response, decoded: object, redact: Redact) -> str:
    """Say what an answer is that Prometheus would not have given."""
    if 300 <= answer.status_code < 400:
        return "a redirect: the url is wrong, or a login stands before it"
    if answer.status_code != 200:
        return "there is no Prometheus API at this url"
    if decoded is None:
        return (
            f"not JSON but {redact(_one_line(answer.headers.get('Content-Type', 'nothing known')))}"
        )
    return "JSON that is no query result"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and whatever it wraps: as cause, as `reason`, or as first argument."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_EXCERPT else f"{line[:_LONGEST_EXCERPT]}..."


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None  # a date: the back-off decides
    return seconds if 0 <= seconds < 3600 else None
