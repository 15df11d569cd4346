"""A small client of the Kubernetes API: plain HTTPS with the pod's service account."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from autoscaler.core.errors import ConfigError, ObservationError
from autoscaler.core.spec import Spec
from metrics_adapter.client import Trust, a_session, abandon, token_of, why

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LARGEST_ANSWER: Final = 64 * 1024 * 1024
TIMEOUT_SECONDS: Final = 5.0
_JSON: Final = "application/json"
_MERGE: Final = "application/merge-patch+json"

Document = dict[str, Any]


class ApiServerSettings(Spec):
    """Where the Kubernetes API is, and as whom it is asked."""

    url: str | None = None
    """Its address; absent: as the pod's environment says."""

    ca_file: Path = ACCOUNT / "ca.crt"
    """Authority of its certificate (PEM). Read again when changed."""

    token_file: Path = ACCOUNT / "token"
    """Our token, which the kubelet renews. Read again for each request."""

    def address(self) -> str:
        """Return the address, without a slash at its end.

        Raises:
            ConfigError: Neither the settings nor the environment name one.
        """
        if self.url is not None:
            return self.url.rstrip("/")
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ConfigError(
                "apiServer.url: not in a pod, so the address of the Kubernetes API is needed"
            )
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class AnswerError(ObservationError):
    """The API server answered, and said no.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiServer:
    """Asks the API server; to be used and closed in one event loop."""

    def __init__(self, settings: ApiServerSettings) -> None:
        """Take addresses and files; nothing is asked yet.

        Raises:
            ConfigError: There is no address, or the authority cannot be read.
        """
        self._address = settings.address()
        self._settings = settings
        self._trust = Trust(settings.ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0.01)  # connections over TLS end in the loop's next turns

    async def get(self, path: str) -> Document:
        """Return an object.

        Raises:
            ObservationError: It could not be read; `AnswerError` where the server said so.
        """
        return await self.ask("GET", path)

    async def ask(
        self, method: str, path: str, body: Document | None = None, *, accept: str = _JSON
    ) -> Document:
        """Send a request, a body as JSON (of a PATCH: a merge patch), and return the answer.

        Raises:
            ObservationError: There is no good answer; `AnswerError` where the server said so.
        """
        async with self._asked(method, path, body, TIMEOUT_SECONDS, accept) as answer:
            text = bytearray()
            async for chunk in answer.content.iter_any():
                text += chunk
                if len(text) > LARGEST_ANSWER:
                    raise ObservationError(f"{method} {path}: the answer is too large")
        document = _document(bytes(text))
        if answer.status >= 300:
            message = document.get("message") or f"status {answer.status}"
            raise AnswerError(answer.status, f"{method} {path}: {message}")
        return document

    async def watch(self, path: str, *, seconds: float) -> AsyncGenerator[Document, None]:
        """Yield the events of a watch until it ends.

        Raises:
            ObservationError: It broke, or the server refused.
        """
        async with self._asked("GET", path, None, seconds + TIMEOUT_SECONDS, _JSON) as answer:
            if answer.status != 200:
                raise AnswerError(answer.status, f"watch {path}: status {answer.status}")
            line = bytearray()
            async for chunk in answer.content.iter_any():
                *whole, rest = (bytes(line) + chunk).split(b"\n")
                for one in whole:
                    if one.strip():
                        yield _document(one)
                line = bytearray(rest)
                if len(line) > LARGEST_ANSWER:
                    raise ObservationError(f"watch {path}: an event is too large")

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: Document | None, seconds: float, accept: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {
            "Accept": accept,
            "Authorization": f"Bearer {token_of(self._settings.token_file)}",
            "User-Agent": "inference-autoscaler-adapter",
        }
        if body is not None:
            headers["Content-Type"] = _MERGE if method == "PATCH" else _JSON
        if self._session is None:
            self._session = a_session(64)
        try:
            async with self._session.request(
                method,
                self._address + path,
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                ssl=self._trust.context(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=TIMEOUT_SECONDS),
            ) as answer:
                try:
                    yield answer
                finally:
                    abandon(answer)
        except (aiohttp.ClientError, OSError, UnicodeError, asyncio.IncompleteReadError) as error:
            raise ObservationError(f"{method} {path}: {why(error)}") from error


def _document(text: bytes) -> Document:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ObservationError(f"the API server's answer is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ObservationError("the API server's answer is no object")
    return document
