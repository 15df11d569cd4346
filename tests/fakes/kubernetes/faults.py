"""What goes wrong on purpose, and the record of what was asked."""

import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson


class Break(StrEnum):
    """How an answer goes wrong beside its status."""

    NONE = ""
    RESET = "reset"
    """The connection is reset before anything is done."""
    LOST = "lost"
    """The request is carried out, then the connection is reset: the answer is lost."""
    HALF = "half"
    """Half of the body arrives, then the connection ends (a watch: half of its next event)."""
    MALFORMED = "malformed"
    """A whole body that is not JSON (a watch: a line that is not JSON)."""
    GONE = "gone"
    """410 Gone; on a watch, as an ERROR event."""
    HANG = "hang"
    """No answer until the fault is taken back or the client goes away."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        method: Which method; any if empty. Watches are `WATCH` and not `GET`.
        path: Regular expression, searched in path and query.
        status: Answer with this status and a `Status` body; 0: as it should be.
        retry_after: Seconds in the `Retry-After` header.
        message: Text of the `Status` body.
        delay: Seconds to wait before the request is carried out.
        done: The request is carried out all the same, then `status` is answered.
        body: Answer with 200 and this.
        breaks: How the answer goes wrong.
        times: How often; None: until taken back.
        after: How many matching requests pass unharmed before.
    """

    method: str = ""
    path: str = ""
    status: int = 0
    retry_after: int | None = None
    message: str = "injected fault"
    delay: float = 0.0
    done: bool = False
    body: bytes | None = None
    breaks: Break = Break.NONE
    times: int | None = 1
    after: int = 0

    def concerns(self, method: str, url: str) -> bool:
        return self.method in {"", method} and re.search(self.path, url) is not None


@dataclass(slots=True)
class Armed:
    """A fault that is ready, and how often it struck (`hits`)."""

    fault: Fault
    passed: int = 0
    hits: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class Faults:
    """The faults that are armed. The first that concerns a request is used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Armed] = []

    def add(self, fault: Fault | None = None, **changes: Any) -> Armed:
        """Arm a fault; `changes` are its fields. The result counts its `hits`."""
        armed = Armed(replace(fault or Fault(), **changes))
        with self._lock:
            self._armed.append(armed)
        return armed

    def remove(self, armed: Armed) -> None:
        """Take a fault back; who hangs on it goes on."""
        armed.over.set()
        with self._lock:
            self._armed = [each for each in self._armed if each is not armed]

    def clear(self) -> None:
        """Take all faults back."""
        for armed in list(self._armed):
            self.remove(armed)

    @contextmanager
    def during(self, fault: Fault | None = None, **changes: Any) -> Iterator[Armed]:
        """Arm a fault within a `with` block; without limit unless `times` is given."""
        armed = self.add(fault, **({"times": None} | changes))
        try:
            yield armed
        finally:
            self.remove(armed)

    def take(self, method: str, url: str) -> Armed | None:
        """Return the fault for a request, and count it."""
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if not fault.concerns(method, url):
                    continue
                if armed.passed < fault.after:
                    armed.passed += 1
                    continue
                if fault.times is None or armed.hits < fault.times:
                    armed.hits += 1
                    return armed
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived, and what was answered (0: nothing)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: str
    status: int

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return orjson.loads(self.body)


class Requests:
    """The record of requests, oldest first; the newest 100,000 are kept."""

    def __init__(self) -> None:
        self._kept: deque[Request] = deque(maxlen=100_000)

    def record(self, request: Request) -> None:
        self._kept.append(request)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        self._kept.clear()

    def matching(self, method: str = "", path: str = "") -> list[Request]:
        """Return the requests of a method (watches: `WATCH`) whose path matches an expression."""
        return [
            each
            for each in tuple(self._kept)
            if method in {"", each.method} and re.search(path, each.path)
        ]

    @property
    def writes(self) -> list[Request]:
        """Return the requests that change something."""
        return [each for each in tuple(self._kept) if each.method not in {"GET", "WATCH"}]
