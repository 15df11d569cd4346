"""Events of events.k8s.io/v1: what people see in `kubectl describe`. None of them ever matters.

Equal events within `same_seconds` become one with a series; each object has a budget, so that one
that flaps drowns nobody; what cannot be written is counted and forgotten.
"""

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from autoscaler.adapters.kubernetes.occurrences import Occurrence
from autoscaler.adapters.kubernetes.requests import (
    FIELD_MANAGER,
    MERGE_PATCH,
    KubernetesError,
)
from autoscaler.adapters.kubernetes.scalers import Asks, Reference
from autoscaler.adapters.kubernetes.times import micro_time

LONGEST_NOTE: Final = 1024
"""Bytes that the API server takes."""
CONTROLLER: Final = "inference-autoscaler.dev/controller"

_LONGEST_FIELD: Final = 128
_LONGEST_NAME: Final = 253
_CUT: Final = "..."


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is told.

    Attributes:
        burst: Most events of one object at once.
        every_seconds: After which one more is allowed.
        same_seconds: How long an equal event only counts up the one before.
        queue: Most events that wait to be written; the oldest go first.
        objects: Most objects that are remembered.
    """

    burst: int = 20
    every_seconds: float = 60.0
    same_seconds: float = 600.0
    queue: int = 1000
    objects: int = 20_000


DEFAULT_BUDGET: Final = Budget()


@dataclass(slots=True)
class _Tokens:
    left: float
    at: float
    kept_back: int = 0


@dataclass(slots=True)
class _Series:
    path: str
    count: int
    last: float


def cut(note: str, longest: int = LONGEST_NOTE) -> str:
    """Return a note on one line that fits into so many bytes, never with half a character."""
    line = " ".join(note.split())
    data = line.encode()
    if len(data) <= longest:
        return line
    return data[: longest - len(_CUT)].decode(errors="ignore") + _CUT


class EventRecorder:
    """Writes events in a thread of its own; `tell` never waits and never fails.

    Attributes:
        written: Events that the API server took, series included.
        lost: Events that it did not take, or that waited for too long.
        kept_back: Events that were over their object's budget.
    """

    def __init__(
        self,
        asks: Asks,
        instance: str,
        *,
        uid_of: Callable[[Reference], str] = lambda about: "",
        budget: Budget = DEFAULT_BUDGET,
        deadline_seconds: float = 3.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write as one process.

        Args:
            asks: The connection.
            instance: The name of this process.
            uid_of: Returns the `metadata.uid` of an object, empty where it is not known; without
                it `kubectl describe` does not find the event, `kubectl events` does.
            budget: How much is told.
            deadline_seconds: For one request.
            monotonic: Measures the deadline of `flush`.
        """
        self.written = self.lost = self.kept_back = 0
        self._asks = asks
        self._instance = instance[:_LONGEST_FIELD]
        self._uid_of = uid_of
        self._budget = budget
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._waiting: deque[tuple[Occurrence, float]] = deque()
        self._tokens: OrderedDict[str, _Tokens] = OrderedDict()
        self._series: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()
        self._bell = threading.Condition()
        self._writing = threading.Lock()
        self._ending = False
        self._thread: threading.Thread | None = None

    def tell(self, occurrence: Occurrence, now: float) -> None:
        """Have an event written soon.

        Args:
            occurrence: What happened.
            now: When, Unix seconds.
        """
        with self._bell:
            if len(self._waiting) >= self._budget.queue:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append((occurrence, now))
            self._bell.notify()

    def start(self) -> None:
        """Write in a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 3.0) -> bool:
        """End the thread and write what waits, each for so long at most and one request more.

        Returns:
            Whether the thread has ended.
        """
        with self._bell:
            self._ending = True
            self._bell.notify()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
        self.flush(seconds)
        return True

    def flush(self, seconds: float) -> None:
        """Write what waits, in this thread, for so long at most."""
        end = self._monotonic() + seconds
        while self._monotonic() < end and self._next():
            pass

    def _run(self) -> None:
        while True:
            with self._bell:
                while not self._waiting and not self._ending:
                    self._bell.wait()
                if self._ending:
                    return
            self._next()

    def _next(self) -> bool:
        with self._bell:
            if not self._waiting:
                return False
            occurrence, now = self._waiting.popleft()
        with self._writing:
            try:
                self._write(occurrence, now)
            except Exception:  # noqa: BLE001 - an event that is not written changes nothing
                self.lost += 1
        return True

    def _write(self, occurrence: Occurrence, now: float) -> None:
        key = (str(occurrence.about), occurrence.reason, occurrence.note)
        series = self._series.get(key)
        repeated = series is not None and now - series.last < self._budget.same_seconds
        if not self._allowed(key[0], now):
            self.kept_back += 1
            return
        if series is not None and repeated and self._counted_up(series, now):
            return
        tokens = self._tokens[key[0]]
        body = self._body(occurrence, now, tokens.kept_back)
        root = f"/apis/events.k8s.io/v1/namespaces/{body['metadata']['namespace']}/events"
        self._ask("POST", root, body, "application/json")
        tokens.kept_back = 0
        self._series[key] = _Series(f"{root}/{body['metadata']['name']}", 1, now)
        self._series.move_to_end(key)
        while len(self._series) > self._budget.objects:
            self._series.popitem(last=False)

    def _counted_up(self, series: _Series, now: float) -> bool:
        count = series.count + 1
        body = {"series": {"count": count, "lastObservedTime": micro_time(now)}}
        try:
            self._ask("PATCH", series.path, body, MERGE_PATCH)
        except KubernetesError as error:
            if error.status == 404:  # events live for an hour or so
                return False
            raise
        series.count, series.last = count, now
        return True

    def _ask(self, method: str, path: str, body: Any, content_type: str) -> None:
        self._asks.ask(
            method,
            path,
            query=(("fieldManager", FIELD_MANAGER),),
            body=body,
            content_type=content_type,
            deadline_seconds=self._deadline,
        )
        self.written += 1

    def _allowed(self, about: str, now: float) -> bool:
        budget = self._budget
        tokens = self._tokens.setdefault(about, _Tokens(budget.burst, now))
        self._tokens.move_to_end(about)
        while len(self._tokens) > budget.objects:
            self._tokens.popitem(last=False)
        tokens.left = min(
            float(budget.burst), tokens.left + max(0.0, now - tokens.at) / budget.every_seconds
        )
        tokens.at = now
        if tokens.left < 1.0:
            tokens.kept_back += 1
            return False
        tokens.left -= 1.0
        return True

    def _body(self, occurrence: Occurrence, now: float, kept_back: int) -> dict[str, Any]:
        about = occurrence.about
        uid = self._uid_of(about)
        regarding = {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "name": about.name,
            **({"namespace": about.namespace} if about.namespace else {}),
            **({"uid": uid} if uid else {}),
        }
        more = f" ({kept_back} earlier ones were left out)" if kept_back else ""
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": self._name(occurrence, now),
                # Events of what lies in no namespace are kept in the default one.
                "namespace": about.namespace or "default",
            },
            "eventTime": micro_time(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": occurrence.action,
            "reason": occurrence.reason,
            "regarding": regarding,
            "note": cut(occurrence.note, LONGEST_NOTE - len(more)) + more,
            "type": "Warning" if occurrence.warning else "Normal",
        }

    def _name(self, occurrence: Occurrence, now: float) -> str:
        seed = f"{self._instance}\0{occurrence.about}\0{occurrence.reason}\0{now!r}\0"
        mark = hashlib.sha256(f"{seed}{occurrence.note}".encode()).hexdigest()[:16]
        # Neither "-" nor "." may stand before a dot of a name.
        begins = occurrence.about.name[: _LONGEST_NAME - 17].rstrip("-.")
        return f"{begins}.{mark}"
