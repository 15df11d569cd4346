"""Connections of the HTTP server, one by one: what is no HTTP, and who has a place."""

import asyncio
from functools import lru_cache
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from metrics_adapter.statuses import status_body

_log = structlog.get_logger("metrics_adapter.server")


class Handler(RequestHandler):
    """One connection. What is no HTTP is answered by a `Status`, and never with a traceback."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, unless it is one too many of those that nobody vouches for."""
        super().connection_made(transport)
        manager = cast("Server", self._manager)
        if not manager.admits(self, transport):
            self.drop()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        if self._manager is not None:
            cast("Server", self._manager).guests.pop(self, None)
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether nothing is asked just now."""
        return self._current_request is None

    def drop(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def retire(self) -> None:
        """End the connection: at once where nothing is asked, else after the answer."""
        self.close()
        if self.idle and self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, or what failed; then close."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun already")
        code = status if 400 <= status < 600 else 500
        if code >= 500:
            _log.error("answer failed", reason=repr(exc), exc_info=exc)
            text = "this is our mistake; the log says more"
        else:
            kind = type(exc).__name__ if isinstance(exc, HttpProcessingError) else ""
            _log.debug("bad request", reason=f"{kind} {message}".strip())
            text = "the request is no HTTP that is understood here"
        response = respond(code, status_body(code, text))
        response.force_close()
        return response


class Server(web.Server):
    """Makes our kind of connections.

    Those without a client certificate, which is everybody but the API server, have a quarter of the
    places: they cannot keep it out. Where all of these are taken, the one that came first and asks
    nothing just now makes room: a probe gets through.
    """

    def __init__(self, most: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_guests = max(1, most // 4)
        self.guests: dict[Handler, None] = {}

    def admits(self, connection: Handler, transport: asyncio.BaseTransport) -> bool:
        if transport.get_extra_info("peercert"):
            return True
        if len(self.guests) >= self._most_guests:
            idle = next((one for one in self.guests if one.idle), None)
            if idle is None:
                return False
            del self.guests[idle]
            idle.drop()
        self.guests[connection] = None
        return True

    def __call__(self) -> RequestHandler:
        return Handler(self, loop=self._loop, **self._kwargs)


def respond(code: int, body: bytes, content_type: str = "application/json") -> web.Response:
    """Return an answer with the headers that all have."""
    return web.Response(status=code, body=body, headers=_headers(content_type))


@lru_cache(maxsize=64)
def _headers(content_type: str) -> CIMultiDict[str]:
    """Made once: an answer takes a copy."""
    return CIMultiDict(
        {
            "Content-Type": content_type,
            "Cache-Control": "no-cache, private",
            "Server": "inference-autoscaler",
            "X-Content-Type-Options": "nosniff",
        }
    )
