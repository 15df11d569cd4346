"""A cable between a client and a server, for a test to cut: bytes pass as they are, TLS too."""

import contextlib
import socket
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Self

CHUNK: Final = 1 << 16


class Cut(StrEnum):
    """How a cable is cut."""

    REFUSED = "refused"
    """Nobody listens any more, and what was open is reset."""
    SILENT = "silent"
    """Everything still connects, and nothing arrives."""


class Relay:
    """Passes bytes on to a port of this machine until it is cut.

    Attributes:
        port: Its own.
    """

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self._silent = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut(Cut.REFUSED)
        for thread in self._threads:
            thread.join(5.0)

    def cut(self, how: Cut) -> None:
        """Cut it, for good."""
        self._silent.set()
        if how is Cut.REFUSED:
            for one in (self._listening, *self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                self._start(lambda near=near, far=far: self._pass(near, far))  # type: ignore[misc]
                self._start(lambda near=near, far=far: self._pass(far, near))  # type: ignore[misc]

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if not self._silent.is_set():
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
