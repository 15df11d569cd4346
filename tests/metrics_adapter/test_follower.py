"""Following the controller: what is asked, what is published, what goes wrong."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs

from autoscaler.core.errors import ConfigError, ObservationError
from metrics_adapter import follower
from metrics_adapter.client import a_session
from metrics_adapter.follower import ControllerSettings, Follower
from metrics_adapter.newest import Newest
from metrics_adapter.plan import plan_steps
from metrics_adapter.turns import plan_in_turns
from tests.builders import NOON
from tests.metrics_adapter.cluster import FakeController
from tests.metrics_adapter.plans import a_board, a_document, a_row, a_signal


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(
    controller: FakeController,
    then: Callable[[Newest, Clock], Any] = lambda newest, clock: None,
    *,
    times: int = 1,
    late: float = 0.0,
    **settings: Any,
) -> tuple[Newest, Any]:
    """Ask so often in one loop; return what was published, and what `then` finds."""
    clock = Clock()

    async def asking() -> tuple[Newest, Any]:
        newest = Newest(clock)
        one = Follower(
            ControllerSettings.model_validate(
                {"url": controller.url, "waitSeconds": 0.05, **settings}
            ),
            newest,
            lambda: NOON + late,
        )
        async with aiohttp.ClientSession() as session:
            for _ in range(times):
                await one.once(session)
        return newest, then(newest, clock)

    return asyncio.run(asking())


def test_the_plan_is_asked_for_after_the_one_that_is_known(controller: FakeController) -> None:
    newest, _ = ask(controller, times=2)

    assert newest.board is not None
    assert newest.board.cycle == "c-1"
    assert controller.asked == ["/v1/plan?wait=0.05&after=", "/v1/plan?wait=0.05&after=c-1"]


def test_age_is_counted_by_the_controller_s_clock(controller: FakeController) -> None:
    """The two clocks are a day apart; the plan was made ten seconds before it was answered."""
    controller.date = "Tue, 14 Nov 2023 22:13:30 GMT"

    def ages(newest: Newest, clock: Clock) -> tuple[float, float, str, str]:
        before, fine = newest.age(), newest.lacks()
        clock.now += 55
        return before, newest.age(), fine, newest.lacks()

    _, found = ask(controller, ages, late=86_400)

    assert found == (10.0, 65.0, "", "the newest plan is 65 s old, at most 60 s")


def test_a_plan_grows_older_while_it_is_read(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests have turns meanwhile."""
    clocks: list[Clock] = []

    async def slowly(making: Any) -> Any:
        clocks[0].now += 7
        return await plan_in_turns(making)

    async def asking() -> float:
        clocks.append(Clock())
        newest = Newest(clocks[0])
        one = Follower(ControllerSettings(url=controller.url), newest, lambda: NOON)
        async with aiohttp.ClientSession() as session:
            await one.once(session)
        return newest.age()

    controller.publish(at=NOON - 2)
    monkeypatch.setattr(follower, "plan_in_turns", slowly)

    assert asyncio.run(asking()) == 2 + 7


@pytest.mark.parametrize(
    "date", [None, "yesterday", "Tue, 14 Nov 99999999999999999999 22:13:20 GMT"]
)
def test_without_its_clock_ours_counts(controller: FakeController, date: str | None) -> None:
    controller.date = date

    _, age = ask(controller, lambda newest, clock: newest.age(), late=20)

    assert age == 20


def test_a_plan_from_the_future_is_not_younger_than_now(controller: FakeController) -> None:
    controller.date = "Tue, 14 Nov 2023 22:13:10 GMT"

    _, age = ask(controller, lambda newest, clock: newest.age())

    assert age == 0


def followed(
    controller: FakeController,
    *documents: bytes,
    between: Callable[[Clock], None] = lambda clock: None,
) -> list[str]:
    """Publish one plan after the other, ask once each time, and return what is known after each."""
    clock = Clock()

    async def asking() -> list[str]:
        newest, known = Newest(clock), []
        settings = ControllerSettings(url=controller.url, wait_seconds=0.05)
        one = Follower(settings, newest, lambda: NOON)
        async with aiohttp.ClientSession() as session:
            for document in documents:
                controller.publish_bytes(document)
                with contextlib.suppress(ObservationError):
                    await one.once(session)
                known.append(newest.board.cycle if newest.board is not None else "")
                between(clock)
        return known

    return asyncio.run(asking())


