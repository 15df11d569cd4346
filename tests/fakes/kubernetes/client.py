"""How a test talks to an API server, be it ours or a real one: only the address differs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from tests.fakes.kubernetes.address import Catalogue
from tests.fakes.kubernetes.faults import Request
from tests.fakes.kubernetes.resources import EVERYTHING, Resource
from tests.fakes.kubernetes.status import ApiError

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class ApiServer:
    """An API server's address, and what a test needs of it.

    Attributes:
        address: `http://127.0.0.1:PORT`, or https.
        kubeconfig_path: A kubeconfig file for it.
    """

    def __init__(
        self,
        address: str,
        kubeconfig_path: Path,
        *,
        token: str | None = None,
        ca_path: Path | None = None,
        resources: Iterable[Resource] = EVERYTHING,
    ) -> None:
        self.catalogue = Catalogue(resources)
        self.address = address
        self.kubeconfig_path = kubeconfig_path
        self.token = token
        self.ca_path = ca_path
        self._pool = urllib3.PoolManager(ca_certs=str(ca_path) if ca_path else None)
        self._opened: list[Callable[[], object]] = []

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """Ask, and return the answer whatever its status. A body that is bytes is sent as it is."""
        url = f"{self.address}{path}" + (f"?{urlencode(query)}" if query else "")
        sent = {"Content-Type": content_type, "User-Agent": "test/1", **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        found = self._pool.request(method, url, body=data, headers=sent, timeout=20, retries=False)
        return Answer(found.status, found.data)

    def get(self, path: str, **query: Any) -> Any:
        """Return an object or a list."""
        return self._done(self.request("GET", path, **query))

    def create(self, path: str, obj: Mapping[str, Any], **query: Any) -> Any:
        """Create an object in a collection."""
        return self._done(self.request("POST", path, obj, **query))

    def merge(self, path: str, patch: Mapping[str, Any], **query: Any) -> Any:
        """Apply a merge patch."""
        return self._done(self.request("PATCH", path, patch, content_type=MERGE, **query))

    def apply(self, path: str, obj: Mapping[str, Any], *, manager: str, **query: Any) -> Any:
        """Server-side apply."""
        query = {"fieldManager": manager, **query}
        return self._done(self.request("PATCH", path, obj, content_type=APPLY, **query))

    def delete(self, path: str, **query: Any) -> Any:
        """Delete an object."""
        return self._done(self.request("DELETE", path, **query))

    def _done(self, answer: Answer) -> Any:
        if answer.status >= 300:
            raise AssertionError(f"{answer.status}: {answer.body.decode()}")
        return answer.json

    def add(self, *objects: Mapping[str, Any], manager: str = "seed") -> None:
        """Create objects, status included, with a field manager; their namespaces are made."""
        for obj in objects:
            resource = self.catalogue.kind(obj)
            meta = obj["metadata"]
            namespace = meta.get("namespace", "default") if resource.namespaced else ""
            if namespace not in {"", "default"}:
                self.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            self.create(resource.path(namespace=namespace), obj, fieldManager=manager)
            if "status" in obj and "status" in resource.subresources:
                path = resource.path(meta["name"], namespace, "status")
                self.merge(path, {"status": obj["status"]}, fieldManager=manager)

    def peek(self, path: str) -> dict[str, Any]:
        """Return an object by its path.

        Raises:
            ApiError: The server says no.
        """
        answer = self.request("GET", path)
        if answer.status >= 300:
            said = answer.json
            raise ApiError(answer.status, said["message"], said.get("reason", ""))
        found: dict[str, Any] = answer.json
        return found

    def objects(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of a collection by its path."""
        found = self.get(path)
        kind = {"kind": found["kind"].removesuffix("List"), "apiVersion": found["apiVersion"]}
        return [{**kind, **item} for item in found["items"]]

    def write(self, path: str, patch: Mapping[str, Any], *, manager: str = "seed") -> None:
        """Merge a patch into an object or its subresource, as somebody else."""
        self.merge(path, patch, fieldManager=manager)

    def end(self, path: str) -> None:
        """Delete an object with its grace."""
        self.delete(path)

    def drop(self, path: str) -> None:
        """Remove an object at once."""
        self.delete(path, gracePeriodSeconds=0)

    def bind(self, path: str, node: str) -> None:
        """Put a pod on a node."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        meta = {"name": path.rsplit("/", 1)[-1]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target}
        self.create(f"{path}/binding", binding)

    def asked_by(self, user: str) -> list[Request]:
        """Return what a user asked, and what was answered.

        Args:
            user: Such as system:serviceaccount:NAMESPACE:NAME.

        Raises:
            LookupError: This server keeps no record.
        """
        raise LookupError("this server keeps no record of what was asked")

    def client(self) -> ApiClient:
        """Return the real Kubernetes client, set up by the kubeconfig; closed with the server."""
        settings = Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]
            str(self.kubeconfig_path), client_configuration=settings
        )
        client = ApiClient(settings)
        self._opened.append(client.close)
        return client

    def account(self, namespace: str, name: str, *manifests: Mapping[str, Any]) -> "ApiServer":
        """Make a service account with these RBAC objects; return the server as it sees it.

        Each manifest is a Role, ClusterRole or a binding of one; roles without a binding among the
        manifests are bound to the account.
        """
        meta = {"name": name, "namespace": namespace}
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        rbac = "rbac.authorization.k8s.io"
        bound = {each["roleRef"]["name"] for each in manifests if "roleRef" in each}
        for manifest in manifests:
            objects = [manifest]
            kind, role = manifest["kind"], manifest["metadata"]["name"]
            if "roleRef" not in manifest and role not in bound:
                objects.append(
                    {
                        "apiVersion": f"{rbac}/v1",
                        "kind": f"{kind}Binding",
                        "metadata": {**manifest["metadata"], "name": f"{role}-{name}"},
                        "roleRef": {"apiGroup": rbac, "kind": kind, "name": role},
                        "subjects": [{"kind": "ServiceAccount", **meta}],
                    }
                )
            for obj in objects:
                within = obj["metadata"].get("namespace")
                place = f"/namespaces/{within}" if within else ""
                self.create(f"/apis/{rbac}/v1{place}/{obj['kind'].lower()}s", obj)
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self.create(f"{accounts}/{name}/token", asked)["status"]["token"]
        path = write_kubeconfig(
            self.kubeconfig_path.with_name(f"kubeconfig-{namespace}-{name}"),
            self.address,
            token=token,
            ca_path=self.ca_path,
        )
        account = ApiServer(self.address, path, token=token, ca_path=self.ca_path)
        self._opened.append(account.close)
        return account

    def close(self) -> None:
        """Close the connections of this server's clients and accounts."""
        for close in self._opened:
            close()
        self._opened.clear()
        self._pool.clear()


def write_kubeconfig(
    path: Path, address: str, *, token: str | None = None, ca_path: Path | None = None
) -> Path:
    """Write a kubeconfig file and return its path."""
    cluster = {"server": address} | ({"certificate-authority": str(ca_path)} if ca_path else {})
    context = {"cluster": "test", "user": "test", "namespace": "default"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "test", "context": context}],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
