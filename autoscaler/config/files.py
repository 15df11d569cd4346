"""Which files a command line names, and their text."""

import os
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
    found: list[tuple[Path, str]] = []
    for path in paths:
        try:
            found.extend(_in_folder(path, problems) if path.is_dir() else [(path, _real(path))])
        except (OSError, ValueError) as error:
            problems.append(Problem(str(path), f"cannot be read: {_why(error)}"))
    seen: set[str] = set()
    unique = []
    for path, real in found:
        if real not in seen:
            seen.add(real)
            unique.append(path)
    return unique


def _in_folder(folder: Path, problems: list[Problem]) -> list[tuple[Path, str]]:
    """Return the files in a folder, each with where it really lies."""
    with os.scandir(folder) as entries:
        inside = sorted((one for one in entries if _is_meant(one)), key=lambda one: one.name)
    if not inside:
        names = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
        problems.append(Problem(str(folder), f"this folder holds no policy file ({names})"))
    # Only links are followed one by one: that takes longer than all else here together.
    here = os.path.realpath(folder)
    return [
        (folder / one.name, _real(folder / one.name) if one.is_symlink() else f"{here}/{one.name}")
        for one in inside
    ]


def _is_meant(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    if not name.endswith(SUFFIXES) or name.startswith(".") or name.endswith(".schema.json"):
        return False
    try:
        return not entry.is_dir()
    except OSError:
        return True  # reading it will say what is wrong


def _real(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def read_bytes(path: Path, problems: list[Problem]) -> bytes | None:
    """Return what a file holds, up to a byte too many; None, and a problem, where it cannot be."""
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        problems.append(Problem(str(path), f"cannot be read: {_why(error)}"))
        return None


def text_of(file: str, data: bytes, problems: list[Problem]) -> str | None:
    """Return the text of what `read_bytes` found; None, and a problem, where it is no text."""
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
