"""The other ends of the wire: an API server as far as the adapter asks it, and a controller."""

import contextlib
import json
import socket
import ssl
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from metrics_adapter.front_proxy import NAME
from tests.metrics_adapter.plans import a_document

HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"


def pem_of(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


class Loopback:
    """A server in a thread, over TLS where it is given a certificate."""

    def __init__(self, tls: trustme.LeafCert | None = None) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):  # whoever asked has gone
                    outer.answer(self, None)

            def _with_body(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with contextlib.suppress(OSError):
                    outer.answer(self, json.loads(body))

            do_POST = do_PUT = do_PATCH = _with_body  # noqa: N815  # names of the library

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if tls is not None:
            tls.configure_cert(self.tls)
            self.server.socket = self.tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @abstractmethod
    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        """Answer a request."""

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def say(request: BaseHTTPRequestHandler, status: int, document: Any, **headers: str) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@dataclass
class Rights:
    """Who may what: user names, and the resources that each may see (`*` for all)."""

    of: dict[str, set[str]] = field(default_factory=lambda: {HPA: {"*"}})

    def allows(self, spec: dict[str, Any]) -> bool:
        if "system:masters" in spec.get("groups", []):
            return True
        allowed = self.of.get(spec["user"], set())
        resource = spec.get("resourceAttributes", {}).get("resource")
        return "*" in allowed or resource in allowed


class FakeCluster(Loopback):
    """The API server: ConfigMap, TokenReview, SubjectAccessReview; all that is asked is kept."""

    def __init__(self, folder: Path, front: trustme.CA, *allowed: str) -> None:
        self.authority = trustme.CA()
        self.ca_file = folder / "kube-ca.crt"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self.token_file = folder / "token"
        self.token_file.write_text("adapter-token\n")
        self.rights = Rights()
        self.tokens: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.broken = False
        self.objects: dict[str, dict[str, Any]] = {}
        self.refuse: Callable[[str, str], int] = lambda method, path: 0
        self._version = 1
        self._changed = threading.Condition()
        self._stopping = False
        self.trusts(front, *(allowed or ("front-proxy-client",)))
        super().__init__(self.authority.issue_cert("127.0.0.1"))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def trusts(self, front: trustme.CA, *allowed: str) -> None:
        """Change who may speak for others."""
        with self._changed:
            self._version += 1
            self.config_map: dict[str, Any] = {
                "metadata": {"name": NAME, "resourceVersion": str(self._version)},
                "data": {
                    "client-ca-file": pem_of(self.authority),
                    "requestheader-allowed-names": json.dumps(list(allowed)),
                    "requestheader-client-ca-file": pem_of(front),
                    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
                    "requestheader-group-headers": '["X-Remote-Group"]',
                    "requestheader-username-headers": '["X-Remote-User"]',
                },
            }
            self._changed.notify_all()

    def reviews(self) -> list[dict[str, Any]]:
        """Every access that was asked about."""
        return [body["spec"] for _, path, body in self.asked if "subjectaccess" in path]

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        super().stop()

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        parts = urlsplit(request.path)
        self.asked.append((request.command, parts.path, body))
        refused = self.refuse(request.command, parts.path)
        if self.broken or refused:
            say(request, refused or 500, {"kind": "Status", "message": "out of order"})
        elif request.headers.get("Authorization") != "Bearer adapter-token":
            say(request, 401, {"kind": "Status", "message": "Unauthorized"})
        elif parts.path.endswith("/configmaps"):
            self._config_maps(request, parse_qs(parts.query))
        elif parts.path.endswith("/subjectaccessreviews"):
            say(request, 201, {"status": {"allowed": self.rights.allows(body["spec"])}})
        elif parts.path.endswith("/tokenreviews"):
            user = self.tokens.get(body["spec"]["token"])
            status = {"authenticated": True, "user": user} if user else {"error": "no"}
            say(request, 201, {"status": status})
        else:
            self._object(request, parts.path, body)

    def _object(self, request: BaseHTTPRequestHandler, path: str, body: Any) -> None:
        known = self.objects.get(path)
        match request.command:
            case "GET" if known is not None:
                say(request, 200, known)
            case "POST":
                path = f"{path}/{body['metadata']['name']}"
                if path in self.objects:
                    say(request, 409, {"kind": "Status", "message": "already exists"})
                else:
                    self._keep(path, body)
                    say(request, 201, body)
            case "PUT" if known is not None:
                if body["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]:
                    say(request, 409, {"kind": "Status", "message": "conflict"})
                else:
                    self._keep(path, body)
                    say(request, 200, body)
            case "PATCH" if known is not None:
                self._keep(path, _merged(known, body))
                say(request, 200, self.objects[path])
            case _:
                say(request, 404, {"kind": "Status", "message": f"{path} not found"})

    def _keep(self, path: str, document: dict[str, Any]) -> None:
        self._version += 1
        document.setdefault("metadata", {})["resourceVersion"] = str(self._version)
        self.objects[path] = document

    def _config_maps(self, request: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        if "watch" not in query:
            document = {
                "metadata": {"resourceVersion": str(self._version)},
                "items": [self.config_map] if self.config_map else [],
            }
            say(request, 200, document)
            return
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        seen = int(query["resourceVersion"][0])
        with self._changed:
            while not self._stopping:
                if self._version > seen and self.config_map:
                    seen = self._version
                    event = {"type": "MODIFIED", "object": self.config_map}
                    request.wfile.write(json.dumps(event).encode() + b"\n")
                    request.wfile.flush()
                self._changed.wait(5)


def _merged(known: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


class FakeController(Loopback):
    """`/v1/plan` with a document that the test gives; its clock is the plan's, plus `late`."""

    def __init__(self, tls: trustme.LeafCert | None = None) -> None:
        self.document: bytes | None = a_document()
        self.status = 200
        self.date: str | None = "Tue, 14 Nov 2023 22:13:20 GMT"  # NOON
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self._changed = threading.Condition()
        self._cycles = 1
        self._stopping = False
        self._scheme = "http" if tls is None else "https"
        super().__init__(tls)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def publish(self, *rows: dict[str, Any], **more: Any) -> None:
        with self._changed:
            self._cycles += 1
            self.document = a_document(*rows, **{"cycle": f"c-{self._cycles}", **more})
            self._changed.notify_all()

    def publish_bytes(self, document: bytes, status: int = 200) -> None:
        with self._changed:
            self.document, self.status = document, status
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        super().stop()

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        query = parse_qs(urlsplit(request.path).query)
        self.asked.append(request.path)
        self.authorizations.append(request.headers.get("Authorization"))
        after, ends = query.get("after", [""])[0], time.monotonic() + float(query["wait"][0])
        with self._changed:
            while not self._stopping and self._same(after) and time.monotonic() < ends:
                self._changed.wait(max(0.0, ends - time.monotonic()))
            document, status = self.document, self.status
            same = self._same(after)
        if same or document is None:
            say(request, 204, b"")
            return
        body = document
        request.send_response_only(status)
        if self.date is not None:
            request.send_header("Date", self.date)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _same(self, after: str) -> bool:
        if self.status != 200 or self.document is None:
            return False
        try:
            return bool(json.loads(self.document)["cycle"] == after)
        except (ValueError, KeyError, TypeError):
            return False


def raw(address: tuple[str, int], context: ssl.SSLContext, data: bytes) -> bytes:
    """Send bytes over TLS and return all that comes back."""
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        found = b""
        try:
            connection.sendall(data)
            while chunk := connection.recv(65536):
                found += chunk
        except (ConnectionError, ssl.SSLError):
            pass
        return found