def test_an_older_plan_of_another_controller_is_left_out_and_its_next_one_waited_for(
    controller: FakeController,
) -> None:
    """What it decides after that is newer than what we have, whatever its clock says."""
    known = followed(
        controller,
        a_document(cycle="a-2", at=NOON),
        a_document(cycle="b-9", at=NOON - 600),
        a_document(cycle="b-10", at=NOON - 585),
    )

    assert known == ["a-2", "a-2", "b-10"]
    assert [one.partition("after=")[2] for one in controller.asked] == ["", "a-2", "b-9"]


def test_a_controller_whose_clock_steps_back_is_followed_on(controller: FakeController) -> None:
    known = followed(
        controller,
        a_document(cycle="a-2", at=NOON),
        a_document(cycle="a-3", at=NOON - 600),
    )

    assert known == ["a-2", "a-3"]


def test_an_older_plan_is_better_than_one_that_is_too_old(controller: FakeController) -> None:
    def later(clock: Clock) -> None:
        clock.now += 100

    known = followed(
        controller,
        a_document(cycle="a-2", at=NOON),
        a_document(cycle="b-9", at=NOON - 5),
        between=later,
    )

    assert known == ["a-2", "b-9"]


def test_a_plan_that_comes_again_changes_nothing(controller: FakeController) -> None:
    """Answers of two controllers by turns, as behind a Service that shares connections out."""
    newer, older = a_document(cycle="a-2", at=NOON), a_document(cycle="b-9", at=NOON - 5)

    assert followed(controller, newer, older, newer, older, newer) == ["a-2"] * 5


def always_the_same(controller: FakeController) -> None:
    controller._same = lambda after: False  # type: ignore[method-assign]


def always_another(controller: FakeController) -> None:
    """A plan that is new each time it is asked for."""
    known = controller._same

    def same(after: str) -> bool:
        controller._cycles += 1
        controller.document = a_document(cycle=f"c-{controller._cycles}")
        return known(after)

    controller._same = same  # type: ignore[method-assign]


def always_nothing(controller: FakeController) -> None:
    """As one that does not wait, or has not made any yet."""
    controller.document = None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaves", "lacks"),
    [
        pytest.param(always_the_same, "", id="the same plan"),
        pytest.param(always_another, "", id="another plan"),
        pytest.param(always_nothing, "no plan yet: the controller has none", id="no plan"),
    ],
)
def test_who_answers_at_once_is_not_asked_without_pause(
    controller: FakeController, behaves: Callable[[FakeController], None], lacks: str
) -> None:
    behaves(controller)
    newest = Newest(Clock())

    async def following() -> float:
        running = asyncio.create_task(
            Follower(ControllerSettings(url=controller.url), newest, lambda: NOON).run()
        )
        began = time.monotonic()
        while len(controller.asked) < 5:
            await asyncio.sleep(0.01)
        running.cancel()
        return time.monotonic() - began

    assert asyncio.run(following()) > 0.75
    assert newest.lacks() == lacks


def test_who_waits_for_a_plan_in_vain_is_asked_again_at_once(controller: FakeController) -> None:
    """A pause then would delay the plan that wakes a workload."""

    async def asking() -> list[bool]:
        settings = ControllerSettings(url=controller.url, wait_seconds=0.05)
        one = Follower(settings, Newest(Clock()), lambda: NOON)
        async with a_session(1) as session:
            return [await one.once(session) for _ in range(3)]

    assert asyncio.run(asking()) == [True, True, True]


def test_only_who_leads_is_followed(controller: FakeController) -> None:
    known = followed(
        controller,
        a_document(cycle="a-2", leader=False),
        a_document(cycle="b-1"),
        a_document(cycle="a-3", at=NOON + 15, leader=False),
        a_document(cycle="s-1", at=NOON + 30, leader=False, mode="shadow"),
    )

    assert known == ["", "b-1", "b-1", "s-1"]


def test_another_connection_may_reach_the_one_that_leads(controller: FakeController) -> None:
    controller.publish_bytes(a_document(cycle="a-2", leader=False))
    sessions: list[aiohttp.ClientSession] = []

    class Counting(Follower):
        async def once(self, session: aiohttp.ClientSession) -> bool:
            sessions.append(session)
            return await super().once(session)

    async def following() -> str:
        newest = Newest(Clock())
        running = asyncio.create_task(
            Counting(ControllerSettings(url=controller.url), newest, lambda: NOON).run()
        )
        while len(sessions) < 2:
            await asyncio.sleep(0.01)
        lacks = newest.lacks()
        controller.publish_bytes(a_document(cycle="b-1"))
        while newest.board is None:
            await asyncio.sleep(0.01)
        running.cancel()
        return lacks

    with capture_logs():
        lacks = asyncio.run(following())

    assert lacks.endswith(": a controller answers that does not lead")
    assert sessions[0] is not sessions[1]


