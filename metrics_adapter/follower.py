"""Follows the controller's plan: one request that waits, again and again."""

import asyncio
import secrets
import time
from collections.abc import Callable, Generator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import structlog
from pydantic import Field, PositiveFloat

from autoscaler.core.errors import ObservationError
from autoscaler.core.spec import Number, Spec
from metrics_adapter.board import Board, board_end, board_steps
from metrics_adapter.client import Trust, a_session, abandon, token_of, why
from metrics_adapter.garbage import Garbage
from metrics_adapter.newest import Newest
from metrics_adapter.plan import Plan, plan_steps
from metrics_adapter.turns import plan_in_turns

LARGEST_PLAN: Final = 256 * 1024 * 1024
LONGEST_PAUSE_SECONDS: Final = 5.0
LEAST_SECONDS: Final = 0.2
"""From one question to the next, however soon plans come."""
SOON_SECONDS: Final = 1.0
"""Who says within this time that there is nothing new did not wait, as it was asked to."""

_log = structlog.get_logger("metrics_adapter.plan")


class ControllerSettings(Spec):
    """Where the controller is, and how it is asked."""

    url: Annotated[str, Field(pattern=r"^https?://[^/?#]+/?$")] = "http://127.0.0.1:8090"
    """Address of the controller, without a path."""

    ca_file: Path | None = None
    """Authority that signed the controller's certificate (PEM); absent: the system's."""

    token_file: Path | None = None
    """File with the bearer token that the controller asks for. Read for each request."""

    wait_seconds: Annotated[PositiveFloat, Number, Field(le=60)] = 25.0
    """How long one request waits for the next plan."""

    max_plan_age_seconds: Annotated[PositiveFloat, Number] | None = None
    """An older plan answers nothing; absent: four intervals of the controller, at least 60 s."""


class _KnownError(Exception):
    """The plan that came is one that had come before."""


class StandbyError(ObservationError):
    """A controller answered that does not lead."""


