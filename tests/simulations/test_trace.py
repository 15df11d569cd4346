"""Traces: what is accepted, and the one line that each bad one gets."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import TraceError
from simulations import layouts, source
from simulations.trace import Trace, cut, read_trace, scaled
from tests.simulations.builders import TRACES

HEADER = b"arrival_s,prompt_tokens,output_tokens\n"
GOOD = HEADER + b"0.5,10,1\n1.25,20,3\n"


def read(folder: Path, content: bytes, name: str = "t.csv") -> Trace:
    (folder / name).write_bytes(content)
    return read_trace(folder / name)


def rows(trace: Trace) -> list[tuple[float, int, int]]:
    columns = (trace.arrivals, trace.prompt_tokens, trace.output_tokens)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(GOOD, "t.csv", id="plain"),
        pytest.param(gzip.compress(GOOD), "t.csv.gz", id="gzip"),
        pytest.param(gzip.compress(GOOD), "t.csv", id="gzip under another name"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "t.csv", id="byte-order mark"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), "t.csv", id="CRLF"),
        pytest.param(GOOD.rstrip(), "t.csv", id="no newline at the end"),
        pytest.param(GOOD + b"\n\n", "t.csv", id="empty lines"),
        pytest.param(GOOD.replace(b"0.5,10,1", b'"0.5","10","1"'), "t.csv", id="quotes"),
        pytest.param(GOOD.replace(b",", b", "), "t.csv", id="spaces after commas"),
        pytest.param(
            b"model,output_tokens,arrival_s,prompt_tokens\na_b,1,0.5,10\n\xc3\xa9,3,1.25,20\n",
            "t.csv",
            id="other columns and another order",
        ),
    ],
)
def test_reads_what_means_the_same(tmp_path: Path, content: bytes, name: str) -> None:
    trace = read(tmp_path, content, name)

    assert rows(trace) == [(0.5, 10, 1), (1.25, 20, 3)]
    assert (trace.name, len(trace), trace.seconds) == ("t", 2, 1.25)


def test_an_answer_of_no_tokens_is_simulated_as_its_end_of_text_token(tmp_path: Path) -> None:
    trace = read(tmp_path, GOOD + b"2,5,0\n")

    assert rows(trace)[-1] == (2.0, 5, 1)
    assert trace.empty_answers == 1


WHOLE = "should be a whole number of tokens, not"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            b"1.2,5,5",
            "arrival_s: should not be before the row above (1.25): sort the rows by time; "
            "found '1.2'",
            id="unsorted times",
        ),
        pytest.param(b"-1,5,5", "arrival_s: should not be negative, not '-1'", id="negative time"),
        pytest.param(b"nan,5,5", "arrival_s: should be a number of seconds, not 'nan'", id="nan"),
        pytest.param(
            b"inf,5,5",
            "arrival_s: should be seconds since the trace began, at most 31622400 (a year), "
            "not 'inf'",
            id="infinite time",
        ),
        pytest.param(
            b"1700158626,5,5",
            "arrival_s: should be seconds since the trace began, at most 31622400 (a year), "
            "not '1700158626'",
            id="a Unix time",
        ),
        pytest.param(b"x,5,5", "arrival_s: should be a number of seconds, not 'x'", id="text"),
        pytest.param(b",5,5", "arrival_s: should be a number of seconds, not ''", id="no time"),
        pytest.param(b"2_0,5,5", "arrival_s: should be a number of seconds, not '2_0'", id="1_0"),
        pytest.param(
            "\u0662,5,5".encode(),
            "arrival_s: should be a number of seconds, not '\u0662'",
            id="a digit of another script",
        ),
        pytest.param(b"2,-5,5", "prompt_tokens: should not be negative, not '-5'", id="negative"),
        pytest.param(
            b"2,5,-1", "output_tokens: should not be negative, not '-1'", id="negative out"
        ),
        pytest.param(b"2,0,5", "prompt_tokens: should be at least 1, not 0", id="empty prompt"),
        pytest.param(b"2,5.5,5", f"prompt_tokens: {WHOLE} '5.5'", id="a fraction"),
        pytest.param(b"2,5,5.0", f"output_tokens: {WHOLE} '5.0'", id="a float"),
        pytest.param(b"2,nan,5", f"prompt_tokens: {WHOLE} 'nan'", id="nan tokens"),
        pytest.param(b"2,many,5", f"prompt_tokens: {WHOLE} 'many'", id="text tokens"),
        pytest.param(b"2,5,", f"output_tokens: {WHOLE} ''", id="no tokens"),
        pytest.param(b"2,1_0,5", f"prompt_tokens: {WHOLE} '1_0'", id="underscore tokens"),
        pytest.param(
            "2,\u0665,5".encode(), f"prompt_tokens: {WHOLE} '\u0665'", id="tokens of another script"
        ),
        pytest.param(
            b"2,100000001,5",
            "prompt_tokens: should be at most 100000000, not '100000001'",
            id="too many tokens",
        ),
        pytest.param(
            b"2,5," + b"9" * 50,
            "output_tokens: should be at most 100000000, not "
            "'9999999999999999999999999999999999999999...'",
            id="an endless number",
        ),
        pytest.param(b"2,5", "should have 3 fields, as the header, not 2", id="a field missing"),
        pytest.param(b"2,5,5,5", "should have 3 fields, as the header, not 4", id="a field more"),
        pytest.param(
            b"2,5\n3,5,5,5",
            "should have 3 fields, as the header, not 2",
            id="a field missing and another one more below",
        ),
        pytest.param(b"2,\xff,5", "should be UTF-8, found byte 0xff", id="not UTF-8"),
        pytest.param(b'2,"5,5', "not CSV: unexpected end of data", id="an open quote"),
        pytest.param(b'2,"5"5,5', "not CSV: ',' expected after '\"'", id="text after a quote"),
        pytest.param(
            b"2,5," + b" " * 70_000 + b"5",
            "a line should be shorter than 65536 bytes",
            id="long line",
        ),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_line(tmp_path: Path, row: bytes, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, GOOD + row + b"\n")

    assert str(caught.value) == f"{tmp_path}/t.csv:4: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b"",
            ":1: should be a header with arrival_s, prompt_tokens and output_tokens; the file is "
            "empty",
            id="an empty file",
        ),
        pytest.param(
            HEADER, ":1: should have at least one request below the header, has 0 rows", id="0 rows"
        ),
        pytest.param(
            b"time,prompt_tokens,size\n1,2,3\n",
            ":1: should have the columns arrival_s and output_tokens; found 'time', "
            "'prompt_tokens', 'size'",
            id="missing columns",
        ),
        pytest.param(
            b"0.5,10,1\n1.25,20,3\n",
            ":1: should have the columns arrival_s, prompt_tokens and output_tokens; found '0.5', "
            "'10', '1'",
            id="no header",
        ),
        pytest.param(
            b'"arrival_s,prompt_tokens\n',
            ":1: not CSV: unexpected end of data",
            id="an open header",
        ),
        pytest.param(
            b"arrival_s," + b"x" * 70_000 + b"\n0\n",
            ":1: a line should be shorter than 65536 bytes",
            id="a header of any length",
        ),
        pytest.param(b"arrival_s,\xff\n", ":1: should be UTF-8, found byte 0xff", id="no UTF-8"),
        pytest.param(
            b"arrival_s,prompt_tokens,output_tokens,arrival_s\n0,5,5,0\n",
            ":1: arrival_s: should be one column, found two of this name",
            id="a column twice",
        ),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, content)

    assert str(caught.value) == f"{tmp_path}/t.csv{message}"


def long_gzip(cut: Callable[[bytes], bytes]) -> bytes:
    content = HEADER + b"".join(b"%d,%d,%d\n" % (i, i % 977 + 1, i % 89 + 1) for i in range(50_000))
    return cut(gzip.compress(content))


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        pytest.param(
            long_gzip(lambda data: data[: len(data) // 2]),
            r":\d+: the gzip data ends early: the file is truncated",
            id="truncated",
        ),
        pytest.param(
            gzip.compress(GOOD)[:12],
            ":1: the gzip data ends early: the file is truncated",
            id="truncated in the header",
        ),
        pytest.param(
            long_gzip(lambda data: data[:5000] + b"\0" * 40 + data[5040:]),
            r":\d+: the gzip data is broken: .+",
            id="broken",
        ),
        pytest.param(
            GOOD, r":1: should be gzip data, as its name says; starts with b'ar'", id="not gzip"
        ),
    ],
)
def test_bad_gzip_is_one_line(tmp_path: Path, content: bytes, pattern: str) -> None:
    with pytest.raises(TraceError, match=rf"\A[^\n]+/t\.csv\.gz{pattern}\Z"):
        read(tmp_path, content, "t.csv.gz")


def test_a_folder_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(tmp_path)

    assert str(caught.value) == f"{tmp_path}: cannot be read: is a directory"


def test_an_absent_file_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(tmp_path / "none.csv")

    assert str(caught.value) == f"{tmp_path}/none.csv: cannot be read: no such file or directory"


def test_a_number_of_rows_that_fits_no_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "MOST_REQUESTS", 2)

    with pytest.raises(TraceError, match=r"t\.csv:4: should have at most 2 rows\Z"):
        read(tmp_path, GOOD + b"2,5,5\n")


def test_a_gzip_bomb_without_a_line_end_is_refused_early(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(HEADER)
        for _ in range(100):
            file.write(b"1" * 1_000_000)

    with pytest.raises(TraceError, match=r":2: a line should be shorter than 65536 bytes\Z"):
        read(tmp_path, packed.getvalue(), "t.csv.gz")


@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_trace_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    for data in (content, HEADER + content, GOOD + content):
        path.write_bytes(data)
        try:
            said = f"{path}:1" if len(read_trace(path)) else ""
        except TraceError as error:
            said = str(error)
        assert said.startswith(f"{path}:")
        assert "\n" not in said


@given(
    rows=st.lists(
        st.tuples(
            st.decimals(0, 10_000, places=3, allow_nan=False).map(str),
            st.integers(1, 100_000_000).map(str),
            st.integers(0, 100_000_000).map(str),
            st.sampled_from(["", "chat", "a b"]),
        ),
        min_size=1,
        max_size=30,
    ),
    unusual=st.sampled_from([b"", b"\n", b'99999,"1",1,\n', b"99999.,1,1,\n", b"1e5,1,1,\n"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_whole_columns_are_read_as_row_by_row(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str, str]],
    unusual: bytes,
    line_end: str,
) -> None:
    """An unusual line makes the whole block be read row by row, by Python's own parsers."""
    path = tmp_path_factory.mktemp("both") / "t.csv"
    rows.sort(key=lambda row: float(row[0]))
    text = line_end.join(["arrival_s,prompt_tokens,output_tokens,kind", *map(",".join, rows), ""])
    path.write_bytes(text.encode() + unusual)

    trace = read_trace(path)

    assert trace.arrivals[: len(rows)].tolist() == [float(row[0]) for row in rows]
    assert trace.prompt_tokens[: len(rows)].tolist() == [int(row[1]) for row in rows]
    assert trace.output_tokens[: len(rows)].tolist() == [max(1, int(row[2])) for row in rows]
    assert len(trace) == len(rows) + (unusual not in {b"", b"\n"})


