"""Other adapters: what they serve, and how ours is told to ask them."""

import time
from abc import abstractmethod
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import trustme

from metrics_adapter.targets import CUSTOM
from tests.metrics_adapter.cluster import Loopback, say

CUSTOM_GROUP = f"/apis/{CUSTOM}"
S0_CRON = {"metricName": "s0-cron", "metricLabels": None, "value": "3"}
SELECTOR = {"matchLabels": {"verb": "GET"}}


def an_item(**more: Any) -> dict[str, Any]:
    """A value of custom.metrics.k8s.io as v1beta1 has it."""
    return {
        "describedObject": {
            "kind": "Service", "namespace": "web", "name": "shop", "apiVersion": "/v1",
        },
        "metricName": "hits",
        "timestamp": "2026-11-22T00:54:11Z",
        "window": 60,
        "value": "31500m",
        "selector": SELECTOR,
        **more,
    }  # fmt: skip


class Incumbent(Loopback):
    """Another adapter, with an authority of its own; all that it is asked is kept.

    Given a `reply`, it answers everything with that and `status`; `late` is in seconds.
    """

    NAME: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.reply: bytes | None = None
        self.status = 200
        self.late = 0.0
        authority = trustme.CA()
        self._ca_file = folder / "incumbent.crt"
        authority.cert_pem.write_to_path(str(self._ca_file))
        super().__init__(authority.issue_cert(self.NAME))

    def asked_with(self, token_file: Path) -> dict[str, Any]:
        """The settings of our adapter that passes on to it."""
        return {
            "url": f"https://127.0.0.1:{self.port}",
            "caFile": self._ca_file,
            "serverName": self.NAME,
            "tokenFile": token_file,
        }

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        self.asked.append(unquote(request.path))
        self.authorizations.append(request.headers.get("Authorization"))
        time.sleep(self.late)
        if self.reply is not None:
            say(request, self.status, self.reply)
        else:
            self.serve(request, urlsplit(request.path).path.split("/")[3:])

    @abstractmethod
    def serve(self, request: BaseHTTPRequestHandler, segments: list[str]) -> None:
        """Answer a path: `segments` are what comes after /apis and the group."""


class Keda(Incumbent):
    """It serves external.metrics.k8s.io and knows `s0-cron`."""

    NAME = "incumbent.keda.svc"

    def serve(self, request: BaseHTTPRequestHandler, segments: list[str]) -> None:
        if len(segments) == 1:
            say(request, 200, {"kind": "APIResourceList", "resources": [{"name": "s0-cron"}, 7]})
        elif "s0-cron" in segments:
            say(request, 200, {"items": [S0_CRON], "metadata": {"more": 5}})
        else:
            say(request, 404, {"kind": "Status", "code": 404, "message": "not known there"})


class Older(Incumbent):
    """It serves custom.metrics.k8s.io at some `versions`, and knows `hits`."""

    NAME = "older.monitoring.svc"

    def __init__(self, folder: Path) -> None:
        self.versions = ["v1beta1"]
        self.tells_of_its_group = True
        self.items: Any = [an_item()]
        self.busy = False
        super().__init__(folder)

    def looks(self) -> int:
        """How often it was asked what it serves."""
        return self.asked.count(CUSTOM_GROUP)

    def serve(self, request: BaseHTTPRequestHandler, segments: list[str]) -> None:
        if self.busy and len(segments) > 1:
            status = {"kind": "Status", "code": 429, "message": "too much"}
            say(request, 429, status, Retry_After="1")
        elif not segments and self.tells_of_its_group:
            versions = [
                {"groupVersion": f"{CUSTOM}/{one}", "version": one} for one in self.versions
            ]
            say(request, 200, {"kind": "APIGroup", "name": CUSTOM, "versions": versions})
        elif not segments or segments[0] not in self.versions:
            say(request, 404, b"404 page not found\n")
        elif len(segments) == 1:
            say(request, 200, {"resources": [{"name": "services/hits"}]})
        elif segments[-1] != "hits":
            say(request, 404, {"kind": "Status", "code": 404, "message": "no such metric there"})
        else:
            say(request, 200, self._values(segments[0]))

    def _values(self, version: str) -> dict[str, Any]:
        known = {"kind": "MetricValueList", "apiVersion": f"{CUSTOM}/{version}", "metadata": {}}
        if version == "v1beta1":
            return {**known, "items": self.items}
        return {**known, "items": [{"metric": {"name": "hits", "selector": None}, "value": "7"}]}
