"""What is answered under which path. Every answer is made off the event loop, once a cycle."""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import hdrs, web

from autoscaler.core.workload import ScaledWorkload
from autoscaler.telemetry import health, metrics, views
from autoscaler.telemetry.access import ServerSettings, Token
from autoscaler.telemetry.connections import Connections
from autoscaler.telemetry.latest import KEPT, Entry, Latest

MOST_SAMPLES: Final = 2_000_000
"""A whole cycle with more is not shown at once: it would take hundreds of megabytes."""
LONGEST_WAIT_SECONDS: Final = 60.0
_PATHS: Final = (
    "/metrics", "/healthz", "/readyz", "/v1/cycles", "/v1/cycles/latest", "/v1/plan",
    "/v1/workloads", "/v1/workloads/NAMESPACE/NAME", "/v1/workloads/NAME",
)  # fmt: skip
_OPEN: Final = frozenset({"/", "/metrics", "/healthz", "/readyz"})
"""What is answered without a token."""
_JSON: Final = "application/json"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "inference-autoscaler",
    "X-Content-Type-Options": "nosniff",
}

_log = structlog.get_logger("autoscaler.telemetry")


@dataclass(frozen=True, slots=True)
class Body:
    """An answer, plain and compressed."""

    plain: bytes
    gzipped: bytes


