"""A Prometheus for the benchmark, a process of its own: `python -m tests.bench.prometheus_server`.

It knows no PromQL. It reads from a query which workloads are meant and which signal, and answers
with rows that are put together from parts made before, so that it is seldom what is waited for.
The answer is compressed where that is accepted, as Prometheus does.

Every cycle another hundredth of the workloads has a backlog; the others stand at their minimum.
"""

import re
import sys
import threading
import zlib
from collections.abc import Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson

from autoscaler.adapters.prometheus.rows import PART
from tests.bench.fleet import index_of, namespace_of

SCRAPE_SECONDS: Final = 15.0
BUSY_EVERY: Final = 100
"""One workload in so many gets a backlog in each cycle."""

_MEANT: Final = re.compile(r'\b(model_name|container)=~?"([^"]*)"')
_SIGNALS: Final = (
    (re.compile(r"num_requests_waiting|queue"), "queue"),
    (re.compile(r"time_to_first_token"), "ttft"),
    (re.compile(r"inter_token|time_per|mean_time"), "itl"),
    (re.compile(r"duration"), "e2e"),
)
_VALUES: Final = {"queue": 0.6, "ttft": 0.4, "itl": 0.03, "e2e": 8.0, "rate": 5.0}


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until whoever started us ends


def answer(promql: str, times: Sequence[float], *, instant: bool = False) -> bytes:
    """Return the body of an answer."""
    label, workloads = _meant(promql)
    parts = max(1, promql.count(f'"{PART}"'))
    signal = _signal(promql)
    rows: list[bytes] = []
    counted = parts - 1 if parts > 1 else None
    for part in range(parts):
        seen = [_points(signal, times, kind, instant=instant) for kind in range(10)]
        if part == counted:
            seen = [_written(times, ["4"] * len(times), instant=instant)] * 10
        elif part:
            seen = [_ages(times, kind, instant=instant) for kind in range(10)]
        heads = _heads(label, workloads, part if parts > 1 else None)
        rows += [head + seen[at % 10] for head, at in zip(heads, workloads, strict=True)]
        if signal == "queue" and not part:
            for place, at in enumerate(workloads):
                if any(_busy(at, time) for time in times):
                    rows[place] = heads[place] + _backlog(at, times, instant=instant)
    kind = b"vector" if instant else b"matrix"
    start = b'{"status":"success","data":{"resultType":"' + kind + b'","result":['
    return start + b",".join(rows) + b"]}}"


@cache
def _meant(promql: str) -> tuple[str, tuple[int, ...]]:
    found = _MEANT.search(promql)
    if found is None:
        return "model_name", ()
    return found[1], tuple(index_of(name) for name in found[2].split("|"))


@cache
def _signal(promql: str) -> str:
    return next((name for known, name in _SIGNALS if known.search(promql)), "rate")


@cache
def _heads(label: str, workloads: tuple[int, ...], part: int | None) -> list[bytes]:
    heads = []
    for index in workloads:
        metric = {"namespace": namespace_of(index), label: f"m{index:05}"}
        if part is not None:
            metric[PART] = str(part)
        heads.append(b'{"metric":' + orjson.dumps(metric) + b",")
    return heads


def _written(times: Sequence[float], values: Sequence[str], *, instant: bool) -> bytes:
    points = [[time, value] for time, value in zip(times, values, strict=True)]
    if instant:
        return b'"value":' + orjson.dumps(points[-1]) + b"}"
    return b'"values":' + orjson.dumps(points) + b"}"


def _points(signal: str, times: Sequence[float], kind: int, *, instant: bool) -> bytes:
    middle = 0.0 if signal == "queue" and kind > 3 else _VALUES[signal]
    values = [repr(middle * (1 + 0.01 * ((kind + time // 15) % 7))) for time in times]
    return _written(times, values, instant=instant)


def _ages(times: Sequence[float], kind: int, *, instant: bool) -> bytes:
    late = kind * SCRAPE_SECONDS / 10
    raw = [(time - late) // SCRAPE_SECONDS * SCRAPE_SECONDS + late for time in times]
    return _written(times, [repr(time) for time in raw], instant=instant)


def _backlog(at: int, times: Sequence[float], *, instant: bool) -> bytes:
    values = ["60" if _busy(at, time) else "0" for time in times]
    return _written(times, values, instant=instant)


def _busy(at: int, time: float) -> bool:
    return at % BUSY_EVERY == int(time // SCRAPE_SECONDS) % BUSY_EVERY


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        sent = self.rfile.read(length).decode() if length else urlsplit(self.path).query
        form = {name: values[-1] for name, values in parse_qs(sent).items()}
        at = float(form.get("time", 0.0))
        start, end = float(form.get("start", at)), float(form.get("end", at))
        step = float(form.get("step", 1.0))
        times = [start + number * step for number in range(int((end - start) / step + 1e-6) + 1)]
        body = answer(form.get("query", ""), times, instant="start" not in form)
        packs = "gzip" in self.headers.get("Accept-Encoding", "")
        if packs:
            body = zlib.compress(body, 1, 31)
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        if packs:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


if __name__ == "__main__":
    main()
