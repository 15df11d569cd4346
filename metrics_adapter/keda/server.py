"""The gRPC server that KEDA asks."""

import asyncio
from contextlib import suppress
from typing import Final

import grpc
import grpc.aio
import structlog

from autoscaler.core.errors import ConfigError
from metrics_adapter.board import Board
from metrics_adapter.keda.activity import Activity
from metrics_adapter.keda.answers import Answers
from metrics_adapter.keda.calls import Calls
from metrics_adapter.keda.certificates import Certificates
from metrics_adapter.keda.services import HealthService, ScalerService
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.keda.streams import Streams
from metrics_adapter.newest import Newest

LARGEST_REQUEST: Final = 64 * 1024
"""Bytes of a request: the metadata of one trigger."""
LARGEST_HEADERS: Final = 8 * 1024
MOST_CONNECTIONS: Final = 256
"""KEDA has one for each of its processes and pair of address and certificates."""
MOST_WATCHERS: Final = 64
"""Who watches the health check at one time."""
BESIDE_STREAMS: Final = 1000
"""Requests under way at one time beside the streams."""
LOOK_SECONDS: Final = 1.0
"""How often the age of the plan is looked at."""

_log = structlog.get_logger("metrics_adapter.keda")


class KedaServer:
    """Answers KEDA from the newest plan. All of it belongs to the event loop of `newest`."""

    def __init__(
        self, newest: Newest, settings: KedaSettings, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        """Answer from `newest`; nothing listens before `start`."""
        self._newest = newest
        self._settings = settings
        self._look_seconds = look_seconds
        self._activity = Activity()
        self._streams = Streams(settings.max_streams)
        self._watchers = Streams(MOST_WATCHERS)
        self._health = HealthService(self._watchers)
        self._running: tuple[grpc.aio.Server, asyncio.Task[None]] | None = None
        self._learned: Board | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """Host and port that it listens on."""
        host = self._settings.host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    @property
    def streams(self) -> int:
        """How many triggers wait for a wake-up."""
        return len(self._streams)

    async def start(self) -> None:
        """Listen; returns when it does.

        Raises:
            ConfigError: The port is taken, or a certificate cannot be used.
        """
        answers = Answers(self._newest, self._activity)
        calls = Calls(self._settings.request_seconds)
        server = grpc.aio.server(
            handlers=[
                ScalerService(answers, self._activity, self._streams).handler(calls),
                self._health.handler(calls),
            ],
            options=self._options(),
            maximum_concurrent_rpcs=self._most_calls,
        )
        self._port = self._listen(server)
        self._look()
        following = asyncio.create_task(self._follow(), name="keda-follow")
        self._running = server, following
        await server.start()

    async def stop(self) -> None:
        """Tell watchers, end streams well, answer what is in flight; returns when it is done.

        A stream that ends well is opened again after two seconds, elsewhere by then; after an error
        KEDA waits longer each time.
        """
        if self._running is None:
            return
        server, following = self._running
        self._running = None
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        self._health.set(serving=False)
        self._watchers.close()
        self._streams.close()
        await server.stop(self._settings.grace_seconds)

    @property
    def _most_calls(self) -> int:
        return self._settings.max_streams + MOST_WATCHERS + BESIDE_STREAMS

    def _options(self) -> list[tuple[str, int]]:
        return [
            # Two processes on one port would each get some of the connections.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", LARGEST_REQUEST),
            ("grpc.max_metadata_size", LARGEST_HEADERS),
            ("grpc.absolute_max_metadata_size", LARGEST_HEADERS),
            # KEDA opens all its streams over one connection, and waits silently where it may not.
            ("grpc.max_concurrent_streams", self._most_calls),
            # When KEDA comes back, it opens all of them at once; some would be cancelled at random.
            ("grpc.server.max_pending_requests", self._most_calls),
            ("grpc.server.max_pending_requests_hard_limit", self._most_calls),
            ("grpc.max_allowed_incoming_connections", MOST_CONNECTIONS),
            ("grpc.server_handshake_timeout_ms", round(self._settings.request_seconds * 1000)),
            # A client whose machine is gone would keep its streams for ever.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ]

    def _listen(self, server: grpc.aio.Server) -> int:
        host, port = self._settings.host, self._settings.port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = self._credentials()
        try:
            if credentials is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ConfigError(
                f"keda.port: {address} cannot be listened on; is another process there?"
            ) from error

    def _credentials(self) -> grpc.ServerCredentials | None:
        files = self._settings
        if files.cert_file is None or files.key_file is None or files.client_ca_file is None:
            return None
        return Certificates(files.cert_file, files.key_file, files.client_ca_file).credentials()

    async def _follow(self) -> None:
        """Tell streams of each new plan, and watchers when the newest one has grown old."""
        board: Board | None = None
        while True:
            after = board.cycle if board is not None else ""
            board = await self._newest.next(after, self._look_seconds) or board
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - one bad plan must not end all wake-ups
                _log.error("plan not told", reason=repr(error), exc_info=error)

    def _look(self) -> None:
        board = self._newest.board
        fresh = board is not None and not self._newest.lacks()
        if board is not None and fresh and board is not self._learned:
            self._learned = board
            self._streams.tell(self._activity.learn(board))
        self._health.set(serving=fresh)
