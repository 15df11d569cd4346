"""What KEDA is answered over the wire, with a client made of the protocol."""

import asyncio
import time
from unittest import mock

import grpc
import pytest
import structlog.testing

from autoscaler.core.errors import ConfigError
from metrics_adapter.keda.activity import Activity
from metrics_adapter.keda.server import KedaServer
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.keda.streams import Streams
from metrics_adapter.newest import Newest
from tests.builders import NOON
from tests.metrics_adapter.keda.scene import a_ref, a_scene, refused, run, until
from tests.metrics_adapter.plans import a_board, a_row, a_signal

STALE = ("UNAVAILABLE", "the newest plan is 61 s old, at most 60 s")


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


@pytest.mark.parametrize(
    ("measured", "shown", "whole"),
    [
        pytest.param(40.25, 40.25, 41, id="fractions go where they fit, and up where not"),
        pytest.param(0.0, 0.0, 0, id="a measured zero is one"),
        pytest.param(0.0000001, 0.001, 1, id="next to nothing is not nothing"),
        pytest.param(9e15, 9e15, 9_000_000_000_000_000, id="large"),
    ],
)
def test_a_signal_is_shown_as_it_was_measured(measured: float, shown: float, whole: int) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            row = a_row(signals={"load": a_signal(measured)})
            scene.newest.publish(a_board(row), 0.0)
            ref = a_ref(metric="load", targetSize="2.5")

            spec = await scene.client.metric_spec(ref)
            value = await scene.client.metrics(ref, "load")

            assert (spec.targetSize, spec.targetSizeFloat) == (2, 2.5)
            assert (value.metricValueFloat, value.metricValue) == (shown, whole)

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
            assert took < 5.0

    run(test())


def test_a_wake_up_that_got_lost_is_told_again_with_the_next_plan() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            stream = scene.client.stream_is_active(a_ref())
            for cycle in ("1", "2", "3"):
                scene.newest.publish(a_board(a_row(current=0, desired=1), cycle=cycle), 0.0)
                assert await stream.next() is True

            scene.newest.publish(a_board(a_row(current=1, desired=1), cycle="4"), 0.0)
            assert await stream.silent()

    run(test())


def test_sleep_is_told_too() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row(current=2, desired=1), cycle="1"), 0.0)
            stream = scene.client.stream_is_active(a_ref())
            assert await stream.next() is True

            scene.newest.publish(a_board(a_row(current=1, desired=0), cycle="2"), 0.0)

            assert await stream.next() is False

    run(test())


def test_a_stream_waits_for_a_workload_that_comes_later() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row("code"), cycle="1"), 0.0)
            stream = scene.client.stream_is_active(a_ref())
            await until(lambda: scene.server.streams == 1)

            row = a_row("chat", current=0, desired=1)
            scene.newest.publish(a_board(a_row("code"), row, cycle="2"), 0.0)

            assert await stream.next() is True

    run(test())


def test_a_plan_that_is_too_old_answers_no_number_and_stops_nothing() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            running, asleep = a_row("chat", desired=5), a_row("code", current=0, desired=0)
            scene.newest.publish(a_board(running, asleep), 0.0)
            stream = scene.client.stream_is_active(a_ref())
            assert await stream.next() is True

            scene.clock.seconds += 61

            assert await refused(scene.client.metrics(a_ref(), "desired_replicas")) == STALE
            assert await scene.client.is_active(a_ref("chat")) is True
            assert await scene.client.is_active(a_ref("code")) is False
            assert (await scene.client.metric_spec(a_ref())).metricName == "desired_replicas"
            assert await stream.silent()

    run(test())


def test_a_first_plan_that_is_too_old_says_nothing_of_activity() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row(desired=0)), 61.0)
            await asyncio.sleep(0.05)

            assert await refused(scene.client.is_active(a_ref())) == STALE

    run(test())


def test_without_any_plan_there_is_no_answer_but_what_to_ask_for() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            nothing = ("UNAVAILABLE", "no plan yet: the controller was not reached yet")

            assert await refused(scene.client.metrics(a_ref(), "desired_replicas")) == nothing
            assert await refused(scene.client.is_active(a_ref())) == nothing
            assert (await scene.client.metric_spec(a_ref())).metricName == "desired_replicas"
            assert await scene.client.stream_is_active(a_ref()).silent()

    run(test())


