"""The process from its start to its end: cycles run, requests are answered."""

import gc
import threading
import time
from typing import Final

import structlog

from autoscaler.service.cycle import Service
from autoscaler.settings import Settings
from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer

LOOK_SECONDS: Final = 0.1
"""How soon the main thread notices that it is to end."""


def serve(service: Service, settings: Settings, stopping: threading.Event) -> None:
    """Run cycles and answer requests until `stopping` is set; then end in order.

    Raises:
        ConfigError: The address is taken, or a certificate or token cannot be read.
    """
    server = TelemetryServer(
        service.latest,
        ServerSettings(
            host=settings.listen_address,
            port=settings.listen_port,
            cert_file=settings.tls_cert_file,
            key_file=settings.tls_key_file,
            token_file=settings.token_file,
        ),
    )
    collect_rarely(len(service.controller.fleet.workloads))
    server.start()
    structlog.get_logger("service").info("serving", url=server.url)
    try:
        service.start()
        # Not `stopping.wait()`: a signal may come to another thread, and the main one, which has
        # to handle it, would not wake; nor could a handler set what it interrupts the wait for.
        while not stopping.is_set():
            time.sleep(LOOK_SECONDS)
    finally:
        service.stop()
        server.stop()


def collect_rarely(workloads: int) -> None:
    """Look for unreachable cycles of references less often, in the whole process.

    A cycle of the controller makes hundreds of small values for each workload, and hardly any
    such cycle: looking for those as often as is usual is a sixth of its work. What takes the
    place of the cycle before should not be looked through at all.
    """
    gc.set_threshold(300_000 + 150 * workloads, 10, 50)