@pytest.mark.parametrize(
    ("row", "more", "where"),
    [
        pytest.param(
            {"signals": {"load": a_signal(time=1.7e12)}}, {}, "workloads.0.signals.load.time",
            id="milliseconds",
        ),
        pytest.param({}, {"at": -1}, "time", id="before there was time"),
        pytest.param({}, {"at": 1e300}, "time", id="after the last year"),
        pytest.param({}, {"intervalSeconds": 0}, "intervalSeconds", id="no interval"),
        pytest.param({"desired": 10**18}, {}, "workloads.0.desired", id="replicas of nobody"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_the_old_plan_stays(
    controller: FakeController, row: dict[str, Any], more: dict[str, Any], where: str
) -> None:
    bad = a_document(a_row(**row), cycle="c-2", **more)

    assert followed(controller, a_document(), bad) == ["c-1", "c-1"]
    controller.publish_bytes(bad)
    with pytest.raises(ObservationError, match=f"the plan: {where}: Input should be"):
        ask(controller)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        pytest.param(b"1e999", "c-1", id="no value"),
        pytest.param(b"-1e999", "c-1", id="no value below zero"),
        pytest.param(b"17" * 200, "", id="digits without end"),
    ],
)
def test_numbers_beyond_every_number_are_refused_or_no_value(
    controller: FakeController, number: bytes, value: str
) -> None:
    """Whatever number of a plan is beyond all bounds, following goes on."""
    plain = a_document(a_row(signals={"load": a_signal(123.0, time=124.0, maxAgeSeconds=125.0)}))
    found = []
    for known in (b"123.0", b"124.0", b"125.0", b"15.0", str(NOON).encode()):
        assert known in plain
        found += followed(controller, plain.replace(known, number, 1))

    assert found == [value, "", "", "", ""]


def test_the_token_is_shown_and_read_each_time(controller: FakeController, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    ask(controller, tokenFile=token)
    token.write_text("second")
    ask(controller, tokenFile=token)

    assert controller.authorizations == ["Bearer first", "Bearer second"]


def test_a_token_that_is_not_there_is_told(controller: FakeController, tmp_path: Path) -> None:
    with pytest.raises(ObservationError, match=r"token: the token cannot be read: no such file"):
        ask(controller, tokenFile=tmp_path / "token")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("one\ntwo", id="two lines"),
        pytest.param("one two", id="two words"),
        pytest.param("\n", id="nothing"),
    ],
)
def test_what_no_request_could_show_is_no_token(
    controller: FakeController, tmp_path: Path, text: str
) -> None:
    (tmp_path / "token").write_text(text)

    with pytest.raises(ObservationError, match=r"token: should hold one token, in one line$"):
        ask(controller, tokenFile=tmp_path / "token")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(b"no", 401, r"/v1/plan: 401: no$", id="refused"),
        pytest.param(b"<html>", 200, r"the plan is no JSON", id="no plan"),
        pytest.param(b'{"version":9}', 200, r"of version 1, not 9", id="version"),
        pytest.param(b'{"version":1,"\\ud800":1}', 200, r"the plan is no JSON", id="half a name"),
        pytest.param(
            a_document(a_row("ZZ")).replace(b"ZZ", b"\\udc00"), 200, r"the plan is no JSON",
            id="half a character in a row",
        ),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_told(
    controller: FakeController, body: bytes, status: int, message: str
) -> None:
    controller.publish_bytes(body, status)

    with pytest.raises(ObservationError, match=message):
        ask(controller)


def test_characters_may_be_escaped_in_two_halves(controller: FakeController) -> None:
    controller.publish_bytes(a_document(a_row("ZZ")).replace(b"ZZ", b"\\ud83d\\ude00"))

    newest, _ = ask(controller)
    board = newest.board

    assert board is not None
    assert set(board.workloads) == {"llm/\N{GRINNING FACE}"}


