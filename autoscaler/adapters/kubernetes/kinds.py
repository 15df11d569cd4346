"""Which path an apiVersion and a kind are served at: discovery, asked once and kept."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.requests import KubernetesError
from autoscaler.core.errors import ObservationError

ASK_AGAIN_SECONDS: Final = 60.0
"""A kind that was not there is asked for again after this: its CRD may come later."""

AFTER_OUTAGE_SECONDS: Final = 5.0
"""After no answer: so that a fleet of many kinds does not wait for each of them in turn."""
_DEADLINE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How the API server calls a kind.

    Attributes:
        api_version: Group and version, such as apps/v1; v1 for the core group.
        kind: Such as Deployment.
        plural: Such as deployments.
        namespaced: Whether its objects lie in namespaces.
        scalable: Whether it has `/scale`.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    scalable: bool

    @property
    def group(self) -> str:
        """Its API group; empty for the core group."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of one object, or of a part of it.

        Args:
            namespace: Empty for the collection over all namespaces, and where there is none.
            name: Empty for the collection.
            subresource: Such as scale.
        """
        within = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{_root(self.api_version)}{within}/{self.plural}{rest}"


class Kinds:
    """All kinds that were asked for. May be used from many threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, Mapping[str, Kind]] = {}
        self._failed: dict[str, tuple[float, ObservationError]] = {}
        self._asking = threading.Lock()

    def find(self, api_version: str, kind: str) -> Kind:
        """Return how a kind is served.

        Raises:
            ObservationError: The cluster does not serve it, or did not answer.
        """
        with self._asking:
            found = self._of(api_version).get(kind)
            if found is None and self._forget(api_version):
                found = self._of(api_version).get(kind)
            if found is None:
                raise ObservationError(f"the cluster serves no {kind} of {api_version}")
            return found

    def drop(self, api_version: str) -> None:
        """Ask again next time: a path that was known has answered 404."""
        with self._asking:
            self._known.pop(api_version, None)
            self._failed.pop(api_version, None)

    def _of(self, api_version: str) -> Mapping[str, Kind]:
        if api_version in self._known:
            return self._known[api_version]
        if api_version in self._failed:
            until, error = self._failed[api_version]
            if self._connection.monotonic() < until:
                raise error
        try:
            answer = self._connection.get(_root(api_version), deadline_seconds=_DEADLINE_SECONDS)
        except KubernetesError as error:
            failure = ObservationError(str(error))
            # An outage ends sooner than a CRD arrives.
            wait = ASK_AGAIN_SECONDS if error.status == 404 else AFTER_OUTAGE_SECONDS
            self._failed[api_version] = (self._connection.monotonic() + wait, failure)
            raise failure from error
        self._known[api_version] = _read(api_version, answer)
        # A kind that is missing from a served group is asked for again after a while, too.
        until = self._connection.monotonic() + ASK_AGAIN_SECONDS
        self._failed[api_version] = (until, ObservationError(""))
        return self._known[api_version]

    def _forget(self, api_version: str) -> bool:
        """Drop what is known of a group if that is old enough to be asked for again."""
        until, _ = self._failed[api_version]
        if self._connection.monotonic() < until:
            return False
        del self._known[api_version], self._failed[api_version]
        return True


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _read(api_version: str, answer: Mapping[str, Any]) -> Mapping[str, Kind]:
    resources = answer.get("resources") or ()
    scaled = {
        each["name"].removesuffix("/scale") for each in resources if each["name"].endswith("/scale")
    }
    return {
        each["kind"]: Kind(
            api_version,
            each["kind"],
            each["name"],
            bool(each.get("namespaced")),
            each["name"] in scaled,
        )
        for each in resources
        if "/" not in each["name"]
    }
