"""One Prometheus, asked with limits: tries, deadline, concurrency, circuit breaker."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from queue import Empty, LifoQueue
from threading import Semaphore
from typing import Any, Self

import numpy as np
import urllib3
from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry as NoRetry

from autoscaler.adapters.prometheus.answers import Answer, clock_in, texts
from autoscaler.adapters.prometheus.auth import Credentials
from autoscaler.adapters.prometheus.breaker import Breaker, BreakerState
from autoscaler.adapters.prometheus.deadline import Watchdog
from autoscaler.adapters.prometheus.errors import (
    MalformedError,
    RestingError,
    SourceError,
    TimedOutError,
)
from autoscaler.adapters.prometheus.session import PrometheusSession
from autoscaler.adapters.prometheus.settings import SourceSettings


class PrometheusSource:
    """A Prometheus, Thanos or Mimir; thread-safe.

    Attributes:
        settings: How to reach it.
        breaker: Whether it is being asked at all.
        glances: Queries that were run in passing.
    """

    def __init__(
        self,
        settings: SourceSettings,
        *,
        chance: np.random.Generator | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a source; nothing is asked yet.

        Args:
            settings: How to reach it.
            chance: Jitter of the back-off; seeded by the source's name if absent.
            monotonic: Measures durations.
            sleep: Waits between tries.
        """
        self.settings = settings
        self.glances = 0
        self.breaker = Breaker(settings.name, settings.breaker, monotonic=monotonic)
        self._credentials = Credentials(settings)
        self._watchdog = Watchdog(settings.name, monotonic=monotonic)
        self._chance = chance or np.random.default_rng(list(settings.name.encode()))
        self._monotonic = monotonic
        self._sleep = sleep
        self._slots = Semaphore(settings.max_concurrency)
        self._idle: LifoQueue[_Client] = LifoQueue()
        if settings.tls.insecure_skip_verify:
            # Chosen in the settings: no need to repeat it with every call.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def query_range(
        self, promql: str, start: float, end: float, step: float, *, deadline: float | None = None
    ) -> Answer:
        """Evaluate a query at `start`, `start + step`, ... up to `end`.

        Args:
            promql: The query.
            start: Unix seconds.
            end: Unix seconds.
            step: Seconds.
            deadline: Until when, monotonic seconds; `timeoutSeconds` from now if that is sooner.

        Raises:
            SourceError: There is no useful answer.
        """
        return self._answer(_ranged(promql, start, end, step), deadline)

    def glance(self, promql: str, at: float, *, deadline: float) -> Answer:
        """Evaluate a query at one time, in passing, as a range of one point.

        It never waits for other calls, never tries twice, and tells the breaker nothing: what is
        asked beside the cycles should cost them nothing.

        Args:
            promql: The query.
            at: Unix seconds.
            deadline: Until when, monotonic seconds.

        Raises:
            SourceError: There is no useful answer, or the source has other things to do.
        """
        if self.breaker.problem or self.breaker.state is not BreakerState.CLOSED:
            raise RestingError(self.settings.name, "it is not asked in passing: it has failed")
        if not self._slots.acquire(blocking=False):
            raise TimedOutError(self.settings.name, "it is not asked in passing: it is busy")
        self.glances += 1
        try:
            left = min(deadline - self._monotonic(), self.settings.timeout_seconds)
            return self._once(_ranged(promql, at, at, 1.0), left)
        finally:
            self._slots.release()

    def query(self, promql: str, at: float, *, deadline: float | None = None) -> Answer:
        """Evaluate a query at one time.

        Args:
            promql: The query.
            at: Unix seconds.
            deadline: Until when, monotonic seconds; `timeoutSeconds` from now if that is sooner.

        Raises:
            SourceError: There is no useful answer.
        """

        def ask(client: PrometheusConnect, timeout: float) -> None:
            params = {"time": repr(float(at)), **_server_timeout(timeout)}
            client.custom_query(promql, params=params, timeout=timeout)

        return self._answer(ask, deadline)

    def close(self) -> None:
        """Close every connection."""
        self._watchdog.close()
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(
        self, ask: Callable[[PrometheusConnect, float], None], deadline: float | None
    ) -> Answer:
        longest = self.settings.timeout_seconds
        latest = self._monotonic() + longest
        deadline = latest if deadline is None else min(deadline, latest)
        if not self._slots.acquire(timeout=max(0.0, deadline - self._monotonic())):
            most = self.settings.max_concurrency
            raise TimedOutError(self.settings.name, f"{most} calls are under way, none came back")
        try:
            left = deadline - self._monotonic()
            if left <= 0:
                raise TimedOutError(self.settings.name, "no time was left to ask")
            with self.breaker.call(deadline):
                # A call that had to be short says little of the source when it is late.
                return self._tries(ask, deadline, fair=left >= longest / 2)
        finally:
            self._slots.release()

    def _tries(
        self, ask: Callable[[PrometheusConnect, float], None], deadline: float, *, fair: bool
    ) -> Answer:
        retry = self.settings.retry
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(ask, deadline - self._monotonic())
            except SourceError as error:
                if isinstance(error, TimedOutError):
                    error.blames_source = fair
                wait = min(retry.backoff_seconds * 2 ** (attempt - 1), retry.max_backoff_seconds)
                wait = max(wait * float(self._chance.uniform(1.0, 1.5)), error.retry_after or 0.0)
                late = self._monotonic() + wait >= deadline
                if not error.retryable or attempt == retry.attempts or late:
                    raise
            self._sleep(wait)

    def _once(self, ask: Callable[[PrometheusConnect, float], None], timeout: float) -> Answer:
        try:
            client = self._idle.get_nowait()
        except Empty:
            client = _Client(self.settings, self._credentials, self._watchdog, self._monotonic)
        try:
            ask(client.connect, timeout)
        except SourceError:
            client.close()  # its connection may hold the rest of a broken answer
            raise
        reply = client.session.taken()
        self._idle.put(client)
        decoded = reply.json()
        data = decoded["data"]
        rows = tuple(data["result"])
        kind = str(data.get("resultType"))
        if kind in ("matrix", "vector") and set(map(type, rows)) - {dict}:
            raise MalformedError(self.settings.name, "a row of the answer is not an object")
        return Answer(
            kind,
            rows,
            warnings=tuple(map(self._credentials.redact, texts(decoded.get("warnings")))),
            infos=tuple(map(self._credentials.redact, texts(decoded.get("infos")))),
            date=clock_in(reply.date),
            received=self._monotonic(),
            body_bytes=len(reply.content),
        )


