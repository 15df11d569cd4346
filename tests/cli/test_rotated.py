"""verify and explain read the folder of a live journal as they read one file."""

import json
from pathlib import Path

import pytest

from autoscaler.cli import main
from autoscaler.controller import Controller
from autoscaler.core.observation import Series, Snapshot
from autoscaler.core.workload import FleetSpec
from autoscaler.journal import Limits, RotatingJournal, rotated_files
from policies.combine.highest import combine
from policies.reactive.target_tracking import TargetTracking
from tests.builders import NOON, a_fleet, a_workload, seen

TRACKING = TargetTracking(type="target-tracking", signal="load", target=10.0)


class Sees:
    """An observer of a load that rises by ten each cycle."""

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        load = 10.0 + 10 * (now - NOON) / 15
        observation = seen(2, at=now, signals={"load": Series.of([(now, load)])})
        return Snapshot(now, {fleet.workloads[0].key: observation})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files with one cycle each."""
    fleet = a_fleet(a_workload(TRACKING, signals={"load": {}}), combine=combine)
    folder = tmp_path / "journal"
    with RotatingJournal(folder, fleet, Limits(file_bytes=1)) as journal:
        controller = Controller(fleet, observer=Sees(), journal=journal)
        for step in range(3):
            journal.expect(controller.fleet, controller.state)
            controller.run_once(NOON + 15 * step)
    return folder


def test_every_file_of_a_folder_is_decided_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["verify", str(folder)])

    out = capsys.readouterr().out
    assert code == 0
    assert [line for line in out.splitlines() if str(folder) in line] == [
        str(path) for path in rotated_files(folder)
    ]
    assert out.count("llm/chat: 1 cycles decided again, all the same") == 3


def test_json_of_a_folder_has_a_document_for_each_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["verify", str(folder), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["equal"] is True
    assert list(found["files"]) == [path.name for path in rotated_files(folder)]


def test_one_file_that_differs_is_enough_to_exit_with_1(folder: Path) -> None:
    path = rotated_files(folder)[1]
    path.write_bytes(
        path.read_bytes().replace(b'"replicas":{"desired":2', b'"replicas":{"desired":3')
    )

    assert main(["verify", str(folder)]) == 1


@pytest.mark.parametrize(("at", "load"), [("last", 30), ("+0", 10), ("+16", 20)])
def test_a_decision_is_explained_whichever_file_holds_it(
    folder: Path, at: str, load: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["explain", "chat", "--journal", str(folder), "--at", at])

    assert code == 0
    assert f"load is {load}" in capsys.readouterr().out


def test_a_folder_without_a_journal_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    assert main(["verify", str(empty)]) == 2
    assert "holds no file of a journal (cycles-NUMBER-TIME.jsonl)" in capsys.readouterr().err
