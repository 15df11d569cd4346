"""A loopback double of Prometheus: fast, and as faulty as a test wants it.

It speaks `query` and `query_range` over real HTTP and takes its numbers from a Python function. It
knows no PromQL: the function is handed the text and says which series answer. Queries that ask
for the age of their samples and the count of their series (see `questions.dated`) get both: each
series says when its newest raw sample was, and for how many raw series it stands.
"""

import math
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from autoscaler.adapters.prometheus.rows import PART

_COUNT = re.compile(r"label_replace\(count by \(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        promql: The query as it was sent.
        start: First time of evaluation, Unix seconds.
        end: Last one.
        step: Between them.
        headers: In lower case.
        method: GET or POST.
        path: With the query string, as on the request line.
        form: Every parameter.
    """

    promql: str
    start: float
    end: float
    step: float
    headers: Mapping[str, str]
    method: str
    path: str
    form: Mapping[str, str]

    @property
    def times(self) -> list[float]:
        count = int((self.end - self.start) / self.step + 1e-6) + 1
        return [self.start + number * self.step for number in range(count)]

    @property
    def ages(self) -> int:
        """How many selectors' ages are asked for; -1 where values are asked for alone."""
        parts = self.promql.count(f'"{PART}"')
        return parts - 1 if parts < 2 else parts - 2

    @property
    def counted_by(self) -> tuple[str, ...] | None:
        """By which labels raw series are to be counted; None where no count is asked for."""
        if self.ages < 1:
            return None
        found = _COUNT.search(self.promql)
        return tuple(found[1].split(", ")) if found else ()


def always(value: float) -> Callable[[float], float | None]:
    return lambda _: value


def at_once(time: float) -> float | None:
    """A raw sample at every evaluation: the freshest that can be."""
    return time


def one_series(_: float) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class Line:
    """One series of an answer.

    Attributes:
        metric: Its labels.
        value: The value at a time; None where there is none.
        raw: The newest raw sample at a time; None where there is none.
        raws: The same for each selector of a query that reads several.
        series: How many raw series it stands for at a time.
    """

    metric: Mapping[str, str]
    value: Callable[[float], float | None]
    raw: Callable[[float], float | None] = at_once
    raws: tuple[Callable[[float], float | None], ...] = ()
    series: Callable[[float], int] = one_series

    def part(self, number: int) -> Callable[[float], float | None]:
        """Return the value (0) or the newest raw sample of a selector (1, 2, ...)."""
        if number == 0:
            return self.value
        return self.raws[number - 1] if self.raws else self.raw


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with an answer.

    Attributes:
        status: Another HTTP status than 200.
        body: Another body.
        headers: Further headers.
        delay_seconds: Before the first byte.
        drip_seconds: Between two pieces of the answer.
        reset: The connection is reset instead of an answer.
        hang_up: The connection is closed instead of an answer.
        half: Half of the body is sent, then the connection is closed.
        nan: Every value is NaN.
        warnings: What the answer warns of.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    drip_seconds: float = 0.0
    reset: bool = False
    hang_up: bool = False
    half: bool = False
    nan: bool = False
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


HTML = Fault(body=b"<html>Please log in</html>", headers={"Content-Type": "text/html"})

Answering = Callable[[Asked], Iterable[Line]]
Faulting = Callable[[Asked], Fault | None]


class PrometheusDouble:
    """The double; `url` is its address, `asked` what it was asked.

    Attributes:
        answer: Says which series answer a query; may be exchanged at any time.
        fault: Says what goes wrong with a request; None for nothing.
        clock: What its Date header tells, Unix seconds; None for no such header: a test's time is
            seldom this machine's.
        most_open: Most requests at once.
    """

    def __init__(self, answer: Answering, *, fault: Faulting | None = None) -> None:
        self.answer = answer
        self.fault: Faulting = fault or (lambda _: None)
        self.clock: Callable[[], float] | None = None
        self.asked: list[Asked] = []
        self.open = 0
        self.most_open = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the double's own end."""
        self._closing.wait(seconds)

    @contextmanager
    def counted(self, asked: Asked) -> Iterator[None]:
        with self._lock:
            self.asked.append(asked)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            yield
        finally:
            with self._lock:
                self.open -= 1

    def body(self, asked: Asked, fault: Fault) -> bytes:
        """Return what a well Prometheus would answer."""
        times, instant = (
            asked.times,
            asked.path.startswith("/api/v1/query?") or (asked.path == "/api/v1/query"),
        )
        result = []
        lines = list(self.answer(asked))
        for line in [*lines, *_counts(lines, asked)]:
            counts = PART in line.metric
            for number in range(1 if counts else 1 + max(0, asked.ages)):
                nan = fault.nan and number == 0 and not counts
                said = always(math.nan) if nan else line.part(number)
                points = [
                    [time, _text(found)] for time in times if (found := said(time)) is not None
                ]
                numbered = asked.ages >= 0 and not counts
                metric = {**line.metric, PART: str(number)} if numbered else line.metric
                if points:
                    rows = {"value": points[-1]} if instant else {"values": points}
                    result.append({"metric": metric, **rows})
        kind = "vector" if instant else "matrix"
        answer: dict[str, Any] = {
            "status": "success", "data": {"resultType": kind, "result": result},
        }  # fmt: skip
        if fault.warnings:
            answer["warnings"] = fault.warnings
        if fault.infos:
            answer["infos"] = fault.infos
        return orjson.dumps(answer)


def _counts(lines: Iterable[Line], asked: Asked) -> Iterator[Line]:
    """Yield how many raw series there are, by the labels that are asked for."""
    if asked.counted_by is None:
        return
    alike: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        alike.setdefault(tuple(line.metric.get(name, "") for name in asked.counted_by), []).append(
            line
        )
    for values, some in alike.items():
        metric = dict(zip(asked.counted_by, values, strict=True))
        yield Line({**metric, PART: str(asked.ages + 1)}, _sum_of(some))


def _sum_of(lines: Iterable[Line]) -> Callable[[float], float | None]:
    def count(time: float) -> float | None:
        return sum(line.series(time) for line in lines if line.part(1)(time) is not None) or None

    return count


def _text(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else f"{value:+}".replace("inf", "Inf")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, double: PrometheusDouble) -> None:
        self.double = double
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the other side may hang up at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        double = self.server.double
        length = int(self.headers.get("Content-Length", 0))
        sent = self.rfile.read(length).decode() if length else urlsplit(self.path).query
        form = {name: values[-1] for name, values in parse_qs(sent).items()}
        at = float(form.get("time", 0.0))
        asked = Asked(
            form.get("query", ""),
            float(form.get("start", at)),
            float(form.get("end", at)),
            float(form.get("step", 1.0)),
            {name.lower(): value for name, value in self.headers.items()},
            self.command,
            self.path,
            form,
        )
        with double.counted(asked):
            fault = double.fault(asked) or Fault()
            double.pause(fault.delay_seconds)
            if fault.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if fault.reset or fault.hang_up:
                self.close_connection = True
                self.rfile.close()
                self.connection.close()
                return
            body = fault.body if fault.body is not None else double.body(asked, fault)
            self._send(body, fault)

    def _send(self, body: bytes, fault: Fault) -> None:
        self.send_response_only(fault.status)
        if self.server.double.clock is not None:
            self.send_header("Date", self.date_time_string(self.server.double.clock()))
        for name, value in {"Content-Type": "application/json", **fault.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.half:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault.drip_seconds:
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
                self.server.double.pause(fault.drip_seconds)
        else:
            self.wfile.write(body)
        self.wfile.flush()
