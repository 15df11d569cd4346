"""Who ends a command from outside is heard, wherever the command is at that moment."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from autoscaler.cli import app as app_module
from autoscaler.cli.ending import ending
from autoscaler.core.errors import Ended
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """A runner under nohup, or in the background of a shell, is deaf to some."""
    before = {one: signal.signal(one, signal.SIG_DFL) for one in ASKING}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


def wait_for_it() -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        time.sleep(0.01)


def lost() -> None:
    """Be interrupted where what is raised is lost, as in a destructor, and go on."""
    with suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def inside(package: str, what: Callable[[], None]) -> None:
    """Call as code of somebody else's package does."""
    exec("what()", {"__name__": f"{package}.deep", "what": what})


@pytest.mark.parametrize("number", ASKING)
def test_each_signal_ends_a_command_with_its_own_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(app_module, "app", lambda **_: signal.raise_signal(number))

    ran = run("check")

    assert (ran.code, ran.out, ran.err) == (CODES[number], "", "")


def test_what_was_lost_is_raised_again() -> None:
    def command() -> None:
        lost()
        wait_for_it()

    with pytest.raises(Ended), ending() as asked:
        command()

    assert asked.code == 143


@pytest.mark.parametrize("package", ["importlib", "llvmlite", "numba"])
def test_it_waits_for_code_that_would_make_another_error_of_it(package: str) -> None:
    done = []

    def compiled() -> None:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.2)
        done.append(True)

    def command() -> None:
        inside(package, compiled)
        wait_for_it()

    with pytest.raises(Ended), ending():
        command()

    assert done


def test_who_calls_a_command_while_it_is_imported_can_end_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, went_on = [], []

    def command(**_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        went_on.append(True)

    monkeypatch.setattr(app_module, "app", command)
    inside("importlib", lambda: codes.append(run("check").code))

    assert (codes, went_on) == ([143], [])


def test_a_second_signal_waits_for_nothing() -> None:
    def compiled() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        wait_for_it()

    with pytest.raises(Ended), ending() as asked:
        inside("numba", compiled)

    assert asked.code == 130


def test_who_cleans_up_is_not_interrupted_again() -> None:
    cleaned = []

    def clean() -> None:
        with suppress(ValueError):  # an error of its own, while it cleans up
            try:
                raise ValueError
            finally:
                time.sleep(0.8)
        cleaned.append(True)

    def command() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            clean()

    with pytest.raises(Ended), ending():
        command()

    assert cleaned


def test_the_error_that_somebody_made_of_it_is_not_reported(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        lost()
        raise ImportError("_devicearray failed to import")

    monkeypatch.setattr(app_module, "app", fail)

    ran = run("check")

    assert (ran.code, ran.err) == (143, "")


def test_what_somebody_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with ending() as asked:
        signal.raise_signal(signal.SIGHUP)

    assert asked.code is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_where_the_alarm_is_somebody_elses_nothing_waits() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    try:
        with pytest.raises(Ended), ending():
            inside("numba", lambda: signal.raise_signal(signal.SIGTERM))
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert heard == [signal.SIGALRM]


def test_an_alarm_of_nobody_changes_nothing() -> None:
    with ending() as asked:
        signal.raise_signal(signal.SIGALRM)

    assert asked.code is None


def test_nothing_is_left_once_a_command_is_done() -> None:
    every = [*ASKING, signal.SIGALRM]
    before = [signal.getsignal(one) for one in every]

    with suppress(Ended), ending():
        signal.raise_signal(signal.SIGTERM)

    assert [signal.getsignal(one) for one in every] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_thread_sets_no_handlers() -> None:
    seen = []

    def command() -> None:
        with ending():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=command)
    thread.start()
    thread.join()

    assert seen == [signal.SIG_DFL]
