"""autoscaler demo."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.words import bold, emit, emit_json, say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.workload import ScaledWorkload

COMPARED = ("hpa", "vllm-queue-latency")


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no words.")] = False,
) -> None:
    """Replay a bundled hour with two policy files and compare."""
    from autoscaler.cli.progress import progress
    from autoscaler.cli.scores import as_document, comparison, duration
    from simulations.arrivals import synthetic_hour
    from simulations.replay import replay

    traffic = synthetic_hour()
    workloads = {name: preset_workload(name) for name in COMPARED}
    ours = workloads[COMPARED[-1]].spec
    if not quiet:
        say(
            f"A synthetic hour with one burst: {len(traffic):,} requests. Replicas are "
            f"{ours.replica.profile} and need {duration(ours.replica.cold_start_seconds)} to start."
        )
    results = {}
    for name, workload in workloads.items():
        with progress(name, quiet=quiet) as on_progress:
            results[name] = replay(traffic, workload, on_progress=on_progress)
    if as_json:
        emit_json({name: as_document(result) for name, result in results.items()})
        return
    headings = {
        f"{name} ({' + '.join(policy.type for policy in workloads[name].spec.policies)})": result
        for name, result in results.items()
    }
    emit("")
    emit(
        "\n".join(
            bold(line) if number == 0 else line
            for number, line in enumerate(
                comparison({name: one.score for name, one in headings.items()}, ours.slo)
            )
        )
    )
    if not quiet:
        say(
            "\n'met every limit' is the share of users who were served as promised, and GPU-hours "
            "are what that took: more of the first for less of the second is better.\n"
            "Next, run autoscaler init my-policies, edit the file in it, and try it on your own "
            "traffic:\nautoscaler replay --trace YOUR.csv "
            "--workload my-policies/vllm-queue-latency.yaml"
        )


def preset_workload(name: str) -> "ScaledWorkload":
    """Return the workload of a preset."""
    from importlib.resources import as_file, files

    from autoscaler.config import load_fleet

    with as_file(files("policies") / "presets" / f"{name}.yaml") as path:
        return load_fleet([path]).workloads[0]
