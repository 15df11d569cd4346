"""State kept in ConfigMaps: compressed, in pieces where it is large, replaced whole or not at all.

One that fits is in the ConfigMap itself: one write, atomic. A larger one is written in pieces
beside the pieces that are in force, and the ConfigMap then names the new ones.

Every write names the version that it replaces. A write of an earlier leader, or one that was held
up on the way, is refused where a newer one came first; who still leads looks again and writes his.
"""

import base64
import binascii
import zlib
from collections.abc import Callable
from typing import Any, Final

from autoscaler.adapters.kubernetes.managed_fields import mapping
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER, KubernetesError
from autoscaler.adapters.kubernetes.scalers import Asks
from autoscaler.state import StateError

PIECE_BYTES: Final = 700_000
"""Of compressed state in one ConfigMap. Kubernetes allows 1 MiB before base64; a third is spare, so
that also what counts base64 (a copy in an annotation, a proxy) takes it."""

_KEY: Final = "state.zlib"
_SLOTS: Final = ("a", "b")
MOST_PIECES: Final = 64
"""That a state may have: 45 MB compressed."""


def names_of(name: str) -> tuple[str, ...]:
    """Return every ConfigMap that a state of this name may lie in."""
    pieces = (_piece_name(name, slot, number) for slot in _SLOTS for number in range(MOST_PIECES))
    return (name, *pieces)


def _piece_name(name: str, slot: str, number: int) -> str:
    return f"{name}-{slot}-{number}"


class ClusterStore:
    """A state in the cluster, in our own namespace."""

    def __init__(
        self,
        asks: Asks,
        namespace: str,
        name: str,
        *,
        may_write: Callable[[], bool] = lambda: True,
        deadline_seconds: float = 5.0,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        """Name the ConfigMap.

        Args:
            asks: The connection.
            namespace: Our own.
            name: Of the ConfigMap; those of pieces begin with it.
            may_write: Whether we lead; asked right before every write.
            deadline_seconds: For one request.
            piece_bytes: Of compressed state in one ConfigMap.
        """
        self._asks = asks
        self._root = f"/api/v1/namespaces/{namespace}/configmaps"
        self._namespace = namespace
        self._name = name
        self._may_write = may_write
        self._deadline = deadline_seconds
        self._piece = piece_bytes
        self._slot = ""
        self._versions: dict[str, str] = {}  # of what was read or written last, by name

    def load(self) -> bytes | None:
        head = self._read(self._name)
        if head is None:
            return None
        said = mapping(head.get("data"))
        self._slot, pieces = str(said.get("slot", "")), str(said.get("pieces", "0"))
        try:
            count = min(int(pieces), MOST_PIECES)
            packed = [head] if count == 0 else [self._piece_of(number) for number in range(count)]
            data = b"".join(
                base64.b64decode(mapping(one.get("binaryData"))[_KEY], validate=True)
                for one in packed
            )
            return zlib.decompress(data)
        except (ValueError, KeyError, TypeError, binascii.Error, zlib.error) as error:
            raise StateError(f"ConfigMap {self._shown}: holds no state of ours") from error

    def save(self, data: bytes) -> None:
        packed = zlib.compress(data, 3)
        if len(packed) <= self._piece:
            self._write(self._name, {"slot": "", "pieces": "0"}, packed)
            self._slot = ""
            return
        slot = next(slot for slot in _SLOTS if slot != self._slot)
        pieces = [packed[at : at + self._piece] for at in range(0, len(packed), self._piece)]
        if len(pieces) > MOST_PIECES:
            raise StateError(f"the state is too large to keep: {len(packed)} bytes compressed")
        for number, piece in enumerate(pieces):
            self._write(_piece_name(self._name, slot, number), {}, piece)
        self._write(self._name, {"slot": slot, "pieces": str(len(pieces))}, b"")
        self._slot = slot

    @property
    def _shown(self) -> str:
        return f"{self._namespace}/{self._name}"

    def _piece_of(self, number: int) -> dict[str, Any]:
        piece = self._read(_piece_name(self._name, self._slot, number))
        if piece is None:
            raise KeyError(number)
        return piece

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = self._asks.ask("GET", f"{self._root}/{name}", deadline_seconds=self._deadline)
        except KubernetesError as error:
            if error.status == 404:
                self._versions.pop(name, None)
                return None
            raise StateError(str(error)) from error
        return self._noted(name, found)

    def _noted(self, name: str, found: object) -> dict[str, Any]:
        config_map = dict(mapping(found))
        version = mapping(config_map.get("metadata")).get("resourceVersion")
        if version:
            self._versions[name] = str(version)
        return config_map

    def _write(self, name: str, data: dict[str, str], packed: bytes) -> None:
        metadata = {"name": name, "namespace": self._namespace}
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": data,
            "binaryData": {_KEY: base64.b64encode(packed).decode()},
        }
        try:
            try:
                self._put(name, body)
            except KubernetesError as error:
                if error.status not in (404, 409):
                    raise
                # Somebody else's write came first, or an earlier one of ours: look again, once.
                self._put(name, body)
        except KubernetesError as error:
            raise StateError(str(error)) from error

    def _put(self, name: str, body: dict[str, Any]) -> None:
        """Replace the version that was seen last, or make what is not there."""
        if name not in self._versions:
            self._read(name)
        if not self._may_write():
            raise StateError(f"ConfigMap {self._shown}: not written: we do not lead any more")
        version = self._versions.pop(name, None)  # unknown again, until the answer is here
        query = (("fieldManager", FIELD_MANAGER),)
        if version is None:
            made = self._asks.ask(
                "POST", self._root, query=query, body=body, deadline_seconds=self._deadline
            )
        else:
            metadata = {**body["metadata"], "resourceVersion": version}
            made = self._asks.ask(
                "PUT",
                f"{self._root}/{name}",
                query=query,
                body={**body, "metadata": metadata},
                deadline_seconds=self._deadline,
            )
        self._noted(name, made)
