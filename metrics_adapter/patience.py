"""How long the work on one request may take."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """Time for one request, counted from its beginning: what is in memory takes none of it."""

    __slots__ = ("_ends",)

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self._ends = asyncio.get_running_loop().time() + seconds

    async def with_(self, work: Awaitable[T]) -> T:
        """Wait for something.

        Raises:
            TimeoutError: It takes too long.
        """
        async with asyncio.timeout_at(self._ends):
            return await work