def test_lines_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 64)
    lines = [b"%d,10,1\n" % second for second in range(100)]

    trace = read(tmp_path, HEADER + b"".join(lines))
    with pytest.raises(
        TraceError, match=r"t\.csv:92: arrival_s: should not be before the row above"
    ):
        read(tmp_path, HEADER + b"".join(lines[:90]) + b"88,10,1\n" + b"".join(lines[90:]))

    assert trace.arrivals.tolist() == list(range(100))


def test_what_is_wrong_first_is_told_first(tmp_path: Path) -> None:
    """A bad row above the place where the gzip data breaks."""
    content = HEADER + b"1,10,1\n0,10,1\n" + b"".join(b"%d,1,1\n" % i for i in range(2, 50_000))

    with pytest.raises(TraceError, match=r"t\.csv\.gz:3: arrival_s: should not be before"):
        read(tmp_path, gzip.compress(content)[:-2000], "t.csv.gz")


def test_many_unusual_rows_are_read(tmp_path: Path) -> None:
    """More than one piece of rows that are read one by one."""
    lines = [b'%d,"10",1\n' % second for second in range(70_000)]

    trace = read(tmp_path, HEADER + b"".join(lines))

    assert np.array_equal(trace.arrivals, np.arange(70_000))


def test_a_long_line_is_refused_among_plain_ones(tmp_path: Path) -> None:
    line = b"1,1,1," + b"x" * 65_540 + b"\n"

    with pytest.raises(TraceError, match=r"t\.csv:3: a line should be shorter than 65536 bytes\Z"):
        read(tmp_path, HEADER.replace(b"\n", b",kind\n") + b"0,1,1,a\n" + line + b"2,1,1,a\n")


