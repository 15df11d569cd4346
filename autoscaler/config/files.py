"""Which files a command line names, and their text."""

import re
from collections.abc import Iterable
from pathlib import Path

from autoscaler.config.nodes import Mark
from autoscaler.config.problems import Problem

SUFFIXES = (".yaml", ".yml", ".json")
LARGEST_BYTES = 4 * 1024 * 1024

# Control characters, a byte-order mark inside the text, and two code points that are no characters.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")


def policy_files(paths: Iterable[Path], problems: list[Problem]) -> list[Path]:
    """Return the files that are meant, each once, in the order named.

    A folder stands for its own *.yaml, *.yml and *.json files by name, without hidden ones and
    without those of folders inside it. What is not there goes to `problems`.
    """
    found: list[Path] = []
    for path in paths:
        try:
            found.extend(_in_folder(path, problems) if path.is_dir() else [path])
        except (OSError, ValueError) as error:
            problems.append(Problem(str(path), f"cannot be read: {_why(error)}"))
    seen: set[Path] = set()
    unique = []
    for path in found:
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):
            real = path
        if real not in seen:
            seen.add(real)
            unique.append(path)
    return unique


def _in_folder(folder: Path, problems: list[Problem]) -> list[Path]:
    inside = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(".schema.json")
        and not path.is_dir()
    )
    if not inside:
        names = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
        problems.append(Problem(str(folder), f"this folder holds no policy file ({names})"))
    return inside


def read_text(path: Path, problems: list[Problem]) -> str | None:
    """Return a file's text; None, and a problem, where there is none to return."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        problems.append(Problem(file, f"cannot be read: {_why(error)}"))
        return None
    if len(data) > LARGEST_BYTES:
        limit = LARGEST_BYTES // 1024 // 1024
        problems.append(Problem(file, f"a policy file should be at most {limit} MiB: split it"))
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        mark = _mark_of(data[: error.start].decode("utf-8"))
        byte = f"the byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        problems.append(Problem(file, byte, mark, exact=True))
        return None
    text = text.removeprefix("\ufeff")
    wild = _FORBIDDEN.search(text)
    if wild is not None:
        found = f"the control character U+{ord(wild.group()):04X} has no place here: remove it"
        mark = _mark_of(text[: wild.start()])
        problems.append(Problem(file, found, mark, exact=True))
        return None
    return text


def _mark_of(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _why(error: OSError | ValueError) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
