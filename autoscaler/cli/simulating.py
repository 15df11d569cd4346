"""What commands that simulate have in common: their options, and what they refuse."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.words import read_time

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.spec import Replica
    from autoscaler.core.workload import ScaledWorkload
    from simulations.trace import Trace

FEW = 20_000
"""Requests up to which one process is quicker than starting several."""


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"should be a finite number, not {value}")
    return value


def _time(text: str | None) -> str | None:
    if text is not None and read_time(text) is None:
        raise typer.BadParameter(f"should be a time such as 2026-01-05T00:00:00Z, not {text!r}")
    return text


Start = Annotated[
    str | None,
    typer.Option(
        callback=_time,
        help="When the trace begins (ISO 8601, UTC unless it says otherwise): matters to "
        "calendars. If absent, as the trace says, or a Monday at 00:00 UTC.",
    ),
]
Interval = Annotated[
    float, typer.Option(min=1, callback=_finite, help="Seconds between control cycles.")
]
Scrape = Annotated[
    float, typer.Option(min=1, callback=_finite, help="Seconds between scrapes of the signals.")
]
Initial = Annotated[
    int | None,
    typer.Option(
        min=0, help="Replicas that are ready when a policy starts; if absent, replicas.min."
    ),
]
Profile = Annotated[
    str | None, typer.Option(help="Serving profile, in place of spec.replica.profile.")
]
ColdStartSpread = Annotated[
    float,
    typer.Option(
        min=0,
        max=3,
        callback=_finite,
        help="Spread of cold starts and of nodes' provisioning (of their logarithm).",
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, help="Draws them, and what a rate or --scale leaves open.")
]
ReportFile = Annotated[
    Path, typer.Option(help="Where to write the report, one HTML file that needs nothing else.")
]
Journals = Annotated[
    Path | None,
    typer.Option(help="A folder for a journal of each run, for `explain` and `verify`."),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no report.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no words.")]


def processes_for(trace: "Trace", asked: int | None = None) -> int:
    """Return how many processes simulate at a time: as asked, or 1 for short traces, else 2."""
    return asked or (1 if len(trace) <= FEW else min(2, os.cpu_count() or 1))


def with_profile(workload: "ScaledWorkload", profile: str | None) -> "ScaledWorkload":
    """Return the workload on other replicas; they have as many GPUs as their profile says.

    Raises:
        ConfigError: No profile has that name.
    """
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


def refuse_initial(initial: int | None, workload: "ScaledWorkload", file: str = "") -> None:
    """Refuse a number of replicas to begin with that a policy file does not allow.

    Raises:
        ConfigError: It is outside of its bounds.
    """
    from autoscaler.core.errors import ConfigError

    bounds = workload.spec.replicas
    if initial is not None and bounds.clamp(initial) != initial:
        whose = f" of {file}" if file else ""
        raise ConfigError(
            f"--initial: should be from spec.replicas.min to max{whose} "
            f"({bounds.min}-{bounds.max}), not {initial}"
        )


def refuse_unwritable(report: Path, *inputs: Path) -> None:
    """Refuse a report that could not be written, before anybody waits for it.

    Raises:
        ConfigError: It is there and no regular file, lies in no folder, or is one of the inputs.
    """
    from autoscaler.core.errors import ConfigError
    from simulations.report import refuse_irregular

    refuse_irregular(report)
    if not Path(os.path.realpath(report)).parent.is_dir():
        raise ConfigError(f"{report}: cannot be written: no such file or directory")
    for path in inputs:
        if report.exists() and path.exists() and report.samefile(path):
            raise ConfigError(f"{report}: is also read by this command; name another report")


def make_folder(journals: Path) -> None:
    """Make the folder of the journals, and those above it, where they are not there.

    Raises:
        ConfigError: It cannot be made.
    """
    from autoscaler.core.errors import ConfigError
    from autoscaler.journal.writing import why

    try:
        journals.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{journals}: cannot be made: {why(error)}") from error
