"""The traffic of a replay: which part of a trace, how much of it, and when it begins."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.words import read_time, say

if TYPE_CHECKING:
    from simulations.trace import Trace

TRACE_HELP = (
    "Traffic: CSV or JSON lines, plain or .gz; one row a request (arrival_s, prompt_tokens, "
    "output_tokens), rates (t_s, requests), or as Azure, BurstGPT and Mooncake publish theirs."
)


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"should be a number above 0, not {value:g}")
    return value


def _seconds(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"should be a finite number of seconds, not {value}")
    return value


Scale = Annotated[
    float,
    typer.Option(callback=_positive, help="How many times as many requests, such as 0.1."),
]
From = Annotated[
    float,
    typer.Option("--from", min=0, callback=_seconds, help="Seconds of the trace to leave out."),
]
To = Annotated[
    float | None,
    typer.Option("--to", min=0, callback=_seconds, help="Where to end, seconds of the trace."),
]


def read_traffic(
    path: Path, *, seed: int, scale: float, begin: float, end: float | None, quiet: bool
) -> "Trace":
    """Read the part of a trace that was asked for, and say what a reader should know of it.

    Raises:
        ConfigError: The part ends before it begins.
        TraceError: The trace is wrong, or nothing arrives in the part.
    """
    import numpy as np

    from autoscaler.core.errors import ConfigError
    from simulations.trace import read_trace

    if end is not None and end <= begin:
        raise ConfigError(f"--to: should be after --from ({begin:g}), not {end:g}")
    rng = np.random.default_rng(seed)
    until = math.inf if end is None else end
    traffic = read_trace(path, rng, scale=scale, begin=begin, end=until)
    if not quiet:
        for note in traffic.notes:
            say(f"{path}: {note}")
    return traffic


def start_of(text: str | None, traffic: "Trace") -> float:
    """Return when a replay begins, Unix seconds: as asked, as the trace says, or on a Monday."""
    from simulations.replay import START

    asked = None if text is None else read_time(text)
    if asked is not None:
        return asked
    return START if traffic.start is None else traffic.start
