"""Searches for garbage, kept away from what stays.

A search for cycles looks at every object that may be part of one. The values of ten thousand
workloads are so many that it takes a third of a second, in which nobody is answered. They have no
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
MORE: Final = 1.5
ROOM: Final = 20_000
"""It is searched before that, too, where so many times as much, and so much more, was set aside."""


class Garbage:
    """Whoever makes much that stays says so here."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Search as usual; `monotonic` gives seconds that only ever rise."""
        self._monotonic = monotonic
        self._searched = monotonic()
        self._usual = 0

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Search for nothing meanwhile; then set aside all that is there."""
        if self._due():
            self._searched = self._monotonic()
            self._usual = 0
            gc.unfreeze()
        gc.collect()  # quick: what stays was set aside before
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            gc.enable()
            self._usual = self._usual or gc.get_freeze_count()

    def _due(self) -> bool:
        late = self._monotonic() - self._searched > SEARCH_SECONDS
        return late or 0 < MORE * self._usual + ROOM < gc.get_freeze_count()
