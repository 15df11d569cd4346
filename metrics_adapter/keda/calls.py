"""How one call is served: a deadline to arrive, one line where there is no answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never, TypeAlias, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError, Message

from metrics_adapter.keda.refusals import RefusedError

Asked = TypeVar("Asked", bound=Message)
Told = TypeVar("Told", bound=Message)
Write = Callable[[Told], Awaitable[None]]
# In quotes: only their stubs take type arguments.
_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, Message]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, Message]"

_log = structlog.get_logger("metrics_adapter.keda")


class Calls:
    """Makes handlers of functions.

    Every method is registered as one that is sent a stream, of which one message is read. On the
    wire that is the same, and only so a request that never comes can be given up.
    """

    def __init__(self, request_seconds: float) -> None:
        """Give a request so long to arrive."""
        self._seconds = request_seconds

    def unary(self, asked: type[Asked], answer: Callable[[Asked], Told]) -> _Handler:
        """Serve a method with one answer."""

        async def handle(_: object, context: _Context) -> Message:
            try:
                return answer(await self._read(asked, context))
            except RefusedError as refused:
                await _refuse(context, refused)
            except Exception as error:  # noqa: BLE001 - a client never sees a traceback
                await _fail(context, error)

        return grpc.stream_unary_rpc_method_handler(handle, None, _serialized)

    def streaming(
        self, asked: type[Asked], answer: Callable[[Asked, Write[Told]], Awaitable[None]]
    ) -> _Handler:
        """Serve a method that answers whenever there is something new."""

        async def handle(_: object, context: _Context) -> None:
            try:
                await answer(await self._read(asked, context), context.write)
            except RefusedError as refused:
                await _refuse(context, refused)
            except Exception as error:  # noqa: BLE001 - a client never sees a traceback
                await _fail(context, error)

        return grpc.stream_stream_rpc_method_handler(handle, None, _serialized)

    async def _read(self, asked: type[Asked], context: _Context) -> Asked:
        try:
            async with asyncio.timeout(self._seconds):
                body = await context.read()
        except TimeoutError as error:
            raise RefusedError(
                "DEADLINE_EXCEEDED", f"no request came within {self._seconds:g} s"
            ) from error
        if not isinstance(body, bytes):
            raise RefusedError("INVALID_ARGUMENT", "the call ended without a request")
        request = asked()
        try:
            request.ParseFromString(body)
        except DecodeError as error:
            raise RefusedError(
                "INVALID_ARGUMENT", f"the request is no {asked.DESCRIPTOR.name}"
            ) from error
        return request


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


async def _refuse(context: _Context, refused: RefusedError) -> Never:
    await context.abort(grpc.StatusCode[refused.code], refused.text)


async def _fail(context: _Context, error: Exception) -> Never:
    _log.error("answer failed", reason=repr(error), exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "this is our mistake; the log says more")