class _Client:
    """The client library on a session of ours."""

    def __init__(
        self,
        settings: SourceSettings,
        credentials: Credentials,
        watchdog: Watchdog,
        monotonic: Callable[[], float],
    ) -> None:
        self.session = PrometheusSession(settings, credentials, watchdog, monotonic=monotonic)
        self.connect = PrometheusConnect(
            settings.shown_url, session=self.session, retry=NoRetry(total=0)
        )
        # The client has just mounted an adapter of its own.
        self.session.mount(settings.shown_url, self.session.adapter)

    def close(self) -> None:
        self.connect.close()


def _ranged(
    promql: str, start: float, end: float, step: float
) -> Callable[[PrometheusConnect, float], None]:
    """Return what asks for a range."""
    # The client rounds times to whole seconds; what `params` holds wins.
    exact = {"start": repr(float(start)), "end": repr(float(end)), "step": repr(float(step))}
    moment = datetime.fromtimestamp(0, UTC)

    def ask(client: PrometheusConnect, timeout: float) -> None:
        client.custom_query_range(
            promql, moment, moment, exact["step"],
            params={**exact, **_server_timeout(timeout)}, timeout=timeout,
        )  # fmt: skip

    return ask


def _server_timeout(seconds: float) -> Mapping[str, Any]:
    """Ask the server to stop when we do: else it works on for an answer nobody reads."""
    return {"timeout": f"{max(1, round(seconds * 1000))}ms"}
