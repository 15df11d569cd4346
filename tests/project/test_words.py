"""Words with no place in the project: package indexes, one machine's paths, loose ends."""

import re
from collections.abc import Iterator

import pytest

from tests.project.tree import ROOT, project_files

FORBIDDEN = {
    "where packages come from is the machine's own setting": re.compile(
        r"--(?:extra-)?index-url|--find-links|--trusted-host|(?:PIP|UV|NPM)_\w*(?:INDEX|REGISTRY|LINKS)"
        r"|\b(?:files\.)?py(?:pi|thonhosted)\.\w+|\bregistry\.[\w-]+\.\w+|\b(?:deb|security)\.\w+\.org\b",
        re.IGNORECASE,
    ),
    "a path of one machine is wrong on every other": re.compile(
        r"(?<![\w.~)}*-])/(?:home|root|Users|work|workspace|builds|runner)/[\w.]"
    ),
    "what is not finished is not in": re.compile(
        r"\b(?:T[O]DO|F[I]XME|X[X]X|Not[I]mplementedError)\b"
    ),
    "a change speaks for itself, without a number": re.compile(
        r"\bissues? #?\d{1,2}\b", re.IGNORECASE
    ),
}

SELF = "tests/project/test_words.py"


def offences(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for reason, pattern in FORBIDDEN.items():
            if found := pattern.search(line):
                yield f"{number}: {found[0]!r}: {reason}"


def test_no_file_holds_a_word_that_does_not_belong() -> None:
    found = []
    for path in project_files():
        if path.as_posix() == SELF:
            continue
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # data, not words
        found += [f"{path}:{offence}" for offence in offences(text)]
    assert found == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        pytest.param("pip install --index-url https://mirror.example/simple x", True, id="index"),
        pytest.param("see registry.example.org for x", True, id="registry"),
        pytest.param("open('/home/ada/trace.csv')", True, id="home folder"),
        pytest.param("as asked for in issue #2", True, id="number"),
        pytest.param("# T" + "ODO: later", True, id="loose end"),
        pytest.param("https://example.org/work/paper.pdf", False, id="a path within an address"),
        pytest.param("tests/work/trace.csv", False, id="a relative path"),
        pytest.param("the issue 12345 of another project", False, id="another project's number"),
    ],
)
def test_the_search_finds_what_it_looks_for(line: str, wrong: bool) -> None:
    assert bool(list(offences(line))) is wrong
