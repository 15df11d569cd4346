"""Exporters on loopback: engines that speak vLLM's exposition, GPUs that speak DCGM's.

Counters grow with real time, so that `rate()` of a real Prometheus has something to say.
"""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Monotonic = Callable[[], float]


class VllmEngine:
    """The metrics of one vLLM pod.

    Attributes:
        waiting: Requests in the queue.
        running: Requests in the batch.
        tokens_per_second: How fast the token counter grows.
        ttft_seconds: What every request's time to first token is; None for no requests.
        waiting_seconds: How long a scrape takes.
    """

    BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

    def __init__(self, model: str, *, monotonic: Monotonic = time.monotonic) -> None:
        self.model = model
        self.waiting = 0.0
        self.running = 0.0
        self.tokens_per_second = 100.0
        self.ttft_seconds: float | None = 0.4
        self.waiting_seconds = 0.0
        self._monotonic = monotonic
        self._born = monotonic()

    def restart(self) -> None:
        """Begin to count from zero again, as a new process does."""
        self._born = self._monotonic()

    def text(self) -> str:
        """Return the exposition, as in the text format 0.0.4."""
        time.sleep(self.waiting_seconds)
        age = self._monotonic() - self._born
        labels = f'engine="0",model_name="{self.model}"'
        lines = [
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{{{labels}}} {self.running}",
            "# TYPE vllm:num_requests_waiting gauge",
            f"vllm:num_requests_waiting{{{labels}}} {self.waiting}",
            "# TYPE vllm:generation_tokens_total counter",
            f"vllm:generation_tokens_total{{{labels}}} {age * self.tokens_per_second}",
            "# TYPE vllm:time_to_first_token_seconds histogram",
        ]
        name, count = "vllm:time_to_first_token_seconds", 10.0 * age
        spent = self.ttft_seconds
        for edge in (*self.BUCKETS, float("inf")):
            inside = count if spent is not None and spent <= edge else 0.0
            bound = "+Inf" if edge == float("inf") else edge
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {inside}')
        total = 0.0 if spent is None else count
        lines += [
            f"{name}_count{{{labels}}} {total}",
            f"{name}_sum{{{labels}}} {total * (spent or 0.0)}",
        ]
        return "\n".join(lines) + "\n"


class DcgmNode:
    """The metrics of one dcgm-exporter: utilisation in percent, by GPU and the pod on it."""

    def __init__(self, **utilization: float) -> None:
        self.utilization = utilization

    def text(self) -> str:
        """Return the exposition; a GPU called `free` carries no pod."""
        lines = ["# TYPE DCGM_FI_DEV_GPU_UTIL gauge"]
        for number, (pod, percent) in enumerate(self.utilization.items()):
            labels = f'gpu="{number}",UUID="GPU-{number}",modelName="NVIDIA H100 80GB HBM3"'
            if pod != "free":
                labels += f',namespace="llm",pod="{pod}",container="vllm"'
            lines.append(f"DCGM_FI_DEV_GPU_UTIL{{{labels}}} {percent}")
        return "\n".join(lines) + "\n"


class Exporter:
    """Serves any number of expositions, each under a path of its own.

    Attributes:
        pods: What each path shows.
        dead: Paths whose connections are closed without an answer.
        scrapes: How often each path was read.
    """

    def __init__(self, **pods: VllmEngine | DcgmNode) -> None:
        self.pods = dict(pods)
        self.dead: set[str] = set()
        self.scrapes: dict[str, int] = dict.fromkeys(pods, 0)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: Prometheus hangs up when it is stopped."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        exporter, name = self.server.exporter, self.path.strip("/")
        if name in exporter.dead or name not in exporter.pods:
            self.connection.close()
            return
        exporter.scrapes[name] += 1
        body = exporter.pods[name].text().encode()
        self.send_response_only(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