def test_a_plan_that_is_too_large_is_told(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LARGEST_PLAN", 100)

    with pytest.raises(ObservationError, match="the plan has more than 0 MiB"):
        ask(controller)


def test_an_outage_is_told_once_and_its_end_too(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LONGEST_PAUSE_SECONDS", 0.01)
    controller.publish_bytes(b"starting", 503)

    async def following() -> str:
        newest = Newest(Clock())
        settings = ControllerSettings(url=controller.url, wait_seconds=0.05)
        running = asyncio.create_task(Follower(settings, newest, lambda: NOON).run())
        while len(controller.asked) < 4:
            await asyncio.sleep(0.01)
        lacks = newest.lacks()
        controller.publish_bytes(a_document(cycle="c-7"), 200)
        while newest.board is None or newest.problem:
            await asyncio.sleep(0.01)
        running.cancel()
        return lacks

    with capture_logs() as logs:
        lacks = asyncio.run(following())

    assert lacks.startswith("no plan yet: http://127.0.0.1:")
    assert [one["event"] for one in logs] == [
        "controller not followed",
        "controller followed again",
    ]


def test_nobody_at_the_address_is_told(controller: FakeController) -> None:
    controller.stop()

    async def following() -> str:
        newest = Newest(Clock())
        one = Follower(ControllerSettings(url=controller.url), newest, lambda: NOON)
        running = asyncio.create_task(one.run())
        while newest.problem == "the controller was not reached yet":
            await asyncio.sleep(0.01)
        running.cancel()
        return newest.lacks()

    with capture_logs():
        assert "no plan yet: " in asyncio.run(following())


def test_a_name_that_nobody_can_have_is_told() -> None:
    """No part of a name has more than 63 characters: the library fails in a way of its own."""
    newest = Newest(Clock())
    settings = ControllerSettings(url=f"https://{'a' * 64}.svc")

    async def following() -> None:
        running = asyncio.create_task(Follower(settings, newest, lambda: NOON).run())
        while newest.problem == "the controller was not reached yet":
            await asyncio.sleep(0.01)
        assert not running.done()
        running.cancel()

    with capture_logs():
        asyncio.run(following())

    assert "too long" in newest.lacks()


def test_a_mistake_of_ours_is_told_with_its_cause_and_following_goes_on(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LONGEST_PAUSE_SECONDS", 0.01)
    reading = plan_steps
    failed: list[ZeroDivisionError] = []

    def at_last(body: bytes) -> Any:
        if len(failed) < 3:
            failed.append(ZeroDivisionError("seven"))
            raise failed[-1]
        return reading(body)

    monkeypatch.setattr(follower, "plan_steps", at_last)
    newest = Newest(Clock())

    async def following() -> None:
        settings = ControllerSettings(url=controller.url, wait_seconds=0.05)
        running = asyncio.create_task(Follower(settings, newest, lambda: NOON).run())
        while newest.board is None or newest.problem:
            await asyncio.sleep(0.01)
        running.cancel()

    with capture_logs() as logs:
        asyncio.run(following())

    assert len(failed) == 3
    first, last = logs
    assert first["event"] == "controller not followed"
    assert first["reason"] == "it could not be followed: ZeroDivisionError('seven')"
    assert first["exc_info"] is failed[0]
    assert last["event"] == "controller followed again"


def test_an_authority_that_was_replaced_is_believed_without_a_restart(tmp_path: Path) -> None:
    """What is half written is looked at again; the last good one counts until then."""
    old, new = trustme.CA(), trustme.CA()
    file = tmp_path / "ca.crt"
    old.cert_pem.write_to_path(str(file))
    controller = FakeController(old.issue_cert("127.0.0.1"))
    newest = Newest(Clock())

    async def asking() -> None:
        settings = ControllerSettings(url=controller.url, ca_file=file, wait_seconds=0.05)
        one = Follower(settings, newest, lambda: NOON)
        async with a_session(1) as session:
            await one.once(session)
            file.write_text("half a certificate")
            controller.publish()
            await one.once(session)
            new.issue_cert("127.0.0.1").configure_cert(controller.tls)
        async with a_session(1) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await one.once(session)
            file.unlink()
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await one.once(session)
            new.cert_pem.write_to_path(str(file))
            controller.publish()
            await one.once(session)
            await asyncio.sleep(0.05)

    asyncio.run(asking())
    controller.stop()

    assert newest.board is not None
    assert newest.board.cycle == "c-3"


def test_an_authority_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("rubbish")
    settings = ControllerSettings(url="https://a", ca_file=tmp_path / "ca.crt")

    with pytest.raises(ConfigError, match=r"ca.crt: should hold certificates: "):
        asyncio.run(Follower(settings, Newest(), lambda: NOON).run())


def test_who_waits_for_the_next_plan_is_told() -> None:
    async def waiting() -> tuple[Any, Any, Any]:
        newest = Newest(Clock())
        first = asyncio.create_task(newest.next("", 5.0))
        await asyncio.sleep(0)
        newest.publish(a_board(a_row()), 0.0)
        second = await newest.next("c-1", 0.01)
        newest.publish(a_board(cycle="c-2"), 0.0)
        return await first, second, await newest.next("c-1", 5.0)

    first, second, third = asyncio.run(waiting())

    assert (first.cycle, second, third.cycle) == ("c-1", None, "c-2")


def test_before_any_plan_there_is_no_time() -> None:
    newest = Newest(itertools.count().__next__)

    assert newest.board is None
    assert newest.now() == 0.0
    assert newest.age() == float("inf")