# --- a part of a trace, and more or less of it -----------------------------------------------


def a_trace_of(arrivals: list[float], start: float | None = None) -> Trace:
    count = len(arrivals)
    return Trace(
        "t", np.array(arrivals), np.arange(count) + 1, np.ones(count, np.int64), start=start
    )


def test_a_part_begins_at_its_own_beginning() -> None:
    part = cut(a_trace_of([0.0, 9.0, 10.0, 15.5, 20.0, 25.0], start=1000.0), 10.0, 20.0)

    assert part.arrivals.tolist() == [0.0, 5.5]
    assert part.prompt_tokens.tolist() == [3, 4]
    assert (part.start, part.notes) == (1010.0, ("Cut from 10 to 20 s.",))


def test_the_whole_part_is_the_trace_itself() -> None:
    trace = a_trace_of([0.0, 9.0])

    assert cut(trace, 0.0, 9.5) is trace
    assert len(cut(trace, 0.0, 9.0)) == 1


def test_a_part_without_requests_is_refused() -> None:
    with pytest.raises(TraceError) as caught:
        cut(a_trace_of([0.0, 9.0]), 2.0, 5.0)

    assert str(caught.value) == ("t: no request arrives from 2 to 5 s; the last one arrives at 9 s")


@pytest.mark.parametrize(
    ("begin", "end"), [(-1.0, 5.0), (5.0, 5.0), (6.0, 5.0), (np.nan, 5.0), (0.0, np.nan)]
)
def test_a_part_that_is_no_stretch_of_time_is_refused(begin: float, end: float) -> None:
    with pytest.raises(ValueError, match="a part should begin at 0 or later and end after, not"):
        cut(a_trace_of([0.0]), begin, end)


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.5, 3.0])
def test_scaling_keeps_the_rate_of_every_stretch_times_the_factor(factor: float) -> None:
    rng = np.random.default_rng(1)
    trace = a_trace_of(np.sort(rng.random(20_000) ** 2 * 1000).tolist(), start=5.0)

    more = scaled(trace, factor, rng)

    edges = np.linspace(0, 1000, 11)
    counts, expected = (np.histogram(one.arrivals, edges)[0] for one in (more, trace))
    assert np.all(np.abs(counts - factor * expected) < 5 * np.sqrt(factor * expected))
    assert more.arrivals[-1] <= trace.seconds
    assert set(more.prompt_tokens.tolist()) <= set(trace.prompt_tokens.tolist())
    assert (more.start, more.notes) == (5.0, (f"Scaled by {factor:g}.",))


