"""autoscaler compare."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.traffic import From, Scale, To, read_traffic, start_of
from autoscaler.cli.words import emit_json, read_time, say

if TYPE_CHECKING:  # commands import what they need when they run
    from rich.table import Table

    from autoscaler.config import Source
    from autoscaler.core.workload import ScaledWorkload
    from simulations.report.columns import Column
    from simulations.runs import Candidate, Comparison
    from simulations.trace import Trace

REPORT = Path("compare.html")
FEW = 20_000
"""Requests up to which one process is quicker than starting several."""
WIDEST = 240
"""Characters of a line where no terminal says how many fit."""
OnProgress = Callable[[str, float], None]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"should be a finite number, not {value}")
    return value


def _time(text: str | None) -> str | None:
    if text is not None and read_time(text) is None:
        raise typer.BadParameter(f"should be a time such as 2026-01-05T00:00:00Z, not {text!r}")
    return text


def compare(  # noqa: PLR0917  # typer turns each into an option
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Policy files, folders.")],
    trace: Annotated[Path, typer.Option(help="Traffic, as `autoscaler replay` takes it.")],
    slo_of: Annotated[
        Path | None,
        typer.Option(
            help="Compare all under the objective (spec.slo) and on the replicas (spec.replica) of "
            "this policy file. Needed where the files differ in them."
        ),
    ] = None,
    report: Annotated[
        Path, typer.Option(help="Where to write the report, one HTML file that needs nothing else.")
    ] = REPORT,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    journals: Annotated[
        Path | None,
        typer.Option(help="A folder for a journal of each run, for `explain` and `verify`."),
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
        typer.Option(
            min=0, help="Replicas that are ready when a policy starts; if absent, replicas.min."
        ),
    ] = None,
    cold_start_spread: Annotated[
        float,
        typer.Option(
            min=0, max=3, callback=_finite, help="Spread of cold starts (of their logarithm)."
        ),
    ] = 0.0,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Draws the cold starts, and what a rate or --scale leaves open."),
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that simulate at a time; the results do not depend on it. If absent, "
            "1 for short traces and 2 for others.",
        ),
    ] = None,
    scale: Scale = 1.0,
    begin: From = 0.0,
    end: To = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no words.")] = False,
) -> None:
    """Replay one trace under several policy files and compare them.

    Beside them stand the best numbers of replicas that never change, and a plan that knows the
    future. The report shows replicas, latencies, queues, and why each decision was made.
    """
    from simulations.compare import compare as run
    from simulations.run import Settings

    candidates = _candidates(files, slo_of)
    _check_initial(candidates, initial)
    if not no_report:
        _check_writable(report, trace, *files)
    if journals is not None:
        _make_folder(journals)
    traffic = read_traffic(trace, seed=seed, scale=scale, begin=begin, end=end, quiet=quiet)
    if not quiet:
        _say_what(traffic, candidates)
    settings = Settings(
        start=start_of(start, traffic),
        interval_seconds=interval,
        scrape_seconds=scrape,
        replicas=initial,
        cold_start_spread=cold_start_spread,
        seed=seed,
    )
    processes = jobs or (1 if len(traffic) <= FEW else min(2, os.cpu_count() or 1))
    with _progress(quiet) as on_progress:
        comparison = run(
            traffic,
            candidates,
            settings,
            jobs=processes,
            journals=journals,
            on_progress=on_progress,
        )
    if not no_report:
        from simulations.report import write_report

        write_report(comparison, report)
    if as_json:
        emit_json(comparison.document())
    else:
        _print_table(comparison)
    if not quiet:
        _say_next(comparison, None if no_report else report)


def _candidates(files: Sequence[Path], slo_of: Path | None) -> "list[Candidate]":
    """Return every workload of the files, under one objective and on equal replicas.

    Each file is read by itself: several files may hold variants of one workload.
    """
    from autoscaler.config import LoadedFleet, read_fleet
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
            taken = workload if terms is None else _under(terms, workload)
            pools = {pool.key: pool for pool in (*shared, *one.fleet.pools)}
            candidates.append(Candidate(name, taken, str(path), tuple(pools.values())))
    if not candidates:
        raise ConfigError(f"{', '.join(map(str, files))}: should hold a workload to compare")
    _check(candidates, sources)
    return candidates


def _only(path: Path) -> "ScaledWorkload":
    from autoscaler.config import load_fleet
    from autoscaler.core.errors import ConfigError

    workloads = load_fleet([path]).workloads
    if len(workloads) > 1:
        keys = ", ".join(workload.key for workload in workloads)
        raise ConfigError(f"--slo-of: {path} should hold one workload, not {keys}")
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
    from simulations.compare import unshared
    from simulations.measurements import measurements_of
    from simulations.profiles import profile_of

    problems: list[str] = []
    for candidate, source in zip(candidates, sources, strict=True):
        spec = candidate.workload.spec
        try:
            profile_of(spec.replica)
            measurements_of(spec.signals)
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


def _check_initial(candidates: "Sequence[Candidate]", initial: int | None) -> None:
    from autoscaler.core.errors import ConfigError

    for candidate in candidates:
        bounds = candidate.workload.spec.replicas
        if initial is not None and bounds.clamp(initial) != initial:
            raise ConfigError(
                f"--initial: should be from spec.replicas.min to max of {candidate.file} "
                f"({bounds.min}-{bounds.max}), not {initial}"
            )


def _check_writable(report: Path, *inputs: Path) -> None:
    """Refuse a report that could not be written, before anybody waits for it."""
    from autoscaler.core.errors import ConfigError

    if report.is_dir():
        raise ConfigError(f"{report}: cannot be written: is a directory")
    if not report.absolute().parent.is_dir():
        raise ConfigError(f"{report}: cannot be written: no such file or directory")
    for path in inputs:
        if report.exists() and path.exists() and report.samefile(path):
            raise ConfigError(f"{report}: is also read by this comparison; name another report")


def _make_folder(journals: Path) -> None:
    from autoscaler.core.errors import ConfigError

    try:
        journals.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{journals}: cannot be made: {error.strerror}") from error


def _say_what(traffic: "Trace", candidates: "Sequence[Candidate]") -> None:
    from simulations.report.prose import promise
    from simulations.report.words import duration

    first = candidates[0].workload.spec
    say(
        f"{traffic.name}: {len(traffic):,} requests in {duration(traffic.seconds)}; "
        f"{len(candidates)} policy file{'s' if len(candidates) > 1 else ''}. "
        f"{promise(first.slo)} Replicas are {first.replica.profile} and need "
        f"{duration(first.replica.cold_start_seconds)} to start."
    )


def _say_next(comparison: "Comparison", report: Path | None) -> None:
    say(
        "* best of the policy files; in GPU-hours and scaling, of those that keep the promise.\n"
        "static-peak and static-best never scale; clairvoyant knew the future. Over plan: what a "
        "run\nspent, and whom it failed, beyond the clairvoyant plan."
    )
    if report is not None:
        say(f"Report: {report}")


def _print_table(comparison: "Comparison") -> None:
    """Print a row for each run; what a narrow terminal has no room for is left out, and named."""
    from rich.console import Console

    from simulations.report.columns import columns_of

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDEST)  # a pipe has room for everything
    columns = columns_of(comparison)
    table, left_out = _table(comparison, columns), list[str]()
    boundless = console.options.update(max_width=WIDEST)
    while len(columns) > 2 and console.measure(table, options=boundless).maximum > console.width:
        dropped = min(columns, key=lambda column: column.weight)
        left_out.append(dropped.head)
        columns = [column for column in columns if column is not dropped]
        table = _table(comparison, columns)
    console.print(table)
    if left_out:
        say(f"No room for: {', '.join(left_out)}. A wider terminal, --json and the report have it.")


def _table(comparison: "Comparison", columns: "Sequence[Column]") -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from simulations.report.columns import best

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("", no_wrap=True)
    tops = [best(column, comparison) for column in columns]
    for column in columns:
        table.add_column("\n".join(column.head.split()), justify="right", no_wrap=True)
    kind = comparison.runs[0].kind
    for run in comparison.runs:
        if run.kind is not kind:
            table.add_section()
            kind = run.kind
        cells = [
            f"[bold]{column.text(run)}*[/bold]" if run.name in top else f"{column.text(run)} "
            for column, top in zip(columns, tops, strict=True)
        ]
        table.add_row(escape(run.name), *cells)
    return table


@contextmanager
def _progress(quiet: bool) -> Iterator[OnProgress | None]:
    """Yield what to call as each part goes on; None where nobody looks."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        tasks: dict[str, int] = {}

        def show(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], completed=share)  # type: ignore[arg-type]

        yield show
