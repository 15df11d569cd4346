"""A table on the terminal that follows a controller while it runs."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING

from autoscaler.cli.scores import duration
from autoscaler.cli.trail import forecasts
from autoscaler.cli.words import utc

if TYPE_CHECKING:  # commands import what they need when they run
    from rich.table import Table

    from autoscaler.core.decision import Cycle, Decision
    from autoscaler.core.ports import Journal
    from autoscaler.core.workload import ScaledWorkload

CHANGES_SHOWN = 5
REDRAW_SECONDS = 0.2


@dataclass(slots=True, eq=False)
class Watched:
    """What is to be seen of a workload after a cycle; a journal that keeps only that.

    Attributes:
        workload: Whose cycles come.
        start: When the run begins, Unix seconds.
        seconds: How long it will last.
        now: Time of the newest cycle, Unix seconds.
        ready: Replicas that serve.
        desired: Replicas asked for.
        values: The newest value of each signal.
        decision: The newest decision.
        changes: The latest changes: time, before, after, why.
    """

    workload: "ScaledWorkload"
    start: float
    seconds: float
    now: float = 0.0
    ready: int = 0
    desired: int = 0
    values: dict[str, float] = field(default_factory=dict)
    decision: "Decision | None" = None
    changes: deque[tuple[float, int, int, str]] = field(
        default_factory=lambda: deque(maxlen=CHANGES_SHOWN)
    )

    def record(self, cycle: "Cycle") -> None:
        """Look at one cycle."""
        key = self.workload.key
        self.now, decision = cycle.plan.now, cycle.plan.decisions[key]
        seen = cycle.snapshot.observations.get(key)
        if seen is not None:
            self.ready, self.desired = seen.replicas.ready, seen.replicas.desired
        self.values = {
            reading.signal: reading.value
            for reading in decision.readings
            if reading.value is not None
        }
        self.decision = decision
        if decision.changes and decision.current is not None and decision.replicas is not None:
            self.changes.append((self.now, decision.current, decision.replicas, _why(decision)))

    @property
    def share(self) -> float:
        """How much of the run is over, 0 to 1."""
        return min(1.0, (self.now - self.start) / self.seconds) if self.seconds else 1.0


def picture(watched: Watched) -> "Table":
    """Return the table for what has been seen."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    starting = max(0, watched.desired - watched.ready)
    table.add_row("time", f"{_clock(watched.now)} ({watched.share:.0%} of the traffic)")
    marks = Text("■" * watched.ready, style="green") + Text("□" * starting, style="yellow")
    table.add_row("replicas", marks + Text(f" {watched.ready} ready, {starting} starting"))
    for name, spec in watched.workload.spec.signals.items():
        table.add_row(name, _value(watched.values.get(name), str(spec.role)))
    if watched.decision is not None:
        wanted = watched.decision.replicas
        table.add_row("decided", Text(f"{wanted} replicas: {_why(watched.decision)}"))
        for line in forecasts(watched.decision):
            table.add_row("forecast", Text(line.strip()))
    for at, before, after, why in reversed(watched.changes):
        style = "yellow" if after > before else "cyan"
        table.add_row(
            _clock(at), Text(f"{before} → {after} ", style=style) + Text(why, style="default")
        )
    return table


@contextmanager
def live(
    watched: Watched,
    *,
    quiet: bool = False,
    speed: float | None = None,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], None] = sleep,
) -> "Iterator[Journal | None]":
    """Yield a journal that draws every cycle; None where nobody looks.

    Args:
        watched: What is drawn.
        quiet: Draw nothing.
        speed: Simulated seconds that pass in a second; as fast as possible, if absent.
        clock: Seconds that pass in life.
        pause: Waits.
    """
    if quiet or not _looked_at():
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as screen:
        yield _Drawn(watched, screen.update, speed, clock, pause, began=clock())


@contextmanager
def bars(*, quiet: bool = False) -> "Iterator[Callable[[str, float], None] | None]":
    """Yield what to tell how far each of several parts is; None where nobody looks."""
    if quiet or not _looked_at():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], completed=share)

        yield show


def _looked_at() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@dataclass(slots=True, eq=False)
class _Drawn:
    """A journal that draws, a few times a second."""

    watched: Watched
    update: Callable[..., None]
    speed: float | None
    clock: Callable[[], float]
    pause: Callable[[float], None]
    began: float
    drawn: float = -1.0

    def record(self, cycle: "Cycle") -> None:
        watched = self.watched
        watched.record(cycle)
        if self.speed is not None:
            due = self.began + (watched.now - watched.start) / self.speed
            if due > (now := self.clock()):
                self._draw(now)
                self.pause(due - now)
        if (now := self.clock()) - self.drawn >= REDRAW_SECONDS:
            self._draw(now)

    def _draw(self, now: float) -> None:
        self.drawn = now
        self.update(picture(self.watched), refresh=True)


def _why(decision: "Decision") -> str:
    """Return the words of the policy whose number was taken, or else what became of it."""
    if decision.replicas == decision.combined:
        for proposal in decision.proposals:
            answer = proposal.recommendation
            if answer is not None and answer.replicas == decision.replicas:
                return answer.reason
    return decision.text


def _clock(seconds: float) -> str:
    """Write the time of day, with the date before it."""
    return utc(seconds).rstrip("Z").replace("T", " ")


def _value(value: float | None, role: str) -> str:
    if value is None:
        return "no sample"
    return duration(value) if role == "latency" else f"{value:.3g}"
