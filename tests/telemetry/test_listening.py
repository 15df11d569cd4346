"""The server: where it listens, from its start to its end."""

import pytest

from autoscaler.core.errors import ConfigError
from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from autoscaler.telemetry.latest import Latest
from tests.telemetry.conftest import Serve
from tests.telemetry.reports import a_report


def test_it_listens_on_this_machine_alone_unless_told(serve: Serve) -> None:
    server = serve()

    assert server.address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.address[1]}"


def test_a_port_that_is_taken_is_told(serve: Serve, latest: Latest) -> None:
    port = serve().address[1]

    with pytest.raises(ConfigError, match=rf"^cannot listen on 127.0.0.1:{port}: .*in use"):
        TelemetryServer(latest, ServerSettings(port=port)).start()


def test_a_server_that_never_started_stops(latest: Latest) -> None:
    TelemetryServer(latest, ServerSettings(port=0)).stop()


def test_the_address_of_an_ipv6_server_is_in_brackets(serve: Serve) -> None:
    server = serve(host="::1")

    assert server.url == f"http://[::1]:{server.address[1]}"


def test_a_cycle_after_the_server_has_stopped_disturbs_nobody(serve: Serve, latest: Latest) -> None:
    server = serve()
    server.stop()
    server.stop()

    assert latest.publish(a_report()).number == 1
