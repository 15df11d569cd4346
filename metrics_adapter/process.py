"""The adapter as a process: its event loop, its signals, its clock."""

import asyncio
import signal
import time
from contextlib import suppress

import structlog

from metrics_adapter.service import Adapter
from metrics_adapter.settings import AdapterSettings

_log = structlog.get_logger("metrics_adapter")


def wall() -> float:
    """Return the time, Unix seconds."""
    return time.time()  # noqa: TID251  # the adapter's one place


def serve(settings: AdapterSettings) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what is in flight, and return.

    Raises:
        ConfigError: The address is taken, or a file cannot be used.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: AdapterSettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    with suppress(RuntimeError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
    adapter = Adapter(settings, wall)

    def started() -> None:
        host, port = adapter.address
        _log.info("serving", host=host, port=port, groups=list(settings.groups))

    await adapter.run(stopping, started)
    _log.info("stopped")
