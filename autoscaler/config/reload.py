"""Policy files that may change while the process runs: the last good ones stay in force."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from autoscaler.config.files import policy_files
from autoscaler.config.load import LoadedFleet, read_fleet
from autoscaler.config.problems import Problem
from autoscaler.core.errors import ConfigError


class PolicyFiles:
    """The policy files of a running process.

    Attributes:
        loaded: The files in force: those that were last whole and right.
        problem: Why newer ones are not in force, a problem a line; empty where they are.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read them for the first time.

        Raises:
            ConfigError: Something is wrong in them; at the start that is fatal.
        """
        self._paths = tuple(paths)
        self._digest = self._read()
        self.loaded: LoadedFleet = read_fleet(self._paths)
        self.problem = ""

    def look(self) -> bool:
        """Read them again if they have changed; return whether others are in force now.

        What is wrong is in `problem`, and the last good files stay. By content, not by time: a
        mounted ConfigMap changes by a link, and an editor may keep the time.
        """
        digest = self._read()
        if digest == self._digest:
            return False
        self._digest = digest
        try:
            loaded = read_fleet(self._paths)
        except ConfigError as error:
            self.problem = str(error)
            return False
        self.problem = ""
        changed = loaded.fleet != self.loaded.fleet
        self.loaded = loaded
        return changed

    def _read(self) -> str:
        problems: list[Problem] = []
        digest = hashlib.sha256()
        for file in policy_files(self._paths, problems):
            digest.update(str(file).encode())
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                digest.update(repr(error).encode())
        digest.update("\n".join(map(str, problems)).encode())
        return digest.hexdigest()
