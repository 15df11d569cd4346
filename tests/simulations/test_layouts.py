"""Public traces: each layout is known by its header, and its times become seconds."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import TraceError
from simulations import layouts
from simulations.layouts import spread
from simulations.trace import Trace, read_trace

AZURE_2023 = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:18:03.9799601,110,27
"""
AZURE_2024 = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
2024-05-10 23:59:59.909930+00:00,76,15
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
45,GPT-4,417,276,693,Conversation log
46,GPT-4,300,0,300,API log
118,ChatGPT,1360,647,2007,Conversation log
"""
MOONCAKE = "".join(
    json.dumps({"timestamp": at, "input_length": 100 + at, "output_length": 7, "hash_ids": [0, 1]})
    + "\n"
    for at in (0, 0, 0, 3000, 5999, 5999, 9000)
)


def read(folder: Path, content: str | bytes, name: str = "t.csv") -> Trace:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return read_trace(folder / name)


def test_azure_2023_has_times_without_a_zone_and_seven_digits(tmp_path: Path) -> None:
    trace = read(tmp_path, AZURE_2023)

    assert trace.arrivals.tolist() == [0.0, 0.052, 60.0000001]
    assert trace.prompt_tokens.tolist() == [4808, 3180, 110]
    assert trace.output_tokens.tolist() == [10, 8, 27]
    assert trace.start == pytest.approx(datetime(2023, 11, 16, 18, 17, 3, 979960, UTC).timestamp())


def test_azure_2024_has_times_with_a_zone_and_whole_seconds_without_a_fraction(
    tmp_path: Path,
) -> None:
    trace = read(tmp_path, AZURE_2024)

    assert trace.arrivals.tolist() == [0.0, 0.99007, 86_399.9]
    assert trace.start == pytest.approx(datetime(2024, 5, 10, 0, 0, 0, 9930, UTC).timestamp())


def test_burstgpt_counts_from_its_first_answered_request_and_drops_what_failed(
    tmp_path: Path,
) -> None:
    trace = read(tmp_path, BURSTGPT)

    assert trace.arrivals.tolist() == [0.0, 40.0, 60.0, 113.0]  # a step is 40 s in this sample
    assert trace.output_tokens.tolist() == [18, 230, 276, 647]
    assert (trace.start, trace.empty_answers) == (None, 0)
    assert trace.notes == ("Requests that failed (0 response tokens), left out: 1.",)


def test_burstgpt_may_have_more_columns(tmp_path: Path) -> None:
    """Its later files name the session and how long each request took."""
    trace = read(
        tmp_path,
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
        "Log Type\n0.5,a-b,1.5,GPT-4,10,2,12,API log\n2.25,a-b,0.1,GPT-4,20,3,23,API log\n",
    )

    assert trace.arrivals.tolist() == [0.0, 1.75]
    assert trace.prompt_tokens.tolist() == [10, 20]


def test_mooncake_is_json_lines_in_milliseconds_spread_over_its_steps(tmp_path: Path) -> None:
    trace = read(tmp_path, MOONCAKE, "conversation.jsonl")

    step = 2.999  # the smallest difference
    assert trace.arrivals.tolist() == pytest.approx(
        [0.0, step / 3, 2 * step / 3, 3.0, 5.999, 5.999 + step / 2, 9.0]
    )
    assert trace.prompt_tokens.tolist() == [100, 100, 100, 3100, 6099, 6099, 9100]
    assert (trace.name, trace.start) == ("conversation", None)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(AZURE_2023, "azure.csv.gz", id="azure"),
        pytest.param(BURSTGPT, "burst.csv.gz", id="burstgpt"),
        pytest.param(MOONCAKE, "moon.jsonl.gz", id="mooncake"),
    ],
)
def test_every_layout_may_be_compressed(tmp_path: Path, content: str, name: str) -> None:
    packed = read(tmp_path, gzip.compress(content.encode()), name)
    plain = read(tmp_path, content)

    assert packed.name == name.partition(".")[0]
    assert np.array_equal(packed.arrivals, plain.arrivals)
    assert np.array_equal(packed.prompt_tokens, plain.prompt_tokens)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            AZURE_2023.replace("4808,10", "0,0"),
            id="azure",
        ),
        pytest.param(
            MOONCAKE.replace(
                '"input_length": 100, "output_length": 7',
                '"input_length": 0, "output_length": 0',
                1,
            ),
            id="mooncake",
        ),
    ],
)
def test_published_rows_without_tokens_count_as_one_token(tmp_path: Path, content: str) -> None:
    trace = read(tmp_path, content)

    assert (trace.prompt_tokens[0], trace.output_tokens[0]) == (1, 1)
    assert trace.empty_answers == 1
    assert trace.notes == (
        "Answers of 0 tokens, counted as 1 (the end-of-text token): 1.",
        "Prompts of 0 tokens, counted as 1: 1.",
    )


@given(
    moments=st.lists(
        st.tuples(st.integers(0, 2 * 86_400 * 10**6), st.integers(0, 3), st.integers(-12, 12)),
        min_size=1,
        max_size=8,
    ),
    slow=st.booleans(),
)
def test_time_stamps_are_read_as_python_reads_them(
    tmp_path_factory: pytest.TempPathFactory, moments: list[tuple[int, int, int]], slow: bool
) -> None:
    """In any zone, with or without a fraction, by whole columns or row by row."""
    path = tmp_path_factory.mktemp("stamps") / "t.csv"
    base = datetime(2023, 12, 31, tzinfo=UTC)
    rows, expected = [], []
    for microseconds, form, hours in sorted(moments):
        moment = base + timedelta(microseconds=microseconds)
        zone = timezone(timedelta(hours=hours))
        if form == 0:  # as in 2023
            text = moment.strftime("%Y-%m-%d %H:%M:%S.%f0")
        elif form == 1:  # as in 2024
            text = moment.isoformat(sep=" ")
        elif form == 2:
            text = moment.astimezone(zone).isoformat(sep=" ")
        else:
            text = moment.isoformat().replace("+00:00", "Z")
        rows.append(f"{text},5,5")
        expected.append(moment)
    if slow:
        rows.append("")
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows, ""]))

    trace = read_trace(path)

    assert trace.start == pytest.approx(expected[0].timestamp(), abs=1e-6)
    since = [(moment - expected[0]).total_seconds() for moment in expected]
    assert trace.arrivals.tolist() == pytest.approx(since, abs=2e-7)


STAMP = "should be a time since 1970 such as 2023-11-16 18:17:03.9799600, not"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param("2023-11-16,5,5", f"TIMESTAMP: {STAMP} '2023-11-16'", id="a day alone"),
        pytest.param("17.5,5,5", f"TIMESTAMP: {STAMP} '17.5'", id="seconds"),
        pytest.param(
            "2023-02-30 00:00:00,5,5", f"TIMESTAMP: {STAMP} '2023-02-30 00:00:00'", id="no such day"
        ),
        pytest.param(
            "2023-11-16 24:00:00,5,5",
            f"TIMESTAMP: {STAMP} '2023-11-16 24:00:00'",
            id="no such hour",
        ),
        pytest.param(
            "2023-11-16 18:17:03.,5,5",
            f"TIMESTAMP: {STAMP} '2023-11-16 18:17:03.'",
            id="a point and nothing",
        ),
        pytest.param(
            "2023-11-16 18x17:03.5,5,5",
            f"TIMESTAMP: {STAMP} '2023-11-16 18x17:03.5'",
            id="other separators",
        ),
        pytest.param(
            "1969-12-31 23:59:59.9,5,5",
            f"TIMESTAMP: {STAMP} '1969-12-31 23:59:59.9'",
            id="before 1970",
        ),
        pytest.param(
            "2023-11-16 18:17:03.9799599,5,5",
            "TIMESTAMP: should not be before the row above (2023-11-16 18:17:03.9799600): sort the "
            "rows by time; found '2023-11-16 18:17:03.9799599'",
            id="a tick too early",
        ),
        pytest.param(
            "2025-11-16 18:17:04.0,5,5",
            "TIMESTAMP: should be within a year of the first row, is 63158400 s after it",
            id="years later",
        ),
        pytest.param(
            "2023-11-16 18:17:04.0,-5,5",
            "ContextTokens: should not be negative, not '-5'",
            id="negative tokens",
        ),
        pytest.param(
            "2023-11-16 18:17:04.0,5,x",
            "GeneratedTokens: should be a whole number of tokens, not 'x'",
            id="text tokens",
        ),
        pytest.param(
            "2023-11-16 18:17:04.0,5",
            "should have 3 fields, as the header, not 2",
            id="a field less",
        ),
    ],
)
def test_a_bad_azure_row_is_one_line(tmp_path: Path, row: str, message: str) -> None:
    content = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"

    with pytest.raises(TraceError) as caught:
        read(tmp_path, content + row + "\n")

    assert str(caught.value) == f"{tmp_path}/t.csv:3: {message}"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            "4,ChatGPT,1,1,2,log",
            "Timestamp: should not be before the row above (5): sort the rows by time; found '4'",
            id="falls",
        ),
        pytest.param(
            "-4,ChatGPT,1,1,2,log", "Timestamp: should not be negative, not '-4'", id="negative"
        ),
        pytest.param(
            "6,ChatGPT,-1,1,2,log",
            "Request tokens: should not be negative, not '-1'",
            id="negative tokens",
        ),
        pytest.param(
            "6,ChatGPT,1,nan,2,log",
            "Response tokens: should be a whole number of tokens, not 'nan'",
            id="nan",
        ),
    ],
)
def test_a_bad_burstgpt_row_is_one_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, "".join(BURSTGPT.splitlines(keepends=True)[:2]) + row + "\n")

    assert str(caught.value) == f"{tmp_path}/t.csv:3: {message}"


def test_a_trace_in_which_every_request_failed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, "Timestamp,Request tokens,Response tokens\n5,472,0\n")

    assert str(caught.value) == (
        f"{tmp_path}/t.csv:2: should have a request with an answer: every one has 0 tokens"
    )


GOOD = '{"timestamp": 5, "input_length": 6, "output_length": 7}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("nonsense", "should be a JSON object: ", id="no JSON"),
        pytest.param("[1, 2]", "should be a JSON object, not '[1, 2]'", id="a list"),
        pytest.param("[" * 2000, "should be a JSON object: ", id="deep nesting"),
        pytest.param(
            '{"timestamp": 5, "length": 6}',
            "should have input_length and output_length; found 'timestamp', 'length'",
            id="names missing",
        ),
        pytest.param(
            "{}",
            "should have timestamp, input_length and output_length; found nothing",
            id="no name",
        ),
        pytest.param(
            GOOD.replace("5", "4"),
            "timestamp: should not be before the row above (5): sort the rows by time; found 4",
            id="falls",
        ),
        pytest.param(
            GOOD.replace("5", "-4"), "timestamp: should not be negative, not '-4'", id="negative"
        ),
        pytest.param(
            GOOD.replace("5", "1e300"),
            "timestamp: should be at most 31622400000 (a year), not '1e+300'",
            id="for ever",
        ),
        pytest.param(
            GOOD.replace("5", "true"),
            "timestamp: should be a number of milliseconds, not 'True'",
            id="true",
        ),
        pytest.param(
            GOOD.replace("5", '"5"'),
            "timestamp: should be a number of milliseconds, not '5'",
            id="a text",
        ),
        pytest.param(
            GOOD.replace("6", "6.5"),
            "input_length: should be a whole number of tokens, not '6.5'",
            id="a fraction",
        ),
        pytest.param(
            GOOD.replace("7", "-1"),
            "output_length: should not be negative, not '-1'",
            id="negative tokens",
        ),
        pytest.param(
            GOOD.replace("7", "100000001"),
            "output_length: should be at most 100000000, not '100000001'",
            id="too many tokens",
        ),
    ],
)
def test_a_bad_json_line_is_one_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, f"{GOOD}\n{line.strip()}\n", "t.jsonl")

    found = str(caught.value)
    assert found.startswith(f"{tmp_path}/t.jsonl:3: {message}")
    assert "\n" not in found
    assert message.endswith(": ") or found.endswith(message)


def test_too_many_json_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MOST_REQUESTS", 2)

    with pytest.raises(TraceError, match=r"t\.jsonl:3: should have at most 2 rows\Z"):
        read(tmp_path, 3 * GOOD, "t.jsonl")


def test_the_nearest_layout_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, "TIMESTAMP,ContextTokens\n1,2\n")

    assert str(caught.value) == (
        f"{tmp_path}/t.csv:1: should have the columns GeneratedTokens; found 'TIMESTAMP', "
        "'ContextTokens'"
    )


@given(
    stamps=st.lists(st.integers(0, 50), min_size=1, max_size=60).map(sorted),
    step=st.sampled_from([1.0, 3.0, 0.25]),
)
def test_spreading_keeps_the_order_the_first_of_each_stamp_and_its_step(
    stamps: list[int], step: float
) -> None:
    arrivals = step * np.array(stamps, dtype=np.float64)

    later = spread(arrivals)

    assert np.all(np.diff(later) >= 0)
    assert set(arrivals.tolist()) <= set(later.tolist())
    gaps = np.diff(np.unique(arrivals))
    assert np.all(later - arrivals < (gaps.min() if len(gaps) else layouts.STEP_SECONDS))