class Follower:
    """Keeps `newest` at the controller's newest plan."""

    def __init__(
        self, settings: ControllerSettings, newest: Newest, wall: Callable[[], float]
    ) -> None:
        """Publish to `newest`; `wall` is asked only where the controller tells no time.

        Raises:
            ConfigError: The authority's file cannot be read.
        """
        self._settings = settings
        self._trust = Trust(settings.ca_file)
        self._newest = newest
        self._wall = wall
        self._problem = ""
        self._pause = 0.0
        self._after = ""
        self._garbage = Garbage()

    async def run(self) -> None:
        """Follow for ever; what goes wrong, whatever it is, is told once and tried again."""
        while True:
            async with a_session(2) as session:
                await self._follow(session)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        """Follow until a standby answers: another connection may reach the one that leads."""
        while True:
            begun = time.monotonic()
            try:
                news = await self.once(session)
            except (aiohttp.ClientError, OSError, UnicodeError, ObservationError) as error:
                self._told(why(error))
                await self._rest()
                if isinstance(error, StandbyError):
                    return
            except Exception as error:  # noqa: BLE001  # the next plan may be better
                self._told(f"it could not be followed: {error!r}", error)
                await self._rest()
            else:
                self._told("")
                if news:
                    self._pause = 0.0
                    await asyncio.sleep(max(0.0, begun + LEAST_SECONDS - time.monotonic()))
                else:
                    await self._rest()

    async def _rest(self) -> None:
        """Wait, longer each time; several adapters do not come back at the same moment."""
        self._pause = min(LONGEST_PAUSE_SECONDS, max(0.25, 2 * self._pause))
        await asyncio.sleep(self._pause * (0.5 + secrets.randbelow(1000) / 1000))

    async def once(self, session: aiohttp.ClientSession) -> bool:
        """Ask once; publish what comes. Return False where nothing is new, and it was said at once.

        Raises:
            ObservationError: The answer is no plan, or one that must not be followed.
            aiohttp.ClientError: There is no answer.
            TimeoutError: It takes too long.
        """
        parameters = {"wait": f"{self._settings.wait_seconds:g}", "after": self._after}
        address = self._settings.url.rstrip("/") + "/v1/plan"
        wait = self._settings.wait_seconds
        begun = time.monotonic()
        async with session.get(
            address,
            params=parameters,
            headers=self._headers(),
            ssl=self._trust.context(),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=wait + 30.0, sock_connect=5.0),
        ) as answer:
            if answer.status == 204:
                return time.monotonic() - begun > min(SOON_SECONDS, wait / 2)
            # A plan grows older while it is read, for requests go before it.
            ahead = _time_of(answer.headers.get("Date", ""), self._wall) - self._newest.seconds()
            try:
                body = await _bounded(answer)
            finally:
                abandon(answer)
            if answer.status != 200:
                text = body[:200].decode("utf-8", "replace")
                raise ObservationError(f"{address}: {answer.status}: {text}")
        return await self._use(body, ahead)

    async def _use(self, body: bytes, ahead: float) -> bool:
        """Publish a plan, unless it is known; the controller's clock is so far ahead of ours."""
        board = self._newest.board
        try:
            with self._garbage.apart():
                longest = self._settings.max_plan_age_seconds
                made = await plan_in_turns(steps(body, board, longest, self._judge))
                self._newest.publish(made, self._newest.seconds() + ahead - made.time)
                self._after = made.cycle
                if board is not None:
                    await plan_in_turns(board_end(board))
        except _KnownError:
            return False
        return True

    def _judge(self, plan: Plan) -> None:
        """Return if a plan is to be followed.

        Clocks are compared only where another process answers for the first time. What a process
        decides after its last plan that we know is newer than that, whatever its clock says.

        Raises:
            StandbyError: Whoever made it does not lead.
            ObservationError: It is another process's, and older than what we have.
        """
        if plan.standby:
            raise StandbyError(f"{self._settings.url}: a controller answers that does not lead")
        board = self._newest.board
        if board is None:
            return
        if plan.cycle in (board.cycle, self._after):
            self._after = plan.cycle
            raise _KnownError
        goes_on = _process_of(plan.cycle) in (_process_of(board.cycle), _process_of(self._after))
        if plan.time < board.time and not goes_on and not self._newest.lacks():
            self._after = plan.cycle
            raise ObservationError(
                f"the plan {plan.cycle} is {board.time - plan.time:.0f} s older than "
                f"{board.cycle} of another controller; the next one is waited for"
            )

    def _headers(self) -> dict[str, str]:
        if self._settings.token_file is None:
            return {}
        return {"Authorization": f"Bearer {token_of(self._settings.token_file)}"}

    def _told(self, problem: str, error: Exception | None = None) -> None:
        if problem and problem != self._problem:
            _log.warning("controller not followed", reason=problem, exc_info=error)
        if self._problem and not problem:
            _log.info("controller followed again")
        self._problem = self._newest.problem = problem


def steps(
    body: bytes,
    before: Board | None,
    max_age_seconds: float | None = None,
    judge: Callable[[Plan], None] = lambda plan: None,
) -> Generator[None, None, Board]:
    """Read and write out a plan; the arguments are those of `board_steps`.

    Raises:
        ObservationError: It is not a plan, or `judge` refuses it.
    """
    plan = yield from plan_steps(body)
    judge(plan)
    return (yield from board_steps(plan, before, max_age_seconds))


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_PLAN:
            raise ObservationError(f"the plan has more than {LARGEST_PLAN >> 20} MiB")
    return bytes(body)


def _time_of(date: str, wall: Callable[[], float]) -> float:
    """Return when the controller answered by its own clock, Unix seconds."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return wall()


def _process_of(cycle: str) -> str:
    """Return the part of a cycle's name that all cycles of one process share."""
    return cycle.rpartition("-")[0]
