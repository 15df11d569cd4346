"""Where a process spends its processor time: by thread, by phase, by cycle."""

import gc
import platform
import resource
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PAGE: Final = resource.getpagesize()
STAT: Final = Path("/proc/stat")
STOLEN_COLUMN: Final = 8
"""Of the line `cpu` in /proc/stat, see proc(5); what is behind it is in those before it, too."""
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


class Theft:
    """How much of all processors the host gave to others since the last look."""

    def __init__(self, stat: Path = STAT) -> None:
        """Begin to count; `stat` is the kernel's /proc/stat."""
        self._stat = stat
        self._before = self._read()

    def share(self) -> float | None:
        """Return the part of all time since the last look, 0 to 1; None where nobody tells."""
        before, self._before = self._before, self._read()
        if before is None or self._before is None:
            return None
        stolen, every = (new - old for new, old in zip(self._before, before, strict=True))
        return max(0, stolen) / every if every > 0 else 0.0

    def _read(self) -> tuple[int, int] | None:
        """Return the ticks that were stolen, and all of them."""
        try:
            with self._stat.open(encoding="ascii") as file:
                name, *ticks = file.readline().split()
        except OSError:
            return None
        if name != "cpu" or len(ticks) < STOLEN_COLUMN:
            return None
        numbers = list(map(int, ticks[:STOLEN_COLUMN]))
        return numbers[-1], sum(numbers)


def python_text() -> str:
    """Return which Python runs, and that it was built with optimizations where it says so.

    One that does not say so may be optimised all the same: Debian's is, by a way of its own.
    """
    text = f"{platform.python_implementation()} {platform.python_version()}"
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return f"{text}, an optimised build" if "--enable-optimizations" in arguments else text


def resident_bytes() -> int:
    """Return the memory that the process holds now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def most_resident_bytes() -> int:
    """Return the most that it ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
