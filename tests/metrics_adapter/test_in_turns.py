"""Long work lets requests pass; searches for garbage wait, and what stays is set aside."""

import asyncio
import gc
import time
import weakref
from collections.abc import Generator, Iterator
from itertools import pairwise

import pytest

from metrics_adapter import garbage as garbage_module
from metrics_adapter.board import board_end
from metrics_adapter.garbage import SEARCH_SECONDS, Garbage
from metrics_adapter.turns import OTHERS_SECONDS, TURN_SECONDS, in_turns, others
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


def test_others_have_their_turn_before_the_work_is_done() -> None:
    ends: list[bool] = []

    async def run() -> int:
        asyncio.get_running_loop().call_later(2 * TURN_SECONDS, ends.append, True)
        return await in_turns(counting(ends))

    assert asyncio.run(run()) >= 10


def test_what_goes_wrong_in_the_work_reaches_who_waits_for_it() -> None:
    def wrong() -> Generator[None, None, None]:
        yield
        raise LookupError("a row is missing")

    with pytest.raises(LookupError, match="a row is missing"):
        asyncio.run(in_turns(wrong()))


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
            time.sleep(TURN_SECONDS)
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
        await in_turns(working())
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


def test_a_board_that_was_replaced_forgets_its_values_one_by_one() -> None:
    board = a_board(*(a_row(f"w{n}") for n in range(20)))
    assert len(board.groups["llm", "load"].values) == 20

    steps = sum(1 for _ in board_end(board))

    assert steps >= 80
    assert not any(group.values or group._places for group in board.groups.values())
    assert not board.objects
    assert not board.workloads
