"""Errors as the Kubernetes API tells them: a `Status` document with a message."""

from typing import Final

import orjson

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_LONGEST: Final = 1000


class RefusalError(Exception):
    """A request that is answered with a `Status`.

    Attributes:
        code: The HTTP status.
        message: What is wrong, for whoever reads `kubectl describe hpa`.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def status_body(code: int, message: str) -> bytes:
    """Return a `Status` document; the message is made one line of printable text."""
    text = "".join(one if one.isprintable() else " " for one in message[:_LONGEST])
    return orjson.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": text,
            "reason": _REASONS.get(code, "Unknown"),
            "code": code,
        }
    )
