"""How far long work is, on stderr, and only where a person looks at a terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands import what they need when they run
    from simulations.replay import Progress

OnProgress = Callable[["Progress"], None]


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[OnProgress | None]:
    """Yield what a replay should call as it goes; None where nobody looks."""
    if not _watched(quiet=quiet):
        yield None
        return
    with _bar(label) as advance:

        def show(now: "Progress") -> None:
            moment = now.moment
            advance(
                now.seconds / now.total_seconds if now.total_seconds else 1.0,
                f"{now.seconds / 60:.0f} of {now.total_seconds / 60:.0f} min, "
                f"{moment.ready} ready + {moment.starting} starting, {moment.queued} waiting",
            )

        yield show


@contextmanager
def share(label: str, *, quiet: bool = False) -> Iterator[Callable[[float, str], None]]:
    """Yield what is to be told which share of the work is done, from 0 to 1, and what is seen."""
    if not _watched(quiet=quiet):
        yield lambda done, seen: None
        return
    with _bar(label) as advance:
        yield advance


def _watched(*, quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def _bar(label: str) -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[seen]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=1.0, seen="")
        yield lambda done, seen: bar.update(task, completed=min(1.0, done), seen=seen)
