"""Rate-level traces: bins become requests, and what is no such trace becomes one line."""

import gzip
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import TraceError
from simulations import rates as rates_module
from simulations.lengths import CONVERSATION_OUTPUTS, OUTPUT_VARIATION, PROMPT_VARIATION
from simulations.rates import Rates
from simulations.trace import Trace, read_trace
from tests.simulations.builders import TRACES

HEADER = "t_s,requests,prompt_tokens,output_tokens\n"


def read(folder: Path, content: str, seed: int = 1, **part: Any) -> Trace:
    (folder / "t.csv").write_text(content)
    return read_trace(folder / "t.csv", np.random.default_rng(seed), **part)


AFTER = "should be after the row above (60): sort the rows by time; found"


def rates(counts: list[float], bin_seconds: float = 60.0) -> Rates:
    return Rates(
        bin_seconds, np.array([bin_seconds * at for at in range(len(counts))]), np.array(counts)
    )


def test_a_bin_becomes_requests_within_it_with_its_mean_lengths(tmp_path: Path) -> None:
    trace = read(tmp_path, f"{HEADER}0,5000,5000000,250000\n60,0,0,0\n120,20000,4000000,2000000\n")

    first, last = trace.arrivals < 60, trace.arrivals >= 120
    assert np.all(first | last)
    assert trace.seconds < 180
    assert first.sum() == pytest.approx(5000, rel=0.05)
    assert last.sum() == pytest.approx(20_000, rel=0.03)
    assert trace.prompt_tokens[first].mean() == pytest.approx(1000, rel=0.05)
    assert trace.output_tokens[first].mean() == pytest.approx(50, rel=0.05)
    assert trace.prompt_tokens[last].mean() == pytest.approx(200, rel=0.03)
    for tokens, variation in (
        (trace.prompt_tokens[last], PROMPT_VARIATION),
        (trace.output_tokens[last], OUTPUT_VARIATION),
    ):
        assert tokens.var() / tokens.mean() ** 2 == pytest.approx(variation, rel=0.1)
    assert trace.notes == ("Single requests are drawn from 3 bins of 60 s.",)
    assert trace.start is None


def test_without_tokens_lengths_are_those_of_a_conversation(tmp_path: Path) -> None:
    trace = read(tmp_path, "t_s,requests,gpt4_requests\n0,20000,1\n300,20000,2\n")

    assert np.percentile(trace.prompt_tokens, 50) == pytest.approx(1020, rel=0.03)
    assert np.percentile(trace.output_tokens, 95) == pytest.approx(451, rel=0.03)


def test_one_kind_of_tokens_is_enough(tmp_path: Path) -> None:
    trace = read(tmp_path, "t_s,requests,prompt_tokens\n0,20000,2000000\n300,20000,2000000\n")

    assert trace.prompt_tokens.mean() == pytest.approx(100, rel=0.03)
    assert trace.output_tokens.max() <= CONVERSATION_OUTPUTS.tokens[-1]


def test_the_smallest_step_is_the_bin_and_a_bin_left_out_is_empty(tmp_path: Path) -> None:
    trace = read(tmp_path, "t_s,requests\n0,400\n5,400\n6,400\n100,400\n")

    assert set(np.floor(trace.arrivals).tolist()) == {0.0, 5.0, 6.0, 100.0}


def test_bins_that_were_not_measured_are_taken_as_they_are_and_told(tmp_path: Path) -> None:
    trace = read(tmp_path, "t_s,requests,gap\n0,400,0\n60,400,1\n120,0,2\n")

    assert ((trace.arrivals >= 60) & (trace.arrivals < 120)).sum() == pytest.approx(400, rel=0.3)
    assert trace.notes[1] == "Bins that were not measured (gap), taken as they are: 2."


