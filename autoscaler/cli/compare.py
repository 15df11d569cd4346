"""autoscaler compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.candidates import candidates_of
from autoscaler.cli.live import bars
from autoscaler.cli.simulating import (
    AsJson,
    ColdStartSpread,
    Initial,
    Interval,
    Journals,
    NoReport,
    Profile,
    Quiet,
    ReportFile,
    Scrape,
    Seed,
    Start,
    make_folder,
    processes_for,
    refuse_initial,
    refuse_unwritable,
)
from autoscaler.cli.traffic import From, Scale, To, read_traffic, start_of
from autoscaler.cli.words import emit_json, say

if TYPE_CHECKING:  # commands import what they need when they run
    from rich.table import Table

    from simulations.report.columns import Column
    from simulations.runs import Candidate, Comparison
    from simulations.trace import Trace

REPORT = Path("compare.html")
WIDEST = 240
"""Characters of a line where no terminal says how many fit."""


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
    report: ReportFile = REPORT,
    no_report: NoReport = False,
    journals: Journals = None,
    start: Start = None,
    interval: Interval = 15.0,
    scrape: Scrape = 15.0,
    initial: Initial = None,
    profile: Profile = None,
    cold_start_spread: ColdStartSpread = 0.0,
    seed: Seed = 0,
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
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Replay one trace under several policy files and compare them.

    Beside them stand the best numbers of replicas that never change, and a plan that knows the
    future. The report shows replicas, latencies, queues, and why each decision was made.
    """
    from simulations.compare import compare as run
    from simulations.run import Settings

    candidates, warnings = candidates_of(files, slo_of, profile)
    for candidate in candidates:
        refuse_initial(initial, candidate.workload, candidate.file)
    if not no_report:
        refuse_unwritable(report, trace, *files)
    if journals is not None:
        make_folder(journals)
    traffic = read_traffic(trace, seed=seed, scale=scale, begin=begin, end=end, quiet=quiet)
    if not quiet:
        for warning in warnings:
            say(f"warning: {warning}")
        _say_what(traffic, candidates)
    settings = Settings(
        start=start_of(start, traffic),
        interval_seconds=interval,
        scrape_seconds=scrape,
        replicas=initial,
        cold_start_spread=cold_start_spread,
        seed=seed,
    )
    with bars(quiet=quiet) as on_progress:
        comparison = run(
            traffic,
            candidates,
            settings,
            jobs=processes_for(traffic, jobs),
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
    from simulations.report.prose import answer_of, cautions_of

    say(
        "* best of the policy files; in GPU-hours and scaling, of those that keep the promise.\n"
        "static-peak and static-best never scale; clairvoyant knew the future. Over plan: what a "
        "run\nspent, and whom it failed, beyond the clairvoyant plan.\n"
    )
    for sentence in (*answer_of(comparison)["sentences"], *cautions_of(comparison)):
        say(sentence)
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
