"""A Lease of coordination.k8s.io/v1: one record that names who leads, replaced by one at a time."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from autoscaler.adapters.kubernetes.managed_fields import Json, mapping
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER, KubernetesError
from autoscaler.adapters.kubernetes.scalers import Asks
from autoscaler.adapters.kubernetes.times import micro_time

NOBODY: Final = ""


class ConflictError(Exception):
    """The record was replaced by somebody else, or is gone."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What was read of the record.

    Attributes:
        holder: Who leads; empty where nobody does.
        duration_seconds: How long the holder's word lasts after each change of the record.
        stamp: Its renewTime as text. It only tells writes apart: times of other machines' clocks
            are never compared with ours.
        transitions: How often the lead has changed hands.
        version: The resourceVersion: changes with every write.
        raw: The whole object, to be put back with what we do not know of.
    """

    holder: str
    duration_seconds: float
    stamp: str
    transitions: int
    version: str
    raw: Json


def read_lease(raw: Json) -> Lease:
    """Return the record of a Lease object; absent fields are empty or 0."""
    spec = mapping(raw.get("spec"))
    return Lease(
        holder=str(spec.get("holderIdentity") or NOBODY),
        duration_seconds=float(_count(spec.get("leaseDurationSeconds"))),
        stamp=str(spec.get("renewTime") or ""),
        transitions=_count(spec.get("leaseTransitions")),
        version=str(mapping(raw.get("metadata")).get("resourceVersion") or ""),
        raw=raw,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What to write into the record.

    Attributes:
        holder: Who leads from now on; empty to give the lead back.
        duration_seconds: How long that lasts without a renewal; whole seconds, rounded up.
        now: Unix seconds, for people who read the record.
        taken: Whether the lead changes hands.
    """

    holder: str
    duration_seconds: float
    now: float
    taken: bool

    @property
    def stamp(self) -> str:
        """Its renewTime."""
        return micro_time(self.now)

    def on(self, lease: Lease | None) -> dict[str, Any]:
        """Return the spec that puts this claim on a record (None: on a new one)."""
        spec = {} if lease is None else dict(mapping(lease.raw.get("spec")))
        before = 0 if lease is None else lease.transitions
        spec["holderIdentity"] = self.holder
        spec["leaseDurationSeconds"] = max(1, -int(-self.duration_seconds // 1))
        spec["renewTime"] = self.stamp
        if self.taken or "acquireTime" not in spec:
            spec["acquireTime"] = self.stamp
        spec["leaseTransitions"] = before + (1 if self.taken and lease is not None else 0)
        return spec


class LeaseStore(Protocol):
    """Where the record is kept. Every call may fail after it took effect."""

    def read(self) -> Lease | None:
        """Return the record; None where there is none."""
        ...

    def create(self, claim: Claim) -> Lease:
        """Make the record.

        Raises:
            ConflictError: There is one.
        """
        ...

    def replace(self, lease: Lease, claim: Claim) -> Lease:
        """Put a claim on the record, if it is still the one that was read.

        Raises:
            ConflictError: It is not.
        """
        ...


class ClusterLease:
    """The record in a cluster."""

    def __init__(self, asks: Asks, namespace: str, name: str, *, deadline_seconds: float) -> None:
        """Name the record.

        Args:
            asks: The connection.
            namespace: Our own.
            name: Of the Lease.
            deadline_seconds: For one request; there are no retries within it.
        """
        self._asks = asks
        self._root = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._name = name
        self._deadline = deadline_seconds

    def read(self) -> Lease | None:
        try:
            return self._asked("GET", f"{self._root}/{self._name}", None)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def create(self, claim: Claim) -> Lease:
        metadata = {"name": self._name, "namespace": self._namespace}
        body = _body(metadata, claim.on(None))
        return self._claimed("POST", self._root, body, frozenset({409}))

    def replace(self, lease: Lease, claim: Claim) -> Lease:
        metadata = dict(mapping(lease.raw.get("metadata")))
        metadata.pop("managedFields", None)
        body = _body(metadata, claim.on(lease))
        return self._claimed("PUT", f"{self._root}/{self._name}", body, frozenset({404, 409}))

    def _claimed(self, method: str, path: str, body: Any, conflicts: frozenset[int]) -> Lease:
        try:
            return self._asked(method, path, body)
        except KubernetesError as error:
            if error.status in conflicts:
                raise ConflictError(str(error)) from error
            raise

    def _asked(self, method: str, path: str, body: Any) -> Lease:
        query = () if body is None else (("fieldManager", FIELD_MANAGER),)
        return read_lease(
            mapping(
                self._asks.ask(
                    method,
                    path,
                    query=query,
                    body=body,
                    deadline_seconds=self._deadline,
                    retry=False,
                )
            )
        )


def _body(metadata: Json, spec: Json) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": dict(metadata),
        "spec": dict(spec),
    }
