"""The HTTP server of the metrics APIs: who asks, may they, what is answered.

Everything is answered from memory; only who asks may have to be asked of the API server.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import structlog
from aiohttp import HttpVersion10, hdrs, web

from autoscaler.telemetry.connections import Connections
from metrics_adapter.access import Access
from metrics_adapter.answers import Answers, Steps, UnknownMetricError
from metrics_adapter.delegate import Delegate, came_from_us
from metrics_adapter.documents import Documents
from metrics_adapter.handshakes import Handshakes
from metrics_adapter.identity import ANONYMOUS, FrontProxy, User
from metrics_adapter.patience import Patience
from metrics_adapter.places import Handler, Server, respond
from metrics_adapter.pods import PodLists
from metrics_adapter.request import asked_of, parameters_of, takes_json
from metrics_adapter.statuses import RefusalError, status_body
from metrics_adapter.targets import (
    Asked,
    Custom,
    Discovery,
    External,
    Health,
    Unknown,
    Unscaled,
)
from metrics_adapter.tls import Tls
from metrics_adapter.turns import at_once, in_turns

ANSWER_SECONDS: Final = 10.0
"""Time to make an answer: to check access, and to wait in line where it is long."""
ROUND: Final = (
    "an adapter like this one passed this on to us, and no workload here has it: the url of its "
    "delegates should name the adapter that owned the API before"
)

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
            response = await self._answer(request, Patience(ANSWER_SECONDS))
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

    async def _answer(self, request: web.BaseRequest, patience: Patience) -> web.Response:
        """Return the answer. What is not in memory is awaited with `patience`, all of it.

        Raises:
            RefusalError: It is another one.
            TimeoutError: It takes too long.
        """
        asked = asked_of(request)
        if isinstance(asked, Health):
            return self._health(asked)
        user, trusted = await self._user(request, patience)
        await self._allow(user, asked, patience, trusted=trusted)
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
        if isinstance(asked, Discovery):
            return respond(200, *self._documents.find(asked.path, accept))
        if isinstance(asked, Unknown) or asked.attributes.group not in self._documents.groups:
            raise RefusalError(404, "the server could not find the requested resource")
        if not takes_json(accept):
            raise RefusalError(406, "only application/json is answered")
        parameters = parameters_of(request.raw_path.partition("?")[2])
        try:
            return respond(200, await self._values(asked, parameters, patience))
        except UnknownMetricError as unknown:
            delegate = self._delegates.get(asked.attributes.group)
            if delegate is None:
                raise
            if came_from_us(request.headers.getall(hdrs.VIA, ())):
                raise RefusalError(503, ROUND) from unknown
            status, body = await patience.with_(delegate.answer(asked.segments, parameters))
            if status != 200 and unknown.code == 503:
                raise  # the plan that we lack may know it
            return respond(status, body)

    async def _values(
        self,
        asked: External | Custom | Unscaled,
        parameters: Mapping[str, str],
        patience: Patience,
    ) -> bytes:
        selector = parameters.get("labelSelector", "")
        if isinstance(asked, External):
            return await _made(self._answers.external(asked, selector), patience)
        if isinstance(asked, Unscaled):
            raise UnknownMetricError(404, "workloads have no metrics of such objects")
        metric_selector = parameters.get("metricLabelSelector", "")
        if asked.resource != "pods":
            return await _made(self._answers.objects(asked, selector, metric_selector), patience)
        self._answers.check_pods(asked)
        pods = await patience.with_(self._pods.of(asked.namespace))
        return await _made(self._answers.pods(asked, selector, metric_selector, pods), patience)

    def _vouched_for(self, request: web.BaseRequest) -> User | None:
        """Return who asks, where it is the API server that says so."""
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
                return self._front.user(request.headers.items())
        return None

    async def _user(self, request: web.BaseRequest, patience: Patience) -> tuple[User, bool]:
        """Return who asks, and whether the API server says so."""
        user = self._vouched_for(request)
        if user is not None:
            return user, True
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return await patience.with_(self._access.owner(token.strip())), False
        return ANONYMOUS, False

    async def _allow(self, user: User, asked: Asked, patience: Patience, *, trusted: bool) -> None:
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
        if not self._access.knows(user, asked.attributes):
            await patience.with_(self._access.check(user, asked.attributes, trusted=trusted))

    def _health(self, asked: Health) -> web.Response:
        problem = ""
        if asked.path == "/readyz":
            problem = "stopping" if self._stopping else self._ready()
        if problem:
            return respond(503, status_body(503, problem))
        return web.Response(body=b"ok", content_type="text/plain")


async def _made(steps: Steps, patience: Patience) -> bytes:
    """Return an answer: at once where it is short."""
    found = at_once(steps)
    return found[0] if found is not None else await patience.with_(in_turns(steps))
