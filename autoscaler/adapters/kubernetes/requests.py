"""What is asked of the API server, and what its refusals mean: words, no network."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from autoscaler.core.errors import AutoscalerError

MERGE_PATCH: Final = "application/merge-patch+json"
"""Content type of every patch that we send: fields given are set, null removes, the rest stays."""
FIELD_MANAGER: Final = "inference-autoscaler"
"""Who we are in `metadata.managedFields`."""

Query = tuple[tuple[str, str], ...]
"""Query parameters, in order."""

_LONGEST: Final = 300
_PASSING: Final = frozenset({429, 500, 502, 503, 504})
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request in the words of Kubernetes' roles.

    Attributes:
        verb: get, list, watch, create, update, patch or delete.
        group: API group; empty for the core group.
        resource: Plural, with its subresource, such as deployments/scale; empty for discovery.
        namespace: Empty where there is none.
        name: The object's name; empty for a collection.
        path: The path itself.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    path: str

    @property
    def kind(self) -> str:
        """The resource with its group, such as deployments.apps/scale; else the path."""
        if not self.resource:
            return self.path
        plural, slash, sub = self.resource.partition("/")
        return f"{plural}.{self.group}{slash}{sub}" if self.group else self.resource

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.kind} {where}".rstrip()


def asked(method: str, path: str, query: Query = ()) -> Asked:
    """Read a request as the API server's authorisation reads it.

    Args:
        method: GET, POST, PUT, PATCH or DELETE.
        path: Such as /apis/apps/v1/namespaces/llm/deployments/chat/scale.
        query: Its parameters; `watch` makes a list a watch.
    """
    parts = [part for part in path.split("/") if part]
    group, rest = "", parts[2:]
    if parts[:1] == ["apis"]:
        group, rest = "".join(parts[1:2]), parts[3:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name = "".join(rest[:1]), "".join(rest[1:2])
    if len(rest) > 2:
        resource += f"/{rest[2]}"
    verb = _VERBS.get(method, "get" if name or not resource else "list")
    if verb == "list" and any(key == "watch" for key, _ in query):
        verb = "watch"
    return Asked(verb, group, resource, namespace, name, path)


class KubernetesError(AutoscalerError):
    """The API server did not do what was asked; the message is one line that says what to do.

    Attributes:
        asked: The request.
        status: The answer's HTTP status; None where no (whole) answer came.
        retry_after: Seconds that the server asks us to wait, if it does.
        sent: Whether the server may have acted on the request.
    """

    def __init__(
        self,
        message: str,
        *,
        asked: Asked,
        status: int | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.asked = asked
        self.status = status
        self.retry_after = retry_after
        self.sent = sent

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later, and may be sent twice."""
        if self.asked.verb == "create":
            return not self.sent or self.status == 429
        return self.status is None or self.status in _PASSING


def one_line(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text on one line, cut to a readable length, without any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def refused(
    asked: Asked, status: int, body: bytes, headers: Mapping[str, str], secrets: Iterable[str] = ()
) -> KubernetesError:
    """Explain an answer that is no success.

    Args:
        asked: The request.
        status: The HTTP status, 300 or more.
        body: The answer's body; only the message of a Kubernetes Status is quoted from it.
        headers: The answer's headers.
        secrets: Texts that must not appear in a message.
    """
    answer = _status_of(body)
    said = one_line(str(answer.get("message", "")), secrets)
    return KubernetesError(
        f"{asked}: {_meaning(asked, status, answer, said)}",
        asked=asked,
        status=status,
        retry_after=_seconds(headers.get("Retry-After")),
    )


def _meaning(asked: Asked, status: int, answer: Mapping[str, Any], said: str) -> str:
    said = said or "no reason given"
    where = f" in namespace {asked.namespace}" if asked.namespace else ""
    what = asked.kind
    if status == 404 and asked.name and _names_an_object(answer):
        return "404, there is no such object"
    if status == 404 and asked.namespace and _names_an_object(answer):
        return f"404, there is no namespace {asked.namespace}"
    meanings = {
        401: "our credentials are not accepted: renew the token or the certificate",
        403: f"not allowed: grant the verb {asked.verb} on {what}{where} to the autoscaler "
        f"({said})",
        404: f"the cluster does not serve {what}: check apiVersion and kind, "
        "and that its CRD is installed",
        409: f"changed by somebody else meanwhile ({said})",
        410: "too old to continue from there",
        422: f"refused as invalid: {said}",
        429: f"the API server asks us to slow down ({said})",
    }
    return f"{status}, {meanings.get(status, said)}"


def _names_an_object(answer: Mapping[str, Any]) -> bool:
    details = answer.get("details")
    return isinstance(details, Mapping) and bool(details.get("name"))


def _status_of(body: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _seconds(text: str | None) -> float | None:
    """Read Retry-After; Kubernetes does not use its other form, a date."""
    return float(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text) else None
