"""What KEDA is answered over the wire."""

import time

from tests.metrics_adapter.keda.scene import a_ref, a_scene, run
from tests.metrics_adapter.plans import a_board, a_row


def test_a_trigger_follows_the_number_decided() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row(desired=5)), 0.0)

            spec = await scene.client.metric_spec(a_ref())
            value = await scene.client.metrics(a_ref(), spec.metricName)

            assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == (
                "desired_replicas", 1, 1.0,
            )  # fmt: skip
            assert (value.metricName, value.metricValue, value.metricValueFloat) == (
                "desired_replicas", 5, 5.0,
            )  # fmt: skip
            assert await scene.client.is_active(a_ref()) is True

    run(test())


def test_wake_from_zero_takes_less_than_a_second_after_the_plan() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row(current=0, desired=0), cycle="1"), 0.0)
            stream = scene.client.stream_is_active(a_ref())
            assert await stream.next() is False

            began = time.perf_counter()
            scene.newest.publish(a_board(a_row(current=0, desired=3), cycle="2"), 0.0)
            active = await stream.next()
            took = time.perf_counter() - began

            assert active is True
            assert took < 1.0

    run(test())
