"""A namespace of a test's own on either server, and what lies in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload
from tests.builders import a_workload
from tests.fakes.kubernetes import ApiServer, ScalePaths, custom, objects

ENGINE: Final = custom(
    "example.com", "v1", "engines", "Engine", scale=ScalePaths("spec.size", "status.size")
)
"""A kind of somebody's: only its `/scale` tells where it keeps its count."""

DEPLOYMENT, STATEFUL_SET = "Deployment", "StatefulSet"
LEADER_WORKER_SET, SOMEBODYS = "LeaderWorkerSet", "Engine"
KINDS: Final = {
    DEPLOYMENT: "apps/v1",
    STATEFUL_SET: "apps/v1",
    LEADER_WORKER_SET: "leaderworkerset.x-k8s.io/v1",
    SOMEBODYS: "example.com/v1",
}
"""Everything that these tests scale, with its apiVersion."""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace, and the way to it.

    Attributes:
        server: One of the two, as its administrator sees it.
        namespace: The test's own.
        connection: The product's.
        kinds: The product's.
    """

    server: ApiServer
    namespace: str
    connection: Connection
    kinds: Kinds

    def make(
        self, kind: str = DEPLOYMENT, replicas: int = 2, *, name: str = "chat", **spec: Any
    ) -> ScaledWorkload:
        """Create a target; return its policy file."""
        version = KINDS[kind]
        if version == "apps/v1":
            body = objects.deployment(
                name, namespace=self.namespace, kind=kind, replicas=replicas, **spec
            )
        else:
            count = {"size": replicas} if kind == SOMEBODYS else {"replicas": replicas}
            body = objects.custom(version, kind, name, namespace=self.namespace, **count, **spec)
        self.server.add(body, manager="kubectl-create")
        return self.about(kind, name=name)

    def about(
        self,
        kind: str = DEPLOYMENT,
        *,
        name: str = "chat",
        actuation: Actuation = Actuation.SCALE,
        **spec: Any,
    ) -> ScaledWorkload:
        """Return a policy file for a target, which need not be there."""
        target = {"apiVersion": KINDS.get(kind, "apps/v1"), "kind": kind, "name": name}
        whole = a_workload(name=name, target=target, actuation=actuation, **spec)
        metadata = whole.metadata.model_copy(update={"namespace": self.namespace})
        return whole.model_copy(update={"metadata": metadata})

    def path(self, workload: ScaledWorkload, subresource: str = "") -> str:
        target = workload.spec.target
        kind = self.kinds.find(target.api_version, target.kind)
        return kind.path(self.namespace, target.name, subresource)

    def body(self, workload: ScaledWorkload) -> dict[str, Any]:
        return deepcopy(self.server.peek(self.path(workload)))

    def version(self, workload: ScaledWorkload) -> str:
        return str(self.body(workload)["metadata"]["resourceVersion"])

    def count(self, workload: ScaledWorkload) -> int:
        """Return the number that stands there; a zero may be left out."""
        spec = self.server.get(self.path(workload, "scale")).get("spec") or {}
        return int(spec.get("replicas", 0))

    def scale(self, workload: ScaledWorkload, replicas: int, manager: str = "kubectl") -> None:
        """Set the number as somebody else."""
        patch = {"spec": {"replicas": replicas}}
        self.server.write(self.path(workload, "scale"), patch, manager=manager)

    def write(self, workload: ScaledWorkload, patch: Mapping[str, Any]) -> None:
        """Change the object as somebody else."""
        self.server.write(self.path(workload), patch, manager="kubectl-edit")

    def status(self, workload: ScaledWorkload, **status: Any) -> None:
        """Write its status, as its controller does."""
        path = self.path(workload, "status")
        self.server.write(path, {"status": status}, manager="kube-controller-manager")

    def drop(self, workload: ScaledWorkload) -> None:
        self.server.drop(self.path(workload))

    @contextmanager
    def through(self, account: ApiServer) -> "Iterator[Place]":
        """Go the product's way as somebody with fewer rights."""
        connection = Connection.open(account.kubeconfig_path)
        try:
            yield replace(self, connection=connection, kinds=Kinds(connection))
        finally:
            connection.close()
