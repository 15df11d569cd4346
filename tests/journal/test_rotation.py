"""A journal that never ends stays within its limits, and whatever happens can be read."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.controller import Controller
from autoscaler.core.decision import Cycle
from autoscaler.core.errors import ConfigError, JournalError
from autoscaler.core.observation import Intervention, InterventionKind, Series, Snapshot
from autoscaler.core.planner import FleetState
from autoscaler.core.workload import FleetSpec
from autoscaler.journal import (
    Limits,
    RotatingJournal,
    encode,
    journal_files,
    read_header,
    read_journal,
    rotated_files,
    state_in,
)
from autoscaler.verify import verify
from policies.combine.highest import combine
from policies.reactive.target_tracking import TargetTracking
from tests.builders import NOON, Counts, PerReplica, a_fleet, a_workload, seen
from tests.test_journal import cycle_of, sliding

FLEET = a_fleet(a_workload(PerReplica(), Counts(), signals={"load": {}}))
TRACKING = TargetTracking(type="target-tracking", signal="load", target=10.0)
TINY = Limits(file_bytes=1, files=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def names(folder: Path) -> list[str]:
    return [path.name for path in rotated_files(folder)]


def everything_in(folder: Path) -> list[Cycle]:
    return [cycle for path in journal_files(folder) for cycle in read_journal(path)]


def record(journal: RotatingJournal, cycles: list[Cycle]) -> None:
    for cycle in cycles:
        journal.record(cycle)


def test_cycles_of_one_file_are_read_back(folder: Path) -> None:
    cycles = sliding(5)

    with RotatingJournal(folder, FLEET) as journal:
        record(journal, cycles)

    assert names(folder) == ["cycles-00000001-20231114T221320Z.jsonl"]
    assert everything_in(folder) == cycles


def test_a_file_that_is_full_is_followed_by_another_with_whole_series(folder: Path) -> None:
    cycles = sliding(8)

    with RotatingJournal(folder, FLEET, Limits(file_bytes=6000, files=10)) as journal:
        record(journal, cycles)

    files = rotated_files(folder)
    assert len(files) > 1
    assert everything_in(folder) == cycles
    for path in files:
        alone = list(read_journal(path))
        assert alone[0] in cycles  # every series is whole without the file before


def test_the_oldest_file_goes_first(folder: Path) -> None:
    cycles = sliding(6)

    with RotatingJournal(folder, FLEET, TINY) as journal:
        record(journal, cycles)

    assert [name[:15] for name in names(folder)] == [
        "cycles-00000004",
        "cycles-00000005",
        "cycles-00000006",
    ]
    assert everything_in(folder) == cycles[-3:]


@given(
    file_bytes=st.integers(1, 20_000), files=st.integers(1, 5), cycles=st.integers(0, 12),
    restart=st.integers(0, 12),
)  # fmt: skip
def test_the_limits_hold_and_the_newest_cycles_are_there(
    tmp_path_factory: pytest.TempPathFactory, file_bytes: int, files: int, cycles: int, restart: int
) -> None:
    folder, all_of_them = tmp_path_factory.mktemp("journal"), sliding(cycles)
    limits = Limits(file_bytes, files)

    for part in (all_of_them[:restart], all_of_them[restart:]):
        with RotatingJournal(folder, FLEET, limits) as journal:
            record(journal, part)

    found = rotated_files(folder)
    largest_cycle = 8000
    assert len(found) <= files
    assert all(path.stat().st_size < file_bytes + largest_cycle for path in found)
    if cycles:
        kept = everything_in(folder)
        assert kept == all_of_them[-len(kept) :]


def test_a_clock_that_is_set_back_does_not_change_the_order(folder: Path) -> None:
    late, early = cycle_of(seen(2, at=NOON + 9000)), cycle_of(seen(2, at=NOON))

    with RotatingJournal(folder, FLEET, Limits(file_bytes=1, files=2)) as journal:
        record(journal, [late, early, late, early])

    assert everything_in(folder) == [late, early]


def test_numbers_go_on_after_a_restart(folder: Path) -> None:
    for cycle in sliding(2):
        with RotatingJournal(folder, FLEET) as journal:
            journal.record(cycle)

    assert [name[:15] for name in names(folder)] == ["cycles-00000001", "cycles-00000002"]


def test_other_policy_files_begin_a_new_file(folder: Path) -> None:
    other = a_fleet(a_workload(PerReplica(), Counts(), signals={"load": {}}, maximum=7))
    first, second, third = sliding(3)

    with RotatingJournal(folder, FLEET) as journal:
        journal.expect(FLEET, FleetState())
        journal.record(first)
        journal.expect(other, FleetState())
        journal.record(second)
        journal.expect(other, FleetState())
        journal.record(third)

    old, new = rotated_files(folder)
    assert read_header(old)["workloads"][0]["spec"]["replicas"]["max"] == 20
    assert read_header(new)["workloads"][0]["spec"]["replicas"]["max"] == 7
    assert list(read_journal(new)) == [second, third]


class Sees:
    """An observer of a load that comes and goes."""

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        load = 80.0 if now < NOON + 60 else 5.0
        observation = seen(2, at=now, signals={"load": Series.of([(now, load)])})
        return Snapshot(now, {fleet.workloads[0].key: observation})


def test_every_file_is_decided_again_alone_with_what_was_remembered_then(folder: Path) -> None:
    """A decrease waits for a window that lies in the file before: only its state knows that."""
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 120}}
    fleet = a_fleet(a_workload(TRACKING, signals={"load": {}}, behavior=behavior), combine=combine)
    journal = RotatingJournal(folder, fleet, Limits(file_bytes=1, files=100))
    controller = Controller(fleet, observer=Sees(), journal=journal)

    for step in range(12):
        journal.expect(controller.fleet, controller.state)
        controller.run_once(NOON + 15 * step)
    journal.close()

    files = rotated_files(folder)
    assert len(files) == 12
    assert all(verify(path).equal for path in files)
    assert state_in(read_header(files[0])) == FleetState()
    assert state_in(read_header(files[5])).pasts


def test_a_state_that_was_edited_is_told(folder: Path) -> None:
    fleet = a_fleet(a_workload(TRACKING, signals={"load": {}}), combine=combine)
    with RotatingJournal(folder, fleet) as journal:
        journal.record(sliding(1)[0])
    (path,) = rotated_files(folder)
    path.write_bytes(path.read_bytes().replace(b'"state":{}', b'"state":{"led":"?"}'))

    with pytest.raises(ConfigError) as error:
        verify(path)

    assert str(error.value) == f"{path}:1: state.led: should be as the journal wrote it"


def test_a_file_appears_with_its_first_cycle(folder: Path) -> None:
    with RotatingJournal(folder, FLEET) as journal:
        assert names(folder) == []
        journal.record(sliding(1)[0])
        assert everything_in(folder) == sliding(1)


@pytest.mark.parametrize("lost", [1, 100, 500])
def test_a_process_that_is_killed_loses_at_most_the_cycle_it_was_writing(
    folder: Path, lost: int
) -> None:
    cycles = sliding(4)
    with RotatingJournal(folder, FLEET) as journal:
        record(journal, cycles)
    (path,) = rotated_files(folder)
    os.truncate(path, path.stat().st_size - lost)
    (folder / ".cycles-0123456789ab.partial").write_text("{")
    read = everything_in(folder)

    with RotatingJournal(folder, FLEET) as journal:
        journal.record(cycles[3])

    assert read == cycles[:3]
    assert everything_in(folder) == cycles
    assert path.read_bytes().endswith(b"\n")
    assert not list(folder.glob("*.partial"))


def test_a_newest_file_without_a_whole_line_is_removed(folder: Path) -> None:
    folder.mkdir()
    broken = folder / "cycles-00000007-20231114T221320Z.jsonl"
    broken.write_bytes(b"x" * 100_000)

    with RotatingJournal(folder, FLEET) as journal:
        journal.record(sliding(1)[0])

    assert not broken.exists()
    assert everything_in(folder) == sliding(1)


class Disk:
    """Writes as `os.write` until it is full; then a few bytes fit, and no more."""

    def __init__(self) -> None:
        self.full = False
        self.tries = 0
        self._write: Callable[[int, Any], int] = os.write

    def write(self, file: int, data: Any) -> int:
        if not self.full:
            return self._write(file, data[:4000])
        self.tries += 1
        if len(data) > 10 and self.tries % 2:
            return self._write(file, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    with monkeypatch.context() as patched:
        patched.setattr("autoscaler.journal.rotation.os.write", disk.write)
        yield disk


def test_a_full_disk_is_told_once_and_the_journal_goes_on_when_there_is_room(
    folder: Path, disk: Disk
) -> None:
    cycles = [cycle_of(seen(2, at=NOON + 20 * step)) for step in range(10)]
    journal = RotatingJournal(folder, FLEET)
    record(journal, cycles[:2])
    disk.full = True

    with pytest.raises(JournalError) as error:
        journal.record(cycles[2])
    record(journal, cycles[3:7])
    tried = disk.tries
    during = everything_in(folder)
    disk.full = False
    record(journal, cycles[7:])
    journal.close()

    assert str(error.value) == f"{folder}: cannot be written: no space left on device"
    assert tried == 4  # two for the cycle, two for a new file a minute later
    assert during == cycles[:2]
    assert everything_in(folder) == [*cycles[:2], *cycles[8:]]
    assert journal.problem == ""
    assert not list(folder.glob("*.partial"))


def test_a_problem_lasts_until_it_is_over(folder: Path, disk: Disk) -> None:
    journal = RotatingJournal(folder, FLEET)
    disk.full = True
    with pytest.raises(JournalError):
        journal.record(cycle_of(seen(2)))
    assert "no space left" in journal.problem
    disk.full = False
    journal.record(cycle_of(seen(2, at=NOON + 60)))
    assert not journal.problem
    disk.full = True
    with pytest.raises(JournalError):
        journal.record(cycle_of(seen(2, at=NOON + 75)))


def test_a_file_that_somebody_removed_is_followed_by_a_new_one(folder: Path) -> None:
    cycles = sliding(3)
    with RotatingJournal(folder, FLEET) as journal:
        record(journal, cycles[:2])
        rotated_files(folder)[0].unlink()
        journal.record(cycles[2])

    assert everything_in(folder) == cycles[2:]


def test_two_processes_do_not_share_a_folder(folder: Path) -> None:
    with RotatingJournal(folder, FLEET), pytest.raises(ConfigError) as error:
        RotatingJournal(folder, FLEET)

    assert str(error.value) == f"{folder}: another process keeps its journal there"
    later = RotatingJournal(folder, FLEET)
    later.close()
    later.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="cannot be written: not a directory"):
        RotatingJournal(tmp_path / "file" / "journal", FLEET)


def test_a_path_stands_for_itself_or_for_the_files_in_it(folder: Path, tmp_path: Path) -> None:
    assert journal_files(tmp_path / "day.jsonl") == (tmp_path / "day.jsonl",)
    with pytest.raises(ConfigError, match="holds no file of a journal"):
        journal_files(tmp_path)


def test_a_folder_that_cannot_be_read_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    folder.mkdir()
    monkeypatch.setattr(Path, "iterdir", refused)

    with pytest.raises(ConfigError, match="cannot be read: permission denied"):
        journal_files(folder)


def test_what_others_have_a_say_in_survives_and_adds_no_byte_where_nobody_has(
    folder: Path,
) -> None:
    said = Intervention(InterventionKind.REPLICAS, "ada set 3", replicas=3, until=NOON + 60)
    plain = seen(2)
    observation = type(plain)(NOON, plain.replicas, interventions=(said,))
    cycle = cycle_of(observation)

    with RotatingJournal(folder, FLEET) as journal:
        journal.record(cycle)

    assert everything_in(folder) == [cycle]
    document = encode(cycle_of(plain), 1, {})
    (observed,) = document["snapshot"]["observations"].values()
    assert "interventions" not in observed
    assert "disruptions_allowed" not in observed["replicas"]
    assert "leading" not in document
