"""explain on journals that somebody has edited, and times that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ran

Run = Callable[..., Ran]
REPLAY = ("replay", "--trace", "trace.csv", "--workload", "chat.yaml")


@pytest.fixture
def lines(run: Run) -> list[dict[str, Any]]:
    """The lines of a short journal."""
    assert run(*REPLAY, "--quiet", "--journal", "j.jsonl").code == 0
    return [json.loads(line) for line in Path("j.jsonl").read_text().split("\n") if line]


def explained(run: Run, lines: list[dict[str, Any]], name: str = "chat") -> Ran:
    Path("j.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return run("explain", name, "--journal", "j.jsonl", "--at", "+0")


def test_a_cycle_without_the_workload_is_told_by_its_line(
    run: Run, lines: list[dict[str, Any]]
) -> None:
    lines[1]["plan"]["decisions"] = {}

    ran = explained(run, lines)

    assert (ran.code, ran.out, ran.err) == (
        2, "", "j.jsonl:2: holds no decision for llm/chat, which the header names\n"
    )  # fmt: skip


def test_a_header_that_names_another_workload_is_told(
    run: Run, lines: list[dict[str, Any]]
) -> None:
    lines[0]["workloads"][0]["metadata"]["name"] = "other"

    ran = explained(run, lines, "other")

    assert (ran.code, ran.out, ran.err) == (
        2, "", "j.jsonl:2: holds no decision for llm/other, which the header names\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "workloads",
    [
        pytest.param(None, id="no workloads"),
        pytest.param([], id="none of them"),
        pytest.param([{}], id="one without a name"),
        pytest.param([{"metadata": {"name": "chat", "namespace": "llm"}}], id="one without a spec"),
    ],
)
def test_a_header_that_was_edited_is_told(
    run: Run, lines: list[dict[str, Any]], workloads: object
) -> None:
    lines[0]["workloads"] = workloads

    ran = explained(run, lines)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("j.jsonl:1: workloads")


def test_an_edited_cycle_is_told_by_its_line(run: Run, lines: list[dict[str, Any]]) -> None:
    lines[1]["snapshot"]["observations"]["llm/chat"]["signals"] = [1]

    ran = explained(run, lines)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("j.jsonl:2: not a cycle of a journal: snapshot.observations.")


@pytest.mark.parametrize(
    "at",
    ["+inf", "+nan", "+1e400", "+6_0", "+ 60", "+-60", "++60", "+", "+0x10", "+\u0666\u0660", "60"],
)
def test_a_time_that_is_none_is_refused(run: Run, lines: list[dict[str, Any]], at: str) -> None:
    ran = run("explain", "chat", "--journal", "j.jsonl", "--at", at)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "--at: should be a time such as 2026-01-05T00:10:00Z, seconds such as +600, or last, "
        f"not {at!r}\n"
    )


@pytest.mark.parametrize("at", ["+60", "+60.0", "+6e1", "+6.0E+1"])
def test_seconds_may_be_written_in_several_ways(
    run: Run, lines: list[dict[str, Any]], at: str
) -> None:
    ran = run("explain", "chat", "--journal", "j.jsonl", "--at", at, "--json")

    assert json.loads(ran.out)["time"] == "2026-01-05T00:01:15Z"
