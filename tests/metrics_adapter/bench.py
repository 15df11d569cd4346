"""How fast values are answered: `python -m tests.metrics_adapter.bench [--seconds S] [--rate N]`.

One server in a process of its own, in one thread, over TLS with the front proxy's certificate and
keep-alive, as the API server asks. Requests come at their times whatever became of those before
them, and how long one took is counted from when it was due. A new plan comes every five seconds,
three times as often as usual. `--soak N` asks N times instead, half of it rubbish, and tells how
memory grows.

What the host took away meanwhile is told with each line, and one line is of a server that does
nothing (`alone.py`): what is more than that is ours.
"""

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from autoscaler.telemetry.connections import Connections
from metrics_adapter.access import Access
from metrics_adapter.answers import Answers
from metrics_adapter.board import board_end
from metrics_adapter.documents import Documents
from metrics_adapter.follower import steps
from metrics_adapter.garbage import Garbage
from metrics_adapter.identity import FrontProxy
from metrics_adapter.newest import Newest
from metrics_adapter.pods import PodLists
from metrics_adapter.server import MetricsServer
from metrics_adapter.turns import plan_in_turns
from tests.metrics_adapter.alone import Spent, certificates, serve_alone, tell
from tests.metrics_adapter.cluster import HPA
from tests.metrics_adapter.load import Load
from tests.metrics_adapter.plans import a_document, a_row

SIZES: Final = (1, 100, 10_000)
Serving = Callable[[int, Path, Connection], None]
PLAN_SECONDS: Final = 5.0
VALUES: Final = "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm"
HEADERS: Final = (
    "Host: metrics.autoscaler.svc\r\n"
    "User-Agent: kube-controller-manager/v1.36.2 (linux/amd64)\r\n"
    "Accept: application/vnd.kubernetes.protobuf, */*\r\n"
    f"X-Remote-User: {HPA}\r\n"
    "X-Remote-Group: system:serviceaccounts\r\n"
    "X-Remote-Group: system:serviceaccounts:kube-system\r\n"
    "X-Remote-Group: system:authenticated\r\n"
    "X-Remote-Extra-Authentication.kubernetes.io%2fcredential-Id: JTI=1\r\n\r\n"
)


class _Allows:
    """An API server that allows everything."""

    async def ask(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"status": {"allowed": True}}


def serve(metrics: int, folder: Path, pipe: Connection) -> None:
    """Serve until the pipe says `stop`; tells its port, then what it spent whenever asked."""
    asyncio.run(_serve(metrics, folder, pipe))


async def _serve(metrics: int, folder: Path, pipe: Connection) -> None:
    tls, authority = certificates(folder)
    document = a_document(*(a_row(f"w{n}") for n in range(metrics)))
    newest, documents, api, garbage = Newest(), Documents(), _Allows(), Garbage()
    server = MetricsServer(
        Answers(newest),
        documents,
        Access(api),
        tls,
        Connections(1024, header_seconds=20, answer_seconds=120),
        newest.lacks,
        PodLists(api),
        {},
    )
    server.use_front_proxy(FrontProxy(authority, frozenset({"front-proxy-client"})))
    stopping = asyncio.Event()

    async def follow() -> None:
        while True:
            before = newest.board
            with garbage.apart():
                board = await plan_in_turns(steps(document, before))
                newest.publish(board, 0.0)
                await documents.use(board)
                if before is not None:
                    await plan_in_turns(board_end(before))
            await asyncio.sleep(PLAN_SECONDS)

    following = asyncio.create_task(follow())
    await newest.next("", 60.0)
    tell(pipe, stopping)
    pipe.send((await server.start("127.0.0.1", 0, 20.0))[1])
    await stopping.wait()
    following.cancel()
    await server.stop()


def values(metrics: int) -> Iterator[bytes]:
    """Yield requests for one workload after the other."""
    asked = [
        f"GET {VALUES}/load?labelSelector=workload%3Dw{n} HTTP/1.1\r\n{HEADERS}".encode()
        for n in range(metrics)
    ]
    while True:
        yield from asked


def rubbish(metrics: int) -> Iterator[bytes]:
    """Yield requests every second of which nobody asked before, nor will again."""
    chance = np.random.default_rng(1)
    good = values(metrics)
    while True:
        yield next(good)
        odd = int(chance.integers(2**62))
        kinds = (
            f"{VALUES}/m{odd:x}",
            f"/apis/external.metrics.k8s.io/v1beta1/namespaces/n{odd:x}/load",
            f"{VALUES}/load?labelSelector=l{odd:x}%3Dv{odd:x}",
            f"{VALUES}/load?labelSelector=a+in+(" + ",".join(["b"] * (odd % 900)) + f"{odd:x})",
            f"{VALUES}/load?labelSelector={odd:x}%3D%3D%3D",
            f"/{odd:x}/../{odd:x}",
        )
        asked = kinds[odd % len(kinds)]
        whom = HEADERS.replace("JTI=1", f"JTI={odd:x}") if odd % 5 == 0 else HEADERS
        yield f"GET {asked} HTTP/1.1\r\n{whom}".encode()


