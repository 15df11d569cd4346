"""Whatever a client sends: a status in one line or a closed connection; others go on as ever."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import grpc
import grpc.aio
import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from metrics_adapter.keda import server as server_module
from metrics_adapter.keda.activity import Activity
from metrics_adapter.keda.answers import Answers
from tests.metrics_adapter.keda.scene import ARGUMENTS, Scene, a_ref, a_scene, refused, run, until
from tests.metrics_adapter.plans import a_board, a_row

METHODS = ("IsActive", "GetMetricSpec", "GetMetrics")
PATH = "/externalscaler.ExternalScaler/"


def test_a_request_that_never_comes_is_given_up_while_others_are_answered() -> None:
    async def test() -> None:
        async with a_scene(request_seconds=0.3) as scene:
            scene.newest.publish(a_board(), 0.0)
            began = time.perf_counter()
            stuck = [scene.raw.stream_unary(PATH + method)() for method in METHODS]
            streaming = scene.raw.stream_stream(PATH + "StreamIsActive")()

            assert await scene.client.is_active(a_ref()) is True
            for call in stuck:
                assert await refused(call) == ("DEADLINE_EXCEEDED", "no request came within 0.3 s")
            assert await streaming.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.perf_counter() - began < 10

    run(test())


def test_a_call_that_ends_without_a_request_is_refused() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            call = scene.raw.stream_unary(PATH + "IsActive")()
            await call.done_writing()

            assert await refused(call) == ("INVALID_ARGUMENT", "the call ended without a request")

    run(test())


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        pytest.param(
            "IsActive",
            b"\xff\xff\xff",
            ("INVALID_ARGUMENT", "the request is no ScaledObjectRef"),
            id="no message",
        ),
        pytest.param(
            "GetMetrics",
            b"\x0a\x05\x0a\x02\xff\xfe",
            ("INVALID_ARGUMENT", "the request is no GetMetricsRequest"),
            id="cut short",
        ),
        pytest.param(
            "IsActive",
            b"\x0a\x02\xff\xfe",
            ("INVALID_ARGUMENT", "the request is no ScaledObjectRef"),
            id="a name that is no text",
        ),
    ],
)
def test_bytes_that_are_no_message_are_refused(
    method: str, body: bytes, expected: tuple[str, str]
) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            assert await refused(scene.raw.unary_unary(PATH + method)(body)) == expected

    run(test())


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(
            lambda channel: channel.unary_unary(PATH + "IsActive")(b"x" * 100_000), id="large"
        ),
        pytest.param(
            lambda channel: channel.unary_unary(PATH + "IsActive")(
                b"", metadata=[("x-wide", "y" * 20_000)]
            ),
            id="wide headers",
        ),
    ],
)
def test_what_is_too_large_is_refused(
    ask: Callable[[Any], Any],
) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(), 0.0)

            code, _ = await refused(ask(scene.raw))

            assert code == "RESOURCE_EXHAUSTED"
            assert await scene.client.is_active(a_ref()) is True

    run(test())


def test_a_small_message_that_unpacks_to_a_huge_one_is_refused() -> None:
    async def test() -> None:
        async with (
            a_scene() as scene,
            grpc.aio.insecure_channel(
                scene.server.address, options=ARGUMENTS, compression=grpc.Compression.Gzip
            ) as made,
        ):
            channel: Any = made
            code, _ = await refused(channel.unary_unary(PATH + "IsActive")(bytes(20_000_000)))

            assert code == "RESOURCE_EXHAUSTED"

    run(test())


@pytest.mark.parametrize(
    "path",
    [
        PATH + "Nothing",
        PATH + "StreamMetricSpec",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/../etc/passwd",
    ],
)
def test_there_is_nothing_else_and_no_reflection(path: str) -> None:
    async def test() -> None:
        async with a_scene() as scene:
            code, _ = await refused(scene.raw.unary_unary(path)(b""))

            assert code == "UNIMPLEMENTED"

    run(test())


def test_one_stream_too_many_is_refused_and_one_that_ends_makes_room() -> None:
    async def test() -> None:
        async with a_scene(max_streams=2) as scene:
            scene.newest.publish(a_board(), 0.0)
            first, second = (scene.client.stream_is_active(a_ref()) for _ in range(2))
            assert [await first.next(), await second.next()] == [True, True]

            assert await refused(scene.client.stream_is_active(a_ref()).next()) == (
                "RESOURCE_EXHAUSTED",
                "2 streams are open already, the most allowed",
            )
            assert await scene.client.is_active(a_ref()) is True
            first.call.cancel()
            await until(lambda: scene.server.streams == 1)
            assert await scene.client.stream_is_active(a_ref()).next() is True

    run(test())


def test_one_connection_too_many_is_closed() -> None:
    async def test(scene: Scene) -> None:
        scene.newest.publish(a_board(), 0.0)
        assert await scene.client.is_active(a_ref()) is True
        host, _, port = scene.server.address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        await asyncio.sleep(0.1)

        reader, writer = await asyncio.open_connection(host, int(port))

        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert await scene.client.is_active(a_ref()) is True
        for _, one in (*idle, (reader, writer)):
            one.close()

    async def scene() -> None:
        with mock.patch.object(server_module, "MOST_CONNECTIONS", 3):
            async with a_scene() as made:
                await test(made)

    run(scene())


@pytest.mark.slow
def test_two_thousand_streams_that_open_at_once_are_all_served() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            rows = [a_row(f"w{number}", current=0, desired=0) for number in range(2000)]
            scene.newest.publish(a_board(*rows, cycle="1"), 0.0)
            streams = [scene.client.stream_is_active(a_ref(row["name"])) for row in rows]
            assert {await stream.next() for stream in streams} == {False}

            rows = [{**row, "desired": 1} for row in rows]
            scene.newest.publish(a_board(*rows, cycle="2"), 0.0)

            assert {await stream.next() for stream in streams} == {True}

    run(test())


def test_our_mistake_is_told_in_one_line_and_logged_whole() -> None:
    async def test() -> None:
        async with a_scene() as scene:
            ours = ("INTERNAL", "this is our mistake; the log says more")
            with (
                mock.patch.object(Answers, "active", side_effect=RuntimeError("secret")),
                mock.patch.object(Activity, "of", side_effect=RuntimeError("secret")),
                structlog.testing.capture_logs() as lines,
            ):
                assert await refused(scene.client.is_active(a_ref())) == ours
                assert await refused(scene.client.stream_is_active(a_ref()).next()) == ours

            assert [line["event"] for line in lines] == ["answer failed"] * 2
            assert {line["reason"] for line in lines} == {"RuntimeError('secret')"}

    run(test())


def test_whatever_bytes_come_the_answer_is_a_status_and_the_server_lives() -> None:
    bodies: list[bytes] = []

    @given(st.binary(max_size=200))
    def collect(body: bytes) -> None:
        bodies.append(body)

    collect()

    async def test() -> None:
        async with a_scene() as scene:
            scene.newest.publish(a_board(), 0.0)
            for number, body in enumerate(bodies):
                call = scene.raw.unary_unary(PATH + METHODS[number % len(METHODS)])(body)
                assert await refused(call) != ("", "")
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert await scene.client.is_active(a_ref()) is True

    run(test())
