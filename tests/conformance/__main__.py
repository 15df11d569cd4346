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
        UnreadableError: It cannot be read, or is neither.
    """
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        text = data.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read: {error}") from error
    cases = list(_parsed(path, text))
    for case in cases:
        if not isinstance(case, dict):
            raise UnreadableError(f"{path}: a case should be a JSON object, not {case!r:.60}")
    return cases


def _parsed(path: Path, text: str) -> Iterator[Any]:
    if text.lstrip().startswith("["):
        try:
            yield from json.loads(text)
        except ValueError as error:
            raise UnreadableError(f"{path}: not JSON: {error}") from error
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UnreadableError(f"{path}:{number}: not JSON: {error}") from error


def check(case: dict[str, Any]) -> list[str]:
    """Return what differs between a recorded case and what our code does."""
    run = CASES.get(str(case.get("kind")))
    if run is None:
        return [f"kind: {case.get('kind')!r} is unknown"]
    try:
        return run(case)
    except Exception as error:  # noqa: BLE001 - a case that breaks us is a failed case
        return [f"raised {type(error).__name__}: {error}"]


def report(cases: Iterable[dict[str, Any]]) -> int:
    """Print the cases that fail, and how many pass; return how many fail."""
    passed = failed = 0
    for case in cases:
        differences = check(case)
        if not differences:
            passed += 1
            continue
        failed += 1
        if failed <= SHOWN:
            print(f"{case.get('id')}: {'; '.join(differences)}")
    if failed > SHOWN:
        print(f"and {failed - SHOWN} more")
    print(f"{passed} passed, {failed} failed")
    return failed


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code: 0 all pass, 1 some fail, 2 unreadable input."""
    if not arguments:
        print("usage: python -m tests.conformance FILE...", file=sys.stderr)
        return 2
    try:
        cases = [case for name in arguments for case in read_cases(Path(name))]
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if report(cases) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
