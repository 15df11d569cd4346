"""What a server costs that does nothing: aiohttp over the same TLS, with the same bytes always.

Measured beside ours, it tells what is ours and what is the machine's.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, cast

import trustme
from aiohttp import web

from metrics_adapter.tls import Tls
from tests.metrics_adapter.cluster import pem_of

_ANSWER: Final = (
    b'{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1",'
    b'"metadata":{},"items":[{"metricName":"load","metricLabels":{"model_name":"llama",'
    b'"workload":"w99"},"timestamp":"2023-11-14T22:13:20Z","value":"50"}]}'
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the server's process spent so far: processor seconds, MiB."""

    seconds: float
    memory: float


def spent_here() -> Spent:
    """Return what this process spent so far."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Spent(time.process_time(), pages * 4096 / 2**20)


def tell(pipe: Connection, stopping: asyncio.Event) -> None:
    """Tell what this process spent whenever the pipe asks; at `stop`, set `stopping`, too."""

    def asked() -> None:
        if pipe.recv() == "stop":
            stopping.set()
        pipe.send(spent_here())

    asyncio.get_running_loop().add_reader(pipe.fileno(), asked)


def certificates(folder: Path) -> tuple[Tls, str]:
    """Write what the client needs; return the TLS of a server, and the authority of its clients."""
    front, serving = trustme.CA(), trustme.CA()
    serving.cert_pem.write_to_path(str(folder / "ca.crt"))
    client = front.issue_cert(common_name="front-proxy-client")
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    served = serving.issue_cert("localhost")
    tls = Tls(served.cert_chain_pems[0].bytes(), served.private_key_pem.bytes())
    return tls, pem_of(front)


def serve_alone(_metrics: int, folder: Path, pipe: Connection) -> None:
    """Serve until the pipe says `stop`; tells its port, then what it spent whenever asked."""
    asyncio.run(_serve(folder, pipe))


async def _serve(folder: Path, pipe: Connection) -> None:
    tls, authority = certificates(folder)
    tls.set_authority(authority)

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=_ANSWER, content_type="application/json")

    server = web.Server(answer, access_log=None)
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    make = cast("Callable[[], asyncio.Protocol]", server)
    listening = await loop.create_server(make, "127.0.0.1", 0, ssl=tls.current)

    tell(pipe, stopping)
    pipe.send(listening.sockets[0].getsockname()[1])
    await stopping.wait()
    listening.close()
    await server.shutdown()
