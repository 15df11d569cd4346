"""autoscaler verify."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.words import bold, emit, emit_json, say, utc

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.verify import Difference, PoolVerdict, Verification, WorkloadVerdict


def verify(
    journal: Annotated[
        Path,
        typer.Argument(help="The file of cycles that a replay wrote, or a live journal's folder."),
    ],
    workload: Annotated[
        list[Path] | None,
        typer.Option(help="Decide by this policy file or folder instead; may be repeated."),
    ] = None,
    first: Annotated[
        int, typer.Option(min=0, help="How many differences of a workload to show.")
    ] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no words.")] = False,
) -> None:
    """Decide a recorded journal again and show what would change.

    Exits with 0 if every decision is the same, 1 if one differs.
    """
    from autoscaler.config import load_fleet
    from autoscaler.journal import journal_files
    from autoscaler.verify import verify as decide_again

    fleet = load_fleet(workload) if workload else None
    results: dict[Path, Verification] = {}
    for file in journal_files(journal):
        with _progress(quiet) as on_cycle:
            found = results[file] = decide_again(file, fleet, keep=first, on_cycle=on_cycle)
        if found.left_out and not quiet:
            say(f"not decided again, for no policy file names them: {', '.join(found.left_out)}")
        if not as_json:
            emit("\n".join([*([bold(str(file))] if journal.is_dir() else []), *_lines(found)]))
    equal = all(found.equal for found in results.values())
    if as_json:
        documents = {file.name: _document(found) for file, found in results.items()}
        emit_json(
            {"equal": equal, "files": documents} if journal.is_dir() else documents[journal.name]
        )
    if not equal:
        raise typer.Exit(1)


def _lines(found: "Verification") -> list[str]:
    lines = []
    for verdict in found.workloads:
        lines.append(f"{bold(verdict.key)}: {_summary(verdict)}")
        for difference in verdict.first:
            lines += ["", *(f"  {line}" for line in _shown(difference, found.started))]
        if verdict.first:
            lines.append("")
    for pool in found.pools:
        lines += _pool(pool)
    if found.other_lines == 0:
        lines.append(f"All {found.cycles:,} lines of the journal would be written byte for byte.")
    elif found.other_lines and not found.decisions_differ:
        lines.append(
            f"The decisions are the same, but {found.other_lines:,} of {found.cycles:,} lines "
            "would be written with other bytes."
        )
    return lines


def _pool(verdict: "PoolVerdict") -> list[str]:
    cycles = f"{bold('node pool ' + verdict.pool)}: {verdict.cycles:,} cycles decided again"
    if not verdict.differ:
        return [f"{cycles}, all the same"]
    return [
        f"{cycles}, {verdict.differ:,} differ; the first, line {verdict.line}:",
        *(
            f"  {sign}  nothing"
            if decision is None
            else f"  {sign}  {decision.current} -> {decision.nodes} nodes "
            f"({decision.reason}): {decision.text}"
            for sign, decision in (("-", verdict.recorded), ("+", verdict.now))
        ),
    ]


def _summary(verdict: "WorkloadVerdict") -> str:
    cycles = f"{verdict.cycles:,} cycles decided again"
    if not verdict.differ:
        return f"{cycles}, all the same"
    text = f"{cycles}, {verdict.differ:,} differ, {verdict.counts_differ:,} in the number"
    if verdict.first:
        text += (
            f"; the first {len(verdict.first)}{' in the number' if verdict.counts_differ else ''}:"
        )
    return text


def _shown(difference: "Difference", started: float) -> Iterator[str]:
    """Yield both trails as one: what both hold, `-` what was recorded, `+` what would be now."""
    from autoscaler.cli.trail import trail

    now = difference.cycle.plan.now
    yield f"line {difference.line}, {utc(now)}: - recorded, + now"
    then = trail(difference.cycle, difference.recorded, started)
    again = trail(difference.cycle, difference.now, started)
    longest = len(then) + len(again)
    lines = difflib.unified_diff(then, again, lineterm="", n=longest)
    for line in list(lines)[3:]:
        yield line.rstrip()


def _document(found: "Verification") -> dict[str, Any]:
    from pydantic import TypeAdapter

    from autoscaler.core.decision import Decision
    from autoscaler.verify import PoolVerdict

    dump = TypeAdapter(Decision).dump_python
    return {
        "equal": found.equal,
        "cycles": found.cycles,
        "otherLines": found.other_lines,
        "leftOut": list(found.left_out),
        "pools": TypeAdapter(tuple[PoolVerdict, ...]).dump_python(found.pools, mode="json"),
        "workloads": [
            {
                "workload": verdict.key,
                "cycles": verdict.cycles,
                "differ": verdict.differ,
                "countsDiffer": verdict.counts_differ,
                "first": [
                    {
                        "line": difference.line,
                        "time": utc(difference.cycle.plan.now),
                        "recorded": dump(difference.recorded, mode="json"),
                        "now": dump(difference.now, mode="json"),
                    }
                    for difference in verdict.first
                ],
            }
            for verdict in found.workloads
        ],
    }


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Yield what to call with the number of each cycle; None where nobody looks."""
    import os
    import sys

    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda cycle: bar.update(task, description=f"{cycle:,} cycles decided again")
