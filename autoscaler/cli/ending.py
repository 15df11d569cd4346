"""Somebody outside ends a command: it does end, with its code, and leaves nothing half-written."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from autoscaler.core.errors import Ended

_ASKING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_UNTOUCHED: Final = (signal.SIG_DFL, signal.default_int_handler)
_LATER: Final = frozenset({"importlib", "llvmlite", "numba"})
"""Packages that lose what is raised in them, or make another error of it: C code calls back into
them, and an extension module that fails to load says so in its own words."""
_COMMANDS: Final = "autoscaler.cli.app"
_SOON: Final = 0.05
_AGAIN: Final = 0.5


class Ending:
    """What somebody outside asked for.

    Attributes:
        code: To exit with: 128 and the number of the signal; absent as long as nobody asked.
        reminds: Whether an alarm comes to `remind`.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.reminds = False

    def asked(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: raise where that works, else soon after.

        Raises:
            Ended: Where it was asked for.
        """
        insisting = self.code is not None
        self.code = 128 + number
        self._end(frame, insisting=insisting)

    def remind(self, _number: int, frame: FrameType | None) -> None:
        """Raise again, for whoever was interrupted may have lost what was raised.

        Raises:
            Ended: Unless it is on its way.
        """
        self._end(frame, insisting=False)

    def _end(self, frame: FrameType | None, *, insisting: bool) -> None:
        if self.code is None:  # somebody else's alarm
            return
        if self.reminds:
            waits = not insisting and (_on_its_way(sys.exception()) or _lost_in(frame))
            signal.setitimer(signal.ITIMER_REAL, _SOON if waits else _AGAIN)
            if waits:
                return
        raise Ended(self.code)


@contextmanager
def ending() -> Iterator[Ending]:
    """Let Ctrl-C, SIGTERM and SIGHUP unwind a command: they raise `Ended` in the main thread.

    Where somebody else has decided what they do, as nohup has, that stays. What is raised may be
    lost, as it is in a destructor; so it is raised again, until the command has ended. A second
    signal does not wait for anything.
    """
    asked = Ending()
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other one may set handlers
        if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, asked.remind)
            asked.reminds = True
        for one in _ASKING:
            if signal.getsignal(one) in _UNTOUCHED:
                before[one] = signal.signal(one, asked.asked)
    try:
        yield asked
    finally:
        if asked.reminds:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for one, handler in before.items():
            signal.signal(one, handler)


def _on_its_way(handled: BaseException | None) -> bool:
    """Whether the code interrupted is cleaning up already, because the end was raised in it."""
    while handled is not None:
        if isinstance(handled, Ended):
            return True
        handled = handled.__context__
    return False


def _lost_in(frame: FrameType | None) -> bool:
    """Whether such a package stands between the command and the code interrupted."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module == _COMMANDS:
            return False
        if module.partition(".")[0] in _LATER:
            return True
        frame = frame.f_back
    return False