def test_a_target_that_was_not_seen_has_no_number_and_stays_active() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row(desired=2), cycle="1"), 0.0)
            stream = scene.client.stream_is_active(a_ref())
            assert await stream.next() is True
            unseen = a_row(current=None, desired=None, reason="not seen", blind="403 forbidden")
            new = a_row("new", current=None, desired=None, reason="not seen")
            scene.newest.publish(a_board(unseen, new, cycle="2"), 0.0)
            await asyncio.sleep(0.05)

            code, text = await refused(scene.client.metrics(a_ref(), "desired_replicas"))
            assert (code, text) == ("UNAVAILABLE", "llm/chat: desired_replicas: 403 forbidden")
            assert await scene.client.is_active(a_ref()) is True
            assert await refused(scene.client.is_active(a_ref("new"))) == (
                "UNAVAILABLE",
                "llm/new: not seen",
            )

    run(test())


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        pytest.param(
            a_signal(None, state="missing", why="no answer"),
            "llm/chat: load is missing: no answer",
            id="missing",
        ),
        pytest.param(
            a_signal(50.0, state="stale", why="no sample for 90 s"),
            "llm/chat: load is stale: no sample for 90 s",
            id="stale",
        ),
        pytest.param(
            a_signal(50.0, time=NOON - 40, maxAgeSeconds=30.0),
            "llm/chat: newest sample is 40 s old",
            id="grown old since the plan",
        ),
        pytest.param(
            a_signal(-0.0004),
            "llm/chat: load is -0.0004, and an HPA takes less than zero for an overflow",
            id="below zero by less than half a thousandth",
        ),
    ],
)
def test_a_signal_that_is_not_there_is_no_number(signal: dict[str, object], problem: str) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(a_row(signals={"load": signal})), 0.0)

            asked = scene.client.metrics(a_ref(metric="load", targetSize="1"), "load")

            assert await refused(asked) == ("UNAVAILABLE", problem)

    run(test())


def test_what_the_plan_does_not_know_is_not_found() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            many = {f"signal_{number:02}": a_signal() for number in range(20)}
            scene.newest.publish(a_board(a_row(), a_row("wide", signals=many)), 0.0)
            unknown = ("NOT_FOUND", "the newest plan has no workload llm/nobody")

            assert await refused(scene.client.is_active(a_ref("nobody"))) == unknown
            asked = scene.client.metrics(a_ref("nobody"), "desired_replicas")
            assert await refused(asked) == unknown
            asked = scene.client.metrics(a_ref(metric="speed", targetSize="1"), "speed")
            assert await refused(asked) == (
                "NOT_FOUND",
                "llm/chat has no metric 'speed'; it has: desired_replicas, load",
            )
            asked = scene.client.metrics(a_ref("wide", metric="speed", targetSize="1"), "speed")
            _, text = await refused(asked)
            assert text.endswith("signal_10, ...")

    run(test())


@pytest.mark.parametrize("method", ["is_active", "metric_spec"])
def test_a_trigger_without_a_workload_is_refused(method: str) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(), 0.0)
            line = (
                "ScaledObject llm/chat: trigger metadata: workload:"
                " should be NAME or NAMESPACE/NAME, is missing"
            )

            call = getattr(scene.client, method)(a_ref(None))

            assert await refused(call) == ("INVALID_ARGUMENT", line)
            stream = scene.client.stream_is_active(a_ref(None))
            assert await refused(stream.next()) == ("INVALID_ARGUMENT", line)

    run(test())


def test_another_metric_than_the_trigger_names_is_refused() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(), 0.0)

            assert await refused(scene.client.metrics(a_ref(), "load")) == (
                "INVALID_ARGUMENT",
                "metricName: should be 'desired_replicas', as the trigger says, not 'load'",
            )

    run(test())


def test_streams_end_well_when_the_server_stops() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(), 0.0)
            streams = [scene.client.stream_is_active(a_ref()) for _ in range(3)]
            assert [await one.next() for one in streams] == [True] * 3

            await scene.server.stop()

            assert [await one.next() for one in streams] == [None] * 3
            assert [await one.call.code() for one in streams] == [grpc.StatusCode.OK] * 3
            assert scene.server.streams == 0
            await scene.server.stop()  # twice is as good as once

    run(test())


def test_a_plan_that_cannot_be_told_of_ends_no_later_wake_up() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            stream = scene.client.stream_is_active(a_ref())
            with (
                mock.patch.object(Activity, "learn", side_effect=RuntimeError("odd")),
                structlog.testing.capture_logs() as lines,
            ):
                scene.newest.publish(a_board(cycle="1"), 0.0)
                await until(lambda: bool(lines))

            scene.newest.publish(a_board(cycle="2"), 0.0)

            assert await stream.next() is True
            assert lines[0]["event"] == "plan not told"

    run(test())


def test_a_stream_that_opens_as_the_server_ends_does_not_wait() -> None:
    streams = Streams(1)
    streams.close()

    with streams.waiting("llm/chat") as news:
        assert news.is_set()


def test_a_server_that_never_started_stops() -> None:
    run(KedaServer(Newest(), KedaSettings(port=0)).stop())


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            port = int(scene.server.address.rpartition(":")[2])
            second = KedaServer(Newest(), KedaSettings(port=port))

            with pytest.raises(ConfigError) as caught:
                await second.start()

            assert str(caught.value) == (
                f"keda.port: 127.0.0.1:{port} cannot be listened on; is another process there?"
            )

    run(test())


def test_it_listens_on_version_6_addresses_too() -> None:
    async def test() -> None:
        server = KedaServer(Newest(), KedaSettings(host="::1", port=0))
        await server.start()
        assert server.address.startswith("[::1]:")
        await server.stop()

    run(test())
