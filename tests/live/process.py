"""The whole program, in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import IO, Any

from tests.waiting import PATIENCE_SECONDS


class Process:
    """One `autoscaler run`.

    Attributes:
        log: Its log, one JSON object a line.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        self._output: IO[bytes] = log.open("ab")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._output, env=environment
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running.send_signal(number)

    def kill(self) -> None:
        """End it as the kernel does when memory is out: it gets no word in."""
        self.send(signal.SIGKILL)
        self._running.wait()

    def ended(self, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it printed.

        Raises:
            AssertionError: It did not end in time.
        """
        try:
            printed, _ = self._running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            text = self.log.read_text(encoding="utf-8")[-3000:]
            raise AssertionError(f"still runs after {seconds:g} s; its log ends:\n{text}") from None
        return self._running.returncode, printed.decode()

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the lines of its log so far, of one event or of all."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # warnings, and a line half written
                found.append(json.loads(line))
        return [line for line in found if event in ("", line.get("event"))]

    def close(self) -> None:
        """End it, whatever it does."""
        if self._running.poll() is None:
            self.send(signal.SIGCONT)
            self.kill()
        if self._running.stdout is not None:
            self._running.stdout.close()
        self._output.close()
