"""What the fast simulator knows of all requests together: enough to score a replay."""

from dataclasses import dataclass
from math import ceil, floor, inf

from simulations.fast.state import LOWEST_OCTAVE, PER_OCTAVE
from simulations.trace import IntArray


@dataclass(frozen=True, slots=True)
class Limits:
    """What each request is promised, in seconds; infinite where nothing is."""

    ttft: float = inf
    itl: float = inf
    e2e: float = inf


@dataclass(frozen=True, slots=True)
class Durations:
    """How many durations fell into each fine bucket.

    Attributes:
        counts: By bucket, 64 for each doubling; shape (2944,).
    """

    counts: IntArray

    def percentile(self, percent: float) -> float | None:
        """Return a percentile in seconds, within 1.6 %; None where there is no value.

        Between neighbours it is interpolated, as numpy does; the values of one bucket are taken
        to be spread evenly over it.
        """
        (filled,) = self.counts.nonzero()
        if not len(filled):
            return None
        upto = self.counts[filled].cumsum()
        rank = percent / 100 * (int(upto[-1]) - 1)
        below, above = (self._value(filled, upto, place) for place in (floor(rank), ceil(rank)))
        return below + (above - below) * (rank - floor(rank))

    def _value(self, filled: IntArray, upto: IntArray, place: int) -> float:
        """Return about where the value stands that so many others are below.

        Args:
            filled: Buckets with any value, rising; shape (n,).
            upto: How many values lie in each of them and below; shape (n,).
            place: How many are below.
        """
        order = int(upto.searchsorted(place, side="right"))
        at = int(filled[order])
        count = int(self.counts[at])
        within = (place - (int(upto[order]) - count) + 0.5) / count
        low, high = _edge(at), _edge(at + 1)
        return low + (high - low) * within


@dataclass(frozen=True, slots=True)
class Tally:
    """The requests so far. The words are those of `simulations.score.Score`.

    Attributes:
        requests: Requests that arrived.
        finished: Got all their tokens.
        failed: Refused; no replica could ever hold them.
        ttft_met: Finished, first token within its limit. Without a limit all that finished.
        itl_met: Finished, mean time between tokens within its limit, or only one token.
        e2e_met: Finished, last token within its limit.
        met: Finished, all limits met.
        worst_minute: Lowest share of `met` among the requests that arrived in one minute.
        waited_seconds: Time from arrival until the prompt began to be read (or until now).
        preemptions: How often a sequence lost its place in the KV cache.
        ttft: Seconds from arrival to first token, of those that got one.
        itl: Mean seconds between tokens, of finished requests with more than one.
        e2e: Seconds from arrival to last token, of finished requests.
    """

    requests: int
    finished: int
    failed: int
    ttft_met: int
    itl_met: int
    e2e_met: int
    met: int
    worst_minute: float
    waited_seconds: float
    preemptions: int
    ttft: Durations
    itl: Durations
    e2e: Durations

    @property
    def unfinished(self) -> int:
        """Requests that still wait or run."""
        return self.requests - self.finished - self.failed


def _edge(at: int) -> float:
    """Return where a fine bucket begins, in seconds; the first begins at 0."""
    octave, step = divmod(at, PER_OCTAVE)
    return (0.5 + step / (2 * PER_OCTAVE)) * 2.0 ** (LOWEST_OCTAVE + octave) if at else 0.0
