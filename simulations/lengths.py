"""How many tokens requests have: the laws that lengths are drawn from."""

from dataclasses import dataclass
from itertools import pairwise
from math import log, log1p, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.observation import FloatArray

IntArray = NDArray[np.int64]

MOST_TOKENS: Final = 100_000_000
"""More than this, of one kind in one request, is a mistake."""
Z95: Final = 1.6448536269514722
"""The standard normal's 95th percentile."""

PROMPT_VARIATION: Final = 0.92
OUTPUT_VARIATION: Final = 0.60
"""Squared coefficients of variation of the Azure 2023 conversations (0.922 and 0.595)."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Token counts with a log-normal law, cut off at `most`.

    Attributes:
        p50: Median.
        p95: 95th percentile, above the median.
        most: Longest, above the 95th percentile; what would be longer is drawn again.
    """

    p50: float
    p95: float
    most: int

    def __post_init__(self) -> None:
        """Refuse lengths that cannot be drawn.

        Raises:
            ValueError: The three are not positive and rising.
        """
        if not 0 < self.p50 < self.p95 < self.most:
            raise ValueError(
                f"lengths should have 0 < p50 < p95 < most, "
                f"not {self.p50:g}, {self.p95:g}, {self.most}"
            )

    def draw(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return `count` whole lengths of at least 1."""
        sigma = log(self.p95 / self.p50) / Z95
        drawn = rng.lognormal(log(self.p50), sigma, count)
        while (long := drawn > self.most).any():
            drawn[long] = rng.lognormal(log(self.p50), sigma, int(long.sum()))
        lengths: IntArray = np.maximum(1, np.rint(drawn)).astype(np.int64)
        return lengths


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Token counts known by some of their quantiles, with straight lines between these.

    Attributes:
        shares: From 0 to 1, rising.
        tokens: The quantile at each share, at least 1, not falling.
    """

    shares: tuple[float, ...]
    tokens: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no distribution.

        Raises:
            ValueError: The shares do not rise from 0 to 1, or the quantiles fall.
        """
        rising = all(one < other for one, other in pairwise(self.shares))
        if len(self.shares) < 2 or not rising or (self.shares[0], self.shares[-1]) != (0, 1):
            raise ValueError(f"shares should rise from 0 to 1, not {self.shares}")
        falling = any(one > other for one, other in pairwise(self.tokens))
        if len(self.tokens) != len(self.shares) or falling or self.tokens[0] < 1:
            raise ValueError(
                f"there should be a quantile of at least 1 for each share, not falling, "
                f"not {self.tokens}"
            )

    def draw(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return `count` whole lengths of at least 1."""
        drawn = np.interp(rng.random(count), self.shares, self.tokens)
        lengths: IntArray = np.rint(drawn).astype(np.int64)
        return lengths


def scattered(means: FloatArray, variation: float, rng: np.random.Generator) -> IntArray:
    """Return one whole length of at least 1 around each mean, log-normally.

    Args:
        means: Shape (n,); what is below 1 counts as 1.
        variation: Squared coefficient of variation, the same around every mean.
        rng: Draws.
    """
    spread = log1p(variation)
    drawn = rng.standard_normal(len(means))
    drawn *= sqrt(spread)
    np.exp(drawn, out=drawn)
    drawn *= np.maximum(means, 1.0)
    drawn *= np.exp(-spread / 2)
    np.clip(np.rint(drawn, out=drawn), 1.0, MOST_TOKENS, out=drawn)
    return drawn.astype(np.int64)


_SHARES: Final = (
    *(0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.95, 0.98, 0.99, 0.995, 0.999, 1.0),
)
CONVERSATION_PROMPTS: Final = Quantiles(
    _SHARES,
    (
        *(2, 29, 181, 207, 387, 403, 703, 1020, 1071, 1130, 1315, 2735),
        *(4083, 4098, 4142, 4831, 6179, 14050),
    ),
)
"""Prompts of the conversations that Azure published in 2023 (Patel et al., Splitwise, ISCA'24)."""
CONVERSATION_OUTPUTS: Final = Quantiles(
    _SHARES,
    (
        *(7, 16, 41, 54, 77, 91, 103, 129, 177, 384, 400, 424),
        *(451, 540, 601, 643, 954, 1000),
    ),
)
"""Their answers."""
