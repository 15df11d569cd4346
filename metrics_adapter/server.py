"""The HTTP server of the metrics APIs: who asks, may they, what is answered.

Everything is answered from memory; only who asks may have to be asked of the API server.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import structlog
from aiohttp import HttpVersion10, hdrs, web

from autoscaler.telemetry.connections import Connections
from metrics_adapter.access import Access
from metrics_adapter.answers import Answers, UnknownMetricError
from metrics_adapter.delegate import Delegate, came_from_us
from metrics_adapter.documents import Documents
from metrics_adapter.handshakes import Handshakes
from metrics_adapter.identity import ANONYMOUS, FrontProxy, User
from metrics_adapter.places import Handler, Server, respond
from metrics_adapter.pods import PodLists
from metrics_adapter.statuses import RefusalError, status_body
from metrics_adapter.targets import (
    Asked,
    Custom,
    Discovery,
    External,
    Health,
    Unknown,
    Unscaled,
    read_path,
)
from metrics_adapter.tls import Tls
from metrics_adapter.turns import in_turns

ANSWER_SECONDS: Final = 10.0
"""Time to make an answer: to check access, and to wait in line where it is long."""
MOST_PARAMETERS: Final = 16
ROUND: Final = (
    "an adapter like this one passed this on to us, and no workload here has it: the url of its "
    "delegates should name the adapter that owned the API before"
)
_SHORT: Final = 300
"""Longer queries are not remembered: memory stays small whatever is asked."""
_JSON: Final = "application/json"
_TAKEN: Final = ("application/json", "application/*", "*/*")

_log = structlog.get_logger("metrics_adapter.server")

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class MetricsServer:
    """Answers requests for the metrics APIs."""

    def __init__(
        self,
        answers: Answers,
        documents: Documents,
        access: Access,
        tls: Tls,
        connections: Connections,
        ready: Callable[[], str],
        pods: PodLists,
        delegates: Mapping[str, Delegate],
    ) -> None:
        """Put the parts together.

        Args:
            answers: Values.
            documents: Discovery.
            access: Rights.
            tls: What handshakes are made with.
            connections: Limits.
            ready: Returns why it is not ready; nothing where it is.
            pods: Pods by namespace.
            delegates: By group, who answers what we do not know.
        """
        self._answers = answers
        self._documents = documents
        self._access = access
        self._tls = tls
        self._connections = connections
        self._ready = ready
        self._pods = pods
        self._delegates = delegates
        self._front: FrontProxy | None = None
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        self._web: Server | None = None
        self._handshakes: Handshakes | None = None

    @property
    def front_proxy(self) -> FrontProxy | None:
        """Who may speak for others; None before it is known."""
        return self._front

    def use_front_proxy(self, front: FrontProxy) -> None:
        """Let this front proxy, and no other, speak for others; connections of the old one end.

        Raises:
            ConfigError: Its authority is no certificate; the old one stays.
        """
        changed = self._tls.set_authority(front.ca)
        if front != self._front:
            _log.info("front proxy known", names=sorted(front.allowed_names))
        self._front = front
        if changed and self._web is not None:
            for connection in self._web.connections:
                if isinstance(connection, Handler):
                    connection.retire()

    async def start(
        self, host: str, port: int, header_seconds: float, most: int = 1024
    ) -> tuple[str, int]:
        """Listen; return where.

        Args:
            host: Where to listen.
            port: The same; 0 for any that is free.
            header_seconds: Time for a handshake.
            most: So many connections; those without a client certificate have a quarter.

        Raises:
            OSError: The address is taken or not ours.
        """
        self._web = Server(
            most,
            self._respond,
            access_log=None,
            keepalive_timeout=3600.0,  # the connection's own deadline comes first
            lingering_time=1.0,
            max_line_size=8190,
            max_field_size=8190,
            max_headers=128,
        )
        self._runner = web.ServerRunner(self._web, shutdown_timeout=ANSWER_SECONDS)
        await self._runner.setup()
        make = cast("Callable[[], asyncio.Protocol]", self._web)
        self._handshakes = Handshakes(
            self._connections.guarding(make), self._tls.outer, seconds=header_seconds
        )
        return await self._handshakes.listen(host, port)

    def drain(self) -> None:
        """Be no longer ready; answer on, and end each connection after its answer."""
        self._stopping = True

    async def stop(self) -> None:
        """Listen no longer, answer what is in flight, close."""
        self.drain()
        if self._handshakes is not None:
            await self._handshakes.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        self._connections.answering(transport, ANSWER_SECONDS)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._answer(request)
        except RefusalError as refusal:
            response = respond(refusal.code, status_body(refusal.code, refusal.message))
            if refusal.code in (405, 413) or request.version < HttpVersion10:
                response.force_close()
        except TimeoutError:
            response = respond(504, status_body(504, "the answer took too long to make"))
        self._connections.answered(transport)
        if self._stopping:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        asked = _asked(request)
        if isinstance(asked, Health):
            return self._health(asked)
        user, trusted = await self._user(request)
        await self._allow(user, asked, trusted=trusted)
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
        if isinstance(asked, Discovery):
            return respond(200, *self._documents.find(asked.path, accept))
        if isinstance(asked, Unknown):
            raise RefusalError(404, "the server could not find the requested resource")
        if asked.attributes.group not in self._documents.groups:
            raise RefusalError(404, "the server could not find the requested resource")
        _check_accept(accept)
        parameters = _parameters(request.raw_path.partition("?")[2])
        try:
            return respond(200, await self._values(asked, parameters))
        except UnknownMetricError as unknown:
            delegate = self._delegates.get(asked.attributes.group)
            if delegate is None:
                raise
            if came_from_us(request.headers.getall(hdrs.VIA, ())):
                raise RefusalError(503, ROUND) from unknown
            status, body = await delegate.answer(asked.segments, parameters)
            if status != 200 and unknown.code == 503:
                raise  # the plan that we lack may know it
            return respond(status, body)

    async def _values(
        self, asked: External | Custom | Unscaled, parameters: Mapping[str, str]
    ) -> bytes:
        selector = parameters.get("labelSelector", "")
        if isinstance(asked, External):
            return await in_turns(self._answers.external(asked, selector))
        if isinstance(asked, Unscaled):
            raise UnknownMetricError(404, "workloads have no metrics of such objects")
        metric_selector = parameters.get("metricLabelSelector", "")
        if asked.resource != "pods":
            return await in_turns(self._answers.objects(asked, selector, metric_selector))
        self._answers.check_pods(asked)
        pods = await self._pods.of(asked.namespace)
        return await in_turns(self._answers.pods(asked, selector, metric_selector, pods))

    async def _user(self, request: web.BaseRequest) -> tuple[User, bool]:
        """Return who asks, and whether the API server says so."""
        transport = request.transport
        if transport is not None and self._front is not None:
            connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
            verified = (
                connection is not None
                and connection.context is self._tls.current
                and not connection.session_reused
            )
            certificate: dict[str, Any] | None = transport.get_extra_info("peercert")
            if verified and self._front.allows(certificate):
                user = self._front.user(request.headers.items())
                if user is not None:
                    return user, True
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return await self._access.owner(token.strip()), False
        return ANONYMOUS, False

    async def _allow(self, user: User, asked: Asked, *, trusted: bool) -> None:
        """Return if the user may.

        What there is, everybody may know whom the API server knows: discovery is answered from
        memory even while nobody can be asked, for a group that does not answer blocks the deletion
        of every namespace.

        Raises:
            RefusalError: The user may not.
        """
        if user.known and isinstance(asked, Discovery | Unknown):
            return
        if isinstance(asked, Unknown):
            raise RefusalError(403, f'User "{user.name}" cannot get path "{asked.attributes.path}"')
        await self._access.check(user, asked.attributes, trusted=trusted)

    def _health(self, asked: Health) -> web.Response:
        problem = ""
        if asked.path == "/readyz":
            problem = "stopping" if self._stopping else self._ready()
        if problem:
            return respond(503, status_body(503, problem))
        return web.Response(body=b"ok", content_type="text/plain")


def _asked(request: web.BaseRequest) -> Asked:
    """Return what is asked for.

    Raises:
        RefusalError: Nothing that is ever answered.
    """
    if request.version < HttpVersion10:
        raise RefusalError(400, "the request is no HTTP that is understood here")
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        raise RefusalError(405, "only GET is answered")
    if request.body_exists:
        raise RefusalError(413, "a request should have no body")
    asked = read_path(request.raw_path.partition("?")[0])
    if asked is None:
        raise RefusalError(400, "the path is malformed")
    return asked


def _check_accept(accept: str) -> None:
    """Refuse whoever takes no JSON: the HPA asks for protobuf or anything."""
    kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",") if one.strip()]
    if kinds and not any(kind in _TAKEN for kind in kinds):
        raise RefusalError(406, "only application/json is answered")


def _parameters(query: str) -> Mapping[str, str]:
    """Return the parameters of a query; of one given twice the first counts, as in Kubernetes."""
    return _remembered(query) if len(query) <= _SHORT else _read_query(query)


def _read_query(query: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError as error:
        raise RefusalError(400, "the query is malformed") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    if found.get("watch", "false").lower() not in ("false", "0"):
        raise RefusalError(405, "values cannot be watched")
    return MappingProxyType(found)


_remembered = lru_cache(maxsize=16384)(_read_query)
"""The same queries are asked again and again."""
