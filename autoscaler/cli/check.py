"""autoscaler check."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.words import emit, emit_json, say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.config import LoadedFleet
    from autoscaler.core.node_pools import NodePool
    from autoscaler.core.workload import ScaledWorkload

ACTUATION_WORDS = {"none": "watching only", "scale": "we scale it", "hpa": "an HPA follows"}


def check(
    files: Annotated[
        list[Path], typer.Argument(help="Policy files, or folders of them (*.yaml, *.yml, *.json).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print what they say as JSON.")] = False,
) -> None:
    """Validate policy files and say what each workload and node pool resolves to.

    Every problem of every file is told, with file and line. Warnings go to stderr and do not fail.
    """
    from autoscaler.config import read_fleet

    loaded = read_fleet(files)
    warnings = [*loaded.warnings, *_unknown_profiles(loaded)]
    for warning in warnings:
        say(f"warning: {warning}")
    if as_json:
        emit_json(
            {
                "workloads": [
                    {
                        "workload": workload.key,
                        "file": loaded.sources[workload.key].file,
                        "line": loaded.sources[workload.key].line,
                        **workload.model_dump(mode="json", by_alias=True, exclude_none=True),
                    }
                    for workload in loaded.fleet.workloads
                ],
                "nodePools": [
                    {
                        "nodePool": pool.key,
                        "file": loaded.sources[pool.key].file,
                        "line": loaded.sources[pool.key].line,
                        **pool.model_dump(mode="json", by_alias=True, exclude_none=True),
                    }
                    for pool in loaded.fleet.pools
                ],
                "warnings": warnings,
            }
        )
        return
    for workload in loaded.fleet.workloads:
        emit(f"{loaded.sources[workload.key]}: {resolved(workload, loaded.fleet.pools)}")
    for pool in loaded.fleet.pools:
        emit(f"{loaded.sources[pool.key]}: {resolved_pool(pool)}")


def _unknown_profiles(loaded: "LoadedFleet") -> Iterator[str]:
    """Yield what a replay would refuse; live, the profile does not matter."""
    from autoscaler.core.errors import ConfigError
    from simulations.profiles import profile_of

    for workload in loaded.fleet.workloads:
        if workload.spec.replica.profile is not None:
            try:
                profile_of(workload.spec.replica)
            except ConfigError as error:
                field = str(error).partition(":")[0]
                yield f"{loaded.sources[workload.key].at(field)}: {error}; a replay would refuse it"


def resolved(workload: "ScaledWorkload", pools: Sequence["NodePool"] = ()) -> str:
    """Return in one line what a policy file says."""
    from autoscaler.config.node_pools import nodes_of_each

    spec = workload.spec
    parts: list[Any] = [
        f"{spec.target.kind} {spec.target.name}",
        f"{spec.replicas.min} to {spec.replicas.max} replicas",
        " + ".join(policy.label for policy in spec.policies),
        ACTUATION_WORDS[spec.actuation],
    ]
    if len(spec.policies) > 1:
        parts[2] += f" by {spec.combine}"
    if spec.replica.node_pool is not None:
        parts.append(f"on node pool {spec.replica.node_pool}")
        for pool in pools:
            each = nodes_of_each(spec.replica, pool)
            if pool.key == spec.replica.node_pool and each > 1:
                parts.append(f"{each} whole nodes for each replica")
    return f"{workload.key}: {', '.join(parts)}"


def resolved_pool(pool: "NodePool") -> str:
    """Return in one line what the document of a node pool says."""
    spec = pool.spec
    return (
        f"node pool {pool.key}: {spec.nodes.min} to {spec.nodes.max} nodes of "
        f"{spec.gpus_per_node} GPUs, ready after {spec.provisioning_seconds:g} s, "
        f"{ACTUATION_WORDS[spec.actuation]}"
    )
