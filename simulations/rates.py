"""Rate-level traces: how many requests came in each bin of time, and the requests drawn from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray
from simulations.columns import Amount, Column, Seconds
from simulations.layouts import Requests, check_names
from simulations.lengths import (
    CONVERSATION_OUTPUTS,
    CONVERSATION_PROMPTS,
    MOST_TOKENS,
    OUTPUT_VARIATION,
    PROMPT_VARIATION,
    IntArray,
    Quantiles,
    scattered,
)
from simulations.source import Source
from simulations.table import Reading, read_table

COLUMNS: Final = ("t_s", "requests")
MOST_BINS: Final = 50_000_000
MOST_IN_ALL: Final = 2_000_000_000
"""A file with more requests than these is a mistake, however it is scaled."""
_BATCH: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Requests in bins of time. A bin that is left out had none.

    Attributes:
        bin_seconds: How long every bin is.
        times: When each begins, seconds since the trace began, rising; shape (n,).
        counts: Requests in each, fractions allowed; shape (n,).
        prompts: Mean prompt tokens of the requests of each; None where the file does not say.
        outputs: Mean output tokens of the requests of each; None where the file does not say.
        gaps: Bins that were not measured.
    """

    bin_seconds: float
    times: FloatArray
    counts: FloatArray
    prompts: FloatArray | None = None
    outputs: FloatArray | None = None
    gaps: int = 0

    @property
    def total(self) -> float:
        """Requests in all."""
        return float(self.counts.sum())

    @property
    def seconds(self) -> float:
        """When the last bin ends."""
        return float(self.times[-1]) + self.bin_seconds

    def scaled(self, factor: float) -> "Rates":
        """Return the same with `factor` times as many requests."""
        return replace(self, counts=self.counts * factor)

    def between(self, begin: float, end: float) -> "Rates | None":
        """Return the bins that overlap a stretch of time, whole; None where none does."""
        keep = (self.times + self.bin_seconds > begin) & (self.times < end)
        if not keep.any():
            return None
        return Rates(
            self.bin_seconds,
            self.times[keep],
            self.counts[keep],
            None if self.prompts is None else self.prompts[keep],
            None if self.outputs is None else self.outputs[keep],
            self.gaps,
        )

    def draw(self, rng: np.random.Generator) -> Requests:
        """Draw single requests: Poisson arrivals within each bin, lengths independent of all.

        The number in a bin is Poisson with the bin's count as its mean, their times are uniform.
        Lengths are log-normal around the bin's mean with the spread of the Azure 2023
        conversations, or where the file has no tokens, those conversations' own. Equal generators
        give equal requests.
        """
        numbers = rng.poisson(self.counts)
        ends = np.cumsum(numbers)
        total = int(ends[-1])
        arrivals = np.empty(total)
        prompts, outputs = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
        for first, last in _batches(ends):
            rows = slice(int(ends[first - 1]) if first else 0, int(ends[last - 1]))
            bins = np.repeat(np.arange(first, last), numbers[first:last])
            times = rng.random(len(bins))
            times *= self.bin_seconds
            times += self.times[bins]
            times.sort()
            arrivals[rows] = times
            prompts[rows] = _lengths(
                self.prompts, PROMPT_VARIATION, CONVERSATION_PROMPTS, bins, rng
            )
            outputs[rows] = _lengths(
                self.outputs, OUTPUT_VARIATION, CONVERSATION_OUTPUTS, bins, rng
            )
        return Requests(arrivals, prompts, outputs, notes=self.notes())

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know, a sentence each."""
        drawn = (
            f"Single requests are drawn from {len(self.times):,} bins of {self.bin_seconds:g} s."
        )
        if not self.gaps:
            return (drawn,)
        return drawn, f"Bins that were not measured (gap), taken as they are: {self.gaps:,}."


def read_rates(source: Source, names: Sequence[str]) -> Rates:
    """Read a rate-level trace below its header.

    Raises:
        TraceError: A row is wrong, bins overlap, there are fewer than two, or they hold more
            requests than can be meant.
    """
    kinds: list[Column] = [Seconds("t_s"), Amount("requests", "requests", float(MOST_IN_ALL))]
    most_tokens = float(MOST_IN_ALL) * MOST_TOKENS
    both = (Amount(name, "tokens", most_tokens) for name in ("prompt_tokens", "output_tokens"))
    kinds.extend(one for one in both if one.name in names)
    if "gap" in names:
        kinds.append(Amount("gap", "the kind of gap", 9.0))
    check_names(names, [column.name for column in kinds], source)
    table = read_table(
        source, names, Reading(tuple(kinds), rising=True, most_rows=MOST_BINS, numbered=True)
    )
    if table.rows < 2:
        rule = "should have at least two bins, to tell how long one lasts"
        raise source.wrong("", f"{rule}; has {table.rows}")
    columns = dict(zip((column.name for column in kinds), table.take(), strict=True))
    lines = table.lines()
    times, counts = columns["t_s"], columns["requests"]
    bin_seconds = float(np.diff(times).min())
    _check_bins(source, times, bin_seconds, lines)
    _check_total(source, counts, lines)
    return Rates(
        bin_seconds,
        times,
        counts,
        _means(source, columns, "prompt_tokens", lines),
        _means(source, columns, "output_tokens", lines),
        int((columns["gap"] > 0).sum()) if "gap" in columns else 0,
    )


def _check_bins(source: Source, times: FloatArray, bin_seconds: float, lines: IntArray) -> None:
    """Refuse bins that overlap: each begins whole bins after the first."""
    whole = (times - times[0]) / bin_seconds
    wrong = np.abs(whole - np.rint(whole)) > 1e-3
    if wrong.any():
        row = int(np.argmax(wrong))
        raise source.wrong(
            "t_s",
            f"should be whole bins of {bin_seconds:.15g} s (the smallest step) after the first "
            f"({times[0]:.15g}), or bins overlap; found {times[row]:.15g}",
            int(lines[row]),
        )


def _check_total(source: Source, counts: FloatArray, lines: IntArray) -> None:
    total = np.cumsum(counts)
    if total[-1] > MOST_IN_ALL:
        row = int(np.argmax(total > MOST_IN_ALL))
        raise source.wrong(
            "requests",
            f"should be at most {MOST_IN_ALL:,} in all rows together, is {total[row]:,.0f} by here",
            int(lines[row]),
        )
    if not total[-1] > 0:
        raise source.wrong("requests", "should not be 0 in every row")


def _means(
    source: Source, columns: dict[str, FloatArray], name: str, lines: IntArray
) -> FloatArray | None:
    """Return mean tokens per request of each bin; 1 where no request came."""
    if name not in columns:
        return None
    counts = columns["requests"]
    came = counts > 0
    means: FloatArray = np.divide(columns[name], counts, out=np.ones(len(counts)), where=came)
    if means.max() > MOST_TOKENS:
        row = int(np.argmax(means > MOST_TOKENS))
        rule = f"should be at most {MOST_TOKENS} for each request, is {means[row]:,.0f}"
        raise source.wrong(name, rule, int(lines[row]))
    return means


def _batches(ends: IntArray) -> Iterator[tuple[int, int]]:
    """Yield the first bin, and the one after the last, of batches of about a million requests."""
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BATCH, side="right")))
        yield first, last
        first = last


def _lengths(
    means: FloatArray | None,
    variation: float,
    otherwise: Quantiles,
    bins: IntArray,
    rng: np.random.Generator,
) -> IntArray:
    if means is None:
        return otherwise.draw(len(bins), rng)
    return scattered(means[bins], variation, rng)
