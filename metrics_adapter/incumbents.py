"""Who owns a metrics API in this cluster: only one Service can own a version of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from metrics_adapter.api_server import AnswerError
from metrics_adapter.targets import CUSTOM, EXTERNAL, VERSIONS

_SERVICES: Final = "/apis/apiregistration.k8s.io/v1/apiservices"
_BESIDE: Final = {EXTERNAL: (), CUSTOM: ("v1beta1",)}
"""Versions that others serve and we do not. An HPA asks the preferred version of a group alone."""


class Asks(Protocol):
    """What is needed of the API server."""

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request and return the answer."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A Service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Registration:
    """An APIService as it stands.

    Attributes:
        path: Where it is read and changed.
        name: Such as v1beta1.external.metrics.k8s.io.
        owner: The Service that answers; None where the API server does itself.
        bundle: Who signs the Service's certificate (PEM in base64).
        insecure: Whether the certificate is not checked at all.
        priority: Its versionPriority: of a group's versions, HPAs ask the one with the highest.
        bundle_writers: Who wrote the bundle, as the API server names them.
    """

    path: str
    name: str
    owner: Owner | None
    bundle: str
    insecure: bool
    priority: int = 0
    bundle_writers: tuple[str, ...] = ()


async def look(api: Asks, group: str) -> Registration | None:
    """Return how our version of a group is registered; None where it is not.

    Raises:
        ObservationError: The API server could not be asked, or refused.
    """
    return await _look(api, f"{VERSIONS[group]}.{group}")


async def look_beside(api: Asks, group: str) -> list[Registration]:
    """Return how the other versions of a group are registered, as far as they are.

    Raises:
        ObservationError: The API server could not be asked, or refused.
    """
    found = [await _look(api, f"{version}.{group}") for version in _BESIDE[group]]
    return [one for one in found if one is not None]


async def _look(api: Asks, name: str) -> Registration | None:
    path = f"{_SERVICES}/{name}"
    try:
        found = await api.ask("GET", path)
    except AnswerError as error:
        if error.status == 404:
            return None
        raise
    spec = found.get("spec") or {}
    service = spec.get("service")
    return Registration(
        path,
        name,
        Owner(str(service.get("namespace")), str(service.get("name"))) if service else None,
        str(spec.get("caBundle") or ""),
        spec.get("insecureSkipTLSVerify") is True,
        int(spec.get("versionPriority") or 0),
        _bundle_writers(found),
    )


def _bundle_writers(found: dict[str, Any]) -> tuple[str, ...]:
    fields = (found.get("metadata") or {}).get("managedFields") or []
    return tuple(
        sorted(
            {
                str(one.get("manager"))
                for one in fields
                if "f:caBundle" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
            }
        )
    )


def advice(
    seen: Registration | None,
    own: Owner,
    group: str,
    *,
    delegates: bool,
    beside: Sequence[Registration] = (),
) -> str:
    """Return what a person should do about a group, in one line; empty where nothing.

    Args:
        seen: How our version of the group is registered.
        own: Our Service.
        group: The group.
        delegates: Whether we pass on what we do not know.
        beside: How its other versions are registered.
    """
    texts = (_of_another(one, seen, own, group, delegates=delegates) for one in beside)
    return next(filter(None, texts), "") or _of_ours(seen, own, group, delegates=delegates)


def _of_another(
    other: Registration, seen: Registration | None, own: Owner, group: str, *, delegates: bool
) -> str:
    """Return what to do about a version that we do not serve."""
    name = f"{VERSIONS[group]}.{group}"
    if other.owner is None:
        return f"APIService {other.name} names no Service: delete it"
    if other.owner == own:
        return f"APIService {other.name} names our Service, which serves {name} alone: delete it"
    without = f"set groups without {group}"
    theirs = f"APIService {other.name} belongs to {_kind(other.owner)}"
    if seen is not None and seen.owner == own and other.priority > seen.priority:
        return (
            f"{theirs} and has the higher versionPriority, {other.priority} over {seen.priority} of"
            f" {name}, so no HPA asks us; apply our manifest with more than that, or {without}"
        )
    if delegates or (seen is not None and seen.owner != own):
        return ""  # nothing is lost, or no request comes to us at all, which is told
    if seen is None:
        return (
            f"{theirs}; with {name} HPAs would ask us alone, so before you apply "
            f"manifests/metrics-api/apiservice.yaml set delegates.{_word(group)} to it, which keeps"
            f" its metrics, or {without}"
        )
    return (
        f"{theirs}, but HPAs ask {name}, which is ours: its metrics are lost to them until "
        f"delegates.{_word(group)} is set to it; or delete {name} and {without}"
    )


def _of_ours(seen: Registration | None, own: Owner, group: str, *, delegates: bool) -> str:
    name = f"{VERSIONS[group]}.{group}"
    if seen is None:
        return f"APIService {name} is not there: apply manifests/metrics-api/apiservice.yaml"
    if seen.owner == own:
        if seen.insecure:
            return f"APIService {name} skips the check of our certificate: apply our manifest again"
        return ""
    if seen.owner is None:
        return f"APIService {name} names no Service: delete it, then apply our manifest"
    who = _kind(seen.owner)
    ours = f"APIService {name} belongs to {who}, so no request comes to us; "
    if who.startswith("KEDA"):
        return ours + (
            "keep it and let ScaledObjects follow us by trigger external-push, "
            f"or set groups without {group}, or take it over with delegates.{_word(group)} set and "
            "KEDA's certificate rotation off (--enable-cert-rotation=false), which would write "
            "caBundle over ours for ever"
        )
    keep = "" if delegates else f" with delegates.{_word(group)} set to it, which keeps its metrics"
    return ours + f"take it over by our manifest{keep}, or set groups without {group}"


def _kind(owner: Owner) -> str:
    """Return who a Service belongs to, as far as its name tells."""
    if "keda" in owner.name or owner.namespace == "keda":
        return f"KEDA ({owner})"
    if "prometheus-adapter" in owner.name:
        return f"prometheus-adapter ({owner})"
    if "datadog" in owner.name:
        return f"the Datadog agent ({owner})"
    return str(owner)


def _word(group: str) -> str:
    return group.partition(".")[0]
