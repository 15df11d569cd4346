"""Long work in turns: whoever needs little goes first, and a plan has its share of the time.

An answer that takes longer than `FIRST_SECONDS` waits in line, and those that are long are made one
after the other, in turns; between two turns other requests go first. While a plan is read, every
second turn is the plan's.
"""

import asyncio
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from metrics_adapter.statuses import RefusalError

FEW_STEPS: Final = 4
"""So many small ones are done without a look at the clock: those for the value of one workload."""
FIRST_SECONDS: Final = 0.0001
"""An answer that needs no more is made at once; most need a tenth of it."""
TURN_SECONDS: Final = 0.0005
"""How long one turn of longer work is."""
QUIET_SECONDS: Final = 0.00003
"""A round of the event loop that took less had nobody in it: a request takes some longer ones."""
OTHERS_SECONDS: Final = 0.002
"""So long requests go before a turn. One round of the event loop may take longer than that."""
PLAN_SHARE: Final = 0.2
"""A plan has this part of the processor's time at least: the longer others had it, the longer is
the plan's turn. A plan that is never taken in would end every answer."""
MOST_IN_LINE: Final = 32
"""So many long answers there may be, one that is made and others that wait; more are refused."""

T = TypeVar("T")


@dataclass(slots=True)
class _Line:
    """Who does long work in one event loop. Locks are given in the order in which they are asked.

    Attributes:
        turn: Held for one turn, by the plan or by the answer that is made.
        answer: Held by that answer until it is done: the plan is one of two, however many wait.
        waiting: Long answers, that one among them.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    answer: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


_LINES: Final[dict[asyncio.AbstractEventLoop, _Line]] = {}
"""One for each event loop, for that is what long work keeps others from."""


def at_once(steps: Generator[None, None, T]) -> tuple[T] | None:
    """Do a few small steps of an answer; return their result where no more were needed."""
    try:
        for _ in range(FEW_STEPS):
            next(steps)
    except StopIteration as end:
        return (end.value,)
    return None


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Do all the steps of an answer, and return what they return.

    Not in a thread: threads of one interpreter take it from each other, and a request that gives it
    up five times would wait five times.

    Raises:
        RefusalError: It is long, and too many wait in line (429).
    """
    found = _turn(steps, FIRST_SECONDS)
    if found is not None:
        return found[0]
    line = _line()
    if line.waiting >= MOST_IN_LINE:
        raise RefusalError(429, "too many requests for many values at once: select fewer")
    line.waiting += 1
    try:
        async with line.answer:
            while found is None:
                async with line.turn:
                    await others()
                    found = _turn(steps, TURN_SECONDS)
    finally:
        line.waiting -= 1
    return found[0]


async def plan_in_turns(steps: Generator[None, None, T]) -> T:
    """Do all the steps of taking in a plan, and return what they return; there is one at a time.

    Its share is counted in the processor's time: other processes, and pauses of this one, take
    from both sides alike.
    """
    line = _line()
    ended = time.thread_time()
    while True:
        async with line.turn:
            await others()
            away = time.thread_time() - ended
            seconds = max(TURN_SECONDS, away * PLAN_SHARE / (1.0 - PLAN_SHARE))
            found = _turn(steps, seconds)
            if found is not None:
                return found[0]
            ended = time.thread_time()


async def others() -> None:
    """Let the event loop go round until nobody else wants anything, or had long enough."""
    await asyncio.sleep(
        0
    )  # what has arrived meanwhile is found in this round, and done in the next
    begun = before = time.monotonic()
    while before - begun < OTHERS_SECONDS:
        await asyncio.sleep(0)
        now = time.monotonic()
        if now - before < QUIET_SECONDS:
            return
        before = now


def _line() -> _Line:
    loop = asyncio.get_running_loop()
    if loop not in _LINES:
        for one in [one for one in tuple(_LINES) if one.is_closed()]:
            _LINES.pop(one, None)
        _LINES[loop] = _Line()
    return _LINES[loop]


def _turn(steps: Generator[None, None, T], seconds: float) -> tuple[T] | None:
    """Do steps for so much of the processor's time; return their result once there is one.

    By a clock on the wall, a short answer that another process interrupts would count as long.
    """
    ends = time.thread_time() + seconds
    try:
        while time.thread_time() < ends:
            next(steps)
    except StopIteration as end:
        return (end.value,)
    return None
