"""autoscaler replay."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.simulating import (
    AsJson,
    ColdStartSpread,
    Initial,
    Interval,
    Profile,
    Quiet,
    Scrape,
    Seed,
    Start,
    refuse_initial,
    with_profile,
)
from autoscaler.cli.traffic import TRACE_HELP, From, Scale, To, read_traffic, start_of
from autoscaler.cli.words import emit, emit_json, say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.config import LoadedFleet, Source
    from autoscaler.core.workload import ScaledWorkload


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
    start: Start = None,
    interval: Interval = 15.0,
    scrape: Scrape = 15.0,
    initial: Initial = None,
    profile: Profile = None,
    cold_start_spread: ColdStartSpread = 0.0,
    seed: Seed = 0,
    journal: Annotated[
        Path | None, typer.Option(help="Write every cycle there, for `autoscaler explain`.")
    ] = None,
    scale: Scale = 1.0,
    begin: From = 0.0,
    end: To = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Replay traffic through simulated replicas and print the score.

    The code that decides is the code that decides live. The score says what scaling by this
    policy file would have cost, and how many users would have waited.
    """
    from autoscaler.cli.progress import progress
    from autoscaler.cli.scores import as_document, comparison
    from autoscaler.config import read_fleet
    from autoscaler.core.workload import FleetSpec
    from autoscaler.journal import JournalFile
    from simulations.cautions import cautions_of
    from simulations.decisions import Recorder
    from simulations.replay import replay as run

    loaded = read_fleet([workload])
    chosen = with_profile(_chosen(loaded, workload, name), profile)
    source = loaded.sources[chosen.key]
    refuse_initial(initial, chosen)
    if journal is not None:
        _refuse_same_file(journal, trace, workload)
    traffic = read_traffic(trace, seed=seed, scale=scale, begin=begin, end=end, quiet=quiet)
    if not quiet:
        for warning in loaded.warnings:
            say(f"warning: {warning}")
        say(f"{chosen.key}: {len(traffic):,} requests in {traffic.seconds / 60:.0f} minutes")
    pools = tuple(pool for pool in loaded.fleet.pools if pool.key == chosen.spec.replica.node_pool)
    fleet = FleetSpec((chosen,), loaded.fleet.combiners, pools).acted_on()
    began = start_of(start, traffic)
    with (
        _naming_the_file(source),
        JournalFile(journal, fleet) if journal is not None else nullcontext() as cycles,
        progress(chosen.metadata.name, quiet=quiet) as on_progress,
    ):
        recorder = Recorder(chosen.key, began, cycles)
        result = run(
            traffic,
            chosen,
            pools=pools,
            start=began,
            interval_seconds=interval,
            scrape_seconds=scrape,
            replicas=initial,
            cold_start_spread=cold_start_spread,
            seed=seed,
            journal=recorder,
            on_progress=on_progress,
        )
    decided = recorder.decided()
    if as_json:
        emit_json(as_document(result, decided))
    else:
        emit("\n".join(comparison({chosen.metadata.name: result.score}, chosen.spec.slo, decided)))
    if not quiet:
        for caution in cautions_of(result.score, chosen, traffic.seconds):
            say(caution)
        for policy, why in decided.silent:
            say(f"{policy} never had a say: {why}.")
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
