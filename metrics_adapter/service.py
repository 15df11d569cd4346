"""The process: follow the plan, answer requests, end in order."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from autoscaler.core.errors import AutoscalerError, ConfigError
from autoscaler.telemetry.connections import Connections
from metrics_adapter.access import Access
from metrics_adapter.answers import Answers
from metrics_adapter.api_server import ApiServer
from metrics_adapter.documents import Documents
from metrics_adapter.follower import Follower
from metrics_adapter.front_proxy import FrontProxyFollower
from metrics_adapter.newest import Newest
from metrics_adapter.server import MetricsServer
from metrics_adapter.settings import AdapterSettings
from metrics_adapter.tls import Tls, read_pair

REFRESH_SECONDS: Final = 10.0
"""How often the certificate's files are looked at."""

_log = structlog.get_logger("metrics_adapter")


class Adapter:
    """The adapter's parts, put together. All of it lives in one event loop."""

    def __init__(
        self,
        settings: AdapterSettings,
        wall: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together; nothing runs before `run`.

        Args:
            settings: Of the process.
            wall: Returns the time, Unix seconds.
            monotonic: Returns seconds that only ever rise.
        """
        self.settings = settings
        self.newest = Newest(monotonic)
        self.documents = Documents(settings.groups)
        self.address: tuple[str, int] = ("", 0)
        self._wall = wall
        self._monotonic = monotonic
        self._server: MetricsServer | None = None

    def lacks(self) -> str:
        """Return why this process is not ready; empty where it is."""
        if self.settings.groups and (self._server is None or self._server.front_proxy is None):
            return "the front proxy's authority is not known yet"
        return self.newest.lacks()

    async def run(
        self, stopping: asyncio.Event, started: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until `stopping` is set; then answer what is in flight and end.

        Args:
            stopping: Set to end.
            started: Called when requests are answered.

        Raises:
            ConfigError: The address is taken, or a file cannot be used.
        """
        follower = Follower(self.settings.controller, self.newest, self._wall)
        parts: list[Coroutine[Any, Any, None]] = [follower.run(), self._tell()]
        api = None
        try:
            if self.settings.groups:
                api = ApiServer(self.settings.api_server)
                parts += await self._serve(api)
            started()
            await _until(stopping, parts)
            if self._server is not None:
                self._server.drain()
                await asyncio.sleep(self.settings.serving.drain_seconds)
        finally:
            for part in parts:
                part.close()
            if self._server is not None:
                await self._server.stop()
            if api is not None:
                await api.close()

    async def _serve(self, api: ApiServer) -> list[Coroutine[Any, Any, None]]:
        """Listen; return what must run beside."""
        serving = self.settings.serving
        tls = Tls(*_pair(self.settings))
        self._server = MetricsServer(
            Answers(self.newest),
            self.documents,
            Access(api, self._monotonic),
            tls,
            Connections(
                serving.max_connections,
                header_seconds=serving.header_seconds,
                answer_seconds=serving.idle_seconds,
            ),
            self.lacks,
        )
        try:
            self.address = await self._server.start(
                serving.host, serving.port, serving.header_seconds
            )
        except OSError as error:
            where = f"{serving.host}:{serving.port}"
            raise ConfigError(
                f"cannot listen on {where}: {(error.strerror or str(error)).lower()}"
            ) from error
        front = FrontProxyFollower(api, self._server.use_front_proxy)
        return [front.run(), self._refresh(tls)]

    async def _tell(self) -> None:
        """Tell discovery of each new board."""
        known = ""
        while True:
            board = await self.newest.next(known, 3600.0)
            if board is not None:
                self.documents.use(board)
                known = board.cycle

    async def _refresh(self, tls: Tls) -> None:
        """Follow the certificate's files."""
        problem = ""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                if tls.set_certificate(*_pair(self.settings)):
                    _log.info("certificate loaded", reason="its files changed")
                problem = ""
            except ConfigError as error:
                if str(error) != problem:
                    _log.error("certificate kept", reason=str(error))
                problem = str(error)


def _pair(settings: AdapterSettings) -> tuple[bytes, bytes]:
    serving = settings.serving
    if serving.cert_file is None or serving.key_file is None:
        raise ConfigError("serving.certFile: a certificate is needed")
    return read_pair(serving.cert_file, serving.key_file)


async def _until(stopping: asyncio.Event, parts: list[Coroutine[Any, Any, None]]) -> None:
    """Run the parts until `stopping` is set or one of them fails.

    Raises:
        AutoscalerError: Of the part that failed.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    waiting = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            if isinstance(error, AutoscalerError):
                raise error
            if error is not None:
                raise RuntimeError("a part of the adapter failed") from error
    finally:
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.gather(*tasks, waiting, return_exceptions=True)
