"""Long work lets requests pass; searches for garbage wait, and what stays is set aside."""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterator
from itertools import pairwise
from typing import Any

import pytest

from metrics_adapter import garbage as garbage_module
from metrics_adapter import turns as turns_module
from metrics_adapter.board import board_end
from metrics_adapter.garbage import SEARCH_SECONDS, Garbage
from metrics_adapter.statuses import RefusalError
from metrics_adapter.turns import (
    FIRST_SECONDS,
    MOST_IN_LINE,
    OTHERS_SECONDS,
    TURN_SECONDS,
    in_turns,
    others,
    plan_in_turns,
)
from tests.metrics_adapter.conftest import Clock
from tests.metrics_adapter.plans import a_board, a_row


@pytest.fixture(autouse=True)
def searched_afterwards() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


class Knot:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def counting(ends: list[bool], steps: int = 10) -> Generator[None, None, int]:
    """Work until somebody says that it is enough; return how much it was."""
    done = 0
    while not ends or done < steps:
        done += 1
        yield
    return done


def spend(seconds: float) -> None:
    """Use so much of the processor's time."""
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def spinning(seconds: float, at: list[str], name: str = "") -> Generator[None, None, str]:
    """Work for so long, a twentieth of a turn at a time; tell `at` of each step."""
    left = seconds
    while left > 0:
        at.append(name)
        spend(TURN_SECONDS / 20)
        left -= TURN_SECONDS / 20
        yield
    return name


Turns = Callable[[Generator[None, None, Any]], Awaitable[Any]]
BOTH = pytest.mark.parametrize("turns", [in_turns, plan_in_turns], ids=["answer", "plan"])


@BOTH
def test_others_have_their_turn_before_the_work_is_done(turns: Turns) -> None:
    ends: list[bool] = []

    async def run() -> int:
        asyncio.get_running_loop().call_later(2 * TURN_SECONDS, ends.append, True)
        return int(await turns(counting(ends)))

    assert asyncio.run(run()) >= 10


@BOTH
@pytest.mark.parametrize("seconds", [0.0, 2 * TURN_SECONDS], ids=["at once", "in line"])
def test_what_goes_wrong_in_the_work_reaches_who_waits_for_it(turns: Turns, seconds: float) -> None:
    def wrong() -> Generator[None, None, None]:
        yield from spinning(seconds, [])
        raise LookupError("a row is missing")

    async def run() -> str:
        with pytest.raises(LookupError, match="a row is missing"):
            await turns(wrong())
        return str(await turns(spinning(2 * TURN_SECONDS, [], "the next one")))

    assert asyncio.run(run()) == "the next one"


def test_a_short_answer_is_made_at_once_whoever_waits_in_line() -> None:
    async def run() -> tuple[list[str], bool]:
        at: list[str] = []
        long = [asyncio.create_task(in_turns(spinning(50 * TURN_SECONDS, []))) for _ in range(4)]
        plan = asyncio.create_task(plan_in_turns(spinning(50 * TURN_SECONDS, [])))
        await asyncio.sleep(5 * TURN_SECONDS)
        short = asyncio.create_task(in_turns(spinning(FIRST_SECONDS / 2, at, "short")))
        await asyncio.sleep(0)
        waited = short.done()
        for one in (*long, plan):
            one.cancel()
        await asyncio.gather(*long, plan, return_exceptions=True)
        return at, waited

    at, done = asyncio.run(run())

    assert at
    assert done


def test_every_second_turn_is_the_plan_s_however_many_answers_are_long() -> None:
    """Counted in steps of equal length: pauses of the machine change nothing."""

    async def run() -> list[str]:
        at: list[str] = []
        long = [
            asyncio.create_task(in_turns(spinning(1.0, at, "answer"))) for _ in range(MOST_IN_LINE)
        ]
        await asyncio.sleep(0.02)
        at.clear()
        await plan_in_turns(spinning(40 * TURN_SECONDS, at, "plan"))
        for one in long:
            one.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        return at

    at = asyncio.run(run())

    assert at.count("answer") >= 100
    assert at.count("plan") >= 0.35 * len(at)


def test_a_plan_has_a_share_of_the_time_where_one_round_of_requests_takes_long() -> None:
    """Sixty connections that are all busy make a round of 25 ms; a plan is 20 ms of work."""

    async def run() -> float:
        async def busy() -> None:
            while True:
                spend(0.0004)
                await asyncio.sleep(0)

        requests = [asyncio.create_task(busy()) for _ in range(60)]
        begun = time.thread_time()
        await plan_in_turns(spinning(0.02, []))
        spent = time.thread_time() - begun
        for one in requests:
            one.cancel()
        return spent

    # A turn of half a millisecond after each round would take a second. It takes a tenth, and a
    # round or two before the first turn, which is short, and after the last.
    assert asyncio.run(run()) < 0.6


