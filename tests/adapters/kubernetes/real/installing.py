"""The controller installed on a server: its manifests, its account, and what it asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from autoscaler.adapters.kubernetes import role_files
from tests.fakes.kubernetes import ApiServer
from tests.fakes.kubernetes.client import write_kubeconfig
from tests.fakes.kubernetes.faults import Request

SHIPPED: Final = Path(__file__).parents[4] / "manifests" / "base"
ACCOUNT, READ, WRITE = role_files.ACCOUNT_FILE, role_files.READ_FILE, role_files.WRITE_FILE
OURS: Final = "inference-autoscaler"


def apply(server: ApiServer, documents: list[dict[str, Any]]) -> list[str]:
    """Apply manifests as `kubectl apply` does, their namespaces first; return the paths."""
    paths = []
    for one in documents:
        namespace, kind = one["metadata"].get("namespace", ""), f"{one['kind'].lower()}s"
        if namespace:
            server.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        root = "/api/v1" if one["apiVersion"] == "v1" else f"/apis/{one['apiVersion']}"
        within = f"/namespaces/{namespace}" if namespace else ""
        path = f"{root}{within}/{kind}/{one['metadata']['name']}"
        server.apply(path, one, manager="kubectl", force="true")
        paths.append(path)
    return paths


def documents_of(*texts: str) -> list[dict[str, Any]]:
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def the_account(server: ApiServer, namespace: str, folder: Path) -> Path:
    """Return a kubeconfig of our service account, which is there already."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{role_files.ACCOUNT}/token"
    token = server.create(path, asked)["status"]["token"]
    return write_kubeconfig(folder / "account", server.address, token=token, ca_path=server.ca_path)


@contextmanager
def installed(server: ApiServer, *texts: str) -> Iterator[None]:
    """Install manifests; take them away again, with what the controller kept."""
    paths = apply(server, documents_of(*texts))
    try:
        yield
    finally:
        kept = [
            f"/api/v1/namespaces/{OURS}/configmaps/{one['metadata']['name']}"
            for one in server.objects(f"/api/v1/namespaces/{OURS}/configmaps")
        ]
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{OURS}/leases/{OURS}"
        for path in (*paths, *kept, lease):
            server.request("DELETE", path)


def shipped(*names: str) -> list[str]:
    return [(SHIPPED / name).read_text(encoding="utf-8") for name in names]


def asked_by_us(server: ApiServer, own: str) -> list[Request]:
    """Return what our service account asked, and what was answered."""
    return server.asked_by(f"system:serviceaccount:{own}:{role_files.ACCOUNT}")


def put_free_lease(server: ApiServer, own: str) -> None:
    """Put a lease there that nobody holds: the first one need not wait for it."""
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "inference-autoscaler", "namespace": own},
        "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 1},
    }
    server.add(body)
