"""The fake API server as a process of its own: `python -m tests.fakes.kubernetes FOLDER [FILE...]`.

Writes FOLDER/kubeconfig, puts the objects of the files (YAML) there, prints the address, and serves
until its standard input ends. Times are those of the machine.
"""

import sys
import time
from pathlib import Path

import yaml

from tests.fakes.kubernetes.server import FakeApiServer


def main(folder: str, *files: str) -> None:
    """Serve until standard input ends."""
    with FakeApiServer(Path(folder), clock=time.time) as server:  # noqa: TID251
        for file in files:
            found = yaml.load_all(Path(file).read_bytes(), yaml.CSafeLoader)
            server.add(*(obj for obj in found if obj))
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
