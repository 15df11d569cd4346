"""kubectl, where it is installed: what people and scripts write with."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.adapters.kubernetes.real.place import Place

PROGRAM = shutil.which("kubectl")


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl in the namespace of a test."""

    place: Place
    home: Path

    def __call__(self, *words: str, given: object = None) -> str:
        """Run it and return what it says.

        Args:
            words: The command line.
            given: An object for its standard input.
        """
        assert PROGRAM is not None
        done = subprocess.run(
            [
                PROGRAM,
                f"--kubeconfig={self.place.server.kubeconfig_path}",
                f"--namespace={self.place.namespace}",
                f"--cache-dir={self.home / 'cache'}",
                *words,
            ],
            input=None if given is None else orjson.dumps(given),
            capture_output=True,
            timeout=30,
            check=False,
            env={**os.environ, "HOME": str(self.home)},
        )
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {said}"
        return said
