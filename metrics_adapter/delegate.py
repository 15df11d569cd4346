"""Passes on what we do not know: to the adapter that owned the API before us."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from pydantic import Field, PositiveFloat

from autoscaler.core.errors import ObservationError
from autoscaler.core.spec import Number, Spec
from metrics_adapter.api_server import ACCOUNT
from metrics_adapter.client import Trust, a_session, abandon, token_of, why
from metrics_adapter.reply import read
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import CUSTOM, VERSIONS
from metrics_adapter.translation import OLDER, translated
from metrics_adapter.turns import in_turns, plan_in_turns
from metrics_adapter.values import servable

LARGEST_ANSWER: Final = 4 * 1024 * 1024
MOST_AT_ONCE: Final = 64
LOOK_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 5.0
"""So long a 404 is no reason to ask again for its version: most mean that a metric is unknown."""
MOST_NAMES: Final = 5000
"""So many of its metrics are told in discovery; more have values all the same."""
VIA: Final = "inference-autoscaler-adapter"
"""What we add to a request that we pass on: it must not come back to be passed on again."""
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

    timeout_seconds: Annotated[PositiveFloat, Number, Field(le=8)] = 5.0
    """Time for an answer; who asked us is told after ten seconds that it took too long."""


class Delegate:
    """The adapter behind one group."""

    def __init__(
        self,
        group: str,
        settings: DelegateSettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take its address; nothing is asked yet.

        Args:
            group: What it is asked for.
            settings: How it is asked.
            monotonic: Returns seconds that only ever rise.

        Raises:
            ConfigError: Its authority cannot be read.
        """
        self._group = group
        self._settings = settings
        self._monotonic = monotonic
        self._trust = Trust(settings.ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._open = 0
        self._problem = ""
        self._left_out = ""
        self._version = "" if group in OLDER else VERSIONS[group]
        self._looked = float("-inf")
        self._looking = asyncio.Lock()

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0.01)  # connections over TLS end in the loop's next turns

    async def answer(
        self, segments: Sequence[str], parameters: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body of its answer, in the version of the group that we serve.

        Args:
            segments: Of the path, after group and version, decoded.
            parameters: Of the query; only selectors are passed on.

        Raises:
            RefusalError: It does not answer as it should (503), or too many wait for it (429).
        """
        if self._open >= MOST_AT_ONCE:
            raise RefusalError(429, "too many requests wait for the adapter behind this one")
        self._open += 1
        seconds = self._settings.timeout_seconds
        *_, metric = segments
        path = "/".join(quote(one, safe="*") for one in segments)
        query = {name: value for name, value in parameters.items() if name in _PASSED}
        try:
            async with asyncio.timeout(seconds):
                return await self._answer(f"{path}{'?' if query else ''}{urlencode(query)}", metric)
        except ObservationError as error:
            raise RefusalError(503, f"the adapter behind this one: {error}") from error
        except TimeoutError as error:
            late = f"no answer within {seconds:g} s"
            raise RefusalError(503, f"the adapter behind this one: {late}") from error
        finally:
            self._open -= 1

    async def names(self) -> list[str]:
        """Return what it lists, in the version that it serves by now; sorted, `MOST_NAMES` at most.

        Raises:
            ObservationError: It does not answer as it should.
        """
        await self._look(0.0)
        status, body = await self._ask(f"/{self._version}")
        names = _Names(self._group)
        await self._list(status, body, "resources", lambda one: names.add(one.get("name")))
        left_out = names.left_out()
        if left_out and left_out != self._left_out:
            _log.warning("delegate's names left out", group=self._group, reason=left_out)
        self._left_out = left_out
        return names.kept

    async def run(self, use: Callable[[str, Iterable[str]], Awaitable[None]]) -> None:
        """Tell `use` what it lists, for ever; while it is away the last list counts."""
        while True:
            try:
                await use(self._group, await self.names())
                self._problem = ""
            except ObservationError as error:
                self._told(str(error))
            except Exception as error:  # noqa: BLE001  # whatever it says, our own metrics go on
                self._told(f"it could not be understood: {error!r}", error)
            await asyncio.sleep(LOOK_SECONDS)

    def _told(self, problem: str, error: Exception | None = None) -> None:
        if problem != self._problem:
            _log.warning("delegate not reached", group=self._group, reason=problem, exc_info=error)
        self._problem = problem

    async def _answer(self, rest: str, metric: str) -> tuple[int, bytes]:
        if not self._version:
            await self._look(0.0)
        version = self._version
        if not version:  # whoever looked meanwhile found none
            raise ObservationError("it is not known which version it serves")
        status, body = await self._ask(f"/{version}/{rest}")
        if status == 404:
            with suppress(ObservationError):  # then what it said counts
                await self._look(AGAIN_SECONDS)
            if self._version != version:
                version = self._version
                status, body = await self._ask(f"/{version}/{rest}")
        return status, await in_turns(translated(status, body, self._group, version, metric))

    async def _look(self, seconds: float) -> None:
        """Find out which version it serves, ours rather than an older one.

        Args:
            seconds: Not where it was tried so shortly before.

        Raises:
            ObservationError: It does not say, or serves none that is understood here.
        """
        older = OLDER.get(self._group)
        asked = self._monotonic()
        async with self._looking:
            if older is None or self._looked > asked - seconds:
                return
            try:
                version = await self._served((VERSIONS[self._group], older))
            finally:
                self._looked = self._monotonic()
        if version != self._version:
            _log.info("delegate found", group=self._group, version=version)
        self._version = version

    async def _served(self, understood: tuple[str, ...]) -> str:
        status, body = await self._ask("")
        if status == 200:
            served: set[str] = set()

            def add(one: dict[str, Any]) -> None:
                served.update(version for version in understood if version == one.get("version"))

            await self._list(status, body, "versions", add)
        else:  # not every adapter tells of its group, but each of a version that is registered
            served = {one for one in understood if (await self._ask(f"/{one}"))[0] == 200}
            if not served:
                raise ObservationError(f"status {status}")
        found = next((one for one in understood if one in served), None)
        if found is None:
            raise ObservationError(f"it serves {self._group} neither at {' nor '.join(understood)}")
        return found

    async def _list(
        self, status: int, body: bytes, name: str, use: Callable[[dict[str, Any]], None]
    ) -> None:
        """Use each object of a list of discovery.

        Raises:
            ObservationError: It is no such document.
        """
        if status != 200:
            raise ObservationError(f"status {status}")
        await plan_in_turns(
            read(status, body, name, lambda one: use(one) if isinstance(one, dict) else None)
        )

    async def _ask(self, path: str) -> tuple[int, bytes]:
        """Return status and body of what it says to a path below its group."""
        settings = self._settings
        if self._session is None:
            self._session = a_session(MOST_AT_ONCE, unpacks=False)
        try:
            async with self._session.get(
                f"{settings.url.rstrip('/')}/apis/{self._group}{path}",
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Authorization": f"Bearer {token_of(settings.token_file)}",
                    "User-Agent": "inference-autoscaler-adapter",
                    "Via": f"1.1 {VIA}",
                },
                ssl=self._trust.context(),
                server_hostname=settings.server_name,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=settings.timeout_seconds),
            ) as answer:
                try:
                    return answer.status, await _bounded(answer)
                finally:
                    abandon(answer)
        except TimeoutError as error:
            raise ObservationError(f"no answer within {settings.timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise ObservationError(why(error)) from error


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise ObservationError("its answer is too large")
    return bytes(body)


class _Names:
    """Names as they are listed: those that can be asked for, the first of them in their order."""

    def __init__(self, group: str) -> None:
        self._segments = 2 if group == CUSTOM else 1
        self._unfit = self._beyond = 0
        self.kept: list[str] = []

    def add(self, name: Any) -> None:
        segments = name.split("/") if isinstance(name, str) else []
        if len(segments) != self._segments or not all(map(servable, segments)):
            self._unfit += 1
            return
        place = bisect_left(self.kept, name)
        if self.kept[place : place + 1] != [name]:
            self.kept.insert(place, name)
            self._beyond += len(self.kept) > MOST_NAMES
            del self.kept[MOST_NAMES:]

    def left_out(self) -> str:
        """Return which names were left out; empty where none was."""
        unfit = f"{self._unfit} that nobody could ask for" if self._unfit else ""
        beyond = f"{self._beyond} beyond the first {MOST_NAMES}" if self._beyond else ""
        return " and ".join(filter(None, (unfit, beyond)))


def came_from_us(via: Iterable[str]) -> bool:
    """Whether a request with such headers `Via` is one that we, or another like us, passed on."""
    return any(VIA in one for one in via)
