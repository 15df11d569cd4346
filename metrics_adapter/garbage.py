"""Searches for garbage, kept away from what stays.

A search for cycles looks at every object that may be part of one. The values of ten thousand
workloads are so many that it takes a fifth of a second, in which nobody is answered. They have no
cycles, and go when nobody refers to them any more: so nothing is searched while they are made, and
then they are set aside.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SEARCH_SECONDS: Final = 3600.0
"""How often all is searched, for cycles that were set aside by accident: a few connections."""
MORE: Final = 0.5
ROOM: Final = 20_000
"""It is searched before that, too, where more is set aside by this part of all and so many."""


class Garbage:
    """Whoever makes much that stays says so here."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Search as usual; `monotonic` gives seconds that only ever rise."""
        self._monotonic = monotonic
        self._searched = monotonic()
        self._usual = 0
        self._more = 0

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Search for nothing meanwhile; then set aside all that is there.

        What the new takes the place of should go within, or it counts as if it stayed.
        """
        if self._due():
            self._searched = self._monotonic()
            self._usual = self._more = 0
            gc.unfreeze()
        gc.collect()  # quick: what stays was set aside before
        gc.disable()
        try:
            yield
        finally:
            self._more += gc.get_count()[0]  # made since then, less what went
            gc.freeze()
            gc.enable()
            if not self._usual:
                self._usual, self._more = gc.get_freeze_count(), 0

    def _due(self) -> bool:
        if self._monotonic() - self._searched > SEARCH_SECONDS:
            return True
        most = MORE * self._usual + ROOM
        if self._more > most:
            # What is lent and given back among tuples and lists looks like more, a little with each
            # plan. To count what is there takes as long as fifty requests: not each time.
            self._more = gc.get_freeze_count() - self._usual
        return self._more > most