class Shelf:
    """The documents of the newest cycle, each made once, whoever asks how often."""

    def __init__(self, executor: Executor) -> None:
        """Make documents in `executor`."""
        self._executor = executor
        self._of: str | None = None
        self._made: dict[str, asyncio.Future[Body]] = {}

    async def body(self, of: str, name: str, make: Callable[[], bytes]) -> Body:
        """Return the document `name` of the cycle `of`."""
        if of != self._of:
            self._of, self._made = of, {}
        made = self._made.get(name)
        if made is None or (made.done() and made.exception() is not None):
            made = self._made[name] = self.run(make)
        return await asyncio.shield(made)

    def run(self, make: Callable[[], bytes]) -> "asyncio.Future[Body]":
        """Make a document that is not kept."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, lambda: _body(make()))


def _body(plain: bytes) -> Body:
    return Body(plain, gzip.compress(plain, compresslevel=3, mtime=0))


class Routes:
    """Answers requests from the newest cycle."""

    def __init__(
        self,
        latest: Latest,
        settings: ServerSettings,
        connections: Connections,
        executor: Executor,
    ) -> None:
        """Answer from `latest`.

        Raises:
            ConfigError: The token cannot be read.
        """
        self._latest = latest
        self._settings = settings
        self._connections = connections
        self._shelf = Shelf(executor)
        self._token = Token(settings.token_file) if settings.token_file else None
        self._changed = asyncio.Event()
        self._waiting = 0
        self._stopping = False

    def application(self) -> web.Application:
        """Return these routes as aiohttp serves them."""
        app = web.Application(middlewares=[self._limited], client_max_size=1)
        app.on_response_prepare.append(_secured)
        for path, answer in (
            ("/", self._index),
            ("/metrics", self._metrics),
            ("/healthz", self._healthz),
            ("/readyz", self._readyz),
            ("/v1/cycles", self._cycles),
            ("/v1/cycles/latest", self._cycle),
            ("/v1/plan", self._plan),
            ("/v1/workloads", self._workloads),
            ("/v1/workloads/{name}", self._workload),
            ("/v1/workloads/{namespace}/{name}", self._workload),
        ):
            app.router.add_get(path, answer)
        return app

    def wake(self) -> None:
        """Answer everybody who waits for the next cycle."""
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Be no longer ready, and let nobody wait."""
        self._stopping = True
        self.wake()

    @web.middleware
    async def _limited(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        transport = request.transport
        self._connections.answering(transport, LONGEST_WAIT_SECONDS)
        try:
            response = await self._answer(request, handler)
        except web.HTTPException as refusal:
            text = f"{refusal.reason.lower()}: {request.path[:200]}"
            response = _refused(refusal.status, text)
        except Exception as error:  # noqa: BLE001 - a client never sees a traceback
            _log.error("answer failed", path=request.path, reason=repr(error), exc_info=error)
            response = _refused(500, "this is our mistake; the log says more")
        self._connections.answered(transport)
        if self._stopping:
            response.force_close()
        return response

    async def _answer(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            response = _refused(405, "only GET and HEAD are answered")
            response.headers["Allow"] = "GET, HEAD"
            response.force_close()
            return response
        if request.body_exists:
            response = _refused(413, "a request should have no body")
            response.force_close()
            return response
        if not self._may_read(request):
            response = _refused(401, "a bearer token is needed")
            response.headers["WWW-Authenticate"] = 'Bearer realm="inference-autoscaler"'
            return response
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS + self._settings.answer_seconds):
                return await handler(request)
        except TimeoutError:
            return _refused(503, "the answer took too long to make")

    def _may_read(self, request: web.Request) -> bool:
        if self._token is None or request.path in _OPEN:
            return True
        return self._token.accepts(request.headers.get("Authorization", ""))

    async def _index(self, request: web.Request) -> web.StreamResponse:
        document = {"version": views.VERSION, "paths": list(_PATHS)}
        return _answered(request, _body(views.json_of(document)), _JSON)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        entry = self._latest.entry
        if entry is None:
            body = await self._shelf.run(metrics.process_text)
        else:
            body = await self._shelf.body(entry.id, "metrics", lambda: _metrics_of(entry))
        return _answered(request, body, metrics.CONTENT_TYPE)

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return _checked(request, health.alive(self._latest))

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        return _checked(request, health.ready(self._latest, stopping=self._stopping))

    async def _cycles(self, request: web.Request) -> web.StreamResponse:
        limit = _whole(request, "limit", 20, KEPT)
        if limit is None:
            return _refused(400, f"limit should be a whole number from 1 to {KEPT}")
        document = {"version": views.VERSION, "cycles": self._latest.summaries(limit)}
        body = await self._shelf.run(lambda: views.json_of(document))
        return _answered(request, body, _JSON)

    async def _cycle(self, request: web.Request) -> web.StreamResponse:
        entry = self._latest.entry
        if entry is None:
            return _no_cycle()
        samples = views.samples_in(entry.report.cycle)
        if samples > MOST_SAMPLES:
            text = f"the cycle holds {samples} samples, more than {MOST_SAMPLES}; read the journal"
            return _refused(507, text)
        return await self._kept(
            request,
            entry,
            "cycle",
            lambda: views.cycle_document(entry.report, entry.number, entry.id),
        )

    async def _plan(self, request: web.Request) -> web.StreamResponse:
        after = request.query.get("after")
        if after is not None:
            wait = _seconds(request.query.get("wait", "25"))
            if wait is None:
                return _refused(400, f"wait should be seconds from 0 to {LONGEST_WAIT_SECONDS:g}")
            entry = self._latest.entry
            if entry is None or entry.id == after:
                refusal = await self._wait(after, wait)
                if refusal is not None:
                    return refusal
        entry = self._latest.entry
        if entry is None:
            return _no_cycle()
        return await self._kept(
            request, entry, "plan", lambda: views.plan_document(entry.report, entry.id)
        )

    async def _wait(self, after: str, seconds: float) -> web.Response | None:
        """Wait for another cycle than `after`; return what to say if there is none."""
        if self._waiting >= max(1, self._settings.max_connections // 2):
            return _refused(503, "too many wait for the next cycle already")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                while not self._stopping:
                    entry = self._latest.entry
                    if entry is not None and entry.id != after:
                        return None
                    await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        return web.Response(status=204)

    async def _workloads(self, request: web.Request) -> web.StreamResponse:
        entry = self._latest.entry
        if entry is None:
            return _no_cycle()
        return await self._kept(
            request, entry, "workloads", lambda: views.workloads_document(entry.report, entry.id)
        )

    async def _workload(self, request: web.Request) -> web.StreamResponse:
        entry = self._latest.entry
        if entry is None:
            return _no_cycle()
        named = request.match_info["name"]
        namespace = request.match_info.get("namespace")
        found = [
            workload
            for workload in entry.report.fleet.workloads
            if workload.metadata.name == named and namespace in (None, workload.metadata.namespace)
        ]
        if len(found) == 1:
            return await self._one(request, entry, found[0])
        name = f"{namespace}/{named}" if namespace else named
        if not found:
            return _refused(404, f"no workload is called {name[:200]}")
        keys = ", ".join(workload.key for workload in found[:20])
        return _refused(409, f"several workloads are called {name[:200]}: {keys}")

    async def _one(
        self, request: web.Request, entry: Entry, workload: ScaledWorkload
    ) -> web.StreamResponse:
        body = await self._shelf.run(
            lambda: views.json_of(views.workload_document(entry.report, workload, entry.id))
        )
        return _answered(request, body, _JSON, tag=f"{entry.id}-{_digest(workload.key)}")

    async def _kept(
        self, request: web.Request, entry: Entry, name: str, make: Callable[[], views.Document]
    ) -> web.StreamResponse:
        """Answer with a document that is made once a cycle, unless the client has it."""
        tag = f"{entry.id}-{name}"
        if _has(request, tag):
            return _answered(request, Body(b"", b""), _JSON, tag=tag)
        body = await self._shelf.body(entry.id, name, lambda: views.json_of(make()))
        return _answered(request, body, _JSON, tag=tag)


def _metrics_of(entry: Entry) -> bytes:
    page = metrics.page_of(entry.report, entry.tally)
    return metrics.text_of(page) + metrics.process_text()


def _answered(
    request: web.Request, body: Body, content_type: str, *, tag: str = ""
) -> web.Response:
    headers = {"Content-Type": content_type, "Vary": "Accept-Encoding"}
    if tag:
        headers["ETag"] = f'W/"{tag}"'
        if _has(request, tag):
            return web.Response(status=304, headers=headers)
    if len(body.gzipped) < len(body.plain) and _takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=body.gzipped, headers=headers)
    return web.Response(body=body.plain, headers=headers)


def _has(request: web.Request, tag: str) -> bool:
    """Whether the client says that it holds this already (weak comparison, as the RFC asks)."""
    given = [one.strip().removeprefix("W/") for one in _header(request, "If-None-Match").split(",")]
    return f'"{tag}"' in given or "*" in given


def _takes_gzip(request: web.Request) -> bool:
    for one in _header(request, "Accept-Encoding").lower().split(","):
        coding, _, weight = one.replace(" ", "").partition(";")
        if coding in ("gzip", "*"):
            return weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _header(request: web.Request, name: str) -> str:
    return ",".join(request.headers.getall(name, []))


def _checked(request: web.Request, checks: tuple[health.Check, ...]) -> web.Response:
    """Answer a probe: one word if all is well, else what is not; `?verbose` shows everything."""
    good = all(check.good for check in checks)
    lines = [
        f"[{'+' if check.good else '-'}] {check.name}: {check.text}"
        for check in checks
        if "verbose" in request.query or not check.good
    ]
    lines += ["ok"] if good else []
    return web.Response(status=200 if good else 503, text="\n".join(lines) + "\n")


def _refused(status: int, text: str) -> web.Response:
    document = {"version": views.VERSION, "error": text}
    return web.Response(status=status, body=views.json_of(document), content_type=_JSON)


def _no_cycle() -> web.Response:
    return _refused(503, "no cycle has run yet")


def _whole(request: web.Request, name: str, default: int, most: int) -> int | None:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) if 1 <= int(text) <= most else None


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST_WAIT_SECONDS else None


def _digest(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=6).hexdigest()


async def _secured(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
