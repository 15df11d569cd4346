"""Each connection has one deadline at any time, and ends at it."""

import asyncio

import pytest

from autoscaler.telemetry.connections import Connections

SOON, LATER, MUCH_LATER = 0.05, 0.25, 60.0


class _Transport(asyncio.Transport):
    """Tells when it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        if not self.ended.done():
            self.ended.set_result(asyncio.get_running_loop().time())


@pytest.mark.parametrize(
    ("header", "answer", "moves", "expected"),
    [
        pytest.param(SOON, 1.0, (), SOON, id="no request comes"),
        pytest.param(SOON, LATER, ("answering",), 2 * LATER, id="later than before"),
        pytest.param(MUCH_LATER, SOON, ("answering",), 2 * SOON, id="sooner than before"),
        pytest.param(SOON, LATER, ("answering", "answered"), SOON + LATER, id="later, then sooner"),
    ],
)
def test_the_deadline_that_was_set_last_counts(
    header: float, answer: float, moves: tuple[str, ...], expected: float
) -> None:
    async def lasted() -> float:
        connections = Connections(1, header_seconds=header, answer_seconds=answer)
        protocol, transport = connections.guarding(asyncio.Protocol)(), _Transport()
        begun = asyncio.get_running_loop().time()
        protocol.connection_made(transport)
        for move in moves:
            if move == "answering":
                connections.answering(transport, 0.0)
            else:
                connections.answered(transport)
        ended: float = await asyncio.wait_for(transport.ended, 10.0)
        return ended - begun

    assert expected <= asyncio.run(lasted()) < expected + 5.0


def test_requests_one_after_the_other_keep_a_connection_and_need_one_timer() -> None:
    async def timers() -> tuple[int, bool]:
        loop = asyncio.get_running_loop()
        made = []
        call_at = loop.call_at

        def counted(*args: object, **kwargs: object) -> asyncio.TimerHandle:
            made.append(args)
            return call_at(*args, **kwargs)  # type: ignore[arg-type]

        loop.call_at = counted  # type: ignore[method-assign]
        connections = Connections(1, header_seconds=MUCH_LATER, answer_seconds=MUCH_LATER)
        protocol, transport = connections.guarding(asyncio.Protocol)(), _Transport()
        protocol.connection_made(transport)
        for _ in range(100):
            connections.answering(transport, 1.0)
            connections.answered(transport)
        ended = transport.ended.done()
        protocol.connection_lost(None)
        return len(made), ended

    assert asyncio.run(timers()) == (1, False)


def test_a_connection_that_is_gone_is_not_ended_again() -> None:
    async def ended() -> bool:
        connections = Connections(1, header_seconds=SOON, answer_seconds=SOON)
        protocol, transport = connections.guarding(asyncio.Protocol)(), _Transport()
        protocol.connection_made(transport)
        protocol.connection_lost(None)
        connections.answered(transport)
        await asyncio.sleep(4 * SOON)
        return transport.ended.done()

    assert not asyncio.run(ended())
