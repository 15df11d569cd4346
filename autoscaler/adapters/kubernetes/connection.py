"""One connection to an API server: raw JSON, deadlines, retries, errors in one clear line."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import orjson
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import OpenApiException
from kubernetes.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
)

from autoscaler.adapters.kubernetes.requests import (
    Asked,
    KubernetesError,
    Query,
    asked,
    one_line,
    refused,
)
from autoscaler.core.errors import ConfigError

_NETWORK: Final = (urllib3.exceptions.HTTPError, OSError)
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 16 << 20
_NOT_SENT: Final = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait for an API server.

    Attributes:
        connect_seconds: For a connection; an API server that is there answers in milliseconds.
        read_seconds: For the next bytes of an answer.
        deadline_seconds: For one request with all its retries, where the caller names none.
        first_wait_seconds: Before the first retry; it doubles with each further one.
        longest_wait_seconds: Between two tries, unless the server asks for longer.
        unsent_seconds: How long to go on trying where nobody listens, or the name is unknown.
        pool: Connections that are kept open: as many as threads ask at once, watches included.
    """

    connect_seconds: float = 3.0
    read_seconds: float = 10.0
    deadline_seconds: float = 15.0
    first_wait_seconds: float = 0.2
    longest_wait_seconds: float = 5.0
    unsent_seconds: float = math.inf
    pool: int = 64


DEFAULT_LIMITS: Final = Limits()
ONCE_LIMITS: Final = Limits(unsent_seconds=1.0)
"""For a process that looks once: whoever waits for it learns soon that nobody listens."""


