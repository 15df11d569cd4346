"""Policy files to a fleet: everything is read, and every problem is told, before anything runs."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as ByKey
from dataclasses import dataclass, field
from pathlib import Path

from autoscaler.config.files import policy_files
from autoscaler.config.installed import Installed
from autoscaler.config.lint import errors_among
from autoscaler.config.node_pools import pool_warnings
from autoscaler.config.nodes import Mapping, find
from autoscaler.config.policy_file import PolicyFile, read_policy_file
from autoscaler.config.problems import Problem, in_file_order
from autoscaler.core.errors import ConfigError
from autoscaler.core.workload import FleetSpec


@dataclass(frozen=True, slots=True)
class Source:
    """Where a workload or a node pool was read from.

    Attributes:
        file: The file, as it was named.
        line: The line where its document starts.
    """

    file: str
    line: int
    _root: Mapping = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def at(self, field_path: str) -> str:
        """Return file and line of a field such as spec.replica.profile.

        Of a field that is not in the file, those of the mapping that it would stand in.
        """
        parts = [part for part in re.split(r"[.\[\]]", field_path) if part]
        _, mark, _ = find(self._root, [int(part) if part.isdigit() else part for part in parts])
        return f"{self.file}:{mark.line}"


@dataclass(frozen=True, slots=True)
class LoadedFleet:
    """A fleet with what is known of its files.

    Attributes:
        fleet: The workloads and the node pools, in file order.
        sources: Where each was read from, by the key of the workload or the name of the pool; a
            workload's key has a / in it.
        warnings: What is allowed and probably not meant; one line each, in file order.
    """

    fleet: FleetSpec
    sources: ByKey[str, Source]
    warnings: tuple[str, ...] = ()


def load_fleet(paths: Sequence[Path]) -> FleetSpec:
    """Return the workloads and node pools of policy files and folders; see `read_fleet`.

    Raises:
        ConfigError: Something is wrong in the files; every problem is told.
    """
    return read_fleet(paths).fleet


def read_fleet(paths: Sequence[Path]) -> LoadedFleet:
    """Return the workloads and node pools of policy files and folders, with their places.

    A file may hold several YAML documents. A folder stands for its own *.yaml, *.yml and *.json
    files by name, without folders inside it.

    Raises:
        ConfigError: Something is wrong in the files; every problem of every file is told, in
            file order.
    """
    problems: list[Problem] = []
    installed = Installed()
    files = policy_files(paths, problems)
    read = [read_policy_file(file, installed) for file in files]
    return whole_fleet([*paths, *files], read, installed, problems)


def whole_fleet(
    order: Iterable[Path],
    files: Sequence[PolicyFile],
    installed: Installed,
    problems: Iterable[Problem] = (),
) -> LoadedFleet:
    """Put policy files together, and check what only all of them can show.

    Args:
        order: The order in which problems are told: folders and files, as they were named.
        files: What was read, in file order.
        installed: Policies and combiners.
        problems: What else is wrong, such as a folder that is not there.

    Raises:
        ConfigError: Something is wrong in a file, or between files; every problem is told.
    """
    drafts = [draft for file in files for draft in file.drafts]
    wrong = [*problems, *(problem for file in files for problem in file.problems)]
    wrong.extend(errors_among(drafts))
    names = [str(path) for path in order]
    if wrong:
        raise ConfigError(*in_file_order(wrong, names))
    if not drafts:
        raise ConfigError("no policy file was named")
    workloads = tuple(draft.workload for draft in drafts if draft.workload is not None)
    pools = tuple(draft.pool for draft in drafts if draft.pool is not None)
    combiners = {name: installed.combiner(name) for name in {w.spec.combine for w in workloads}}
    warnings = [warning for file in files for warning in file.warnings]
    return LoadedFleet(
        fleet=FleetSpec(workloads, combiners, pools),
        sources={
            whole.key: Source(draft.file, draft.root.mark.line, draft.root)
            for draft in drafts
            if (whole := draft.workload or draft.pool) is not None
        },
        warnings=in_file_order([*warnings, *pool_warnings(drafts)], names),
    )
