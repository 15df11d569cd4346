"""From the controller's cycle to KEDA's stream, over loopback: HTTP, then gRPC."""

import asyncio
import time

import grpc.aio

from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from autoscaler.telemetry.latest import Latest
from metrics_adapter.follower import ControllerSettings, Follower
from metrics_adapter.keda.server import KedaServer
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.newest import Newest
from tests.builders import NOON, PerReplica, a_workload, seen
from tests.metrics_adapter.keda.scene import ARGUMENTS, ScalerClient, a_ref, run, until
from tests.telemetry.reports import a_report

CHAT = a_workload(PerReplica(), signals={"load": {}}, replicas={"min": 0, "max": 12})


def test_a_workload_wakes_within_a_second_of_the_cycle_that_says_so() -> None:
    async def test() -> None:
        latest = Latest()
        controller = TelemetryServer(latest, ServerSettings(port=0))
        controller.start()
        newest = Newest()
        # The cycles are of a noon long ago, and the controller tells the time of today.
        followed = ControllerSettings(url=controller.url, max_plan_age_seconds=1e12)
        follower = Follower(followed, newest, lambda: NOON)
        server = KedaServer(newest, KedaSettings(port=0))
        await server.start()
        following = asyncio.create_task(follower.run())
        try:
            async with grpc.aio.insecure_channel(server.address, options=ARGUMENTS) as channel:
                client = ScalerClient(channel)
                stream = client.stream_is_active(a_ref(CHAT.key))
                latest.publish(a_report({CHAT.key: seen(0, signals={"load": 0.0})}, CHAT))
                await until(lambda: newest.board is not None)
                asleep = await stream.next()

                began = time.perf_counter()
                latest.publish(a_report({CHAT.key: seen(0, signals={"load": 50.0})}, CHAT))
                awake = await stream.next()
                took = time.perf_counter() - began

                value = await client.metrics(a_ref(CHAT.key), "desired_replicas")
                assert (asleep, awake, value.metricValueFloat) == (False, True, 5.0)
                assert took < 10.0  # a question for a plan waits longer than that
        finally:
            following.cancel()
            await server.stop()
            controller.stop()

    run(test())
