"""What became of every single request, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.observation import FloatArray
from autoscaler.core.spec import Slo
from simulations.request import Request
from simulations.trace import IntArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The requests that have arrived, in that order; all arrays have shape (n,).

    Times are seconds since the simulation began; NaN for what has not happened.

    Attributes:
        arrival: When the user sent it.
        output_tokens: Tokens to write.
        failed: Whether it was refused.
        admitted: When its prompt began to be read for the first time.
        first_token: When the user had the first token.
        finished: When the user had the last token.
        preemptions: How often it was thrown out of the batch.
    """

    arrival: FloatArray
    output_tokens: IntArray
    failed: BoolArray
    admitted: FloatArray
    first_token: FloatArray
    finished: FloatArray
    preemptions: IntArray

    @classmethod
    def of(cls, requests: Sequence[Request]) -> "Outcomes":
        """Return requests as columns."""
        return cls(
            arrival=np.array([request.arrival for request in requests], dtype=np.float64),
            output_tokens=np.array([r.output_tokens for r in requests], dtype=np.int64),
            failed=np.array([request.failed for request in requests], dtype=np.bool_),
            admitted=_times([request.admitted for request in requests]),
            first_token=_times([request.first_token for request in requests]),
            finished=_times([request.finished for request in requests]),
            preemptions=np.array([r.preemptions for r in requests], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def done(self) -> BoolArray:
        """Whether each got all its tokens."""
        return ~np.isnan(self.finished)

    @property
    def ttft(self) -> FloatArray:
        """Seconds from arrival to first token."""
        return self.first_token - self.arrival

    @property
    def itl(self) -> FloatArray:
        """Mean seconds between tokens; NaN for an answer of one token."""
        gaps = self.output_tokens - 1
        spent = self.finished - self.first_token
        means: FloatArray = np.divide(spent, gaps, out=np.full(len(gaps), np.nan), where=gaps > 0)
        return means

    @property
    def e2e(self) -> FloatArray:
        """Seconds from arrival to last token."""
        return self.finished - self.arrival

    def ttft_met(self, slo: Slo) -> BoolArray:
        """Whether each finished, its first token within the limit; without one all that did."""
        return self._within(self.ttft, slo.ttft_p95_seconds)

    def itl_met(self, slo: Slo) -> BoolArray:
        """Whether each finished, its mean time between tokens within the limit, if it has one."""
        return self._within(self.itl, slo.itl_p95_seconds)

    def e2e_met(self, slo: Slo) -> BoolArray:
        """Whether each finished within the limit."""
        return self._within(self.e2e, slo.e2e_p95_seconds)

    def _within(self, took: FloatArray, limit: float | None) -> BoolArray:
        return self.done if limit is None else self.done & ~(took > limit)


def _times(times: Sequence[float | None]) -> FloatArray:
    """Return times as floats, None as NaN."""
    return np.array(times, dtype=np.float64)
