"""What a newcomer sees when the machine lacks something, and that `make` says what it can do."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project.tree import ROOT, make_targets

MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with make and one Python, from which the named modules can be taken away."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, project)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("awk", "cat", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))

    def run(
        *arguments: str, python: str = "python3", patch: str = ""
    ) -> subprocess.CompletedProcess[str]:
        patches = tmp_path / "patches"
        patches.mkdir(exist_ok=True)
        (patches / "sitecustomize.py").write_text(patch, encoding="utf-8")
        interpreter = programs / python
        interpreter.write_text(
            f'#!/bin/sh\nPYTHONPATH="{patches}" exec "{sys.executable}" "$@"\n', encoding="utf-8"
        )
        interpreter.chmod(0o755)
        return subprocess.run(
            [str(MAKE), *arguments],
            cwd=project,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


NO_ENSUREPIP = "import sys; sys.modules['ensurepip'] = None"
OLD = "import sys; sys.version_info = (3, 10, 12, 'final', 0)"


def test_says_which_package_is_missing_when_there_is_no_ensurepip(machine: Machine) -> None:
    done = machine("setup", patch=NO_ENSUREPIP)

    assert done.returncode != 0
    assert done.stderr.splitlines()[:2] == [
        "make setup: python3 cannot create a virtual environment: its module ensurepip is missing.",
        "On Debian and Ubuntu: apt-get install python3-venv; then run make again.",
    ]


def test_says_which_versions_will_do_when_python_is_too_old(machine: Machine) -> None:
    done = machine("setup", patch=OLD)

    assert done.returncode != 0
    found, advice, *_ = done.stderr.splitlines()
    names = "python3 python3.13 python3.12 python3.11 python3.14"
    assert found == f"make setup: needs Python 3.11 to 3.14; looked for: {names}."
    assert advice == "Install one, or name it: make setup PYTHON=/path/to/python3"


def test_looks_only_for_the_interpreter_that_was_named(machine: Machine) -> None:
    done = machine("setup", "PYTHON=python9", python="python3")

    assert done.returncode != 0
    assert "looked for: python9." in done.stderr


def test_takes_a_versioned_interpreter_where_there_is_no_python3(machine: Machine) -> None:
    done = machine("setup", python="python3.12", patch=NO_ENSUREPIP)

    assert "make setup: python3.12 cannot create" in done.stderr


@pytest.mark.parametrize("goal", [[], ["help"]], ids=["make", "make help"])
def test_lists_every_target_with_what_it_does(machine: Machine, goal: list[str]) -> None:
    done = machine(*goal)

    assert done.returncode == 0
    listed = dict(re.findall(r"^make (\S+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert sorted(listed) == sorted(make_targets())


def test_does_nothing_when_the_environment_is_up_to_date(machine: Machine, tmp_path: Path) -> None:
    an_environment(tmp_path / "project", made_in=tmp_path / "project")

    done = machine("setup")

    assert (done.returncode, done.stdout) == (0, "make: Nothing to be done for 'setup'.\n")


def test_makes_the_environment_anew_after_the_folder_was_moved(
    machine: Machine, tmp_path: Path
) -> None:
    an_environment(tmp_path / "project", made_in=tmp_path / "elsewhere")

    done = machine("setup", patch=NO_ENSUREPIP)  # so that it stops where it would begin

    assert "cannot create a virtual environment" in done.stderr


def an_environment(project: Path, made_in: Path) -> None:
    programs = project / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (project / ".venv" / ".installed").write_text(f"{made_in}\n", encoding="utf-8")
