"""A real kube-apiserver with its etcd, where `KUBEBUILDER_ASSETS` holds the two binaries.

The convention is that of controller-runtime's envtest; the default folder is its default too. No
controllers run: nothing makes pods for a Deployment, as with our own server.
"""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
import trustme
import yaml

from tests.fakes.kubernetes.client import ApiServer, write_kubeconfig
from tests.fakes.kubernetes.faults import Request
from tests.fakes.kubernetes.resources import CUSTOM, EVERYTHING, Resource

VARIABLE = "KUBEBUILDER_ASSETS"
DEFAULT = Path("/usr/local/kubebuilder/bin")
TOKEN = "administrator"  # the server listens on loopback, for one test run
METHODS: Final = {
    "watch": "WATCH", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE",
}  # fmt: skip
AUDIT: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""What service accounts ask is noted, and what was answered."""


def why_absent() -> str:
    """Return why there is no real server here; empty where there is one."""
    folder = Path(os.environ.get(VARIABLE) or DEFAULT)
    missing = [name for name in ("etcd", "kube-apiserver") if not (folder / name).is_file()]
    if not missing:
        return ""
    return f"{' and '.join(missing)} not in {folder}; {VARIABLE} names another folder"


class RealApiServer(ApiServer):
    """kube-apiserver and etcd on free loopback ports; the caller is the administrator.

    Raises:
        RuntimeError: It did not become ready in time; the message ends with its last lines.
    """

    def __init__(self, folder: Path, *, resources: Iterable[Resource] = EVERYTHING) -> None:
        self._folder = folder
        self._processes: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        binaries = Path(os.environ.get(VARIABLE) or DEFAULT)
        authority = trustme.CA()
        ca_path = folder / "ca.crt"
        authority.cert_pem.write_to_path(str(ca_path))
        served = authority.issue_cert("127.0.0.1", "localhost")
        certificate, key = folder / "tls.crt", folder / "tls.key"
        served.cert_chain_pems[0].write_to_path(str(certificate))
        served.private_key_pem.write_to_path(str(key))
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n', encoding="utf-8")
        policy = folder / "audit.yaml"
        policy.write_text(yaml.safe_dump(AUDIT), encoding="utf-8")
        self._audit = folder / "audit.log"
        storage, peers, port = _free_ports(3)
        address = f"https://127.0.0.1:{port}"
        path = write_kubeconfig(folder / "kubeconfig", address, token=TOKEN, ca_path=ca_path)
        super().__init__(address, path, token=TOKEN, ca_path=ca_path, resources=resources)
        try:
            self._run(
                binaries / "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{storage}",
                f"--advertise-client-urls=http://127.0.0.1:{storage}",
                f"--listen-peer-urls=http://127.0.0.1:{peers}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
                f"--initial-cluster=default=http://127.0.0.1:{peers}",
            )
            self._run(
                binaries / "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{storage}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--secure-port={port}",
                f"--tls-cert-file={certificate}",
                f"--tls-private-key-file={key}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--disable-admission-plugins=ServiceAccount",
                f"--audit-policy-file={policy}",
                f"--audit-log-path={self._audit}",
            )
            self._wait_until("/readyz")
            for resource in CUSTOM:
                self.define(resource)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both processes, the API server first."""
        self.close()
        for process, log in reversed(self._processes):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
        self._processes.clear()

    def define(self, resource: Resource) -> None:
        """Serve a custom resource; one that is served already stays as it is."""
        group = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.catalogue.add(resource)
        made = self.request("POST", group, definition(resource))
        assert made.status in {201, 409}, made.body
        self._wait_until(resource.path(namespace="default"))

    def asked_by(self, user: str) -> list[Request]:
        lines = self._audit.read_bytes().splitlines() if self._audit.exists() else []
        events = [orjson.loads(line) for line in lines]
        # A watch is noted when it begins and again when it ends.
        ended = [one for one in events if one["stage"] == "ResponseComplete"]
        whole = {one["auditID"] for one in ended}
        begun = [one for one in events if one["auditID"] not in whole]
        return [_request(one) for one in (*ended, *begun) if one["user"]["username"] == user]

    def _run(self, binary: Path, *flags: str) -> None:
        log = (self._folder / f"{binary.name}.log").open("wb")
        process = subprocess.Popen(
            [str(binary), *flags], stdout=log, stderr=subprocess.STDOUT, cwd=self._folder
        )
        self._processes.append((process, log))

    def _wait_until(self, path: str, *, seconds: float = 90) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            with contextlib.suppress(Exception):
                if self.request("GET", path).status == 200:
                    return
            for process, log in self._processes:
                if process.poll() is not None:
                    last = Path(log.name).read_text(errors="replace").splitlines()[-8:]
                    raise RuntimeError(f"{Path(log.name).stem} ended: {' | '.join(last)}")
            threading.Event().wait(0.2)
        raise RuntimeError(f"{self.address}{path} was not ready after {seconds:g} s")


def _request(event: dict[str, Any]) -> Request:
    """Return one request of the audit log."""
    url = urlsplit(event["requestURI"])
    return Request(
        method=METHODS.get(event["verb"], "GET"),
        path=url.path,
        query=dict(parse_qsl(url.query)),
        headers={"User-Agent": event.get("userAgent", "")},
        body=b"",
        user=event["user"]["username"],
        status=event["responseStatus"]["code"],
    )


def definition(resource: Resource) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a custom resource; any field is allowed."""
    subresources: dict[str, Any] = {"status": {}}
    if resource.scale:
        paths = {
            "specReplicasPath": resource.scale.spec,
            "statusReplicasPath": resource.scale.status,
            "labelSelectorPath": resource.scale.selector,
        }
        subresources["scale"] = {name: f".{path}" for name, path in paths.items() if path}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": free},
        "subresources": subresources,
    }
    annotations = {"api-approved.kubernetes.io": "unapproved, for tests"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}", "annotations": annotations},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "plural": resource.plural,
                "singular": resource.singular,
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
            },
            "versions": [version],
        },
    }


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        found = []
        for _ in range(count):
            free = held.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            found.append(int(free.getsockname()[1]))
        return found


_running: list[RealApiServer] = []


@pytest.fixture(scope="session")
def real_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApiServer]:
    """A real API server, one for all tests of a process: use a namespace of your own."""
    if reason := why_absent():
        pytest.skip(reason)
    if _running:  # another folder of tests has its own fixture of this name
        yield _running[0]
        return
    server = RealApiServer(tmp_path_factory.mktemp("envtest"))
    _running.append(server)
    yield server
    _running.clear()
    server.stop()
