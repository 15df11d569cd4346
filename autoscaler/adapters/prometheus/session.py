"""The HTTP session under prometheus-api-client, without the client's traps.

What the client does by itself, measured: four tries with back-off whatever the timeout, no
timeout at all unless told, POST with the query still in the URL, an HTML page or `status: error`
as a KeyError, warnings dropped. This session makes every call end at its deadline, sends POST
bodies, turns whatever happens into a `SourceError`, and keeps the whole answer.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote_plus

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from autoscaler.adapters.prometheus.auth import Credentials
from autoscaler.adapters.prometheus.deadline import Call, Watchdog
from autoscaler.adapters.prometheus.errors import MalformedError, SourceError, TimedOutError
from autoscaler.adapters.prometheus.refusals import of_answer, of_exception
from autoscaler.adapters.prometheus.settings import SourceSettings

_CHUNK_BYTES: Final = 1 << 18
_LONG_QUERY: Final = 2_000
"""Longer requests are POSTed: proxies cut URLs at 4 to 8 KiB."""


class Reply:
    """A complete answer, decoded once, in the shape that the client expects of requests."""

    status_code: Final = 200

    def __init__(self, content: bytes, decoded: Mapping[str, Any], date: str | None) -> None:
        self.content = content
        self.date = date
        self._decoded = decoded

    def json(self) -> Mapping[str, Any]:
        """Return the decoded body."""
        return self._decoded


class PrometheusSession(requests.Session):
    """One connection's worth of calls; used by one thread at a time."""

    def __init__(
        self,
        settings: SourceSettings,
        credentials: Credentials,
        watchdog: Watchdog,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        # Neither a .netrc nor a proxy from the environment gets between us and the source.
        self.trust_env = False
        tls = settings.tls
        self.verify = False if tls.insecure_skip_verify else str(tls.ca_file or "") or True
        if tls.cert_file is not None and tls.key_file is not None:
            self.cert = (str(tls.cert_file), str(tls.key_file))
        self._reply: Reply | None = None
        self._settings = settings
        self._credentials = credentials
        self._watchdog = watchdog
        self._monotonic = monotonic
        self._call = Call(0.0)
        self._root = settings.shown_url
        self.adapter = _Adapter(self._carry)

    def request(  # type: ignore[override]
        self, method: str, url: str, *, timeout: float, **given: Any
    ) -> Reply:
        """Make one call, as the client asks for it, within `timeout` seconds in all.

        Raises:
            SourceError: There is no useful answer; the message is one line without secrets.
        """
        name = self._settings.name
        deadline = self._monotonic() + timeout
        self._reply = None
        with self._watchdog.watching(deadline) as self._call:
            try:
                answer = self._send(method, url, given.get("params") or {}, timeout)
                try:
                    body = self._read(answer, deadline)
                finally:
                    answer.close()
            except SourceError:
                raise
            except (requests.RequestException, OSError, ValueError) as error:
                if self._call.cut or self._monotonic() >= deadline:
                    late = f"no whole answer within {timeout:.3g} s from {self._root}"
                    raise TimedOutError(name, late, too_large=True) from error
                raise of_exception(name, self._root, error, self._credentials.redact) from error
        decoded = self._decode(answer, body)
        self._reply = Reply(body, decoded, answer.headers.get("Date"))
        return self._reply

    def taken(self) -> Reply:
        """Return the newest answer, whole, and forget it: the client hands on only its rows.

        Raises:
            LookupError: There is none.
        """
        reply, self._reply = self._reply, None
        if reply is None:
            raise LookupError("nothing was asked")
        return reply

    def _carry(self, connection: HTTPConnection) -> None:
        self._call.uses(connection)

    def _send(
        self, method: str, url: str, params: Mapping[str, Any], timeout: float
    ) -> requests.Response:
        form = "&".join(f"{name}={_quoted(str(value))}" for name, value in params.items())
        headers = {"Accept": "application/json", **self._credentials.headers()}
        body = None
        if method == "POST" or len(form) > _LONG_QUERY:
            method, body = "POST", form
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            url = f"{url}?{form}"
        return super().request(
            method,
            url,
            data=body,
            headers=headers,
            timeout=timeout,
            stream=True,
            # A redirect leads to a login page, or takes the credentials elsewhere.
            allow_redirects=False,
        )

    def _read(self, answer: requests.Response, deadline: float) -> bytes:
        most = self._settings.max_answer_mebibytes << 20
        pieces, size = [], 0
        for piece in answer.iter_content(_CHUNK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise MalformedError(
                    self._settings.name,
                    f"the answer is longer than maxAnswerMebibytes ({most >> 20})",
                    too_large=True,
                )
            if self._monotonic() >= deadline:
                raise requests.Timeout
        return b"".join(pieces)

    def _decode(self, answer: requests.Response, body: bytes) -> Mapping[str, Any]:
        try:
            decoded = orjson.loads(body)
        except orjson.JSONDecodeError:
            decoded = None
        if answer.status_code == 200 and isinstance(decoded, dict):
            data = decoded.get("data")
            result = data.get("result") if isinstance(data, dict) else None
            if decoded.get("status") == "success" and isinstance(result, list):
                return decoded
        raise of_answer(self._settings.name, self._root, answer, decoded, self._credentials.redact)


def _quoted(text: str) -> str:
    """Return a value as a form wants it; queries are the same in every cycle."""
    return _quoted_query(text) if len(text) > _LONG_QUERY else quote_plus(text)


@lru_cache(maxsize=1024)
def _quoted_query(query: str) -> str:
    return quote_plus(query)


class _Adapter(HTTPAdapter):
    """Tells which connection a call uses; never retries by itself."""

    def __init__(self, uses: Callable[[HTTPConnection], None]) -> None:
        self._uses = uses
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        uses = self._uses

        class Plain(HTTPConnection):
            def request(self, *args: Any, **kwargs: Any) -> None:
                uses(self)
                super().request(*args, **kwargs)

        class Secure(HTTPSConnection):
            def request(self, *args: Any, **kwargs: Any) -> None:
                uses(self)
                super().request(*args, **kwargs)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
