"""However a comparison ends, none of its processes leaves half of a journal, nor says a word."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LONG = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{half_minute * 30},900,300\n" for half_minute in range(40_000)
)


def heeding() -> None:
    """Undo what a background job of a shell inherits: to be deaf to both."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def partials() -> list[Path]:
    return list(Path("kept").glob(".*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("everybody", [False, True], ids=["the first process", "all of them"])
@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
    ids=["terminated", "hung up", "interrupted"],
)
def test_a_comparison_that_is_ended_leaves_no_half_of_a_journal(
    sent: signal.Signals, code: int, everybody: bool
) -> None:
    Path("trace.csv").write_text(LONG)
    names = [f"chat-{number}.yaml" for number in range(2)]
    for name in names:
        Path(name).write_text(Path("chat.yaml").read_text())
    command = [sys.executable, "-m", "autoscaler", "compare", "--trace", "trace.csv", *names]
    options = ["--journals", "kept", "--jobs", "4", "--no-report", "--quiet"]

    with subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heeding,  # noqa: PLW1509  # no threads here
    ) as started:
        until = time.monotonic() + 120
        while len(partials()) < 1 and time.monotonic() < until and started.poll() is None:
            time.sleep(0.05)
        begun = len(partials())
        if everybody:
            os.killpg(started.pid, sent)
        else:
            started.send_signal(sent)
        out, err = started.communicate(timeout=60)

    assert begun >= 1
    assert (started.returncode, out, err) == (code, "", "")
    assert list(Path("kept").iterdir()) == []
