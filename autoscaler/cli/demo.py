"""autoscaler demo."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.simulating import (
    AsJson,
    Journals,
    NoReport,
    Quiet,
    ReportFile,
    make_folder,
    processes_for,
    refuse_unwritable,
)
from autoscaler.cli.words import bold, emit, emit_json, say, utc

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.spec import Slo
    from autoscaler.core.workload import ScaledWorkload
    from simulations.run import Settings
    from simulations.runs import Comparison
    from simulations.score import Score
    from simulations.trace import Trace

OURS = "vllm-queue-latency"
THEIRS = "hpa"
COMPARED = (THEIRS, OURS)
REPORT = Path("demo.html")
MOST_TOLD = 40
"""Changes that are told where no table shows them."""


def _speed(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"should be above 0, not {value:g}")
    return value


def demo(
    trace: Annotated[
        Path | None,
        typer.Option(help="Traffic to take in place of the bundled day, as `replay` takes it."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            callback=_speed,
            help="Simulated seconds that pass in a second while the terminal shows the controller "
            "at work, such as 600; if absent, as many as can be.",
        ),
    ] = None,
    report: ReportFile = REPORT,
    no_report: NoReport = False,
    journals: Journals = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Watch the controller through a simulated day, and compare it with the HPA.

    The code that decides is the code that decides live; only the cluster is simulated. On a
    terminal a table follows each decision with its reason; elsewhere each change is a line.
    """
    from simulations.replay import START
    from simulations.run import Settings

    traffic = _traffic(trace)
    workloads = {name: preset_workload(name) for name in COMPARED}
    settings = Settings(start=START if traffic.start is None else traffic.start)
    if not no_report:
        refuse_unwritable(report, *([] if trace is None else [trace]))
    if journals is not None:
        make_folder(journals)
    if not quiet:
        say(story(traffic, workloads[OURS], settings, bundled=trace is None))
    seen = _watch(traffic, workloads[OURS], settings, quiet=quiet or as_json, speed=speed)
    comparison = _compare(traffic, workloads, settings, journals, quiet=quiet)
    if not (seen or quiet or as_json):
        say("\n".join(told(comparison)))
    if not no_report:
        from simulations.report import write_report

        write_report(comparison, report)
    if as_json:
        emit_json(comparison.document())
        return
    _print(comparison)
    if not quiet:
        scores = {run.name: run.result.score for run in comparison.runs}
        say(f"\n{verdict(scores, workloads[OURS].spec.slo)}")
        if not no_report:
            say(f"Report, with pictures and every decision's reason: {report}")
        if journals is not None:
            name, journal = workloads[OURS].metadata.name, journals / f"{OURS}.jsonl"
            say(f"Why a decision was made: {command()} explain {name} --journal {journal}")
        say(
            f"Next, run {command()} init my-policies, edit the file in it, and try it on your own "
            f"traffic:\n{command()} replay --trace YOUR.csv --workload my-policies/{OURS}.yaml"
        )


def command() -> str:
    """Return what a person types here to call us: the name, or its path where no PATH has it."""
    import os
    import shutil
    import sys

    beside = Path(sys.executable).with_name("autoscaler")
    if shutil.which("autoscaler") or not beside.exists():
        return "autoscaler"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def preset_workload(name: str) -> "ScaledWorkload":
    """Return the workload of a preset."""
    from importlib.resources import as_file, files

    from autoscaler.config import load_fleet

    with as_file(files("policies") / "presets" / f"{name}.yaml") as path:
        return load_fleet([path]).workloads[0]


def story(
    traffic: "Trace", workload: "ScaledWorkload", settings: "Settings", *, bundled: bool
) -> str:
    """Say what happens, in two sentences that need no knowledge of the project."""
    from simulations.report.words import duration

    what = f"{traffic.name}: {len(traffic):,} requests come within {duration(traffic.seconds)}."
    if bundled:
        from simulations.arrivals import DAY

        what = (
            f"A synthetic day: {len(traffic):,} chat requests come to one model, with two peaks as "
            f"on a weekday, and from {utc(settings.start + DAY.burst_from)[11:16]} an incident "
            f"that grows to {DAY.burst_factor:g} times the load within "
            f"{DAY.burst_rise_seconds / 60:.0f} minutes."
        )
    replica, interval = workload.spec.replica, settings.interval_seconds
    return (
        f"{what}\nEvery {interval:g} s the controller decides how many replicas "
        f"({replica.profile}) run, and each new one takes "
        f"{duration(replica.cold_start_seconds)} to start: first by the policy file {OURS}, then "
        "as a Kubernetes HPA decides."
    )


