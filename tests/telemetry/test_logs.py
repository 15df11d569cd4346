"""The log: one line for each event, the reason last, nothing secret in it."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.telemetry.logs import CHATTY, set_up_logs
from autoscaler.telemetry.redact import redacted

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where lines go; the process has its own way of logging back afterwards."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in CHATTY}
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def fail(why: str) -> None:
    raise RuntimeError(why)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_the_reason_last(stream: io.StringIO) -> None:
    set_up_logs("json", stream=stream)

    structlog.get_logger("cycle").info("scale", reason="load is 50", workload="llm/chat", to=5)

    (line,) = lines(stream)
    assert list(line) == ["time", "level", "event", "logger", "workload", "to", "reason"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["event"], line["logger"]) == ("info", "scale", "cycle")


def test_a_person_reads_words_and_values_in_quotes_where_needed(stream: io.StringIO) -> None:
    set_up_logs("console", stream=stream)

    structlog.get_logger().warning("hold", reason="blind to load: no sample", share=0.25, name="")

    _, _, words = stream.getvalue().partition(" ")
    assert words == "WARNING hold share=0.25 name='' reason='blind to load: no sample'\n"


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_event_is_one_line_whatever_it_holds(stream: io.StringIO, form: str) -> None:
    set_up_logs(form, stream=stream)
    log = structlog.get_logger()

    log.error("two\nlines \x1b[31m", reason="a\r\nb\u2028c", path="\udcff", number=2**70)
    try:
        fail("division by\ncucumber")
    except RuntimeError:
        log.exception("bug", shares={"a": np.float64(0.5)}, seen=[b"\xff"])

    assert len(stream.getvalue().split("\n")) == 3
    assert "\x1b" not in stream.getvalue()
    assert "cucumber" in stream.getvalue()


def test_what_is_less_severe_is_left_out(stream: io.StringIO) -> None:
    set_up_logs("json", "warning", stream)
    log = structlog.get_logger()

    log.info("quiet")
    log.warning("loud")

    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_libraries_come_out_in_the_same_form(stream: io.StringIO) -> None:
    set_up_logs("json", stream=stream)

    logging.getLogger("urllib3.connectionpool").warning("retrying %s", "https://u:p@host/")
    logging.getLogger("apscheduler.scheduler").info("added a job")
    logging.getLogger("own.library").log(35, "between two levels")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)  # catch_warnings has put its own in between
        warnings.warn_explicit("old thing", UserWarning, "a.py", 1)

    found = [(one["logger"], one["level"], one["event"]) for one in lines(stream)]
    assert found == [
        ("urllib3.connectionpool", "warning", "retrying https://***@host/"),
        ("own.library", "warning", "between two levels"),
        ("py.warnings", "warning", "a.py:1: UserWarning: old thing\n"),
    ]


def test_libraries_are_heard_where_everything_is_asked_for(stream: io.StringIO) -> None:
    set_up_logs("json", "debug", stream)

    logging.getLogger("kubernetes.client").debug("asked")

    assert [one["event"] for one in lines(stream)] == ["asked"]


def test_the_traceback_of_a_library_is_kept_and_clean(stream: io.StringIO) -> None:
    set_up_logs("json", stream=stream)
    try:
        fail("GET https://ada:hunter2@prometheus/ failed")
    except RuntimeError:
        logging.getLogger("kubernetes").exception("failed")

    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert "hunter2" not in stream.getvalue()


def test_a_line_with_a_mistake_in_it_fails_nobody(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_logs("json", stream=stream)
    monkeypatch.setattr(logging, "raiseExceptions", False)

    logging.getLogger("library").warning("%d", "no number")

    assert stream.getvalue() == ""


def test_setting_up_twice_does_not_tell_twice(stream: io.StringIO) -> None:
    set_up_logs("json", stream=stream)
    set_up_logs("json", stream=stream)

    logging.getLogger("library").warning("once")

    assert len(lines(stream)) == 1


def test_when_nobody_listens_any_more_nothing_fails(stream: io.StringIO) -> None:
    set_up_logs("json", stream=stream)
    stream.close()

    structlog.get_logger().info("into the void")


def test_the_standard_error_is_where_lines_go_unless_told(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("console")

    structlog.get_logger().info("here")

    assert stream.getvalue() == ""
    assert "INFO    here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("Bearer abc.def", "Bearer ***", id="a bearer token"),
        pytest.param("sent bearer s3cret, then", "sent bearer ***, then", id="in a sentence"),
        pytest.param("Basic dXNlcjpwYXNz", "Basic ***", id="basic credentials"),
        pytest.param("Authorization: Bearer abc", "Authorization: ***", id="a header"),
        pytest.param("{'Authorization': 'Token abc'}", "{'Authorization': '***'}", id="a dict"),
        pytest.param("http://ada:pw@host:9/x", "http://***@host:9/x", id="user and password"),
        pytest.param("http://ada:p@w@host/", "http://***@host/", id="an @ in a password"),
        pytest.param("https://token@host", "https://***@host", id="a user alone"),
        pytest.param("/x?token=abc&y=1", "/x?token=***&y=1", id="a parameter"),
        pytest.param("got eyJhbGciOiJI.eyJzdWIi.sig", "got ***", id="a JSON web token"),
        pytest.param("a bearer token is needed", None, id="the words alone"),
        pytest.param("basic authentication failed", None, id="other words"),
        pytest.param("http://host/a@b", None, id="an @ in a path"),
        pytest.param("mail ada@example.org", None, id="an address of mail"),
        pytest.param("tokens_per_second is 400", None, id="tokens of a model"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_left(text: str, clean: str | None) -> None:
    assert redacted(text) == (text if clean is None else clean)


def test_some_names_alone_say_that_a_value_is_secret() -> None:
    nested = {"headers": {"X-Api-Key": "k", "Accept": "json"}, "list": [("password", b"pw")]}

    assert redacted("abc", "Proxy-Authorization") == "***"
    assert redacted(nested) == {
        "headers": {"X-Api-Key": "***", "Accept": "json"},
        "list": [["password", "pw"]],
    }
    assert redacted(5, "tokens") == 5


@given(secret=st.text("abcdefABCDEF0123456789-._~+", min_size=1), before=st.text(max_size=20))
def test_no_bearer_token_survives(secret: str, before: str) -> None:
    token = f"zq{secret}"

    assert token not in redacted(f"{before} Bearer {token} after")
    assert token not in redacted(f"https://u:{token}@host/")
