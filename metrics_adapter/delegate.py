"""Passes on what we do not know: to the adapter that owned the API before us."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
import structlog
from pydantic import Field, PositiveFloat

from autoscaler.core.errors import ConfigError, ObservationError
from autoscaler.core.spec import Number, Spec
from metrics_adapter.api_server import ACCOUNT, abandon, why
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import VERSIONS

LARGEST_ANSWER: Final = 4 * 1024 * 1024
MOST_AT_ONCE: Final = 64
LOOK_SECONDS: Final = 60.0
_PASSED: Final = frozenset({"labelSelector", "metricLabelSelector"})

_log = structlog.get_logger("metrics_adapter.delegate")


class DelegateSettings(Spec):
    """An adapter that answers what we do not know.

    It sees our own service account, whose rights it checks; who asked us was checked before.
    """

    url: Annotated[str, Field(pattern=r"^https://[^/?#]+/?$")]
    """Its address, such as https://keda-operator-metrics-apiserver.keda.svc."""

    ca_file: Path
    """Authority of its certificate (PEM). Read again when changed."""

    server_name: str | None = None
    """Name in its certificate, if that is another one than in the address."""

    token_file: Path = ACCOUNT / "token"
    """The token that we show. Read again for each request."""

    timeout_seconds: Annotated[PositiveFloat, Number, Field(le=30)] = 5.0
    """Time for an answer."""


class Delegate:
    """The adapter behind one group."""

    def __init__(self, group: str, settings: DelegateSettings) -> None:
        """Take its address; nothing is asked yet.

        Raises:
            ConfigError: Its authority cannot be read.
        """
        self._group = group
        self._settings = settings
        self._stamp = 0, 0
        self._trust: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._open = 0
        self._problem = ""
        self._refresh()

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0.01)  # connections over TLS end in the loop's next turns

    async def answer(
        self, segments: Iterable[str], parameters: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body of its answer.

        Args:
            segments: Of the path, after group and version, decoded.
            parameters: Of the query; only selectors are passed on.

        Raises:
            RefusalError: It does not answer as it should (503), or too many wait for it (429).
        """
        if self._open >= MOST_AT_ONCE:
            raise RefusalError(429, "too many requests wait for the adapter behind this one")
        self._open += 1
        try:
            path = "/".join(quote(one, safe="*") for one in segments)
            query = {name: value for name, value in parameters.items() if name in _PASSED}
            root = f"/apis/{self._group}/{VERSIONS[self._group]}"
            return await self._ask(f"{root}/{path}{'?' if query else ''}{urlencode(query)}")
        except ObservationError as error:
            raise RefusalError(503, f"the adapter behind this one: {error}") from error
        finally:
            self._open -= 1

    async def names(self) -> list[str]:
        """Return what it lists.

        Raises:
            ObservationError: It does not answer as it should.
        """
        status, body = await self._ask(f"/apis/{self._group}/{VERSIONS[self._group]}")
        if status != 200:
            raise ObservationError(f"status {status}")
        found: Any = orjson.loads(body)
        resources = found.get("resources") or []
        return [str(one["name"]) for one in resources if isinstance(one, dict) and "name" in one]

    async def run(self, use: Callable[[str, Iterable[str]], None]) -> None:
        """Tell `use` what it lists, for ever; while it is away the last list counts."""
        while True:
            try:
                use(self._group, await self.names())
                self._problem = ""
            except ObservationError as error:
                if str(error) != self._problem:
                    _log.warning("delegate not reached", group=self._group, reason=str(error))
                self._problem = str(error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self, path: str) -> tuple[int, bytes]:
        settings = self._settings
        self._refresh()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_AT_ONCE), auto_decompress=False
            )
        try:
            token = settings.token_file.read_text(encoding="ascii").strip()
            async with self._session.get(
                settings.url.rstrip("/") + path,
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Authorization": f"Bearer {token}",
                    "User-Agent": "inference-autoscaler-adapter",
                },
                ssl=self._trust or True,
                server_hostname=settings.server_name,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=settings.timeout_seconds),
            ) as answer:
                try:
                    body = await _bounded(answer)
                finally:
                    abandon(answer)
                return _checked(answer.status, body)
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            raise ObservationError(why(error)) from error

    def _refresh(self) -> None:
        """Load its authority again where the file has changed; keep the last good one."""
        file = self._settings.ca_file
        try:
            status = file.stat()
            stamp = status.st_ino, status.st_mtime_ns
            if stamp != self._stamp:
                self._trust = ssl.create_default_context(cafile=file)
                self._stamp = stamp
        except (OSError, ssl.SSLError) as error:
            if self._trust is None:
                raise ConfigError(f"{file}: should hold certificates: {error}") from error


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise ObservationError("its answer is too large")
    return bytes(body)


def _checked(status: int, body: bytes) -> tuple[int, bytes]:
    """Return an answer that may be passed on: an object in JSON, with a status that has a body."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ObservationError(f"its answer ({status}) is no JSON") from error
    if not isinstance(document, dict) or not (status == 200 or 400 <= status < 600):
        raise ObservationError(f"its answer ({status}) is none that can be passed on")
    return status, body
