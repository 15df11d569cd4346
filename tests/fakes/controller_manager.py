"""A real kube-controller-manager beside a real kube-apiserver, where there is a binary of it.

It lies beside the API server's, in the folder that `KUBEBUILDER_ASSETS` names. Only the controllers
that a test asks for run, each with its own account and its own rights, as in a cluster. There is no
kubelet: pods are made, counted and deleted, but nothing ever runs in them.
"""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from tests.fakes.envtest import DEFAULT, VARIABLE, RealApiServer
from tests.fakes.envtest import why_absent as why_no_api_server

BINARY: Final = "kube-controller-manager"
SCALING: Final = (
    "horizontal-pod-autoscaler-controller",
    "deployment-controller",
    "replicaset-controller",
)
"""What it takes that an HPA moves a Deployment and its pods follow."""
SYNC_SECONDS: Final = 1
"""How often each HPA looks; 15 s is usual."""


def why_absent() -> str:
    """Return why there is no real controller manager here; empty where there is one."""
    folder = Path(os.environ.get(VARIABLE) or DEFAULT)
    if (folder / BINARY).is_file():
        return why_no_api_server()
    return f"{BINARY} not in {folder}; {VARIABLE} names another folder"


class RealControllerManager:
    """kube-controller-manager for one API server; it serves nothing itself."""

    def __init__(
        self, api: RealApiServer, folder: Path, controllers: Iterable[str] = SCALING
    ) -> None:
        """Start it.

        Args:
            api: Whose objects it moves.
            folder: Where its log goes.
            controllers: By the names of `--controllers`.
        """
        self._path: Final = folder / f"{BINARY}.log"
        self._log: IO[bytes] = self._path.open("wb")
        self._process = subprocess.Popen(
            [
                str(Path(os.environ.get(VARIABLE) or DEFAULT) / BINARY),
                f"--kubeconfig={api.kubeconfig_path}",
                f"--controllers={','.join(controllers)}",
                f"--horizontal-pod-autoscaler-sync-period={SYNC_SECONDS}s",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                "--secure-port=0",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )

    def check(self) -> None:
        """Return if it still runs.

        Raises:
            RuntimeError: It has ended; the message ends with its last lines.
        """
        if self._process.poll() is not None:
            last = self._path.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
            raise RuntimeError(f"{BINARY} ended: {' | '.join(last)}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
