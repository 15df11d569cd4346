"""Who owns a metrics API in this cluster: only one Service can."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from metrics_adapter.api_server import AnswerError
from metrics_adapter.targets import VERSIONS

_SERVICES: Final = "/apis/apiregistration.k8s.io/v1/apiservices"


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
    """

    path: str
    name: str
    owner: Owner | None
    bundle: str
    insecure: bool


async def look(api: Asks, group: str) -> Registration | None:
    """Return how a group is registered; None where it is not.

    Raises:
        ObservationError: The API server could not be asked, or refused.
    """
    name = f"{VERSIONS[group]}.{group}"
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
    )


def advice(seen: Registration | None, own: Owner, group: str, *, delegates: bool) -> str:
    """Return what a person should do about a group, in one line; empty where nothing.

    Args:
        seen: How the group is registered.
        own: Our Service.
        group: The group.
        delegates: Whether we pass on what we do not know.
    """
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
            f"or set groups without {group}, or take it over with delegates.{_word(group)} set"
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