def test_long_answers_are_made_one_after_the_other_beside_a_plan() -> None:
    async def run() -> tuple[list[str], list[str]]:
        at: list[str] = []
        ended: list[str] = []

        async def answer(name: str) -> None:
            ended.append(await in_turns(spinning(10 * TURN_SECONDS, at, name)))

        plan = asyncio.create_task(plan_in_turns(spinning(1.0, at, "plan")))
        await asyncio.gather(*map(answer, ("first", "second", "third")))
        plan.cancel()
        await asyncio.gather(plan, return_exceptions=True)
        return at, ended

    at, ended = asyncio.run(run())

    assert ended == ["first", "second", "third"]
    assert "plan" in at[at.index("first") : len(at) - at[::-1].index("first")]


def test_one_long_answer_too_many_is_refused_and_who_goes_makes_room() -> None:
    async def run() -> tuple[int, str, str]:
        long = [asyncio.create_task(in_turns(spinning(1.0, []))) for _ in range(MOST_IN_LINE)]
        await asyncio.sleep(0.02)
        with pytest.raises(RefusalError, match="select fewer") as refused:
            await in_turns(spinning(10 * TURN_SECONDS, []))
        short = await in_turns(spinning(FIRST_SECONDS / 2, [], "short"))
        for one in long:
            one.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        return refused.value.code, short, await in_turns(spinning(2 * TURN_SECONDS, [], "next"))

    assert asyncio.run(run()) == (429, "short", "next")


def test_lines_of_event_loops_that_ended_are_forgotten() -> None:
    for _ in range(3):
        asyncio.run(in_turns(spinning(2 * TURN_SECONDS, [])))

    assert sum(one.is_closed() for one in turns_module._LINES) <= 1


def test_nothing_is_searched_meanwhile_and_what_was_made_is_set_aside() -> None:
    garbage = Garbage(Clock(0.0))

    with garbage.apart():
        assert not gc.isenabled()
        board = a_board()

    assert gc.isenabled()
    assert not any(one is board for one in gc.get_objects())
    with pytest.raises(LookupError), garbage.apart():
        raise LookupError
    assert gc.isenabled()


def test_what_was_set_aside_by_accident_goes_within_the_hour() -> None:
    clock = Clock(0.0)
    garbage = Garbage(clock)
    knot = Knot()
    gone = weakref.ref(knot)
    with garbage.apart():
        pass
    del knot
    gc.collect()
    assert gone() is not None

    clock.now += SEARCH_SECONDS + 1
    with garbage.apart():
        pass

    assert gone() is None


def test_much_that_was_set_aside_by_accident_goes_with_the_next_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage_module, "MORE", 0.0)
    monkeypatch.setattr(garbage_module, "ROOM", 100)
    garbage = Garbage(Clock(0.0))
    with garbage.apart():
        pass
    gone: list[weakref.ref[Knot]] = []
    with garbage.apart():
        gone.extend(weakref.ref(Knot()) for _ in range(1000))
    assert any(one() is not None for one in gone)

    with garbage.apart():
        pass

    assert all(one() is None for one in gone)


def test_what_was_set_aside_and_went_is_no_reason_to_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage_module, "MORE", 0.0)
    monkeypatch.setattr(garbage_module, "ROOM", 500)
    garbage = Garbage(Clock(0.0))
    with garbage.apart():
        pass
    knot = Knot()
    gone = weakref.ref(knot)
    with garbage.apart():
        passing = [[one] for one in range(1000)]
    del knot
    passing.clear()

    with garbage.apart():
        pass

    assert gone() is not None


def test_while_requests_come_the_work_has_a_turn_after_theirs() -> None:
    """Who is busy goes first, again and again; but not for ever."""
    at: list[float] = []
    rounds = 0

    def step() -> None:
        at.append(time.monotonic())

    def working() -> Generator[None, None, None]:
        while len(at) < 5:
            step()
            spend(2 * TURN_SECONDS)
            yield

    async def busy() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            ends = time.monotonic() + 0.0004
            while time.monotonic() < ends:
                pass
            await asyncio.sleep(0)

    async def run() -> None:
        others = asyncio.create_task(busy())
        await plan_in_turns(working())
        others.cancel()

    asyncio.run(run())

    pauses = [later - before for before, later in pairwise(at)]
    assert rounds >= 4 * len(pauses)
    assert all(pause >= OTHERS_SECONDS for pause in pauses)


def test_where_nobody_else_is_the_work_goes_on_at_once() -> None:
    async def run() -> float:
        begun = time.monotonic()
        for _ in range(100):
            await others()
        return time.monotonic() - begun

    assert asyncio.run(run()) < 100 * OTHERS_SECONDS / 2


def test_a_board_that_was_replaced_forgets_its_values_a_few_at_a_time() -> None:
    board = a_board(*(a_row(f"w{n}") for n in range(100)))
    groups = board.groups.values()

    def held() -> int:
        values = sum(len(group.values) for group in groups)
        return len(board.objects) + values + len(board.workloads)

    assert held() == 400

    left = [400, *(held() for _ in board_end(board)), held()]

    assert max(before - after for before, after in pairwise(left)) <= 10
    assert left[-1] == 0
    assert not any(group.values or group._places for group in board.groups.values())
    assert not board.objects
    assert not board.workloads
