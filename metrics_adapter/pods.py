"""Which pods belong to a workload, by who owns them: asked of the API server, kept for seconds."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from autoscaler.core.errors import ObservationError
from metrics_adapter.board import Scaled
from metrics_adapter.statuses import RefusalError

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

    def belongs_to(self, target: Scaled) -> bool:
        """Whether the target's controller made it."""
        return self.owner == (target.kind, target.name)


class PodLists:
    """Pods by namespace: one list for everybody who asks within some seconds."""

    def __init__(self, api: Asks, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Ask `api`; `monotonic` gives seconds that only ever rise."""
        self._api = api
        self._monotonic = monotonic
        self._lists: OrderedDict[str, tuple[float, asyncio.Future[Sequence[Pod]]]] = OrderedDict()

    async def of(self, namespace: str) -> Sequence[Pod]:
        """Return every pod of a namespace.

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

    async def _read(self, namespace: str) -> Sequence[Pod]:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods?resourceVersion=0"
        found = await self._api.ask("GET", path, accept=_METADATA)
        return [_pod(item.get("metadata") or {}) for item in found.get("items") or []]


def _failed(asked: "asyncio.Future[Sequence[Pod]]") -> bool:
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
