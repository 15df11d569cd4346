"""`Status` bodies and the errors that carry them, worded like the real API server's."""

import json
from dataclasses import dataclass
from typing import Any

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(slots=True)
class ApiError(Exception):
    """An answer that is a failure."""

    code: int
    message: str
    reason: str = ""
    details: dict[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """Return the `Status` object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if reason := self.reason or REASONS.get(self.code, ""):
            status["reason"] = reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


@dataclass(slots=True)
class UnreadableError(ApiError):
    """A field of the wrong type: 400 where an object is given, 422 where a patch makes it so.

    Attributes:
        why: What cannot be read.
    """

    why: str = ""

    def in_patch(self, made: str) -> ApiError:
        """Return the error of a patch that makes `made` (JSON)."""
        said = f"Invalid value: {json.dumps(made)}: {self.why}"
        cause = {"reason": "FieldValueInvalid", "message": said, "field": "patch"}
        return ApiError(422, f' "" is invalid: patch: {said}', details={"causes": [cause]})


def unreadable(kind: str, version: str, why: str) -> UnreadableError:
    """400: this cannot be an object of the kind."""
    said = f'{kind} in version "{version}" cannot be handled as a {kind}: {why}'
    return UnreadableError(400, said, why=why)


def _details(group: str, plural: str, name: str) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404: no such object."""
    message = f'{_qualified(group, plural)} "{name}" not found'
    return ApiError(404, message, details=_details(group, plural, name))


def no_such_path() -> ApiError:
    """404: no such resource."""
    return ApiError(404, "the server could not find the requested resource", details={})


def no_such_method() -> ApiError:
    """405: the resource is known, the verb is not."""
    said = "the server does not allow this method on the requested resource"
    return ApiError(405, said, details={})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """409: created twice."""
    message = f'{_qualified(group, plural)} "{name}" already exists'
    return ApiError(409, message, "AlreadyExists", _details(group, plural, name))


def conflict(group: str, plural: str, name: str) -> ApiError:
    """409: somebody else wrote in between."""
    message = (
        f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": the object has '
        "been modified; please apply your changes to the latest version and try again"
    )
    return ApiError(409, message, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, *causes: tuple[str, str, str]) -> ApiError:
    """422: each cause is (field, reason, sentence)."""
    said = [f"{where}: {sentence}" for where, _, sentence in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(group, kind, name)
    details["causes"] = [
        {"reason": reason, "message": sentence, "field": where}
        for where, reason, sentence in causes
    ]
    return ApiError(422, f'{_qualified(group, kind)} "{name}" is invalid: {text}', details=details)


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """403: known, and not allowed."""
    subject = _qualified(group, plural) + (f' "{name}"' if name else "")
    message = f"{subject} is forbidden: {why}"
    return ApiError(403, message, details=_details(group, plural, name))


def unauthorized() -> ApiError:
    """401: not known."""
    return ApiError(401, "Unauthorized")


def expired(asked: int, oldest: int) -> ApiError:
    """410: the history that was asked for is gone."""
    return ApiError(410, f"too old resource version: {asked} ({oldest})")
