"""Where a process spends its processor time: by thread, by phase, by cycle."""

import gc
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PAGE: Final = resource.getpagesize()
REST: Final = "rest"
"""Watches, threads between phases, and what else runs in the process."""


class Meter:
    """Adds up the processor time of phases; each in whichever thread it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[str, float] = {}
        self._whole = time.process_time()
        self._began = time.monotonic()
        self._gc = 0.0
        self._gc_began = 0.0
        gc.callbacks.append(self._collecting)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - began
            with self._lock:
                self._spent[name] = self._spent.get(name, 0.0) + spent

    def timed(self, name: str, what: Callable[..., Any]) -> Callable[..., Any]:
        """Return `what`, metered."""

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name):
                return what(*args, **kwargs)

        return run

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Meter a method or function where it is looked up."""
        setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))

    def lap(self) -> dict[str, float]:
        """Return the seconds of each phase since the last lap; `cpu` and `wall` are of all."""
        whole, now = time.process_time(), time.monotonic()
        with self._lock:
            spent, self._spent = self._spent, {}
        cpu, wall, collected = whole - self._whole, now - self._began, self._gc
        self._whole, self._began, self._gc = whole, now, 0.0
        rest = max(0.0, cpu - sum(spent.values()))
        return {**spent, REST: rest, "cpu": cpu, "wall": wall, "gc": collected}

    def _collecting(self, stage: str, _: dict[str, int]) -> None:
        if stage == "start":
            self._gc_began = time.thread_time()
        else:
            self._gc += time.thread_time() - self._gc_began


def pace() -> float:
    """Return microseconds of processor time for a piece of work that is always the same.

    More than on a quiet core means that others use the same core, its cache or its twin.
    """
    began = time.process_time()
    for _ in range(1000):
        sum(range(1000))
    return (time.process_time() - began) * 1e3


def resident_bytes() -> int:
    """Return the memory that the process holds now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def most_resident_bytes() -> int:
    """Return the most that it ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
