"""What the benchmark says of the machine: what the host took away, and which Python runs."""

import platform
import sysconfig
from pathlib import Path

import pytest

from tests.bench.meter import Theft, python_text

BEFORE = "cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
AFTER = "cpu  190 0 60 880 10 0 5 55 97 0\n"


def test_stolen_time_is_a_share_of_all_time_since_the_last_look(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(BEFORE)
    theft = Theft(stat)

    stat.write_text(AFTER)

    assert theft.share() == 20 / (90 + 10 + 80 + 20)
    assert theft.share() == 0.0


@pytest.mark.parametrize("told", [None, "cpu  100 0 50 800\n", "ctxt 12\n"])
def test_where_nobody_tells_of_it_nothing_is_said(tmp_path: Path, told: str | None) -> None:
    stat = tmp_path / "stat"
    if told is not None:
        stat.write_text(told)

    assert Theft(stat).share() is None


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        ("'--enable-shared' '--enable-optimizations'", ", an optimised build"),
        ("'--enable-shared'", platform.python_version()),
        (None, platform.python_version()),
    ],
)
def test_the_python_is_named(
    monkeypatch: pytest.MonkeyPatch, arguments: str | None, ends: str
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": arguments}.get)

    assert platform.python_version() in python_text()
    assert python_text().endswith(ends)