def test_a_whole_factor_repeats_every_request_and_moves_no_first_one() -> None:
    trace = a_trace_of([0.0, 4.0, 8.0])

    double = scaled(trace, 2.0, np.random.default_rng(1))

    assert sorted(double.prompt_tokens.tolist()) == [1, 1, 2, 2, 3, 3]
    assert set(trace.arrivals.tolist()) < set(double.arrivals.tolist())
    assert len(set(double.arrivals.tolist())) == 5  # nothing comes after the last: no room there


def test_scaling_by_one_changes_nothing_and_draws_nothing() -> None:
    trace, rng = a_trace_of([0.0, 9.0]), np.random.default_rng(1)

    assert scaled(trace, 1.0, rng) is trace
    assert rng.random() == np.random.default_rng(1).random()


def test_equal_generators_scale_equally() -> None:
    trace = a_trace_of(np.arange(100.0).tolist())

    one, other = (scaled(trace, 1.5, np.random.default_rng(3)) for _ in range(2))

    assert np.array_equal(one.arrivals, other.arrivals)
    assert np.array_equal(one.prompt_tokens, other.prompt_tokens)


def test_scaling_to_nothing_or_to_more_than_fits_is_refused() -> None:
    trace, rng = a_trace_of([0.0, 9.0]), np.random.default_rng(1)

    with pytest.raises(TraceError, match=r"\At: scaled by 1e-09, no request is left\Z"):
        scaled(trace, 1e-9, rng)
    with pytest.raises(TraceError) as caught:
        scaled(trace, 2.5e8, rng)
    assert str(caught.value) == (
        "t: stands for 500,000,000 requests, at most 250,000,000 can be replayed: scale it to 0.49 "
        "of that, or cut a part out"
    )


