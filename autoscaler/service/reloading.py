"""Policy files, looked at beside the cycles: no cycle waits for them to be read.

The last good fleet stays in force until a new one is whole: read, checked, and its policies ready.
"""

import threading
from typing import Any

import structlog

from autoscaler.config.reload import PolicyFiles
from autoscaler.core.proposals import prepare
from autoscaler.core.workload import FleetSpec


class Reloading:
    """Looks at policy files in a thread of its own."""

    def __init__(self, files: PolicyFiles, every_seconds: float) -> None:
        """Follow policy files; nobody looks before `start` or `look`.

        Args:
            files: They have been read once.
            every_seconds: Between two looks; 0 for none.
        """
        self._files = files
        self._every = every_seconds
        self._log: Any = structlog.get_logger("service")
        self._ready: FleetSpec | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """Why changed files are not in force, a problem a line; empty where they are."""
        return self._files.problem

    def start(self) -> None:
        """Look from time to time."""
        if self._every > 0:
            self._thread = threading.Thread(target=self._run, name="files", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more. A look that takes long ends with the process."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def look(self) -> None:
        """Look once, and tell what is broken or mended."""
        before = self._files.problem
        if self._files.look():
            fleet = self._files.loaded.fleet
            prepare(fleet)  # the controller does, too, and then has nothing left to wait for
            self._ready = fleet
        problem = self._files.problem
        if problem and problem != before:
            self._log.error("policy files are broken", kept="the last good ones", reason=problem)
        elif before and not problem:
            self._log.info("policy files are mended")

    def take(self) -> FleetSpec | None:
        """Return the fleet that has come since this was last asked; None where none has."""
        fleet, self._ready = self._ready, None
        return fleet

    def _run(self) -> None:
        failed = ""
        while not self._ending.wait(self._every):
            try:
                self.look()
                failed = ""
            except Exception as error:  # noqa: BLE001  # the next look must come
                if repr(error) != failed:
                    self._log.exception(
                        "policy files not looked at", reason="a bug: please report it"
                    )
                failed = repr(error)