class Stream:
    """The lines of one watch, as they come."""

    def __init__(self, response: Any, fail: Callable[[BaseException], KubernetesError]) -> None:
        self._response = response
        self._fail = fail

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines until the server ends the answer.

        Raises:
            KubernetesError: The connection broke, or was silent for too long.
        """
        rest = b""
        try:
            while chunk := self._response.read1(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line for line in lines if line)
                if len(rest) > _LONGEST_LINE:
                    raise self._fail(ValueError(f"a line longer than {_LONGEST_LINE} bytes"))
        except (*_NETWORK, ValueError, AttributeError) as error:
            # A stream that another thread closed fails in any of these ways.
            raise self._fail(error) from error
        finally:
            self._response.close()
        if rest:
            raise self._fail(ValueError("the answer ended within a line"))

    def stop(self) -> None:
        """End the stream from another thread, at once."""
        try:
            self._response.shutdown()
        except (*_NETWORK, ValueError, RuntimeError):
            self._response.close()


class Connection:
    """Asks one API server. May be used from many threads.

    Every request has a time-out and a deadline; what passes (429, 5xx, a lost connection) is
    tried again with growing, jittered waits, and `Retry-After` is honoured within the deadline.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        limits: Limits = DEFAULT_LIMITS,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Use a configuration of the official client.

        Args:
            configuration: Address, credentials, TLS.
            limits: How long to wait.
            monotonic: Measures deadlines.
            pause: Waits between two tries.
            chance: Numbers in [0, 1) that spread the waits; from the system by default.
        """
        # Ours are the only retries, so that one deadline holds for all of them.
        configuration.retries = False
        configuration.connection_pool_maxsize = limits.pool
        configuration.keep_alive = True
        self.limits = limits
        self.monotonic = monotonic
        self.chance = chance or np.random.default_rng().random
        self.pause = pause
        self._configuration: Any = configuration
        client: Any = ApiClient
        self._client: Any = client(configuration)
        self._client.user_agent = "inference-autoscaler"
        self._failure = ""
        self._refused_at: float | None = None
        self._signing = threading.Lock()

    @classmethod
    def open(
        cls,
        kubeconfig: Path | None = None,
        context: str | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Self:
        """Connect as `kubectl` would, or as a pod does.

        Args:
            kubeconfig: Its file. Without it the pod's service account is used; outside of a
                cluster, `$KUBECONFIG` or `~/.kube/config`.
            context: A context of the kubeconfig; its current one by default.
            limits: How long to wait.

        Raises:
            ConfigError: There is no usable configuration; the message says why.
        """
        configuration = Configuration()
        try:
            _load(configuration, str(kubeconfig) if kubeconfig else None, context)
        except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            usual = os.environ.get("KUBECONFIG", "~/.kube/config")
            place = kubeconfig or f"{usual}, as we are in no pod"
            raise ConfigError(
                f"{place}: no usable Kubernetes configuration: {one_line(str(error)).rstrip('.')}; "
                f"--kubeconfig names another (`autoscaler backtest` needs no cluster)"
            ) from error
        return cls(configuration, limits=limits)

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self._configuration.host)

    @property
    def verified(self) -> bool:
        """Whether the API server's certificate is checked; only a kubeconfig can switch it off."""
        return bool(self._configuration.verify_ssl)

    @property
    def failure(self) -> str:
        """Why the newest request failed that got no answer; empty where one came since."""
        return self._failure

    @property
    def refused_seconds(self) -> float:
        """For how long nobody has listened at the address; 0 while somebody does."""
        at = self._refused_at
        return 0.0 if at is None else self.monotonic() - at

    def close(self) -> None:
        """Give the idle connections back."""
        self._client.close()

    def get(self, path: str, query: Query = (), *, deadline_seconds: float | None = None) -> Any:
        """Return the JSON at a path.

        Raises:
            KubernetesError: There was none within the deadline.
        """
        return self.ask("GET", path, query=query, deadline_seconds=deadline_seconds)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        deadline_seconds: float | None = None,
        retry: bool = True,
    ) -> Any:
        """Ask once, and again while that may help and time is left.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: Beginning with /api or /apis.
            query: Parameters.
            body: What to send; JSON values only.
            content_type: Of the body.
            deadline_seconds: For everything together; the limits' own by default.
            retry: Whether to try again at all.

        Returns:
            The answer's JSON.

        Raises:
            KubernetesError: The request failed; what it means stands in the message.
        """
        what = asked(method, path, query)
        began = self.monotonic()
        end = began + (
            self.limits.deadline_seconds if deadline_seconds is None else deadline_seconds
        )
        tries = 0
        while True:
            tries += 1
            try:
                return self._once(what, method, path, query, body, content_type, end)
            except KubernetesError as error:
                wait = self.wait_after(tries, error)
                left = end if error.sent else min(end, began + self.limits.unsent_seconds)
                if not (retry and error.passes) or self.monotonic() + wait >= left:
                    if tries == 1:
                        raise
                    raise KubernetesError(
                        f"{error} (tried {tries} times in {self.monotonic() - began:.1f} s)",
                        asked=what,
                        status=error.status,
                        retry_after=error.retry_after,
                        sent=error.sent,
                    ) from error
            self.pause(wait)

    def follow(self, path: str, query: Query, *, read_seconds: float) -> Stream:
        """Open a watch.

        Args:
            path: A collection.
            query: Parameters; `watch=true` is added.
            read_seconds: Longest silence before the stream counts as broken.

        Raises:
            KubernetesError: It was not opened.
        """
        query = (*query, ("watch", "true"))
        what = asked("GET", path, query)
        response = self._send(
            what, "GET", path, query, None, "", (self.limits.connect_seconds, read_seconds)
        )
        if response.status != 200:
            end = self.monotonic() + self.limits.read_seconds
            body = self._read(what, response, end)
            raise refused(what, response.status, body, response.headers, self._secrets())
        return Stream(response, lambda error: self._broken(what, error))

    def _once(
        self,
        what: Asked,
        method: str,
        path: str,
        query: Query,
        body: Any,
        content_type: str,
        end: float,
    ) -> Any:
        left = max(0.001, end - self.monotonic())
        waits = (min(self.limits.connect_seconds, left), min(self.limits.read_seconds, left))
        response = self._send(what, method, path, query, body, content_type, waits)
        answer = self._read(what, response, end)
        if not 200 <= response.status < 300:
            raise refused(what, response.status, answer, response.headers, self._secrets())
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise KubernetesError(
                f"{what}: the answer is not JSON ({error}); is {self.host} an API server?",
                asked=what,
            ) from error

    def _send(
        self,
        what: Asked,
        method: str,
        path: str,
        query: Query,
        body: Any,
        content_type: str,
        waits: tuple[float, float],
    ) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            with self._signing:  # renews a token from its file or plug-in, once for all threads
                request = self._client.param_serialize(
                    method,
                    path,
                    query_params=list(query),
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
        except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
            raise KubernetesError(
                f"{what}: no request could be made: {self._said(error)}", asked=what, sent=False
            ) from error
        try:
            response = self._client.call_api(*request, _request_timeout=waits).response
        except (*_NETWORK, OpenApiException, ValueError) as error:
            raise self._broken(what, error) from error
        self._failure, self._refused_at = "", None
        return response

    def _read(self, what: Asked, response: Any, end: float) -> bytes:
        """Read a body to its end; a server that sends a byte a second does not hold us up."""
        parts: list[bytes] = []
        try:
            while part := response.read1(_CHUNK):
                parts.append(part)
                if self.monotonic() > end:
                    raise TimeoutError("the answer did not end within the deadline")
        except _NETWORK as error:
            response.close()
            raise self._broken(what, error) from error
        response.release_conn()
        return b"".join(parts)

    def wait_after(self, tries: int, error: KubernetesError) -> float:
        """Return the seconds to wait after so many tries, the server's own wish included."""
        limits = self.limits
        longest = min(limits.longest_wait_seconds, limits.first_wait_seconds * 2.0 ** (tries - 1))
        wait = longest * (0.5 + 0.5 * self.chance())
        return wait + (error.retry_after or 0.0)

    def _broken(self, what: Asked, error: BaseException) -> KubernetesError:
        sent = not isinstance(error, _NOT_SENT)
        if sent:
            self._refused_at = None
        elif self._refused_at is None:
            self._refused_at = self.monotonic()
        self._failure = f"no answer from {self.host}: {self._said(error)}"
        return KubernetesError(f"{what}: {self._failure}", asked=what, sent=sent)

    def _said(self, error: BaseException) -> str:
        reason = getattr(error, "reason", None)  # what an SSL error or an ApiException wraps
        text = _plain(error) or str(reason or error) or type(error).__name__
        return one_line(text, self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        """Everything in our credentials that could be taken for words of a message."""
        keys = [str(value) for value in self._configuration.api_key.values()]
        bare = [value.split(" ", 1)[-1].strip() for value in keys]
        return tuple(secret for secret in (*keys, *bare) if secret)


def _plain(error: BaseException) -> str:
    """Return what went wrong in few words, the same each time; empty where that is not known."""
    match error:
        case urllib3.exceptions.NewConnectionError() | urllib3.exceptions.ProtocolError():
            causes = (error.__cause__, *error.args)
            texts = [one.strerror for one in causes if isinstance(one, OSError)]
            return str(texts[0] or "").lower() if texts else ""
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.ReadTimeoutError():
            return "no answer in time"
        case _:
            return ""


def _load(configuration: Configuration, file: str | None, context: str | None) -> None:
    from_pod: Any = load_incluster_config
    from_file: Any = load_kube_config
    if file is None and context is None:
        try:
            from_pod(configuration)
        except ConfigException:
            pass  # not in a pod: as kubectl does
        else:
            return
    from_file(file, context, client_configuration=configuration, persist_config=False)
