"""autoscaler replay."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.traffic import TRACE_HELP, From, Scale, To, read_traffic, start_of
from autoscaler.cli.words import emit, emit_json, read_time, say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.config import LoadedFleet, Source
    from autoscaler.core.spec import Replica
    from autoscaler.core.workload import ScaledWorkload


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"should be a finite number, not {value}")
    return value


def _time(text: str | None) -> str | None:
    if text is not None and read_time(text) is None:
        raise typer.BadParameter(f"should be a time such as 2026-01-05T00:00:00Z, not {text!r}")
    return text


def replay(  # noqa: PLR0917  # typer turns each into an option
    trace: Annotated[
        Path,
        typer.Option(help=TRACE_HELP),
    ],
    workload: Annotated[
        Path, typer.Option(help="The policy file, or a folder that holds its node pool too.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Which workload, where the file holds several.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            callback=_time,
            help="When the trace begins (ISO 8601, UTC unless it says otherwise): matters to "
            "calendars. If absent, as the trace says, or a Monday at 00:00 UTC.",
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=1, callback=_finite, help="Seconds between control cycles.")
    ] = 15.0,
    scrape: Annotated[
        float,
        typer.Option(min=1, callback=_finite, help="Seconds between scrapes of the signals."),
    ] = 15.0,
    initial: Annotated[
        int | None,
        typer.Option(min=0, help="Replicas that are ready at the start; if absent, replicas.min."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Serving profile, in place of spec.replica.profile.")
    ] = None,
    cold_start_spread: Annotated[
        float,
        typer.Option(
            min=0,
            max=3,
            callback=_finite,
            help="Spread of cold starts and of nodes' provisioning (of their logarithm).",
        ),
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Draws them, and what a rate or --scale leaves open.")
    ] = 0,
    journal: Annotated[
        Path | None, typer.Option(help="Write every cycle there, for `autoscaler explain`.")
    ] = None,
    scale: Scale = 1.0,
    begin: From = 0.0,
    end: To = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the score as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no words.")] = False,
) -> None:
    """Replay traffic through simulated replicas and print the score.

    The code that decides is the code that decides live. The score says what scaling by this
    policy file would have cost, and how many users would have waited.
    """
    from autoscaler.cli.progress import progress
    from autoscaler.cli.scores import as_document, comparison
    from autoscaler.config import read_fleet
    from autoscaler.core.errors import ConfigError
    from autoscaler.core.workload import FleetSpec
    from autoscaler.journal import JournalFile
    from simulations.replay import replay as run

    loaded = read_fleet([workload])
    chosen = _with_profile(_chosen(loaded, workload, name), profile)
    source = loaded.sources[chosen.key]
    bounds = chosen.spec.replicas
    if initial is not None and bounds.clamp(initial) != initial:
        raise ConfigError(
            f"--initial: should be from spec.replicas.min to max ({bounds.min}-{bounds.max}), "
            f"not {initial}"
        )
    if journal is not None:
        _refuse_same_file(journal, trace, workload)
    traffic = read_traffic(trace, seed=seed, scale=scale, begin=begin, end=end, quiet=quiet)
    if not quiet:
        for warning in loaded.warnings:
            say(f"warning: {warning}")
        say(f"{chosen.key}: {len(traffic):,} requests in {traffic.seconds / 60:.0f} minutes")
    pools = tuple(pool for pool in loaded.fleet.pools if pool.key == chosen.spec.replica.node_pool)
    fleet = FleetSpec((chosen,), loaded.fleet.combiners, pools).acted_on()
    with (
        _naming_the_file(source),
        JournalFile(journal, fleet) if journal is not None else nullcontext() as cycles,
        progress(chosen.metadata.name, quiet=quiet) as on_progress,
    ):
        result = run(
            traffic,
            chosen,
            pools=pools,
            start=start_of(start, traffic),
            interval_seconds=interval,
            scrape_seconds=scrape,
            replicas=initial,
            cold_start_spread=cold_start_spread,
            seed=seed,
            journal=cycles,
            on_progress=on_progress,
        )
    if as_json:
        emit_json(as_document(result))
    else:
        emit("\n".join(comparison({chosen.metadata.name: result.score}, chosen.spec.slo)))
    if journal is not None and not quiet:
        say(f"Next: autoscaler explain {chosen.metadata.name} --journal {journal}")


def _chosen(loaded: "LoadedFleet", file: Path, name: str | None) -> "ScaledWorkload":
    from autoscaler.core.errors import ConfigError

    found = [
        workload
        for workload in loaded.fleet.workloads
        if name is None or name in (workload.key, workload.metadata.name)
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(workload.key for workload in loaded.fleet.workloads)
    if not names:
        raise ConfigError(f"{file}: holds no workload, only node pools")
    if name is None:
        raise ConfigError(f"{file}: holds several workloads; choose one with --name: {names}")
    if found:
        raise ConfigError(f"{file}: {name!r} names several workloads; choose one: {names}")
    raise ConfigError(f"{file}: no workload is called {name!r}; there are: {names}")


def _with_profile(workload: "ScaledWorkload", profile: str | None) -> "ScaledWorkload":
    """Return the workload on other replicas; they have as many GPUs as their profile says."""
    if profile is None:
        return workload
    from autoscaler.core.errors import ConfigError
    from simulations.profiles import profile_of, profiles

    known = profiles().get(profile)
    replica: Replica = workload.spec.replica.model_copy(
        update={"profile": profile} | ({"gpus": known.gpus} if known else {})
    )
    try:
        profile_of(replica)
    except ConfigError as error:
        raise ConfigError(str(error).replace("spec.replica.profile", "--profile", 1)) from error
    spec = workload.spec.model_copy(update={"replica": replica})
    return workload.model_copy(update={"spec": spec})


def _refuse_same_file(journal: Path, *inputs: Path) -> None:
    from autoscaler.core.errors import ConfigError

    for path in inputs:
        if journal.exists() and path.exists() and journal.samefile(path):
            raise ConfigError(f"{journal}: is also read by this replay; name another journal")


@contextmanager
def _naming_the_file(source: "Source") -> Iterator[None]:
    """Say in which file and line a field stands that the simulator refuses."""
    from autoscaler.core.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            *(
                f"{source.at(problem.partition(':')[0])}: {problem}"
                if problem.startswith("spec.")
                else problem
                for problem in error.problems
            )
        ) from error
