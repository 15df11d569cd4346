"""Replay recorded cases of the original programs: python -m tests.conformance FILE..."""

import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.registry import CASES

SHOWN = 20
"""So many failed cases are printed; of the rest, how many."""


class UnreadableError(Exception):
    """A file is not what the format says."""


def read_cases(path: Path) -> list[dict[str, Any]]:
    """Return the cases of a JSON array, or of JSON lines; either may be gzipped.

    Raises:
        UnreadableError: It cannot be read, is neither, or holds no case.
    """
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        text = data.decode()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UnreadableError(f"{path}: cannot be read: {error}") from error
    cases = list(_parsed(path, text))
    if not cases:
        raise UnreadableError(f"{path}: holds no case")
    for case in cases:
        if not isinstance(case, dict):
            raise UnreadableError(f"{path}: a case should be a JSON object, not {case!r:.60}")
    return cases


def _parsed(path: Path, text: str) -> Iterator[Any]:
    if text.lstrip().startswith("["):
        yield from _json(str(path), text)
        return
    for number, line in enumerate(text.split("\n"), start=1):  # U+2028 may stand in a string
        if line.strip():
            yield _json(f"{path}:{number}", line)


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnreadableError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise UnreadableError(f"{where}: nested too deep") from error


def check(case: dict[str, Any]) -> list[str]:
    """Return what differs between a recorded case and what our code does."""
    run = CASES.get(str(case.get("kind")))
    if run is None:
        return [f"kind: {case.get('kind')!r} is unknown"]
    try:
        return run(case)
    except Exception as error:  # noqa: BLE001 - a case that breaks us is a failed case
        return [f"raised {type(error).__name__}: {error}"]


def read_all(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the cases of all files that can be read, and what is wrong with the others."""
    cases: list[dict[str, Any]] = []
    problems: list[str] = []
    for path in paths:
        try:
            cases += read_cases(path)
        except UnreadableError as error:
            problems.append(str(error))
    return cases, problems


def report(cases: Iterable[dict[str, Any]], unreadable: int = 0) -> int:
    """Print the cases that fail, and how many pass; return how many fail.

    Args:
        cases: What to check.
        unreadable: Files that could not be read; each counts as one failure.
    """
    passed = failed = 0
    for case in cases:
        differences = check(case)
        if not differences:
            passed += 1
            continue
        failed += 1
        if failed <= SHOWN:
            print(_printable(f"{case.get('id')}: {'; '.join(differences)}"))
    if failed > SHOWN:
        print(f"and {failed - SHOWN} more")
    print(f"{passed} passed, {failed + unreadable} failed")
    return failed + unreadable


def _printable(text: str) -> str:
    """Half a surrogate pair is a string in JSON, and cannot be printed."""
    return text.encode("utf-8", "backslashreplace").decode()


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code: 0 all pass, 1 some fail, 2 unreadable input."""
    if not arguments:
        print("usage: python -m tests.conformance FILE...", file=sys.stderr)
        return 2
    cases, problems = read_all(Path(name) for name in arguments)
    for problem in problems:
        print(_printable(problem), file=sys.stderr)
    failed = report(cases, len(problems))
    if problems:
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
