"""Tasks in one process or several: the same results, errors and progress."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from autoscaler.core.errors import ConfigError
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
