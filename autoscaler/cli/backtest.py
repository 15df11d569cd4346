"""autoscaler backtest."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.words import bold, columns, emit, emit_json, read_time, say, utc

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.backtest import Backtested

_SPAN = re.compile(r"(?P<count>[0-9]+(\.[0-9]+)?)(?P<unit>[smhdw])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def backtest(  # noqa: PLR0917  # typer turns each into an option
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Policy files, folders.")],
    since: Annotated[
        str, typer.Option(help="Where to begin: a span before the end, such as 7d, or a time.")
    ] = "1d",
    until: Annotated[
        str | None, typer.Option(help="Where to end (ISO 8601, UTC unless it says otherwise).")
    ] = None,
    interval: Annotated[
        float | None, typer.Option(min=1, help="Seconds between cycles; as `run` if absent.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings, as `autoscaler run` takes them.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(help="Address of the source called default.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Write every cycle there, for `autoscaler explain`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no words.")] = False,
) -> None:
    """Ask Prometheus the live questions at past times, and say what would have been decided.

    Nothing is changed, and no cluster is asked: replica counts are those that
    kube-state-metrics recorded.
    """
    from autoscaler.adapters.history import HistoryObserver
    from autoscaler.adapters.prometheus.source import PrometheusSource
    from autoscaler.backtest import backtest as run
    from autoscaler.cli.progress import share
    from autoscaler.compose import planner
    from autoscaler.config import read_fleet
    from autoscaler.core.errors import ConfigError
    from autoscaler.journal import JournalFile
    from autoscaler.service import wall
    from autoscaler.settings import read_settings, unknown_variables

    given = {"prometheus": prometheus, "interval_seconds": interval}
    settings = read_settings(config, given)
    for warning in unknown_variables():
        say(f"warning: {warning}")
    loaded = read_fleet(files)
    if not settings.all_sources:
        raise ConfigError("--prometheus, or `sources` in the settings, should say whom to ask")
    end = _time("--until", until) if until is not None else math.floor(wall())
    begin = _begin(since, end)
    step = settings.interval_seconds
    sources = {one.name: PrometheusSource(one) for one in settings.all_sources}
    observer = HistoryObserver(sources, planner(settings), until=end)
    try:
        with (
            JournalFile(journal, loaded.fleet) if journal is not None else nullcontext() as cycles,
            share("backtest", quiet=quiet) as advance,
        ):
            found = run(
                loaded.fleet,
                observer,
                since=begin,
                until=end,
                interval_seconds=step,
                journal=cycles,
                on_cycle=lambda cycle: advance(
                    (cycle.plan.now - begin) / (end - begin), utc(cycle.plan.now)
                ),
            )
    finally:
        for source in sources.values():
            source.close()
    if as_json:
        emit_json({"since": begin, "until": end, "workloads": [_document(one) for one in found]})
    else:
        emit("\n".join(_table(found, begin, end)))
    failed = all(one.cycles == 0 for one in found)
    if failed or not quiet:  # a failure says why, also to those who want no words
        for line in _unknown(found):
            say(line)
    if failed:
        raise typer.Exit(1)


def _begin(since: str, end: float) -> float:
    from autoscaler.core.errors import ConfigError

    span = _SPAN.fullmatch(since)
    begin = end - float(span["count"]) * _UNITS[span["unit"]] if span else _time("--since", since)
    if not 0 <= begin < end:
        raise ConfigError(f"--since: should be before the end ({utc(end)}), not {since!r}")
    return begin


def _time(option: str, text: str) -> float:
    from autoscaler.core.errors import ConfigError

    time = read_time(text)
    if time is None:
        raise ConfigError(
            f"{option}: should be a time such as 2026-01-05T00:00:00Z"
            f"{' or a span such as 7d' if option == '--since' else ''}, not {text!r}"
        )
    return time


def _unknown(found: Sequence["Backtested"]) -> Iterator[str]:
    """Yield what was not known and why: one line for all workloads with the same reason."""
    alike: dict[str, list[Backtested]] = {}
    for one in found:
        if one.unseen or one.blind:
            alike.setdefault(one.why_blind, []).append(one)
    for why, ones in alike.items():
        parts = [
            f"{word} in {count} of {sum(one.cycles + one.unseen for one in ones)} cycles"
            for word, count in (
                ("unseen", sum(one.unseen for one in ones)),
                ("blind", sum(one.blind for one in ones)),
            )
            if count
        ]
        more = f" and {len(ones) - 1} more" if len(ones) > 1 else ""
        yield f"{ones[0].workload}{more}: {', '.join(parts)}; the last time: {why}"


def _table(found: Sequence["Backtested"], begin: float, end: float) -> list[str]:
    names = (
        "workload", "seen", "blind", "more", "fewer", "most", "real", "decided", "wanted",
    )  # fmt: skip
    rows = [
        (
            one.workload,
            _share(one.cycles, one.cycles + one.unseen),
            _share(one.blind, one.cycles),
            _share(one.more, one.cycles),
            _share(one.fewer, one.cycles),
            str(one.most_wanted),
            f"{one.real_gpu_hours:.1f}",
            f"{one.decided_gpu_hours:.1f}",
            f"{one.wanted_gpu_hours:.1f}",
        )
        for one in found
    ]
    head, *lines = columns([names, *rows], right=True)
    return [
        f"{utc(begin)} to {utc(end)}; more, fewer: cycles in which another number would have been",
        "set; most: replicas wanted at once; real, decided, wanted: GPU-hours",
        "",
        bold(head),
        *lines,
    ]


def _share(part: int, whole: int) -> str:
    return "-" if whole == 0 else f"{100.0 * part / whole:.1f} %"


def _document(one: "Backtested") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(one)
