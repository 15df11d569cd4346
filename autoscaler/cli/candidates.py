"""The policy files of a comparison, under one objective and on equal replicas."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.cli.simulating import with_profile

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.config import LoadedFleet, Source
    from autoscaler.core.workload import ScaledWorkload
    from simulations.runs import Candidate


def candidates_of(
    files: Sequence[Path], slo_of: Path | None = None, profile: str | None = None
) -> "tuple[list[Candidate], list[str]]":
    """Return every workload of the files, under one objective and on equal replicas; and warnings.

    Each file is read by itself: several files may hold variants of one workload.

    Args:
        files: Policy files and folders.
        slo_of: Whose objective and replicas count; those of each file, if absent.
        profile: What all replicas are, in place of what the files say.

    Raises:
        ConfigError: A file is wrong or cannot be simulated, or two cannot be compared.
    """
    from autoscaler.config import read_fleet
    from autoscaler.config.files import policy_files
    from autoscaler.config.problems import Problem
    from autoscaler.core.errors import ConfigError
    from simulations.compare import RESERVED
    from simulations.runs import Candidate

    found: list[Problem] = []
    paths = policy_files(files, found)
    problems = [str(problem) for problem in found]
    loaded: list[LoadedFleet] = []
    for path in paths:
        try:
            loaded.append(read_fleet([path]))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    terms = None if slo_of is None else _only(slo_of)
    # A file of node pools alone is meant for all; a pool beside a workload is that workload's.
    shared = [pool for one in loaded if not one.fleet.workloads for pool in one.fleet.pools]
    names, candidates = set(RESERVED), list[Candidate]()
    sources: list[Source] = []
    for path, one in zip(paths, loaded, strict=True):
        several = len(one.fleet.workloads) > 1
        for workload in one.fleet.workloads:
            stem = f"{path.stem}.{workload.metadata.name}" if several else path.stem
            name = _unlike(names, stem)
            names.add(name)
            sources.append(one.sources[workload.key])
            taken = with_profile(workload if terms is None else _under(terms, workload), profile)
            pools = {pool.key: pool for pool in (*shared, *one.fleet.pools)}
            candidates.append(Candidate(name, taken, str(path), tuple(pools.values())))
    if not candidates:
        raise ConfigError(f"{', '.join(map(str, files))}: should hold a workload to compare")
    _check(candidates, sources)
    return candidates, _warnings(paths, loaded)


def _warnings(paths: Sequence[Path], loaded: "Sequence[LoadedFleet]") -> list[str]:
    """Return what the files allow and probably do not mean, one line each.

    A file of node pools alone is read beside each of the others: whether a pool is given, named
    and large enough shows only there. Of the pools' file counts what is true beside them all.
    """
    from autoscaler.config import read_fleet
    from autoscaler.core.errors import ConfigError

    shared = [path for path, one in zip(paths, loaded, strict=True) if not one.fleet.workloads]
    own: dict[str, None] = {}
    rests: list[tuple[str, ...]] = []
    for path, one in zip(paths, loaded, strict=True):
        if path in shared:
            continue
        warnings = one.warnings
        if shared:
            try:
                warnings = read_fleet([path, *shared]).warnings
            except ConfigError:  # it has a pool of its own in place of a shared one
                pass
            else:
                rests.append(tuple(line for line in warnings if not line.startswith(f"{path}:")))
        own |= dict.fromkeys(line for line in warnings if line.startswith(f"{path}:"))
    both = [line for line in (rests[0] if rests else ()) if all(line in one for one in rests)]
    return [*own, *both]


def _only(path: Path) -> "ScaledWorkload":
    from autoscaler.config import load_fleet
    from autoscaler.core.errors import ConfigError

    workloads = load_fleet([path]).workloads
    if len(workloads) > 1:
        keys = ", ".join(workload.key for workload in workloads)
        raise ConfigError(f"--slo-of: {path} should hold one workload, not {keys}")
    if not workloads:
        raise ConfigError(f"--slo-of: {path} should hold a workload")
    return workloads[0]


def _under(terms: "ScaledWorkload", workload: "ScaledWorkload") -> "ScaledWorkload":
    """Return a workload with the objective and the replicas of another."""
    pool = workload.spec.replica.node_pool
    replica = terms.spec.replica.model_copy(update={"node_pool": pool})
    spec = workload.spec.model_copy(update={"slo": terms.spec.slo, "replica": replica})
    return workload.model_copy(update={"spec": spec})


def _unlike(names: set[str], stem: str) -> str:
    """Return a name that nobody has."""
    name, number = stem, 1
    while name in names:
        number += 1
        name = f"{stem}-{number}"
    return name


def _check(candidates: "Sequence[Candidate]", sources: "Sequence[Source]") -> None:
    """Refuse what cannot be simulated, and files that cannot be compared with the first."""
    from autoscaler.core.errors import ConfigError
    from simulations.cluster import refuse_too_many
    from simulations.compare import unshared
    from simulations.measurements import measurements_of
    from simulations.profiles import profile_of

    problems: list[str] = []
    for candidate, source in zip(candidates, sources, strict=True):
        spec = candidate.workload.spec
        try:
            profile_of(spec.replica)
            measurements_of(spec.signals)
            refuse_too_many(spec.replicas.min)
        except ConfigError as error:
            problems += [f"{source.at(one.partition(':')[0])}: {one}" for one in error.problems]
    first = candidates[0]
    for candidate, source in zip(candidates[1:], sources[1:], strict=True):
        for field, wanted, found in unshared(first.workload, candidate.workload):
            problems.append(
                f"{source.at(field)}: {field}: should be {_shown(wanted)}, as in "
                f"{sources[0].at(field)}, not {_shown(found)}: runs are compared under one "
                "objective and on equal replicas; make them equal, or say whose count with "
                "--slo-of FILE"
            )
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)
