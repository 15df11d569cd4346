"""From zero: a request that nobody serves does not wait for the next cycle."""

import asyncio
from typing import Final

import grpc.aio
import pytest

from autoscaler.service import wall
from metrics_adapter.follower import ControllerSettings, Follower
from metrics_adapter.keda.server import KedaServer
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.newest import Newest
from tests.live.stage import Stage
from tests.metrics_adapter.keda.scene import ARGUMENTS, ScalerClient, a_ref
from tests.waiting import until

pytestmark = pytest.mark.slow

RARELY: Final = {"intervalSeconds": 600, "scrapeIntervalSeconds": 0.25}
"""Far more than the test waits: what happens within it was not left to the next cycle."""


def test_a_sleeping_workload_wakes_long_before_the_next_cycle(stage: Stage) -> None:
    stage.sleep("chat")
    stage.demand("code", 30)
    process = stage.run(settings=RARELY)
    stage.until(3, "code")  # in the first cycle; chat sleeps on
    assert stage.replicas("chat") == 0

    stage.demand("chat", 30)

    stage.until(3, "chat")
    (told,) = process.lines("cycle brought forward")
    assert told["workload"] == f"{stage.namespace}/chat"


def test_keda_is_told_long_before_the_next_cycle(stage: Stage) -> None:
    stage.sleep("chat", actuation="hpa")
    process = stage.run(settings=RARELY)
    until(lambda: bool(process.lines("serving")), "the controller serves")
    (serving,) = process.lines("serving")

    assert asyncio.run(_told(stage, serving["url"])) == (False, True)


async def _told(stage: Stage, url: str) -> tuple[bool | None, bool | None]:
    """Return what KEDA's stream says of chat before and after somebody asks for it."""
    newest = Newest()
    following = asyncio.create_task(Follower(ControllerSettings(url=url), newest, wall).run())
    server = KedaServer(newest, KedaSettings(port=0))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address, options=ARGUMENTS) as channel:
            ref = a_ref(f"{stage.namespace}/chat")
            stream = ScalerClient(channel).stream_is_active(ref)
            before = await stream.next()
            stage.demand("chat", 30)
            return before, await stream.next()
    finally:
        following.cancel()
        await server.stop()
