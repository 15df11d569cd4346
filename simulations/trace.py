"""Traffic traces: one row for each request, as arrays; read strictly from the public layouts."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from autoscaler.core.errors import TraceError
from autoscaler.core.observation import FloatArray
from simulations.layouts import (
    MOST_REQUESTS,
    OURS,
    Requests,
    layout_of,
    read_objects,
    read_rows,
)
from simulations.lengths import IntArray
from simulations.rates import COLUMNS, Rates, read_rates
from simulations.source import Source, opened
from simulations.table import header_of

__all__ = ["IntArray", "Trace", "cut", "read_trace", "scaled"]

_FIELDS: Final = {"arrivals": np.float64, "prompt_tokens": np.int64, "output_tokens": np.int64}


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in the order of their arrival; 24 bytes each.

    Attributes:
        name: What to call it.
        arrivals: Seconds since the trace began, not falling; shape (n,), n at least 1.
        prompt_tokens: Tokens to read, at least 1 each; shape (n,).
        output_tokens: Tokens to write, at least 1 each; shape (n,).
        empty_answers: Rows that recorded 0 output tokens. An engine writes the end-of-text token
            even then, so such a row is 1 in `output_tokens`.
        start: When the trace began, Unix seconds; None where nobody knows.
        notes: What a reader should know of how it came about, a sentence each.
    """

    name: str
    arrivals: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    empty_answers: int = 0
    start: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Freeze the arrays; those that are frozen already are not copied.

        Raises:
            ValueError: They are not such rows.
        """
        for attribute, kind in _FIELDS.items():
            array = np.asarray(getattr(self, attribute), dtype=kind)
            if array.flags.writeable:
                array = array.copy()
                array.flags.writeable = False
            object.__setattr__(self, attribute, array)
        rows = self.arrivals.shape
        if len(rows) != 1 or rows[0] < 1:
            raise ValueError("a trace should have at least one request")
        if self.prompt_tokens.shape != rows or self.output_tokens.shape != rows:
            raise ValueError("the columns of a trace should have one length")
        if not np.all(np.isfinite(self.arrivals)) or self.arrivals[0] < 0:
            raise ValueError("arrivals should be finite and not negative")
        if np.any(self.arrivals[1:] < self.arrivals[:-1]):
            raise ValueError("arrivals should not fall")
        if self.prompt_tokens.min() < 1 or self.output_tokens.min() < 1:
            raise ValueError("every request should have at least one token each way")

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def seconds(self) -> float:
        """When the last request arrives, in seconds since the trace began."""
        return float(self.arrivals[-1])


def read_trace(
    path: Path,
    rng: np.random.Generator | None = None,
    *,
    scale: float = 1.0,
    begin: float = 0.0,
    end: float = math.inf,
) -> Trace:
    """Read a trace: our columns, or those of a public one; CSV or JSON lines, plain or gzip.

    Which layout it is, is told by the header or the first JSON object (`layouts.py`); a rate-level
    trace becomes single requests (`rates.py`). The columns may stand in any order, with others
    beside them. A byte-order mark, quoted fields, CRLF and empty lines are accepted. Memory is
    bounded by the rows that were read, not by what the file claims.

    Args:
        path: The file.
        rng: Draws the requests of a rate-level trace, and those that scaling takes or adds; one
            with seed 0 if absent.
        scale: How many times as many requests.
        begin: Where to begin, seconds since the trace began; times count from there.
        end: Where to end, exclusive.

    Raises:
        TraceError: The file cannot be read or a row is wrong: one line with file, line, column,
            rule, and the value found. Or nothing arrives in the part asked for.
        ValueError: Scale, begin or end is out of range.
    """
    _check_scale(scale)
    _check_part(begin, end)
    rng = rng or np.random.default_rng(0)
    with opened(path) as source:
        first = source.first_line()
        if first.lstrip().startswith("{"):
            requests = read_objects(source, first)
        else:
            names = header_of(first, source)
            if set(COLUMNS) <= set(names) and not set(OURS.names) <= set(names):
                rates = read_rates(source, names)
                return cut(_drawn(source, rates, rng, scale, begin, end), begin, end)
            requests = read_rows(source, names, layout_of(names, source))
    return scaled(cut(_named(source.name, requests), begin, end), scale, rng)


def cut(trace: Trace, begin: float, end: float) -> Trace:
    """Return the part from `begin` to `end` (seconds since the trace began, end exclusive).

    Times count from `begin`, and the start of the part is as much later.

    Raises:
        TraceError: Nothing arrives in it.
        ValueError: The part is no stretch of time.
    """
    _check_part(begin, end)
    if begin == 0 and trace.seconds < end:
        return trace
    first, last = np.searchsorted(trace.arrivals, (begin, end)).tolist()
    if first == last:
        raise TraceError(
            f"{trace.name}: no request arrives from {begin:g} to {end:g} s; "
            f"the last one arrives at {trace.seconds:.15g} s"
        )
    return replace(
        trace,
        arrivals=trace.arrivals[first:last] - begin,
        prompt_tokens=trace.prompt_tokens[first:last],
        output_tokens=trace.output_tokens[first:last],
        start=None if trace.start is None else trace.start + begin,
        notes=(*trace.notes, f"Cut from {begin:g} to {end:g} s."),
    )


def scaled(trace: Trace, factor: float, rng: np.random.Generator) -> Trace:
    """Return a trace with `factor` times as many requests, on average.

    Each request is kept or repeated independently: `factor` times on average, the whole part of it
    for certain. The first of several keeps its time, the others arrive at random times before the
    next request of the trace. What is slow in the trace stays; what is faster than its requests
    becomes Poisson.

    Raises:
        TraceError: Nothing is left, or more than fits.
        ValueError: The factor is not above 0.
    """
    _check_scale(factor)
    if factor == 1:
        return trace
    if len(trace) * factor > MOST_REQUESTS:
        raise TraceError(_too_many(trace.name, len(trace) * factor))
    whole, part = divmod(factor, 1.0)
    times = np.full(len(trace), int(whole)) + (rng.random(len(trace)) < part)
    rows = np.repeat(np.arange(len(trace)), times)
    if not len(rows):
        raise TraceError(f"{trace.name}: scaled by {factor:g}, no request is left")
    arrivals = trace.arrivals[rows]
    again = np.flatnonzero(np.diff(rows, prepend=-1) == 0)
    room = np.append(np.diff(trace.arrivals), 0.0)
    arrivals[again] += rng.random(len(again)) * room[rows[again]]
    order = np.argsort(arrivals, kind="stable") if len(again) else slice(None)
    empty = trace.empty_answers * len(rows) / len(trace)
    return replace(
        trace,
        arrivals=arrivals[order],
        prompt_tokens=trace.prompt_tokens[rows][order],
        output_tokens=trace.output_tokens[rows][order],
        empty_answers=round(empty),
        notes=(*trace.notes, f"Scaled by {factor:g}."),
    )


def _drawn(
    source: Source,
    rates: Rates,
    rng: np.random.Generator,
    scale: float,
    begin: float,
    end: float,
) -> Trace:
    """Draw the bins that overlap a stretch of time."""
    part = rates.between(begin, end)
    if part is None:
        raise TraceError(
            f"{source.path}: no bin lies between {begin:g} and {end:g} s; "
            f"the last one ends at {rates.seconds:.15g} s"
        )
    part = part.scaled(scale)
    if part.total > MOST_REQUESTS:
        raise TraceError(_too_many(str(source.path), part.total))
    requests = part.draw(rng)
    if not len(requests.arrivals):
        raise TraceError(
            f"{source.path}: no request was drawn: {part.total:.3g} are expected in all"
        )
    return _named(source.name, requests)


def _named(name: str, requests: Requests) -> Trace:
    for column in (requests.arrivals, requests.prompts, requests.outputs):
        column.flags.writeable = False  # so that a trace takes them over without a copy
    return Trace(
        name,
        requests.arrivals,
        requests.prompts,
        requests.outputs,
        requests.empty_answers,
        requests.start,
        requests.notes,
    )


def _too_many(name: str, requests: float) -> str:
    share = 0.99 * MOST_REQUESTS / requests
    return (
        f"{name}: stands for {requests:,.0f} requests, at most {MOST_REQUESTS:,} can be replayed: "
        f"scale it to {share:.2g} of that, or cut a part out"
    )


def _check_scale(factor: float) -> None:
    if not 0 < factor < math.inf:
        raise ValueError(f"scale should be above 0, not {factor:g}")


def _check_part(begin: float, end: float) -> None:
    if not 0 <= begin < end:
        raise ValueError(
            f"a part should begin at 0 or later and end after, not {begin:g} to {end:g}"
        )
