"""A real kube-apiserver with our manifests in it, and the adapter behind it."""

import socket
from pathlib import Path
from typing import Any, Final

import trustme
import yaml

from metrics_adapter.settings import AdapterSettings
from tests.fakes.envtest import RealApiServer
from tests.metrics_adapter.cluster import FakeController
from tests.metrics_adapter.conftest import Running
from tests.waiting import until

MANIFESTS: Final = Path(__file__).parents[2] / "manifests" / "metrics-api"
OURS: Final = "inference-autoscaler"
SERVICES: Final = "/apis/apiregistration.k8s.io/v1/apiservices"
EXTERNAL_SERVICE: Final = "v1beta1.external.metrics.k8s.io"
CUSTOM_SERVICE: Final = "v1beta2.custom.metrics.k8s.io"


class AggregatingApiServer(RealApiServer):
    """One with an aggregation layer: it has a front proxy's certificate, and our rights."""

    def __init__(self, folder: Path) -> None:
        self.front = trustme.CA()
        client = self.front.issue_cert(common_name="front-proxy-client")
        self.front.cert_pem.write_to_path(str(folder / "front.crt"))
        client.cert_chain_pems[0].write_to_path(str(folder / "proxy.crt"))
        client.private_key_pem.write_to_path(str(folder / "proxy.key"))
        super().__init__(folder, resources=())
        for namespace in (OURS, "llm"):
            self.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for document in documents("rbac.yaml"):
            self.create(collection(document), document)

    def _run(self, binary: Path, *flags: str) -> None:
        if binary.name == "kube-apiserver":
            folder = self._folder
            flags = (
                *flags,
                f"--requestheader-client-ca-file={folder / 'front.crt'}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={folder / 'proxy.crt'}",
                f"--proxy-client-key-file={folder / 'proxy.key'}",
                f"--client-ca-file={folder / 'ca.crt'}",
            )
        super()._run(binary, *flags)

    def available(self, name: str) -> bool:
        """Whether an APIService answers."""
        status = self.get(f"{SERVICES}/{name}").get("status", {})
        return any(
            one["type"] == "Available" and one["status"] == "True"
            for one in status.get("conditions", [])
        )


def adapter_behind(api: AggregatingApiServer, controller: FakeController, folder: Path) -> Running:
    """Start the adapter with its own account and certificate, both APIs registered."""
    accounts = f"/api/v1/namespaces/{OURS}/serviceaccounts"
    path = f"{accounts}/{OURS}-metrics/token"
    token = api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})
    (folder / "token").write_text(token["status"]["token"])
    port = _free_port()
    settings = {
        "controller": {"url": controller.url, "waitSeconds": 2},
        "apiServer": {
            "url": api.address,
            "caFile": api.ca_path,
            "tokenFile": folder / "token",
        },
        "serving": {"host": "127.0.0.1", "port": port, "drainSeconds": 0},
    }
    for document in documents("service.yaml"):
        document["spec"] = {"type": "ExternalName", "externalName": "localhost"}
        api.create(collection(document), document)
    for document in documents("apiservice.yaml"):
        document["spec"]["service"]["port"] = port
        api.create(collection(document), document)
    running = Running(AdapterSettings.model_validate(settings), trustme.CA(), api.front)
    until(lambda: not running.adapter.lacks())
    return running


def documents(name: str) -> list[dict[str, Any]]:
    """Return the documents of one of our manifests."""
    return list(yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")))


def collection(document: dict[str, Any]) -> str:
    """Return the path where an object is created."""
    meta = document["metadata"]
    group = document["apiVersion"]
    root = "/api/v1" if group == "v1" else f"/apis/{group}"
    where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{root}{where}/{document['kind'].lower()}s"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
