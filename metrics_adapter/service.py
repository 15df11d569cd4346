"""The process: follow the plan, answer requests, end in order."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import structlog

from autoscaler.core.errors import AutoscalerError, ConfigError, ObservationError
from autoscaler.telemetry.connections import Connections
from metrics_adapter.access import Access
from metrics_adapter.answers import Answers
from metrics_adapter.api_server import ApiServer
from metrics_adapter.delegate import Delegate
from metrics_adapter.documents import Documents
from metrics_adapter.follower import Follower
from metrics_adapter.front_proxy import FrontProxyFollower
from metrics_adapter.incumbents import Owner, advice, look, look_beside
from metrics_adapter.keda import make_server
from metrics_adapter.newest import Newest
from metrics_adapter.own_certificate import OwnCertificate
from metrics_adapter.pods import PodLists
from metrics_adapter.probes import Nobody, ProbeCertificate
from metrics_adapter.server import MetricsServer
from metrics_adapter.settings import AdapterSettings
from metrics_adapter.tls import Tls, read_pair

REFRESH_SECONDS: Final = 10.0
"""How often the certificate's files are looked at."""
RETRY_SECONDS: Final = 5.0
ADVISE_SECONDS: Final = 300.0
"""How often it is looked who owns the APIs."""

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
        async with AsyncExitStack() as open_things:
            parts: list[Coroutine[Any, Any, None]] = [follower.run(), self._tell()]
            open_things.callback(lambda: [part.close() for part in parts])
            if self.settings.groups:
                parts += await self._serve(stopping, open_things)
            else:
                parts.append(await self._serve_probes(open_things))
            if self.settings.keda is not None:
                keda = make_server(self.newest, self.settings.keda)
                await keda.start()
                open_things.push_async_callback(keda.stop)
                _log.info("serving KEDA", address=keda.address)
            if not stopping.is_set():
                started()
                await _until(stopping, parts)
            if self._server is not None:
                self._server.drain()
                await asyncio.sleep(self.settings.serving.drain_seconds)

    async def _serve(
        self, stopping: asyncio.Event, open_things: AsyncExitStack
    ) -> list[Coroutine[Any, Any, None]]:
        """Serve the APIs; return what must run beside."""
        settings = self.settings
        api = ApiServer(settings.api_server)
        open_things.push_async_callback(api.close)
        delegates: dict[str, Delegate] = {
            group: Delegate(group, one, self._monotonic)
            for group, one in settings.delegates.by_group().items()
            if group in settings.groups
        }
        for delegate in delegates.values():
            open_things.push_async_callback(delegate.close)
        own = Owner(settings.namespace, settings.service)
        certificate = OwnCertificate(api, own, settings.groups, self._wall)
        pair = await self._first_pair(certificate, stopping)
        if pair is None:
            return []
        tls = Tls(*pair)
        server = await self._listen(api, tls, delegates, open_things)
        renewing = (
            certificate.run(lambda held: _use(tls, held.certificate, held.key))
            if settings.serving.cert_file is None
            else self._refresh(tls)
        )
        return [
            FrontProxyFollower(api, server.use_front_proxy).run(),
            renewing,
            self._advise(api, own),
            *(delegate.run(self.documents.use_more) for delegate in delegates.values()),
        ]

    async def _serve_probes(self, open_things: AsyncExitStack) -> Coroutine[Any, Any, None]:
        """Answer probes where no API is served; return what must run beside."""
        if self.settings.serving.cert_file is not None:
            tls = Tls(*_pair(self.settings))
            await self._listen(Nobody(), tls, {}, open_things)
            return self._refresh(tls)
        certificate = ProbeCertificate([self.settings.service], self._wall)
        held = certificate.take()
        tls = Tls(held.certificate, held.key)
        await self._listen(Nobody(), tls, {}, open_things)
        return certificate.run(lambda held: _use(tls, held.certificate, held.key))

    async def _listen(
        self,
        api: ApiServer | Nobody,
        tls: Tls,
        delegates: Mapping[str, Delegate],
        open_things: AsyncExitStack,
    ) -> MetricsServer:
        """Listen; what is not open to everybody is asked of `api`.

        Raises:
            ConfigError: The address is taken.
        """
        serving = self.settings.serving
        self._server = server = MetricsServer(
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
            PodLists(api, self._monotonic),
            delegates,
        )
        open_things.push_async_callback(server.stop)
        try:
            self.address = await server.start(
                serving.host, serving.port, serving.header_seconds, serving.max_connections
            )
        except OSError as error:
            where = f"{serving.host}:{serving.port}"
            raise ConfigError(
                f"cannot listen on {where}: {(error.strerror or str(error)).lower()}"
            ) from error
        return server

    async def _first_pair(
        self, certificate: OwnCertificate, stopping: asyncio.Event
    ) -> tuple[bytes, bytes] | None:
        """Return what is served first; None where the process ends before there is any."""
        if self.settings.serving.cert_file is not None:
            return _pair(self.settings)
        while not stopping.is_set():
            try:
                held = await certificate.take()
            except ObservationError as error:
                _log.error("no certificate yet", reason=str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
            else:
                return held.certificate, held.key
        return None

    async def _advise(self, api: ApiServer, own: Owner) -> None:
        """Say what a person should do where an API belongs to somebody else."""
        said: dict[str, str] = {}
        while True:
            for group in self.settings.groups:
                delegates = group in self.settings.delegates.by_group()
                try:
                    seen, beside = await look(api, group), await look_beside(api, group)
                    text = advice(seen, own, group, delegates=delegates, beside=beside)
                except ObservationError as error:
                    text = f"it is not known who owns {group}: {error}"
                if text and said.get(group) != text:
                    _log.warning("metrics API not in order", reason=text)
                elif not text and said.get(group):
                    _log.info("metrics API in order", group=group)
                said[group] = text
            await asyncio.sleep(ADVISE_SECONDS)

    async def _tell(self) -> None:
        """Tell discovery of each new board."""
        known = ""
        while True:
            board = await self.newest.next(known, 3600.0)
            if board is not None:
                await self.documents.use(board)
                known = board.cycle

    async def _refresh(self, tls: Tls) -> None:
        """Follow the certificate's files."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                _use(tls, *_pair(self.settings))
            except ConfigError as error:
                _log.error("certificate kept", reason=str(error))


def _use(tls: Tls, certificate: bytes, key: bytes) -> None:
    """Serve with a certificate from now on, if it can be used."""
    try:
        if tls.set_certificate(certificate, key):
            _log.info("certificate loaded", reason="it has changed")
    except ConfigError as error:
        _log.error("certificate kept", reason=str(error))


def _pair(settings: AdapterSettings) -> tuple[bytes, bytes]:
    serving = settings.serving
    if serving.cert_file is None or serving.key_file is None:
        raise ConfigError("serving.certFile: a certificate and its key are needed")
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
