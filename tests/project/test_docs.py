"""The documents are true: links lead somewhere, and every command in a console block runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.project import markdown
from tests.project.tree import ROOT, files_ending, make_targets, project_files

DOCUMENTS = files_ending(".md")
MAKE = re.compile(r"make(?: (?P<goals>[a-z][a-z -]*))?(?: [A-Z_]+=\S+)*")
OTHER_SITES = ("https://", "http://", "mailto:")


def document(path: Path) -> markdown.Document:
    return markdown.read((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_link_within_the_project_leads_somewhere(path: Path) -> None:
    broken = []
    for line, target in markdown.links(document(path)):
        if target.startswith(OTHER_SITES):
            continue
        file, _, anchor = unquote(target).partition("#")
        aim = (ROOT / path.parent / file).resolve() if file else ROOT / path
        if not aim.exists() or not aim.is_relative_to(ROOT):
            broken.append(f"{path}:{line}: {target}: no such file in the project")
        elif anchor and anchor not in markdown.anchors(document(aim.relative_to(ROOT))):
            broken.append(f"{path}:{line}: {target}: no such heading")
    assert broken == []


WITH_COMMANDS = [path for path in DOCUMENTS if list(markdown.commands(document(path)))]


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_COMMANDS, ids=str)
def test_every_command_in_the_document_runs(path: Path, tmp_path: Path) -> None:
    """In order, from the root of one copy of the project; `make` only has to name real targets."""
    copy = copy_of_the_project(tmp_path)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "NO_COLOR": "1",
        "PATH": f"{copy / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    for command in markdown.commands(document(path)):
        if make := MAKE.fullmatch(command.text):
            unknown = set((make["goals"] or "help").split()) - set(make_targets())
            assert unknown == set(), f"{path}:{command.line}: make has no such target"
            continue
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == command.exits, (
            f"{path}:{command.line}: {command.text}\n{done.stdout}{done.stderr}"
        )


def copy_of_the_project(parent: Path) -> Path:
    copy = parent / "project"
    for path in project_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_an_example_needs_no_file_that_a_clone_lacks(path: Path) -> None:
    """Blocks that do not run here are for a person's own shell; they must not reach outside."""
    outside = [
        f"{path}:{number}: {line}"
        for block in document(path).blocks
        for number, line in enumerate(block.lines, start=block.first_line)
        if re.search(r"(?<![\w.])\.\./", line)
    ]
    assert outside == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_few_blocks_are_excused_from_running(path: Path) -> None:
    excused = [block.first_line for block in document(path).blocks if "no-run" in block.words]
    assert len(excused) <= 2


def test_the_readme_shows_the_two_commands() -> None:
    shown = {command.text for command in markdown.commands(document(Path("README.md")))}
    assert {"make demo", "make test"} <= shown


def test_the_readme_enters_the_environment_before_it_names_the_command() -> None:
    shown = [command.text for command in markdown.commands(document(Path("README.md")))]
    first = next(at for at, text in enumerate(shown) if text.startswith("autoscaler "))
    assert ". .venv/bin/activate" in shown[:first]


def test_the_readme_leads_to_every_page() -> None:
    found = {target.partition("#")[0] for _, target in markdown.links(document(Path("README.md")))}
    pages = {path.as_posix() for path in DOCUMENTS if not path.is_relative_to("tests")}
    assert pages - found == {"README.md"}
