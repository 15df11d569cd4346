"""Which pods belong to a workload, by who owns them: asked of the API server, kept for seconds."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from autoscaler.core.errors import ObservationError
from metrics_adapter.statuses import RefusalError
from metrics_adapter.turns import in_turns

KEPT_SECONDS: Final = 5.0
MOST_NAMESPACES: Final = 64
_METADATA: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_HASH: Final = "pod-template-hash"


class Asks(Protocol):
    """What is needed of the API server."""

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, accept: str = ""
    ) -> dict[str, Any]:
        """Send a request and return the answer."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, as far as it matters here.

    Attributes:
        name: Its name.
        labels: Its labels.
        owner: Kind and name of its controller; a Deployment's where a ReplicaSet stands between.
    """

    name: str
    labels: Mapping[str, str]
    owner: tuple[str, str]


Owned = Mapping[tuple[str, str], Sequence[Pod]]
"""Pods of a namespace by kind and name of their controller."""


class PodLists:
    """Pods by namespace: one list for everybody who asks within some seconds."""

    def __init__(self, api: Asks, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Ask `api`; `monotonic` gives seconds that only ever rise."""
        self._api = api
        self._monotonic = monotonic
        self._lists: OrderedDict[str, tuple[float, asyncio.Future[Owned]]] = OrderedDict()

    async def of(self, namespace: str) -> Owned:
        """Return every pod of a namespace that has a controller.

        Raises:
            RefusalError: The API server could not be asked (503).
        """
        now = self._monotonic()
        known = self._lists.get(namespace)
        if known is None or now >= known[0] or _failed(known[1]):
            known = now + KEPT_SECONDS, asyncio.ensure_future(self._read(namespace))
            self._lists[namespace] = known
            self._lists.move_to_end(namespace)
            while len(self._lists) > MOST_NAMESPACES:
                self._lists.popitem(last=False)
        try:
            return await asyncio.shield(known[1])
        except ObservationError as error:
            raise RefusalError(503, f"the pods of {namespace} could not be listed") from error

    async def _read(self, namespace: str) -> Owned:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods?resourceVersion=0"
        found = await self._api.ask("GET", path, accept=_METADATA)
        return await in_turns(_by_owner(found.get("items") or []))


def _by_owner(items: Sequence[Mapping[str, Any]]) -> Generator[None, None, Owned]:
    """Sort pods out once, in small steps: namespaces have thousands."""
    owned: dict[tuple[str, str], list[Pod]] = {}
    for item in items:
        pod = _pod(item.get("metadata") or {})
        owned.setdefault(pod.owner, []).append(pod)
        yield
    return owned


def _failed(asked: "asyncio.Future[Owned]") -> bool:
    return asked.done() and (asked.cancelled() or asked.exception() is not None)


def _pod(metadata: Mapping[str, Any]) -> Pod:
    labels = metadata.get("labels") or {}
    owners = metadata.get("ownerReferences") or []
    controller: Mapping[str, Any] = next((one for one in owners if one.get("controller")), {})
    kind, name = str(controller.get("kind", "")), str(controller.get("name", ""))
    template = labels.get(_HASH)
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        kind, name = "Deployment", name.removesuffix(f"-{template}")
    return Pod(str(metadata.get("name", "")), labels, (kind, name))
