"""Answers as they go out, in one piece or broken on purpose."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tests.fakes.kubernetes import status
from tests.fakes.kubernetes.faults import Armed, Break, Fault
from tests.fakes.kubernetes.status import ApiError


class Cut(Exception):  # noqa: N818
    """The connection is to end here, without an answer."""


def raw(body: bytes, code: int = 200) -> web.Response:
    """Answer with JSON that is made already."""
    return web.Response(body=body, status=code, content_type="application/json")


def json(answer: Mapping[str, Any], code: int = 200) -> web.Response:
    """Answer with an object."""
    return raw(orjson.dumps(answer), code)


def failure(error: ApiError, retry_after: int | None) -> web.Response:
    """Answer with a `Status`."""
    answer = json(error.body(), error.code)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def reset(request: web.Request) -> None:
    """End the connection with a reset, not with an orderly close."""
    if request.transport is None:
        return
    wire = request.transport.get_extra_info("socket")
    if wire is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def before(armed: Armed, *, watched: bool) -> None:
    """Do what goes wrong before a request is carried out.

    Raises:
        Cut: No answer.
        ApiError: This answer.
    """
    fault: Fault = armed.fault
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.breaks is Break.RESET:
        raise Cut
    if fault.breaks is Break.HANG:
        while not armed.over.is_set():
            await asyncio.sleep(0.01)
        raise Cut
    if fault.breaks is Break.GONE and not watched:
        raise status.expired(1, 2)
    if fault.status and not fault.done:
        raise ApiError(fault.status, fault.message)


async def after(
    request: web.Request, answer: web.Response, armed: Armed | None
) -> web.StreamResponse:
    """Do what goes wrong with an answer, after the request was carried out."""
    if armed is None:
        return answer
    fault = armed.fault
    if fault.status and fault.done:
        return failure(ApiError(fault.status, fault.message), fault.retry_after)
    if fault.body is not None:
        return raw(fault.body)
    breaks = fault.breaks
    if breaks is Break.LOST:
        reset(request)
    if breaks not in {Break.HALF, Break.MALFORMED}:
        return answer
    assert isinstance(answer.body, bytes)
    half = answer.body[: len(answer.body) // 2]
    if breaks is Break.MALFORMED:
        return web.Response(body=half, status=answer.status, content_type="application/json")
    stream = web.StreamResponse(status=answer.status)
    stream.content_type = "application/json"
    stream.content_length = len(answer.body)
    await stream.prepare(request)
    await stream.write(half)
    assert request.transport is not None
    request.transport.close()
    return stream
