"""autoscaler verify: what it prints and how it exits."""

import json
import sys
from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.test_verify import a_pool, recorded, tracking

FILE = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {name: chat, namespace: llm}
spec:
  target: {name: chat}
  replicas: {min: 1, max: 20}
  signals: {load: {query: q}}
  policies: [{type: target-tracking, signal: load, target: 10}]
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return recorded(tmp_path / "day.jsonl", tracking())


def test_an_unchanged_journal_exits_with_0(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["verify", str(journal)])

    out, err = capsys.readouterr()
    assert code == 0
    assert out == (
        "llm/chat: 40 cycles decided again, all the same\n"
        "All 40 lines of the journal would be written byte for byte.\n"
    )
    assert err == ""


def test_a_changed_file_exits_with_1_and_shows_both_trails(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(FILE, encoding="utf-8")

    code = main(["verify", str(journal), "--workload", str(file), "--first", "1"])

    out = capsys.readouterr().out
    assert code == 1
    assert "cycles decided again," in out
    assert "the first 1 in the number:" in out
    assert "  -  target-tracking(load)  5" in out
    assert "  +  target-tracking(load)  9" in out


def test_json_holds_the_decisions_of_both(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(FILE, encoding="utf-8")

    code = main(["verify", str(journal), "--workload", str(file), "--json"])

    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert document["equal"] is False
    assert document["cycles"] == 40
    (verdict,) = document["workloads"]
    assert len(verdict["first"]) == 3
    assert verdict["first"][0]["recorded"]["replicas"] != verdict["first"][0]["now"]["replicas"]


def test_other_bytes_for_the_same_decisions_are_told_apart(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = journal.read_text(encoding="utf-8").splitlines()
    lines[3] = json.dumps(json.loads(lines[3]))  # the same, with spaces
    journal.write_text("\n".join(lines) + "\n", encoding="utf-8")

    code = main(["verify", str(journal)])

    assert code == 1
    assert capsys.readouterr().out.endswith(
        "The decisions are the same, but 1 of 40 lines would be written with other bytes.\n"
    )


def test_workloads_without_a_file_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(), tracking(name="code"), cycles=2)
    file = tmp_path / "chat.yaml"
    file.write_text(FILE.replace("target: 10}", "target: 20}"), encoding="utf-8")

    main(["verify", str(journal), "--workload", str(file)])

    assert capsys.readouterr().err == (
        "not decided again, for no policy file names them: llm/code\n"
    )


def test_a_person_at_a_terminal_sees_how_far_it_is(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")

    assert main(["verify", str(journal)]) == 0

    assert "40 cycles decided again" in capsys.readouterr().err


def test_no_journal_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["verify", str(tmp_path / "none.jsonl")])

    assert code == 2
    assert "none.jsonl: cannot be read" in capsys.readouterr().err


POOL = """\
---
apiVersion: inference-autoscaler.dev/v1alpha1
kind: NodePool
metadata: {name: h100}
spec: {gpusPerNode: 2, nodes: {min: 1, max: 2}}
"""


def test_node_pools_are_shown_beside_their_workloads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(pool="h100"), pools=(a_pool(),))
    file = tmp_path / "chat.yaml"
    replicas = "replicas: {min: 1, max: 20}"
    text = FILE.replace("target: 10}", "target: 20}")
    placed = f"{replicas}\n  replica: {{gpus: 1, nodePool: h100}}\n  behavior: {{}}"
    file.write_text(text.replace(replicas, placed) + POOL, encoding="utf-8")

    assert main(["verify", str(journal)]) == 0
    assert "node pool h100: 40 cycles decided again, all the same\n" in capsys.readouterr().out
    assert main(["verify", str(journal), "--workload", str(file)]) == 1
    out = capsys.readouterr().out
    assert "llm/chat: 40 cycles decided again, all the same\n" in out
    assert "node pool h100: 40 cycles decided again, " in out
    assert "  -  1 -> 3 nodes (" in out
    assert "  +  1 -> 2 nodes (" in out
