import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.hpa_cases import canonical

ROOT = Path(__file__).resolve().parents[2]


def a_quantity(name: str, milli: int = 500) -> dict[str, Any]:
    expect = {"milli": milli, "approximate_float": 0.5}
    return {"id": name, "kind": "quantity", "quantity": "0.5", "expect": expect}


def a_file(tmp_path: Path, text: str | bytes, name: str = "cases.json") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def lines(*cases: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(case)}\n" for case in cases)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(json.dumps([a_quantity("a"), a_quantity("b")]), id="an array"),
        pytest.param(lines(a_quantity("a"), a_quantity("b")), id="lines"),
        pytest.param("\n" + lines(a_quantity("a"), a_quantity("b")) + "\n\n", id="blank lines"),
        pytest.param(gzip.compress(lines(a_quantity("a"), a_quantity("b")).encode()), id="gzip"),
        pytest.param(
            gzip.compress(json.dumps([a_quantity("a"), a_quantity("b")]).encode()), id="gzip array"
        ),
    ],
)
def test_it_reads_arrays_and_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str | bytes
) -> None:
    assert main([a_file(tmp_path, data)]) == 0

    assert capsys.readouterr().out == "2 passed, 0 failed\n"


def test_it_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = a_quantity("wrong", milli=501)
    wrong["expect"]["approximate_float"] = 0.25

    assert main([a_file(tmp_path, lines(a_quantity("right"), wrong))]) == 1

    assert capsys.readouterr().out == (
        "wrong: milli: 500, expected 501; approximate_float: 0.5, expected 0.25\n"
        "1 passed, 1 failed\n"
    )


def test_an_answer_that_nobody_gives_is_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = a_quantity("strange")
    strange["expect"]["colour"] = "blue"

    assert main([a_file(tmp_path, lines(strange))]) == 1

    assert capsys.readouterr().out.startswith("strange: colour: None, expected 'blue'\n")


def test_of_many_failures_the_first_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [a_quantity(f"case {number}", milli=1) for number in range(25)]

    assert main([a_file(tmp_path, lines(*cases))]) == 1

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 22
    assert printed[-2:] == ["and 5 more", "0 passed, 25 failed"]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        pytest.param({"id": "x", "kind": "vpa"}, "x: kind: 'vpa' is unknown", id="unknown kind"),
        pytest.param({"id": "x"}, "x: kind: None is unknown", id="no kind"),
        pytest.param(
            {"id": "x", "kind": "quantity"}, "x: raised KeyError: 'quantity'", id="a broken case"
        ),
    ],
)
def test_a_case_that_cannot_be_replayed_has_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: dict[str, Any], sentence: str
) -> None:
    assert main([a_file(tmp_path, lines(case))]) == 1

    assert capsys.readouterr().out == f"{sentence}\n0 passed, 1 failed\n"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param("[1, 2", "cases.json: not JSON: ", id="a broken array"),
        pytest.param('{"kind": 1}\n{', "cases.json:2: not JSON: ", id="a broken line"),
        pytest.param("[1]", "cases.json: a case should be a JSON object, not 1", id="a number"),
        pytest.param(b"\xff\xfe", "cases.json: cannot be read: ", id="not UTF-8"),
        pytest.param(
            gzip.compress(b"{}\n")[:-9], "cases.json: cannot be read: ", id="gzip cut short"
        ),
        pytest.param("", "cases.json: holds no case", id="empty"),
        pytest.param(" \n\n", "cases.json: holds no case", id="blank lines alone"),
        pytest.param("[]", "cases.json: holds no case", id="an empty array"),
        pytest.param(gzip.compress(b""), "cases.json: holds no case", id="empty gzip"),
        pytest.param("[" * 200_000, "cases.json: nested too deep", id="a deep array"),
        pytest.param('{"a":' * 200_000, "cases.json:1: nested too deep", id="a deep line"),
    ],
)
def test_an_unreadable_file_has_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str | bytes, sentence: str
) -> None:
    assert main([a_file(tmp_path, data)]) == 2

    printed = capsys.readouterr()
    assert printed.out == "0 passed, 1 failed\n"
    assert sentence in printed.err
    assert len(printed.err.splitlines()) == 1


def test_an_absent_file_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.json")]) == 2

    printed = capsys.readouterr()
    assert printed.out == "0 passed, 1 failed\n"
    assert "absent.json: cannot be read" in printed.err


def test_an_unreadable_file_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = a_file(tmp_path, lines(a_quantity("a"), a_quantity("b")), "good.jsonl")
    bad = a_file(tmp_path, "{", "bad.jsonl")
    wrong = a_file(tmp_path, lines(a_quantity("c", milli=1)), "wrong.jsonl")

    assert main([good, bad, str(tmp_path / "absent.jsonl"), wrong]) == 2

    printed = capsys.readouterr()
    assert printed.out == "c: milli: 500, expected 1\n2 passed, 3 failed\n"
    assert [line.split(": ")[1] for line in printed.err.splitlines()] == [
        "not JSON",
        "cannot be read",
    ]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_a_line_ends_where_json_lines_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], separator: str
) -> None:
    case = a_quantity(f"a{separator}b")
    text = json.dumps(case, ensure_ascii=False) + "\r\n"

    assert main([a_file(tmp_path, text + text)]) == 0

    assert capsys.readouterr().out == "2 passed, 0 failed\n"


def test_a_name_that_cannot_be_printed_costs_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([a_file(tmp_path, lines(a_quantity("\ud800", milli=1)))]) == 1

    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"


def test_without_files_it_says_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m tests.conformance FILE...\n"


def test_it_is_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.conformance", a_file(tmp_path, lines(a_quantity("a")))]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "1 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", "100m"), ("50m", "50m"), ("1", "1"), ("1.5", "1500m"), ("0", "0"),
        ("0.0005", "500u"), ("5e-2", "50e-3"), ("2e0", "2e0"), ("20e-1", "2"), ("1000", "1k"),
        ("1.500", "1.500"), ("1000m", "1"), ("0.300", "300m"),
    ],
)  # fmt: skip
def test_tolerances_are_written_as_kubernetes_does(text: str, expected: str) -> None:
    assert canonical(text) == expected
