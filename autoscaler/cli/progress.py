"""How far a replay is, on stderr, and only where a person looks at a terminal."""

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
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[seen]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=1.0, seen="")

        def show(now: "Progress") -> None:
            moment = now.moment
            bar.update(
                task,
                completed=min(1.0, now.seconds / now.total_seconds if now.total_seconds else 1.0),
                seen=(
                    f"{now.seconds / 60:.0f} of {now.total_seconds / 60:.0f} min, "
                    f"{moment.ready} ready + {moment.starting} starting, {moment.queued} waiting"
                ),
            )

        yield show
