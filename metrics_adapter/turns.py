"""Long work in turns with requests, which go first: they wait for half a millisecond of it."""

import asyncio
import time
from collections.abc import Generator
from typing import Final, TypeVar

TURN_SECONDS: Final = 0.0005
"""How long one turn of the work is."""
QUIET_SECONDS: Final = 0.00003
"""A round of the event loop that took less had nobody in it: a request takes some longer ones."""
OTHERS_SECONDS: Final = 0.002
"""So long requests go first. Where there always are some, a fifth of the time is the work's: a plan
that is never taken in would end every answer."""

T = TypeVar("T")


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Do all the steps, and return what they return.

    Not in a thread: threads of one interpreter take it from each other, and a request that gives it
    up five times would wait five times.
    """
    while True:
        ends = time.monotonic() + TURN_SECONDS
        try:
            while time.monotonic() < ends:
                next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await others()


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