@given(
    counts=st.lists(st.floats(0, 30), min_size=1, max_size=6),
    scale=st.sampled_from([1.0, 0.25, 2.0]),
)
def test_every_bin_holds_its_count_on_average(counts: list[float], scale: float) -> None:
    """Fractions included: the mean of many draws is the count times the scale."""
    rng, draws = np.random.default_rng(1), 200
    bins = rates(counts).scaled(scale)
    edges = 60.0 * np.arange(len(counts) + 1)

    found = sum(np.histogram(bins.draw(rng).arrivals, edges)[0] for _ in range(draws)) / draws

    allowed = 5 * np.sqrt(np.array(counts) * scale / draws) + 1e-9
    assert np.all(np.abs(found - np.array(counts) * scale) <= allowed)


def test_arrivals_within_a_bin_are_poisson() -> None:
    arrivals = rates([50_000.0] * 4, 1000.0).draw(np.random.default_rng(1)).arrivals

    seconds = np.histogram(arrivals, np.arange(0, 4001))[0]
    gaps = np.diff(arrivals)

    assert seconds.var() / seconds.mean() == pytest.approx(1.0, abs=0.08)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.02)


def test_equal_generators_draw_equal_requests_and_others_do_not(tmp_path: Path) -> None:
    content = f"{HEADER}0,500,5000,900\n60,500,5000,900\n"
    one, again, other = (read(tmp_path, content, seed) for seed in (1, 1, 2))

    for column in ("arrivals", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(one, column), getattr(again, column))
    assert not np.array_equal(one.arrivals[:50], other.arrivals[:50])
    assert np.array_equal(
        read_trace(tmp_path / "t.csv").arrivals, read_trace(tmp_path / "t.csv").arrivals
    )


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bins larger and smaller than a batch: still rising times, all within their bins."""
    monkeypatch.setattr(rates_module, "_BATCH", 100)

    arrivals = (
        rates([500.0, 0.0, 30.0, 30.0, 90.0, 0.0, 400.0]).draw(np.random.default_rng(1)).arrivals
    )

    assert np.all(np.diff(arrivals) >= 0)
    counts = np.histogram(arrivals, 60.0 * np.arange(8))[0]
    assert counts[[1, 5]].tolist() == [0, 0]
    assert np.all(np.abs(counts - [500, 0, 30, 30, 90, 0, 400]) <= 5 * np.sqrt(500))


def test_a_part_is_drawn_from_its_own_bins_and_begins_at_its_own_beginning(tmp_path: Path) -> None:
    content = "t_s,requests\n" + "".join(f"{60 * i},{1000 * (i % 2)}\n" for i in range(10))

    trace = read(tmp_path, content, begin=90.0, end=300.0, scale=0.5)

    counts = np.histogram(trace.arrivals, [0, 30, 90, 150, 210])[0]
    assert counts.tolist() == [
        pytest.approx(250, abs=80),
        0,
        pytest.approx(500, abs=110),
        0,
    ]
    assert trace.notes[-1] == "Cut from 90 to 300 s."


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            "", ":1: should have at least two bins, to tell how long one lasts; has 0", id="no row"
        ),
        pytest.param(
            "0,5,5,5\n",
            ":2: should have at least two bins, to tell how long one lasts; has 1",
            id="one row",
        ),
        pytest.param(
            "0,5,5,5\n60,-1,5,5\n",
            ":3: requests: should not be negative, not '-1'",
            id="negative count",
        ),
        pytest.param(
            "0,5,5,5\n60,nan,5,5\n",
            ":3: requests: should be a number of requests, not 'nan'",
            id="nan",
        ),
        pytest.param(
            "0,5,5,5\n60,inf,5,5\n",
            ":3: requests: should be at most 2000000000, not 'inf'",
            id="infinite",
        ),
        pytest.param(
            "0,5,5,5\n60,5,-5,5\n",
            ":3: prompt_tokens: should not be negative, not '-5'",
            id="negative tokens",
        ),
        pytest.param(
            "0,5,5,5\n60,5,5,\n",
            ":3: output_tokens: should be a number of tokens, not ''",
            id="no tokens",
        ),
        pytest.param(
            "0,5,5,5\n60,5,5,5\n30,5,5,5\n", f":4: t_s: {AFTER} '30'", id="time goes back"
        ),
        pytest.param("0,5,5,5\n60,5,5,5\n60,5,5,5\n", f":4: t_s: {AFTER} '60'", id="a bin twice"),
        pytest.param(
            "0,5,5,5\n60,5,5,5\n150,5,5,5\n\n210,1,1,1\n",
            ":4: t_s: should be whole bins of 60 s (the smallest step) after the first (0), or "
            "bins overlap; found 150",
            id="off the grid",
        ),
        pytest.param(
            "0,5,5,5\n1.7e9,5,5,5\n",
            ":3: t_s: should be seconds since the trace began, at most 31622400 (a year), not "
            "'1.7e9'",
            id="a Unix time",
        ),
        pytest.param(
            "0,5,5,5\n60,1999999999,5,5\n",
            ":3: requests: should be at most 2,000,000,000 in all rows together, is 2,000,000,004 "
            "by here",
            id="absurd total",
        ),
        pytest.param(
            "0,0,5,5\n60,0,5,5\n", ":3: requests: should not be 0 in every row", id="nothing"
        ),
        pytest.param(
            "0,5,5,5\n60,1,1e12,5\n",
            ":3: prompt_tokens: should be at most 100000000 for each request, is 1,000,000,000,000",
            id="absurd prompts",
        ),
        pytest.param(
            "0,5,5\n", ":2: should have 4 fields, as the header, not 3", id="a field less"
        ),
    ],
)
def test_a_bad_rate_trace_is_one_line(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, HEADER + rows)

    assert str(caught.value) == f"{tmp_path}/t.csv{message}"


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TraceError, match=r":1: gap: should be one column, found two of this name\Z"
    ):
        read(tmp_path, "t_s,requests,gap,gap\n0,1,0,0\n")


def test_more_requests_than_fit_are_refused_with_what_would_fit(tmp_path: Path) -> None:
    content = "t_s,requests\n0,500000000\n60,500000000\n"

    with pytest.raises(TraceError) as caught:
        read(tmp_path, content)

    assert str(caught.value) == (
        f"{tmp_path}/t.csv: stands for 1,000,000,000 requests, at most 250,000,000 can be "
        "replayed: scale it to 0.25 of that, or cut a part out"
    )
    assert len(read(tmp_path, content, scale=1e-6)) == pytest.approx(1000, rel=0.2)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        pytest.param(
            {"begin": 500.0, "end": 600.0},
            "no bin lies between 500 and 600 s; the last one ends at 120 s",
            id="after its end",
        ),
        pytest.param(
            {"scale": 1e-9}, "no request was drawn: 1e-08 are expected in all", id="too thin"
        ),
    ],
)
def test_a_part_in_which_nothing_comes_is_refused(
    tmp_path: Path, part: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, "t_s,requests\n0,5\n60,5\n", **part)

    assert str(caught.value) == f"{tmp_path}/t.csv: {message}"


PUBLISHED = {
    "azure_llm_2024_conv_week_1min": (27_304_015, 0.05),
    "burstgpt1_day0_5min": (3014, 1.0),
    "nab_aws_elb_requests_5min": (249_758, 1.0),
    "nasa_http_1995-07_1s": (1_891_714, 1.0),
    "servegen_m-small_week1_1min": (642_921_594, 0.002),
    "servegen_m-large_10min": (236_892_826, 0.005),
}


@pytest.mark.slow
@pytest.mark.skipif(not TRACES.is_dir(), reason="the larger traces are not part of the project")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rates_become_as_many_requests(name: str) -> None:
    total, scale = PUBLISHED[name]

    trace = read_trace(TRACES / f"{name}.csv.gz", scale=scale)

    assert len(trace) == pytest.approx(total * scale, abs=5 * (total * scale) ** 0.5)


@pytest.mark.slow
def test_tens_of_millions_of_requests_are_drawn_in_seconds(tmp_path: Path) -> None:
    """At least 2 million a second of processor time, on any machine that runs the tests."""
    week = "".join(f"{60 * minute},2000,3000000,200000\n" for minute in range(7 * 1440))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((HEADER + week).encode()))
    began = process_time()

    trace = read_trace(tmp_path / "t.csv.gz")

    assert len(trace) == pytest.approx(20_160_000, rel=0.001)
    assert len(trace) / (process_time() - began) > 2e6
