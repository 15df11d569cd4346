"""The HTTP server: its own thread with its own event loop, so that no client delays a cycle."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, cast

import structlog
from aiohttp import web

from autoscaler.core.errors import ConfigError
from autoscaler.telemetry.access import Certificate, ServerSettings
from autoscaler.telemetry.connections import Connections
from autoscaler.telemetry.latest import Latest
from autoscaler.telemetry.routes import Routes

REFRESH_SECONDS: Final = 10.0
"""How often the certificate's files are looked at."""
SHUTDOWN_SECONDS: Final = 5.0
"""Time for requests in flight when the server stops."""

_log = structlog.get_logger("autoscaler.telemetry")


class TelemetryServer:
    """Serves metrics, probes and `/v1` from the newest cycle."""

    def __init__(
        self, latest: Latest, settings: ServerSettings, *, refresh_seconds: float = REFRESH_SECONDS
    ) -> None:
        """Serve `latest`; nothing listens before `start`."""
        self._latest = latest
        self._settings = settings
        self._refresh_seconds = refresh_seconds
        self._stop: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None
        self._address = ("", 0)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return self._address

    @property
    def url(self) -> str:
        """Where it is reached."""
        scheme = "https" if self._settings.cert_file else "http"
        host, port = self._address
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def start(self) -> None:
        """Listen; returns when it does.

        Raises:
            ConfigError: The port is taken, or a certificate or token cannot be read.
        """
        started: Future[tuple[str, int]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="telemetry", daemon=True
        )
        self._thread.start()
        self._address = started.result()

    def stop(self) -> None:
        """Answer what is in flight, then close; returns when it is done."""
        if self._thread is None or self._stop is None:
            return
        self._stop()
        self._thread.join(SHUTDOWN_SECONDS + 5.0)

    async def _serve(self, started: "Future[tuple[str, int]]") -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()
        connections = Connections(
            settings.max_connections,
            header_seconds=settings.header_seconds,
            answer_seconds=settings.answer_seconds,
        )
        stopped = asyncio.Event()
        # Two: whoever waits for the plan does not wait for the page of metrics.
        with ThreadPoolExecutor(2, thread_name_prefix="telemetry-pages") as executor:
            try:
                routes = Routes(self._latest, settings, connections, executor)
                certificate = _certificate(settings)
                runner = web.AppRunner(
                    routes.application(),
                    handle_signals=False,
                    access_log=None,
                    handler_cancellation=True,
                    keepalive_timeout=settings.header_seconds,
                    lingering_time=1.0,
                    shutdown_timeout=SHUTDOWN_SECONDS,
                )
                await runner.setup()
                make = cast("Callable[[], asyncio.Protocol]", runner.server)
                server = await _listening(settings, connections.guarding(make), certificate)
            except BaseException as error:  # noqa: BLE001 - whoever called start is told
                started.set_exception(error)
                return
            forget = self._latest.listen(partial(_soon, loop, routes.wake))
            self._stop = partial(_soon, loop, stopped.set)
            host, port = server.sockets[0].getsockname()[:2]
            started.set_result((host, port))
            refreshing = asyncio.create_task(self._refresh(certificate))
            await stopped.wait()
            refreshing.cancel()
            forget()
            routes.stop()
            server.close()
            await runner.cleanup()

    async def _refresh(self, certificate: Certificate | None) -> None:
        """Follow the files of the certificate for as long as the server runs."""
        while certificate is not None:
            await asyncio.sleep(self._refresh_seconds)
            try:
                if certificate.refresh():
                    _log.info("certificate loaded", reason="its files changed")
            except ConfigError as error:
                _log.error("certificate kept", reason=str(error))


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call in the loop's own thread, unless it has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


def _certificate(settings: ServerSettings) -> Certificate | None:
    if settings.cert_file is None or settings.key_file is None:
        return None
    return Certificate(settings.cert_file, settings.key_file)


async def _listening(
    settings: ServerSettings,
    make: Callable[[], asyncio.Protocol],
    certificate: Certificate | None,
) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(
            make,
            settings.host,
            settings.port,
            ssl=certificate.context if certificate else None,
            ssl_handshake_timeout=settings.header_seconds if certificate else None,
        )
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise ConfigError(
            f"cannot listen on {where}: {(error.strerror or str(error)).lower()}"
        ) from error
