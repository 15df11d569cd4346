"""A real Prometheus on loopback, with its storage in a folder of the test."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import requests
import yaml

PROGRAM = shutil.which("prometheus")
_PATIENCE_SECONDS = 30.0


def needed() -> str:
    """Return the program; skip the test where it is missing, but never on a build server."""
    if PROGRAM is None:
        reason = "prometheus is not installed: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; on a build server this test may not be skipped")
        pytest.skip(reason)
    return PROGRAM


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class RealPrometheus:
    """The Debian package's program: started, stopped, killed and started again.

    Attributes:
        url: Its address.
    """

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, tuple[str, Mapping[str, str]]],
        *,
        scrape_seconds: float = 0.25,
        rules: Mapping[str, Any] | None = None,
    ) -> None:
        """Write its configuration; nothing runs before `start`.

        Args:
            folder: Where configuration and storage go.
            targets: By metrics path: the address to scrape, and the labels that discovery gives.
            scrape_seconds: How often it scrapes and evaluates rules.
            rules: A document of recording rules.
        """
        self._program = needed()
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        interval = f"{round(scrape_seconds * 1000)}ms"
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "scrape_configs": [
                {
                    "job_name": path,
                    "metrics_path": f"/{path}",
                    "honor_labels": True,
                    "static_configs": [{"targets": [address], "labels": dict(labels)}],
                }
                for path, (address, labels) in targets.items()
            ],
        }
        if rules is not None:
            (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
            config["rule_files"] = [str(folder / "rules.yaml")]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        self.until(self._is_ready, "it is ready")

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a node that fails does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop its threads: connections are accepted, nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def value(self, promql: str) -> float | None:
        """Return the first value that a query gives now; None where it gives none."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": promql}, timeout=5)
        result = answer.json()["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: It did not, within half a minute.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.05)
        log = (self._folder / "prometheus.log").read_text(encoding="utf-8")[-2000:]
        raise AssertionError(f"waited {_PATIENCE_SECONDS:g} s until {what}; its log ends: {log}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=1).status_code == 200
        except requests.RequestException:
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(how)
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
