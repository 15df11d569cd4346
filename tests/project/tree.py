"""The files of the project, as git knows them."""

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

RUNTIME = ("autoscaler", "metrics_adapter", "policies", "simulations")
"""The packages that are installed."""


@cache
def project_files() -> tuple[Path, ...]:
    """Return every file that is in git, or would be after `git add .`, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    names = sorted({name for name in listed.split("\0") if name})
    return tuple(Path(name) for name in names if (ROOT / name).is_file())


def files_ending(suffix: str) -> tuple[Path, ...]:
    """Return the project's files with this suffix, such as `.py`."""
    return tuple(path for path in project_files() if path.suffix == suffix)


def runtime_modules() -> tuple[Path, ...]:
    """Return the Python files of the installed packages."""
    return tuple(path for path in files_ending(".py") if path.parts[0] in RUNTIME)


def make_targets() -> list[str]:
    """Return the targets of the Makefile that a person may name."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE)
