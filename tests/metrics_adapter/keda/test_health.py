"""gRPC's own health check: good while the plan is new enough, until the end."""

import asyncio
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.metrics_adapter.keda.scene import Scene, a_scene, refused, run
from tests.metrics_adapter.plans import a_board

Status = health_pb2.HealthCheckResponse
SCALER = "externalscaler.ExternalScaler"


def a_stub(scene: Scene) -> Any:
    return health_pb2_grpc.HealthStub(scene.channel)


async def check(scene: Scene, service: str = "") -> int:
    return int((await a_stub(scene).Check(health_pb2.HealthCheckRequest(service=service))).status)


@pytest.mark.parametrize("service", ["", SCALER, "grpc.health.v1.Health"])
def test_it_serves_while_the_plan_is_new_enough(service: str) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            assert await check(scene, service) == Status.NOT_SERVING
            scene.newest.publish(a_board(cycle="1"), 0.0)
            await asyncio.sleep(0.05)
            assert await check(scene, service) == Status.SERVING
            scene.clock.seconds += 61
            await asyncio.sleep(0.1)
            assert await check(scene, service) == Status.NOT_SERVING
            scene.newest.publish(a_board(cycle="2"), 0.0)
            await asyncio.sleep(0.05)
            assert await check(scene, service) == Status.SERVING

    run(test())


def test_an_unknown_service_is_not_found() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            assert await refused(check(scene, "other")) == (
                "NOT_FOUND",
                "there is no service 'other'",
            )

    run(test())


def test_whoever_watches_is_told_of_every_change_and_of_the_end() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            request = health_pb2.HealthCheckRequest
            call = a_stub(scene).Watch(request(service=SCALER))
            other = a_stub(scene).Watch(request(service="other"))
            assert (await call.read()).status == Status.NOT_SERVING
            assert (await other.read()).status == Status.SERVICE_UNKNOWN

            scene.newest.publish(a_board(), 0.0)
            assert (await call.read()).status == Status.SERVING

            await scene.server.stop()
            assert (await call.read()).status == Status.NOT_SERVING
            assert await call.read() is grpc.aio.EOF
            assert await other.read() is grpc.aio.EOF

    run(test())
