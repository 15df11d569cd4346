"""How fast values are answered: `python -m tests.metrics_adapter.bench [--seconds S] [--rate N]`.

One server in a process of its own, in one thread, over TLS with the front proxy's certificate and
keep-alive, as the API server asks. Requests come at their times whatever became of those before
them, and how long one took is counted from when it was due. A new plan comes every five seconds,
three times as often as usual. `--soak N` asks N times instead, half of it rubbish, and tells how
memory grows.
"""

import argparse
import asyncio
import multiprocessing
import ssl
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import trustme

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
from metrics_adapter.tls import Tls
from metrics_adapter.turns import plan_in_turns
from tests.metrics_adapter.cluster import HPA, pem_of
from tests.metrics_adapter.plans import a_document, a_row

SIZES: Final = (1, 100, 10_000)
CONNECTIONS: Final = 8
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
    front, serving = trustme.CA(), trustme.CA()
    serving.cert_pem.write_to_path(str(folder / "ca.crt"))
    client = front.issue_cert(common_name="front-proxy-client")
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    document = a_document(*(a_row(f"w{n}") for n in range(metrics)))
    newest, documents, api, garbage = Newest(), Documents(), _Allows(), Garbage()
    served = serving.issue_cert("localhost")
    server = MetricsServer(
        Answers(newest),
        documents,
        Access(api),
        Tls(served.cert_chain_pems[0].bytes(), served.private_key_pem.bytes()),
        Connections(1024, header_seconds=20, answer_seconds=120),
        newest.lacks,
        PodLists(api),
        {},
    )
    server.use_front_proxy(FrontProxy(pem_of(front), frozenset({"front-proxy-client"})))
    stopping = asyncio.Event()

    def said() -> None:
        if pipe.recv() == "stop":
            stopping.set()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        pipe.send((time.process_time(), pages * 4096 / 2**20))

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
    asyncio.get_running_loop().add_reader(pipe.fileno(), said)
    pipe.send((await server.start("127.0.0.1", 0, 20.0))[1])
    await stopping.wait()
    following.cancel()
    await server.stop()


class _Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: Callable[["_Client", bytes], None]) -> None:
        self._free = free
        self._seen = bytearray()
        self._whole = 0
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await self._lost.wait()

    def ask(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        seen = self._seen
        seen += data
        if not self._whole:
            head = seen.find(b"\r\n\r\n")
            if head < 0:
                return
            length = seen[:head].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._whole = head + 4 + int(length)
        if len(seen) >= self._whole:
            answer = bytes(seen)
            seen.clear()
            self._whole = 0
            self._free(self, answer)


class Load:
    """Asks at a rate (infinite: as fast as answers come), from one thread."""

    def __init__(self, requests: Iterator[bytes], count: int, rate: float) -> None:
        self._requests = requests
        self._count = count
        self._rate = rate
        self._idle: deque[_Client] = deque()
        self._due: deque[float] = deque()
        self._of: dict[_Client, float] = {}
        self._sent = 0
        self._done = asyncio.Event()
        self.took: list[float] = []
        self.statuses: dict[bytes, int] = {}

    async def run(self, port: int, folder: Path) -> float:
        """Ask all; return how many seconds it took."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(folder / "ca.crt")
        context.load_cert_chain(folder / "client.pem")
        loop = asyncio.get_running_loop()
        open_ones = [
            await loop.create_connection(
                lambda: _Client(self._answered), "127.0.0.1", port, ssl=context,
                server_hostname="localhost",
            )
            for _ in range(CONNECTIONS)
        ]  # fmt: skip
        self._idle.extend(client for _, client in open_ones)
        begun = time.perf_counter()
        for number in range(self._count if self._rate < float("inf") else 0):
            due = begun + number / self._rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self._due.append(due)
            self._send()
        if self._rate == float("inf"):
            self._due.extend([begun] * self._count)
            for _ in range(CONNECTIONS):
                self._send()
        await self._done.wait()
        lasted = time.perf_counter() - begun
        for _, client in open_ones:
            await client.close()
        return lasted

    def _send(self) -> None:
        if self._idle and self._due:
            client = self._idle.popleft()
            self._of[client] = self._due.popleft()
            client.ask(next(self._requests))

    def _answered(self, client: _Client, answer: bytes) -> None:
        self.took.append(time.perf_counter() - self._of.pop(client))
        status = answer[9:12]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self._idle.append(client)
        self._send()
        if len(self.took) == self._count:
            self._done.set()


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


@dataclass(frozen=True, slots=True)
class Spent:
    """What the server's process spent so far: processor seconds, MiB."""

    seconds: float
    memory: float


class Server:
    """The server's process."""

    def __init__(self, metrics: int, folder: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(metrics, folder, theirs))
        self._process.start()
        self.port: int = self._pipe.recv()

    def spent(self, word: str = "go on") -> Spent:
        self._pipe.send(word)
        return Spent(*self._pipe.recv())

    def stop(self) -> None:
        self.spent("stop")
        self._process.join()


def measure(metrics: int, seconds: float, rate: float) -> str:
    """Return the line of one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(metrics, folder)
        # A warm start: the first requests ask who may see what.
        asyncio.run(_asked(server, folder, values(metrics), 500, float("inf")))
        before = server.spent()
        paced = asyncio.run(_asked(server, folder, values(metrics), int(seconds * rate), rate))
        after = server.spent()
        count = int(seconds * rate)
        most = asyncio.run(_asked(server, folder, values(metrics), count, float("inf")))
        server.stop()
    took = sorted(paced[0])
    middle, late = (1e3 * took[int(len(took) * share)] for share in (0.5, 0.99))
    used = 1e6 * (after.seconds - before.seconds) / len(took)
    return (
        f"{metrics:>6} metrics: {len(took) / paced[1]:5.0f}/s  p50 {middle:6.2f} ms  "
        f"p99 {late:6.2f} ms  {used:4.0f} us of processor each  "
        f"at most {count / most[1]:5.0f}/s  {after.memory:4.0f} MiB"
    )


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
        else (measure(metrics, given.seconds, given.rate) for metrics in SIZES)
    )
    sys.stdout.write(f"metrics adapter, one process, one thread; pace {pace():.1f} us\n")
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