class Server:
    """The server's process: ours, or the one that does nothing."""

    def __init__(self, metrics: int, folder: Path, serving: Serving = serve) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serving, args=(metrics, folder, theirs))
        self._process.start()
        self.port: int = self._pipe.recv()

    def spent(self, word: str = "go on") -> Spent:
        self._pipe.send(word)
        found: Spent = self._pipe.recv()
        return found

    def stop(self) -> None:
        self.spent("stop")
        self._process.join()


def measure(metrics: int, seconds: float, rate: float) -> str:
    """Return the line of one size."""
    return f"{metrics:>6} metrics: {_measured(serve, metrics, seconds, rate)}"


def measure_alone(seconds: float, rate: float) -> str:
    """Return the line of the server that does nothing."""
    return f" aiohttp alone: {_measured(serve_alone, 1, seconds, rate)}"


def _measured(serving: Serving, metrics: int, seconds: float, rate: float) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(metrics, folder, serving)
        # A warm start: the first requests ask who may see what.
        asyncio.run(_asked(server, folder, values(metrics), 500, float("inf")))
        host, before = _host(), server.spent()
        paced = asyncio.run(_asked(server, folder, values(metrics), int(seconds * rate), rate))
        after, taken = server.spent(), stolen(host, _host())
        count = int(seconds * rate)
        most = asyncio.run(_asked(server, folder, values(metrics), count, float("inf")))
        server.stop()
    took = sorted(paced[0])
    middle, late = (1e3 * took[int(len(took) * share)] for share in (0.5, 0.99))
    used = 1e6 * (after.seconds - before.seconds) / len(took)
    return (
        f"{len(took) / paced[1]:5.0f}/s  p50 {middle:6.2f} ms  "
        f"p99 {late:6.2f} ms  {used:4.0f} us of processor each  "
        f"at most {count / most[1]:5.0f}/s  {after.memory:4.0f} MiB{taken}"
    )


def _host() -> Sequence[int]:
    """Return how the processors of this machine spent their time so far; empty where it is unknown.

    In ticks: user, nice, system, idle, iowait, irq, softirq, steal; guests' are part of user's.
    """
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    except OSError:
        return ()
    return [int(ticks) for ticks in first[1:9]] if first[:1] == ["cpu"] else ()


def stolen(before: Sequence[int], after: Sequence[int]) -> str:
    """Return what part of the processors' time the host gave to others, as the end of a line."""
    spent = [later - sooner for sooner, later in zip(before, after, strict=False)]
    if len(spent) < 8 or sum(spent) <= 0:
        return ""
    return f"  stolen {100 * spent[7] / sum(spent):.1f} %"


async def _asked(
    server: Server, folder: Path, requests: Iterator[bytes], count: int, rate: float
) -> tuple[list[float], float]:
    load = Load(requests, count, rate)
    lasted = await load.run(server.port, folder)
    if set(load.statuses) != {b"200"}:
        raise RuntimeError(f"every answer should be 200: {load.statuses}")
    return load.took, lasted


def soak(requests: int, metrics: int = 100, parts: int = 10) -> Iterator[str]:
    """Yield a line for each part of so many requests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(metrics, folder)
        asked = rubbish(metrics)
        yield f"{0:>9} requests: {server.spent().memory:6.1f} MiB"
        for part in range(1, parts + 1):
            load = Load(asked, requests // parts, float("inf"))
            lasted = asyncio.run(load.run(server.port, folder))
            answers = ", ".join(f"{k.decode()}: {v}" for k, v in sorted(load.statuses.items()))
            yield (
                f"{part * (requests // parts):>9} requests: {server.spent().memory:6.1f} MiB  "
                f"{requests // parts / lasted:5.0f}/s  {answers}"
            )
        server.stop()


def pace() -> float:
    """Return how fast this machine is just now: microseconds for a sum of a thousand numbers."""
    best = float("inf")
    for _ in range(2000):
        begun = time.perf_counter()
        sum(range(1000))
        best = min(best, time.perf_counter() - begun)
    return 1e6 * best


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--soak", type=int, default=0, metavar="N")
    given = parser.parse_args(arguments)
    lines = (
        soak(given.soak)
        if given.soak
        else chain(
            (measure_alone(given.seconds, given.rate) for _ in range(1)),
            (measure(metrics, given.seconds, given.rate) for metrics in SIZES),
        )
    )
    sys.stdout.write(f"metrics adapter, one process, one thread; pace {pace():.1f} us\n")
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
