"""Tasks in one process or several: the same results, errors and progress."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoscaler.core.errors import AutoscalerError, ConfigError
from simulations.parallel import carry_out_all


@dataclass(frozen=True)
class Lengths:
    """Counts letters, or refuses."""

    refuses: str = ""

    def carry_out(self, task: str, on_share: Callable[[float], None]) -> int:
        if task == self.refuses:
            raise ConfigError(f"{task}: is refused")
        for step in range(1001):
            on_share(step / 1000)
        return len(task)


TASKS = ["a", "bb", "ccc"]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_results_come_by_task_whatever_the_number_of_processes(jobs: int) -> None:
    heard: list[tuple[str, float]] = []

    found = carry_out_all(Lengths(), TASKS, jobs, lambda task, share: heard.append((task, share)))

    assert found == {"a": 1, "bb": 2, "ccc": 3}
    for task in TASKS:
        shares = [share for one, share in heard if one == task]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) <= 102


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_ends_it_all(jobs: int) -> None:
    with pytest.raises(ConfigError) as refused:
        carry_out_all(Lengths(refuses="bb"), TASKS, jobs)

    assert list(refused.value.problems) == ["bb: is refused"]


@dataclass(frozen=True)
class Ending:
    """Sends its own process a signal; another task goes on for as long as it may."""

    folder: Path
    sent: signal.Signals

    def carry_out(self, task: str, on_share: Callable[[float], None]) -> None:
        note = self.folder / task
        note.touch()
        try:
            if task == "ends":
                while not (self.folder / "endless").exists():
                    time.sleep(0.01)
                os.kill(os.getpid(), self.sent)
            for _ in range(10_000):
                time.sleep(0.01)
                on_share(0.5)
        finally:
            note.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP], ids=["terminated", "hung up"])
def test_a_process_that_is_ended_cleans_up_and_so_do_the_others(
    tmp_path: Path, sent: signal.Signals
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            carry_out_all(Ending(tmp_path, sent), ["ends", "endless"], 2)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert ended.value.code == 128 + sent
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AutoscalerError) as killed:
        carry_out_all(Ending(tmp_path, signal.SIGKILL), ["ends", "endless"], 2)

    assert str(killed.value) == (
        "a process that simulates was killed, perhaps for lack of memory: use fewer, as with "
        "--jobs 1"
    )


def _simulate_and_die(folder: str) -> None:
    def die_when_both_work(_task: str, _share: float) -> None:
        if len(list(Path(folder).iterdir())) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    carry_out_all(Ending(Path(folder), signal.SIGTERM), ["endless", "more"], 2, die_when_both_work)


@pytest.mark.slow
def test_nobody_works_on_for_a_process_that_was_killed(tmp_path: Path) -> None:
    first = multiprocessing.get_context("spawn").Process(
        target=_simulate_and_die, args=(str(tmp_path),)
    )
    first.start()
    first.join(60)

    until = time.monotonic() + 30
    while list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert first.exitcode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
