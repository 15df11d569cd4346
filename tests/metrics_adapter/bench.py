"""How fast values are answered: `python -m tests.metrics_adapter.bench [--seconds S] [--rate N]`.

One server in a process of its own, over TLS with the front proxy's certificate, keep-alive, as the
API server asks. Every tenth of the time a new plan comes. Prints one line for each size: requests
a second at the rate asked for, their latency, what one process can do at most, and its memory.
"""

import argparse
import asyncio
import multiprocessing
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import trustme

from autoscaler.telemetry.connections import Connections
from metrics_adapter.access import Access
from metrics_adapter.answers import Answers
from metrics_adapter.board import make_board
from metrics_adapter.documents import Documents
from metrics_adapter.identity import FrontProxy
from metrics_adapter.newest import Newest
from metrics_adapter.plan import read_plan
from metrics_adapter.pods import PodLists
from metrics_adapter.server import MetricsServer
from metrics_adapter.tls import Tls
from tests.metrics_adapter.cluster import HPA, pem_of
from tests.metrics_adapter.plans import a_document, a_row

SIZES: Final = (1, 100, 10_000)
CONNECTIONS: Final = 8
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


def serve(metrics: int, folder: Path, pipe: Connection, pause: float) -> None:
    """Serve until the pipe says something; tells its port, then its memory (MiB)."""
    sys.setswitchinterval(0.0005)  # as the process does
    asyncio.run(_serve(metrics, folder, pipe, pause))


async def _serve(metrics: int, folder: Path, pipe: Connection, pause: float) -> None:
    front, serving = trustme.CA(), trustme.CA()
    serving.cert_pem.write_to_path(str(folder / "ca.crt"))
    client = front.issue_cert(common_name="front-proxy-client")
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    document = a_document(*(a_row(f"w{n}") for n in range(metrics)))
    newest, documents, api = Newest(), Documents(), _Allows()
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
    newest.publish(make_board(read_plan(document)), 0.0)
    pipe.send((await server.start("127.0.0.1", 0, 20.0))[1])
    loop = asyncio.get_running_loop()
    while not pipe.poll():
        await asyncio.sleep(pause)
        board = await loop.run_in_executor(
            None, lambda: make_board(read_plan(document), newest.board)
        )
        newest.publish(board, 0.0)
        documents.use(board)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    pipe.send(pages * 4096 / 2**20)
    await server.stop()


async def ask(port: int, folder: Path, metrics: int, seconds: float, rate: float) -> list[float]:
    """Ask at a rate (infinite: as fast as it goes); return how long each answer took."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.crt")
    context.load_cert_chain(folder / "client.pem")
    took: list[float] = []

    async def one(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context,
                                                       server_hostname="localhost")  # fmt: skip
        begun = time.perf_counter()
        count = 0
        while time.perf_counter() - begun < seconds:
            due = begun + (first + count * CONNECTIONS) / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked = time.perf_counter()
            name = f"w{(first + count * CONNECTIONS) % metrics}"
            path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm/load"
            line = f"GET {path}?labelSelector=workload%3D{name} HTTP/1.1\r\n"
            writer.write((line + HEADERS).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            took.append(time.perf_counter() - asked)
            if not head.startswith(b"HTTP/1.1 200 ") or body.count(b"metricName") != 1:
                raise RuntimeError(f"{head!r} {body[:200]!r}")
            count += 1
        writer.close()

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    return sorted(took)


def measure(metrics: int, seconds: float, rate: float) -> str:
    """Return the line of one size."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = spawn.Process(target=serve, args=(metrics, folder, theirs, seconds / 5))
        process.start()
        port = ours.recv()
        paced = asyncio.run(ask(port, folder, metrics, seconds, rate))
        most = asyncio.run(ask(port, folder, metrics, seconds, float("inf")))
        ours.send("stop")
        memory = ours.recv()
        process.join()
    middle, late = (1e3 * paced[int(len(paced) * share)] for share in (0.5, 0.99))
    return (
        f"{metrics:>6} workloads: {len(paced) / seconds:6.0f}/s  p50 {middle:6.2f} ms  "
        f"p99 {late:6.2f} ms  at most {len(most) / seconds:6.0f}/s  {memory:4.0f} MiB"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    given = parser.parse_args(arguments)
    for metrics in SIZES:
        sys.stdout.write(measure(metrics, given.seconds, given.rate) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
