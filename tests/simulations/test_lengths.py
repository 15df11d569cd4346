"""Token lengths: what is drawn has the statistics that were asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.lengths import (
    CONVERSATION_OUTPUTS,
    CONVERSATION_PROMPTS,
    MOST_TOKENS,
    OUTPUT_VARIATION,
    PROMPT_VARIATION,
    Lengths,
    Quantiles,
    scattered,
)
from simulations.trace import read_trace
from tests.simulations.builders import TRACES


@pytest.mark.parametrize(
    ("law", "mean", "p50", "p95"),
    [
        pytest.param(CONVERSATION_PROMPTS, 1154.7, 1020, 4083, id="prompts"),
        pytest.param(CONVERSATION_OUTPUTS, 211.1, 129, 451, id="answers"),
    ],
)
def test_the_conversation_has_its_published_statistics(
    law: Quantiles, mean: float, p50: float, p95: float
) -> None:
    drawn = law.draw(200_000, np.random.default_rng(1))

    assert drawn.mean() == pytest.approx(mean, rel=0.02)
    assert np.percentile(drawn, 50) == pytest.approx(p50, rel=0.02)
    assert np.percentile(drawn, 95) == pytest.approx(p95, rel=0.02)
    assert (drawn.min(), drawn.max()) >= (1, 1)
    assert drawn.max() <= law.tokens[-1]


@pytest.mark.skipif(not TRACES.is_dir(), reason="the larger traces are not part of the project")
@pytest.mark.parametrize("column", ["prompt_tokens", "output_tokens"])
def test_the_constants_are_those_of_the_published_trace(column: str) -> None:
    law, variation = (
        (CONVERSATION_PROMPTS, PROMPT_VARIATION)
        if column == "prompt_tokens"
        else (CONVERSATION_OUTPUTS, OUTPUT_VARIATION)
    )
    tokens = getattr(read_trace(TRACES / "azure_llm_2023_conv.csv.gz"), column)

    quantiles = np.quantile(tokens, law.shares)

    assert np.abs(quantiles - law.tokens).max() <= 0.5
    assert tokens.var() / tokens.mean() ** 2 == pytest.approx(variation, abs=0.005)


@pytest.mark.parametrize("variation", [PROMPT_VARIATION, OUTPUT_VARIATION])
@pytest.mark.parametrize("mean", [20.0, 1650.0])
def test_scattered_lengths_keep_mean_and_dispersion(mean: float, variation: float) -> None:
    drawn = scattered(np.full(300_000, mean), variation, np.random.default_rng(1))

    assert drawn.mean() == pytest.approx(mean, rel=0.01)
    assert drawn.var() / drawn.mean() ** 2 == pytest.approx(variation, rel=0.05)


@given(means=st.lists(st.floats(0, 1e9), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_every_length_is_a_whole_number_that_a_request_may_have(
    means: list[float], seed: int
) -> None:
    drawn = scattered(np.array(means), 0.9, np.random.default_rng(seed))

    assert drawn.dtype == np.int64
    assert drawn.min() >= 1
    assert drawn.max() <= MOST_TOKENS


@pytest.mark.parametrize("seed", [1, 2])
def test_log_normal_lengths_have_their_median_and_95th_percentile(seed: int) -> None:
    drawn = Lengths(p50=1020, p95=4083, most=16_000).draw(100_000, np.random.default_rng(seed))

    assert np.percentile(drawn, 50) == pytest.approx(1020, rel=0.03)
    assert np.percentile(drawn, 95) == pytest.approx(4083, rel=0.05)
    assert drawn.max() <= 16_000


def test_lengths_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="0 < p50 < p95 < most, not 10, 5, 20"):
        Lengths(p50=10, p95=5, most=20)


@pytest.mark.parametrize(
    ("shares", "tokens", "message"),
    [
        pytest.param((0.0,), (1.0,), "shares should rise from 0 to 1", id="one"),
        pytest.param((0.0, 0.5), (1.0, 2.0), "shares should rise from 0 to 1", id="not to the end"),
        pytest.param((0.0, 0.5, 0.5, 1.0), (1, 2, 3, 4), "shares should rise", id="twice"),
        pytest.param((0.0, 1.0), (5.0, 2.0), "not falling", id="falling"),
        pytest.param((0.0, 1.0), (0.0, 2.0), "at least 1", id="no token"),
        pytest.param((0.0, 1.0), (1.0,), "for each share", id="one is missing"),
    ],
)
def test_quantiles_that_are_none_are_refused(
    shares: tuple[float, ...], tokens: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Quantiles(shares, tokens)
