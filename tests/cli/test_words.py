"""Times, durations, shares and columns, as they are printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.cli.scores import duration
from autoscaler.cli.version import installed_version
from autoscaler.cli.words import bold, columns, read_time, utc


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.0123, "12.3 ms"), (0.0999, "99.9 ms"), (0.9994, "999 ms"), (0.9996, "1 s"),
        (1.5, "1.5 s"), (75.25, "75.2 s"), (999.0, "999 s"), (12_345.6, "12,346 s"),
    ],
)  # fmt: skip
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01", 0.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        (" 1970-01-01 00:00:01.5 ", 1.5),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("1969-12-31T23:59:59Z", None),
        ("noon", None),
        ("", None),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, seconds: float | None) -> None:
    assert read_time(text) == seconds


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_that_is_written_is_read_again(milliseconds: int) -> None:
    assert read_time(utc(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-3)


def test_columns_are_aligned_and_have_no_trailing_space() -> None:
    assert columns([("a", "bbb", ""), ("cc", "d", "")]) == ["a   bbb", "cc  d"]
    numbers = [("a", "100"), ("cc", "5")]
    assert columns(numbers, indent="  ", right=True) == ["  a   100", "  cc    5"]
    assert columns([]) == []


def test_bold_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert bold("x") == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert bold("x") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert bold("x") == "x"


def test_the_version_says_so_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_version()[0].isdigit()
    monkeypatch.setattr("autoscaler.cli.version.DISTRIBUTION", "no-such-distribution")
    assert installed_version() == "not installed"
