"""Long work in turns with requests: they wait for half a millisecond of it at most."""

import asyncio
import time
from collections.abc import Generator
from typing import Final, TypeVar

TURN_SECONDS: Final = 0.0005
"""How long one turn of the work is."""
ROUNDS: Final = 4
"""Rounds of the event loop between two turns: a request takes some to be answered."""

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
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
