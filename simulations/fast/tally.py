"""What the fast simulator knows of all requests together: enough to score a replay."""

from dataclasses import dataclass

import numpy as np

from simulations.fast.state import BUCKETS, LOWEST_OCTAVE, PER_OCTAVE
from simulations.trace import IntArray


@dataclass(frozen=True, slots=True)
class Durations:
    """How many durations fell into each fine bucket.

    Attributes:
        counts: By bucket, 64 for each doubling; shape (2944,).
    """

    counts: IntArray

    def percentile(self, percent: float) -> float | None:
        """Return a percentile in seconds, within 0.8 % or so; None where there is no value.

        The rank is that of linear interpolation between neighbours; the values of one bucket are
        taken to be spread evenly over it.
        """
        upto = np.cumsum(self.counts)
        total = int(upto[-1])
        if not total:
            return None
        rank = percent / 100 * (total - 1)
        at = int(np.searchsorted(upto, int(rank), side="right"))
        count = int(self.counts[at])
        within = (rank - (int(upto[at]) - count) + 0.5) / count
        low, high = _edge(at), _edge(at + 1)
        return low + (high - low) * min(1.0, within)


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
    """Return the lower edge of a fine bucket, in seconds."""
    if not 0 < at < BUCKETS:
        return 0.0 if at <= 0 else float(2.0 ** (LOWEST_OCTAVE + BUCKETS // PER_OCTAVE - 1))
    octave, step = divmod(at, PER_OCTAVE)
    return float((0.5 + step / (2 * PER_OCTAVE)) * 2.0 ** (LOWEST_OCTAVE + octave))
