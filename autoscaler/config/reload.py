"""Policy files that may change while the process runs: the last good ones stay in force.

Only files that have changed are read and validated again: a fleet has thousands of them, and a
change touches one.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoscaler.config.files import policy_files, read_bytes
from autoscaler.config.installed import Installed
from autoscaler.config.load import LoadedFleet, whole_fleet
from autoscaler.config.policy_file import PolicyFile, policy_file
from autoscaler.config.problems import Problem
from autoscaler.core.errors import ConfigError

TRUSTED_AFTER_SECONDS: Final = 3.0
"""A file may be written again within the tick of the file system's clock in which it was read: its
stamp is trusted only if it was still the same after so long. The coarsest clocks tick in 2 s."""

_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as it was read last.

    Attributes:
        stamp: What the file system said of it just before.
        since: When that stamp was first seen, by our clock that only ever rises.
        trusted: Whether the content was looked at when that was long enough ago.
        digest: Of the content.
        file: What stands in it.
    """

    stamp: _Stamp
    since: float
    trusted: bool
    digest: bytes
    file: PolicyFile


class PolicyFiles:
    """The policy files of a running process. `look` is for one thread at a time.

    Attributes:
        loaded: The files in force: those that were last whole and right.
        problem: Why newer ones are not in force, a problem a line; empty where they are.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        wrong_here: Callable[[LoadedFleet], Sequence[str]] = lambda _: (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read them for the first time.

        Args:
            paths: Files and folders.
            wrong_here: Returns what else to mend, a line each, in files that are right but do not
                suit this process.
            monotonic: Seconds that only ever rise.

        Raises:
            ConfigError: Something is wrong in them; at the start that is fatal.
        """
        self._paths = tuple(paths)
        self._wrong_here = wrong_here
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._seen: tuple[list[Path], list[PolicyFile], list[Problem]] = ([], [], [])
        self.problem = ""
        self.loaded: LoadedFleet = self._whole(*self._read())

    def look(self) -> bool:
        """Read again what has changed; return whether other files are in force now.

        What is wrong is in `problem`, and the last good files stay. A file has changed if its
        device, inode, size or times have (links are followed: a mounted ConfigMap changes by one),
        and then only if its content has. What only all files together can show is checked anew.
        """
        before = self._seen
        files, read, problems = self._read()
        same = len(read) == len(before[1]) and all(map(_is, read, before[1]))
        if same and (files, problems) == (before[0], before[2]):
            return False
        try:
            loaded = self._whole(files, read, problems)
        except ConfigError as error:
            self.problem = str(error)
            return False
        self.problem = ""
        changed = loaded.fleet != self.loaded.fleet
        self.loaded = loaded
        return changed

    def _read(self) -> tuple[list[Path], list[PolicyFile], list[Problem]]:
        problems: list[Problem] = []
        installed = Installed()
        files = policy_files(self._paths, problems)
        known: dict[str, _Known] = {}
        read = [self._file(path, installed, known) for path in files]
        self._known = known
        self._seen = (files, read, problems)
        return self._seen

    def _file(self, path: Path, installed: Installed, known: dict[str, _Known]) -> PolicyFile:
        """Return a file, read again where it may have changed; note it in `known`."""
        name = str(path)
        before, stamp, now = self._known.get(name), _stamp_of(path), self._monotonic()
        same = before is not None and before.stamp == stamp
        if before is not None and same and before.trusted:
            known[name] = before
            return before.file
        problems: list[Problem] = []
        data = read_bytes(path, problems)
        if data is None:
            digest, file = b"", PolicyFile((), tuple(problems))
            if before is not None and before.file == file:
                file = before.file
        else:
            digest = hashlib.sha256(data).digest()
            unchanged = before is not None and before.digest == digest
            file = before.file if before and unchanged else policy_file(path, data, installed)
        since = before.since if before is not None and same else now
        trusted = data is not None and now - since >= TRUSTED_AFTER_SECONDS
        known[name] = _Known(stamp, since, trusted, digest, file)
        return file

    def _whole(
        self, files: list[Path], read: list[PolicyFile], problems: list[Problem]
    ) -> LoadedFleet:
        loaded = whole_fleet([*self._paths, *files], read, Installed(), problems)
        wrong = self._wrong_here(loaded)
        if wrong:
            raise ConfigError(*wrong)
        return loaded


def _is(one: object, other: object) -> bool:
    return one is other


def _stamp_of(path: Path) -> _Stamp:
    """Return what the file system says of a file; nothing where it says nothing.

    With the time of its inode: whoever sets the time of the content back changes that.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
