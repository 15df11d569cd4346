"""The guard: a test may talk to this machine and to nothing else."""

import socket

import pytest
from pytest_socket import SocketConnectBlockedError


def test_loopback_is_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()


# The guard warns before it raises.
@pytest.mark.filterwarnings("ignore:A test tried to use socket:UserWarning")
def test_any_other_address_is_refused_before_a_packet_leaves() -> None:
    # 127.0.0.2 is this machine too: should the guard fail, nothing reaches anybody.
    with pytest.raises(SocketConnectBlockedError):
        socket.create_connection(("127.0.0.2", 9), timeout=0.2)
