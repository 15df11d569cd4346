"""The command as a process: imports at start-up, pipes, signals, colours, tracebacks."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.cli import app as app_module
from autoscaler.cli.progress import progress
from autoscaler.core.answers import asked
from autoscaler.core.errors import ActuationError, ConfigError, TraceError
from simulations.cluster import Moment
from simulations.replay import Progress
from tests.cli.conftest import Ran

Run = Callable[..., Ran]

AUTOSCALER = (sys.executable, "-m", "autoscaler")
HEAVY = ("numpy", "yaml", "rich", "orjson", "sklearn", "scipy", "numba", "kubernetes", "aiohttp")


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AUTOSCALER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def imported_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a command leaves loaded."""
    code = (
        "import sys; from autoscaler.cli import main; "
        f"main({list(arguments)!r}); "
        "print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("replay", "--help")])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments).isdisjoint(HEAVY)


def test_check_loads_only_what_it_needs() -> None:
    loaded = imported_by("check", "chat.yaml")

    assert {"numpy", "pydantic", "yaml"} <= loaded
    assert loaded.isdisjoint({"sklearn", "kubernetes", "aiohttp", "rich", "numba", "scipy"})


def test_linear_algebra_gets_one_thread_unless_somebody_says_otherwise() -> None:
    code = (
        "import os; from autoscaler.cli import main; main(['version']); "
        "print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "OMP_NUM_THREADS": "3"},
    )
    assert done.stdout.splitlines()[-1] == "3 1"


def test_both_ways_to_start_are_one_program() -> None:
    script = Path(sys.executable).parent / "autoscaler"

    by_script = subprocess.run([script, "version"], capture_output=True, text=True, check=True)

    assert by_script.stdout == process("version").stdout


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [*AUTOSCALER, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        assert started.stderr.read() == ""


def test_nothing_is_coloured_where_nobody_looks() -> None:
    for arguments in (("policies",), ("policies", "hpa"), ("check", "chat.yaml")):
        done = process(*arguments, FORCE_COLOR="")

        assert "\x1b" not in done.stdout + done.stderr


def test_progress_is_drawn_on_a_terminal_and_leaves_the_data_alone() -> None:
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [*AUTOSCALER, "replay", "--trace", "trace.csv", "--workload", "chat.yaml", "--json"],
        stdout=subprocess.PIPE, stderr=end, text=True, env={**os.environ, "TERM": "xterm"},
    ) as started:  # fmt: skip
        os.close(end)
        assert started.stdout is not None
        data = started.stdout.read()
    drawn = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while part := os.read(terminal, 4096):
            drawn += part
    os.close(terminal)

    assert started.returncode == 0
    assert json.loads(data)["score"]["requests"] == 80
    assert b"ready + " in drawn
    assert b" waiting" in drawn


def test_progress_calls_are_cheap_and_end_at_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    moment = Moment(30.0, 2, 1, 1, 0, 5, 3, 80)

    with progress("chat") as show:
        assert show is not None
        for seconds in (0.0, 30.0, 90.0):
            show(Progress(seconds, 60.0, moment))
        show(Progress(1.0, 0.0, moment))


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("chat") as show:
        assert show is None
    with progress("chat", quiet=True) as show:
        assert show is None
    assert capsys.readouterr().err == ""


# --- which error ends how --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("a.yaml:1: one", "a.yaml:2: two"), 2, "a.yaml:1: one\na.yaml:2: two\n"),
        (TraceError("t.csv:3: wrong"), 2, "t.csv:3: wrong\n"),
        (ActuationError("the cluster did not answer"), 1, "the cluster did not answer\n"),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            "internal error: ZeroDivisionError: division; AUTOSCALER_DEBUG=1 shows where\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
        (SystemExit(3), 3, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_ends_in_one_line_and_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(app_module, "app", fail)

    ran = run("check")

    assert (ran.code, ran.out, ran.err) == (code, "", words)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_the_middle_of_a_policy_ends_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    monkeypatch.setattr(app_module, "app", lambda **_: asked(lambda: signal.raise_signal(number)))
    before = signal.signal(number, signal.SIG_DFL)  # a runner under nohup is deaf to SIGHUP

    try:
        assert run("check").code == code
    finally:
        signal.signal(number, before)


def test_a_traceback_is_there_for_who_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app_module, "app", fail)
    monkeypatch.setenv("AUTOSCALER_DEBUG", "1")

    with pytest.raises(ZeroDivisionError):
        run("check")
