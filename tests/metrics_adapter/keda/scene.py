"""A server on loopback, and a client made of the protocol's own description."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from metrics_adapter.keda import externalscaler_pb2 as pb
from metrics_adapter.keda.server import KedaServer
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.newest import Newest
from tests.waiting import PATIENCE_SECONDS

"""Far more than anything here takes: a test that waits so long has found something."""

ARGUMENTS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
"""Every channel has a connection of its own."""


class ScalerClient:
    """The four methods, as their description says: path, messages, one answer or a stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        methods = pb.DESCRIPTOR.services_by_name["ExternalScaler"].methods
        self._calls = {method.name: _call(channel, method) for method in methods}

    async def is_active(self, ref: pb.ScaledObjectRef) -> bool:
        return cast("pb.IsActiveResponse", await self._calls["IsActive"](ref)).result

    def stream_is_active(self, ref: pb.ScaledObjectRef) -> "Stream":
        return Stream(self._calls["StreamIsActive"](ref))

    async def metric_spec(self, ref: pb.ScaledObjectRef) -> pb.MetricSpec:
        (spec,) = (await self._calls["GetMetricSpec"](ref)).metricSpecs
        return cast("pb.MetricSpec", spec)

    async def metrics(self, ref: pb.ScaledObjectRef, metric: str) -> pb.MetricValue:
        request = pb.GetMetricsRequest(scaledObjectRef=ref, metricName=metric)
        (value,) = (await self._calls["GetMetrics"](request)).metricValues
        return cast("pb.MetricValue", value)


@dataclass(slots=True)
class Stream:
    """What a stream tells, one at a time."""

    call: Any

    async def next(self, seconds: float = PATIENCE_SECONDS) -> bool | None:
        """Return the next message; None at a good end."""
        async with asyncio.timeout(seconds):
            message = await self.call.read()
        return None if message is grpc.aio.EOF else message.result

    async def silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for a while. The stream is of no use after that."""
        reading = asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait([reading], timeout=seconds)
        reading.cancel()
        return not done


def _call(channel: grpc.aio.Channel, method: MethodDescriptor) -> Callable[..., Any]:
    assert method.containing_service is not None
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    answer = GetMessageClass(method.output_type)
    return make(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=answer.FromString,
    )


@dataclass(slots=True)
class Clock:
    """Seconds that pass when told to."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Scene:
    """A running server, what it serves and who asks."""

    newest: Newest
    clock: Clock
    server: KedaServer
    channel: grpc.aio.Channel
    client: ScalerClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = ScalerClient(self.channel)

    @property
    def raw(self) -> Any:
        """The channel, for calls that carry any bytes."""
        return self.channel


@asynccontextmanager
async def a_scene(**settings: Any) -> AsyncIterator[Scene]:
    """A server without certificates; ages pass by hand."""
    clock = Clock()
    newest = Newest(monotonic=clock)
    server = KedaServer(newest, KedaSettings(port=0, **settings), look_seconds=0.02)
    await server.start()
    channel = grpc.aio.insecure_channel(server.address, options=ARGUMENTS)
    try:
        yield Scene(newest, clock, server, channel)
    finally:
        await channel.close()
        await server.stop()


def a_ref(
    workload: str | None = "llm/chat", namespace: str = "llm", **metadata: str
) -> pb.ScaledObjectRef:
    """A ScaledObject as KEDA tells it: everything that its trigger says."""
    said = {"scalerAddress": "adapter:9444", **metadata}
    if workload is not None:
        said["workload"] = workload
    return pb.ScaledObjectRef(name="chat", namespace=namespace, scalerMetadata=said)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test that waits, in a loop of its own."""
    asyncio.run(asyncio.wait_for(test, 2 * PATIENCE_SECONDS))


async def refused(call: Awaitable[Any]) -> tuple[str, str]:
    """Return the status and the message of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details() or ""


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():
            await asyncio.sleep(0.005)