@pytest.mark.parametrize("factor", [0.0, -1.0, np.inf, np.nan])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="scale should be above 0, not"):
        scaled(a_trace_of([0.0]), factor, np.random.default_rng(1))


def test_a_trace_may_be_cut_and_scaled_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER + b"".join(b"%d,10,1\n" % second for second in range(100)))

    part = read_trace(path, np.random.default_rng(1), scale=2.0, begin=50.0, end=60.0)

    assert len(part) == 20
    assert part.seconds < 10


def test_frozen_arrays_are_taken_over_without_a_copy() -> None:
    arrivals, ones = np.arange(3.0), np.ones(3, dtype=np.int64)
    copied = Trace("t", arrivals, ones, ones)
    arrivals.flags.writeable = False
    taken = Trace("t", arrivals, ones, ones)

    assert copied.arrivals is not arrivals
    assert taken.arrivals is arrivals


@pytest.mark.parametrize(
    ("arrivals", "prompts", "outputs"),
    [
        pytest.param([], [], [], id="no rows"),
        pytest.param([1.0, 0.5], [1, 1], [1, 1], id="falling"),
        pytest.param([-1.0], [1], [1], id="negative"),
        pytest.param([np.nan], [1], [1], id="nan"),
        pytest.param([1.0], [0], [1], id="no prompt"),
        pytest.param([1.0], [1], [0], id="no output"),
        pytest.param([1.0], [1, 2], [1], id="lengths differ"),
    ],
)
def test_a_trace_that_is_none_cannot_be_made(
    arrivals: list[float], prompts: list[int], outputs: list[int]
) -> None:
    with pytest.raises(ValueError, match="should"):
        Trace("t", np.array(arrivals), np.array(prompts), np.array(outputs))


def test_a_trace_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read(tmp_path, GOOD).arrivals[0] = 7


@pytest.mark.slow
@pytest.mark.skipif(not TRACES.is_dir(), reason="the larger traces are not part of the project")
@pytest.mark.parametrize(
    ("name", "requests", "prompt_mean", "output_mean", "empty"),
    [
        pytest.param("azure_llm_2023_conv", 19_366, 1154.7, 211.1, 0, id="conversation"),
        pytest.param("azure_llm_2023_code", 8_819, 2047.8, 27.9, 0, id="code"),
        pytest.param("mooncake_fast25_conversation", 12_031, 12_035.1, 342.6, 0, id="long prompts"),
        pytest.param("servegen_m-large_1day_requests", 417_842, 1102.3, 82.1, 1, id="a day"),
    ],
)
def test_reads_published_traces(
    name: str, requests: int, prompt_mean: float, output_mean: float, empty: int
) -> None:
    trace = read_trace(TRACES / f"{name}.csv.gz")

    assert len(trace) == requests
    assert trace.prompt_tokens.mean() == pytest.approx(prompt_mean, abs=0.06)
    assert trace.output_tokens.mean() == pytest.approx(output_mean, abs=0.06)
    assert trace.empty_answers == empty