def verdict(scores: "Mapping[str, Score]", slo: "Slo") -> str:
    """Say what the numbers say, whoever is ahead."""
    from simulations.report.words import share

    ours, theirs = scores[OURS], scores[THEIRS]
    kept = [name for name in COMPARED if scores[name].attainment >= slo.attainment]
    who = {0: "Neither keeps", 1: f"Only {''.join(kept)} keeps", 2: "Both keep"}[len(kept)]
    hours = round(100 * (ours.gpu_hours / theirs.gpu_hours - 1))
    took = (
        f"{abs(hours)} % {'more' if hours > 0 else 'fewer'} GPU-hours than"
        if hours
        else "as many GPU-hours as"
    )
    return (
        f"{who} the promise to serve {100 * slo.attainment:g} % of all requests within the limits "
        f"({OURS} {share(ours.attainment)}, {THEIRS} {share(theirs.attainment)}).\n"
        f"{OURS} takes {took} {THEIRS}, and changes the number of replicas {ours.scale_events:,} "
        f"times, {THEIRS} {theirs.scale_events:,} times."
    )


def told(comparison: "Comparison") -> list[str]:
    """Return what our policy file changed and why, a line each, where no table could show it."""
    run = next(run for run in comparison.runs if run.name == OURS)
    changes, start = run.decided.changes, comparison.settings.start
    lines = [
        f"{utc(start + change.seconds)}  {change.before} -> {change.after} replicas  {change.text}"
        for change in changes[:MOST_TOLD]
    ]
    if len(changes) > MOST_TOLD:
        lines.append(f"and {len(changes) - MOST_TOLD:,} more changes: see the report")
    return ["", *(lines or [f"{OURS} changed nothing."])]


def _traffic(path: Path | None) -> "Trace":
    from simulations import arrivals
    from simulations.trace import read_trace

    return arrivals.synthetic_day() if path is None else read_trace(path)


def _watch(
    traffic: "Trace",
    workload: "ScaledWorkload",
    settings: "Settings",
    *,
    quiet: bool,
    speed: float | None,
) -> bool:
    """Run our policy file before the eyes of whoever looks at a terminal; say if anybody does."""
    from autoscaler.cli.live import Watched, live
    from simulations.replay import replay

    watched = Watched(workload, settings.start, traffic.seconds)
    with live(watched, quiet=quiet, speed=speed) as journal:
        if journal is not None:
            replay(traffic, workload, start=settings.start, journal=journal)
        return journal is not None


def _compare(
    traffic: "Trace",
    workloads: "Mapping[str, ScaledWorkload]",
    settings: "Settings",
    journals: Path | None,
    *,
    quiet: bool,
) -> "Comparison":
    from autoscaler.cli.live import bars
    from simulations.compare import compare
    from simulations.runs import Candidate

    candidates = [Candidate(name, workload) for name, workload in workloads.items()]
    jobs = processes_for(traffic)
    with bars(quiet=quiet) as on_progress:
        return compare(
            traffic,
            candidates,
            settings,
            jobs=jobs,
            journals=journals,
            on_progress=on_progress,
        )


def _print(comparison: "Comparison") -> None:
    """Print a column for each policy file."""
    from autoscaler.cli.scores import comparison as table

    policies = {
        name: " + ".join(policy.type for policy in preset_workload(name).spec.policies)
        for name in COMPARED
    }
    scores = {
        f"{run.name} ({policies[run.name]})": run.result.score
        for run in comparison.runs
        if run.name in policies
    }
    heading, *rows = table(scores, comparison.slo)
    emit("\n".join(["", bold(heading), *rows]))
