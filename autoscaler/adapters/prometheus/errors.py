"""What can go wrong between us and a Prometheus: one class for each thing to do about it.

```
ObservationError
└─ SourceError           one line: which source, what kind, what was found
   ├─ BadQueryError      the query is wrong, or too large: asking again changes nothing
   ├─ OverloadedError    429, 500, 502, 503, 504: it is there and cannot keep up
   ├─ UnreachableError   no connection, or it broke: name, port, TLS, network
   ├─ UnauthorisedError  401, 403, or our own token file cannot be read
   ├─ MalformedError     something answers that is not the Prometheus API
   ├─ TimedOutError      the whole-call deadline passed
   └─ RestingError       not asked: too many failures in a row, see `breaker`
```
"""

from typing import ClassVar

from autoscaler.core.errors import ObservationError


class SourceError(ObservationError):
    """A Prometheus did not answer usefully.

    Attributes:
        blames_source: Whether the circuit breaker counts it.
        retryable: Whether the same question may be asked again within this call.
        retry_after: Seconds that the server asked us to wait; None where it said nothing.
        too_large: Whether a smaller part of the same question may succeed.
    """

    kind: ClassVar[str] = "failed"
    blames_source: bool = True

    def __init__(
        self,
        source: str,
        what: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        too_large: bool = False,
    ) -> None:
        super().__init__(f"{source}: {self.kind}: {what}")
        self.retryable = retryable
        self.retry_after = retry_after
        self.too_large = too_large


class BadQueryError(SourceError):
    """The query was refused; the source itself is well."""

    kind = "bad query"
    blames_source = False


class OverloadedError(SourceError):
    """The source answered that it cannot answer now."""

    kind = "overloaded"


class UnreachableError(SourceError):
    """No connection, or it broke."""

    kind = "unreachable"


class UnauthorisedError(SourceError):
    """The source does not let us in, or our credentials cannot be read."""

    kind = "unauthorised"


class MalformedError(SourceError):
    """Something answered that does not speak the Prometheus API."""

    kind = "malformed answer"


class TimedOutError(SourceError):
    """No whole answer within the deadline."""

    kind = "timed out"


class RestingError(SourceError):
    """Not asked, because it failed too often in a row."""

    kind = "not asked"
    blames_source = False
