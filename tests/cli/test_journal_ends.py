"""However a replay ends, nothing half-written stays and nothing else is replaced."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import TRACE, Ran

Run = Callable[..., Ran]
REPLAY = ("replay", "--trace", "trace.csv", "--workload", "chat.yaml", "--journal", "j.jsonl")
AUTOSCALER = (sys.executable, "-m", "autoscaler")


def after(shell: str) -> tuple[str, ...]:
    """The command that begins with a line of shell."""
    return ("sh", "-c", f'{shell}; exec "$@"', "sh", *AUTOSCALER)


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def busy_for_long() -> None:
    Path("trace.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens\n"
        + "".join(f"{half_minute * 30},900,300\n" for half_minute in range(40_000))
    )


def heeding() -> None:
    """Undo what a background job of a shell inherits: to be deaf to both."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def ended_by(*signals: signal.Signals, command: tuple[str, ...] = AUTOSCALER) -> int:
    """Start a long replay, send it signals once it writes, and return its exit code."""
    with subprocess.Popen(
        [*command, *REPLAY],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heeding,  # noqa: PLW1509  # no threads here
    ) as started:
        until = time.monotonic() + 60
        while not list(Path().glob(".*.partial")) and time.monotonic() < until:
            time.sleep(0.02)
        assert started.poll() is None
        time.sleep(0.2)
        for one in signals:
            started.send_signal(one)
            time.sleep(0.2)
        out, err = started.communicate(timeout=60)
    assert out == ""
    assert err == "llm/chat: 40,000 requests in 20000 minutes\n"
    return started.returncode


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
    ids=["terminated", "hung up", "interrupted"],
)
def test_a_replay_that_is_ended_leaves_no_half_of_a_journal(
    sent: signal.Signals, code: int
) -> None:
    busy_for_long()

    assert ended_by(sent) == code
    assert names() == ["chat.yaml", "trace.csv"]


def test_a_replay_under_nohup_outlives_its_terminal() -> None:
    busy_for_long()

    assert ended_by(signal.SIGHUP, signal.SIGTERM, command=after("trap '' HUP")) == 143


def test_a_full_disk_is_one_line_and_leaves_nothing() -> None:
    done = subprocess.run(
        [*after("ulimit -f 20"), *REPLAY, "--quiet"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "j.jsonl: cannot be written: file too large\n"
    assert names() == ["chat.yaml", "trace.csv"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("notes.txt", "notes.txt: is not a journal; name another file, or remove it first"),
        ("pipe", "pipe: is not a regular file; name another file"),
        ("folder", "folder: is a folder; name a file"),
        ("", ".: is a folder; name a file"),
    ],
)
def test_a_name_that_something_else_has_is_wrong_input(run: Run, name: str, problem: str) -> None:
    Path("notes.txt").write_text("precious\n")
    Path("folder").mkdir()
    os.mkfifo("pipe")

    ran = run(*REPLAY[:-1], name, "--quiet")

    assert (ran.code, ran.out, ran.err) == (2, "", f"{problem}\n")
    assert Path("notes.txt").read_text() == "precious\n"
    assert names() == ["chat.yaml", "folder", "notes.txt", "pipe", "trace.csv"]


def test_a_second_replay_replaces_the_journal_of_the_first(run: Run) -> None:
    assert run(*REPLAY, "--quiet").code == 0
    first = Path("j.jsonl").read_bytes()
    Path("trace.csv").write_text("\n".join(TRACE.splitlines()[:20]))

    assert run(*REPLAY, "--quiet").code == 0
    assert Path("j.jsonl").read_bytes() != first
