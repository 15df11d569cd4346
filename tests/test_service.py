"""The live process: cycles on time, files reloaded, state saved, nothing lost when it ends."""

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
import structlog
from structlog.testing import capture_logs

from autoscaler.config.reload import PolicyFiles
from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome, Reason
from autoscaler.core.errors import JournalError
from autoscaler.core.observation import Observation, ReplicaStatus, Series, Snapshot
from autoscaler.core.planner import FleetState
from autoscaler.core.workload import FleetSpec
from autoscaler.service import Parts, Service, wall
from autoscaler.service.reloading import Reloading
from autoscaler.service.saving import SAVE_SECONDS
from autoscaler.settings import Settings, read_settings
from autoscaler.state import FileStore, StateError, load_state
from autoscaler.telemetry.report import CycleReport, Mode
from tests.builders import NOON
from tests.config.test_reload import written
from tests.waiting import PATIENCE_SECONDS


class World:
    """A cluster and its Prometheus, in memory: what the service sees and changes."""

    def __init__(self, load: float = 35.0) -> None:
        self.replicas = 2
        self.load = load
        self.now = NOON
        self.steady = 0.0
        self.plans: list[FleetSpec] = []
        self.announced: list[Cycle] = []
        self.narrated: list[CycleReport] = []
        self.closed = 0
        self.breaks = False

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        if self.breaks:
            raise RuntimeError("a bug")
        seen = Observation(
            now=now,
            replicas=ReplicaStatus(self.replicas, self.replicas),
            signals={"load": Series.of([(now, self.load)])},
        )
        return Snapshot(now, {workload.key: seen for workload in fleet.workloads})

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        self.replicas = action.after
        return Outcome(action, done=True)

    def close(self) -> None:
        self.closed += 1


class Lease:
    """Leadership that a test gives and takes."""

    def __init__(self, *, leads: bool = True) -> None:
        self.leads = leads
        self.calls: list[str] = []

    def is_leader(self) -> bool:
        return self.leads

    @property
    def term(self) -> int | None:
        return self.calls.count("taken") if self.leads else None

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> bool:
        self.calls.append("stop")
        self.leads = False
        return True

    @property
    def trouble(self) -> str:
        return ""


class Full:
    """A journal on a full disk."""

    problem = ""

    def expect(self, fleet: FleetSpec, state: FleetState) -> None:
        self.expected = (fleet, state)

    def record(self, cycle: Cycle) -> None:
        self.problem = "no space left"
        raise JournalError(self.problem)


@pytest.fixture
def files(tmp_path: Path) -> PolicyFiles:
    path = written(tmp_path, most=9)
    path.write_text(path.read_text().replace("spec:\n", "spec:\n  actuation: scale\n", 1))
    return PolicyFiles([tmp_path])


def settings(**flags: object) -> Settings:
    return read_settings(flags=flags)


def service(
    world: World,
    files: PolicyFiles,
    *,
    parts: dict[str, object] | None = None,
    **flags: object,
) -> Service:
    made = Parts(
        **{  # type: ignore[arg-type]
            "observer": world,
            "actuator": world,
            "replan": world.plans.append,
            "announce": lambda fleet, cycle: world.announced.append(cycle),
            "close": world.close,
            **(parts or {}),
        }
    )
    return Service(
        settings(**flags),
        files,
        made,
        narrate=world.narrated.append,
        clock=lambda: world.now,
        monotonic=lambda: world.steady,
    )


def cycle(running: Service) -> CycleReport:
    """Look at the policy files, run a cycle, and wait until what it left is saved."""
    running.reloading.look()
    report = running.tick()
    assert running.saving.flush(PATIENCE_SECONDS)
    return report


def test_a_cycle_sees_decides_acts_and_is_told(files: PolicyFiles) -> None:
    world = World()
    running = service(world, files)

    report = running.tick()

    assert world.replicas == 4
    assert running.latest.entry is not None
    assert running.latest.entry.report is report
    assert (report.mode, report.leader, report.acts) == (Mode.LIVE, True, True)
    assert world.narrated == [report]
    assert world.announced == [report.cycle]


def test_in_shadow_mode_nothing_is_changed(files: PolicyFiles) -> None:
    world = World()

    report = service(world, files, parts={"actuator": None}).tick()

    assert world.replicas == 2
    assert report.cycle.plan.decisions["llm/chat"].replicas == 4
    assert (report.mode, report.acts) == (Mode.SHADOW, False)


def test_a_standby_changes_and_saves_nothing(files: PolicyFiles, tmp_path: Path) -> None:
    world, store = World(), FileStore(tmp_path / "state")
    standby = service(world, files, parts={"leadership": Lease(leads=False), "store": store})

    cycle(standby)

    assert world.replicas == 2
    assert store.load() is None


def test_without_a_state_nothing_is_lowered_for_one_window(files: PolicyFiles) -> None:
    world = World(load=1.0)
    running = service(world, files)

    first = running.tick().cycle.plan.decisions["llm/chat"]
    world.pass_(150)
    running.tick()
    assert (first.replicas, first.reason) == (2, Reason.BLIND_NO_LOWERING)
    assert world.replicas == 2
    for _ in range(3):
        world.pass_(151)
        running.tick()
    assert world.replicas == 1


def test_a_state_is_saved_when_something_was_done_and_now_and_then(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world, store = World(), FileStore(tmp_path / "state")
    running = service(world, files, parts={"store": store}, state_interval_seconds=30)

    cycle(running)
    first = store.load()
    world.pass_(15)
    cycle(running)
    assert store.load() == first
    world.pass_(15)
    cycle(running)

    assert first is not None
    saved = store.load()
    assert saved is not None
    assert load_state(saved)[1] == NOON + 30


def test_the_next_process_goes_on_from_the_state(files: PolicyFiles, tmp_path: Path) -> None:
    world, store = World(), FileStore(tmp_path / "state")
    first = service(world, files, parts={"store": store})
    first.tick()
    first.stop()
    world.pass_(20)

    second = service(world, files, parts={"store": store})

    past = second.controller.state.pasts["llm/chat"]
    assert [mark.count for mark in past.recommendations] == [2, 4]
    assert past.restored
    assert past.desired == 4  # what was done is noted: it does not count as a second change


class Notes:
    """An end that remembers what it is told."""

    def __init__(self) -> None:
        self.noted: dict[str, object] = {}

    def kept(self) -> dict[str, object]:
        return self.noted

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.noted = dict(kept)


def test_what_an_end_remembers_is_kept_with_the_state(files: PolicyFiles, tmp_path: Path) -> None:
    world, store, notes, later = World(), FileStore(tmp_path / "state"), Notes(), Notes()
    first = service(world, files, parts={"store": store, "memories": {"notes": notes}})
    notes.noted = {"llm/chat": [1, 2], "llm/gone": [3]}
    cycle(first)

    service(world, files, parts={"store": store, "memories": {"notes": later}})

    assert later.noted == {"llm/chat": [1, 2]}


def test_a_state_that_cannot_be_saved_stops_nothing(files: PolicyFiles, tmp_path: Path) -> None:
    world = World()
    (tmp_path / "folder").mkdir()
    running = service(world, files, parts={"store": FileStore(tmp_path / "folder")})

    running.tick()

    assert world.replicas == 4


def test_changed_policy_files_come_into_force_in_the_next_cycle(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world = World(load=200.0)
    running = service(world, files, reload_seconds=5)
    cycle(running)
    path = tmp_path / "chat.yaml"
    path.write_text(path.read_text().replace("max: 9", "max: 5"))

    world.pass_(15)
    report = cycle(running)

    assert world.replicas == 5
    assert [plan.workloads[0].spec.replicas.max for plan in world.plans] == [5]
    assert report.fleet.workloads[0].spec.replicas.max == 5


def test_broken_policy_files_are_told_and_the_last_good_ones_stay(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world = World()
    running = service(world, files)
    path = tmp_path / "chat.yaml"
    good = path.read_text()
    path.write_text("spec: [")

    world.pass_(15)
    broken = cycle(running)
    world.pass_(15)
    still = cycle(running)
    path.write_text(good)
    world.pass_(15)
    mended = cycle(running)

    assert broken.reload_problem.startswith(str(path))
    assert still.reload_problem == broken.reload_problem
    assert mended.reload_problem == ""
    assert broken.fleet == mended.fleet
    assert world.plans == []


@pytest.mark.parametrize("every", [pytest.param(0.0, id="never"), pytest.param(0.01, id="often")])
def test_files_are_looked_at_beside_the_cycles_as_the_settings_say(
    files: PolicyFiles, every: float
) -> None:
    looks = Blocked(files)
    reloading = Reloading(looks.files, every)

    reloading.start()
    begun = looks.begun.wait(PATIENCE_SECONDS if every else 0.2)
    looks.go_on.set()
    reloading.stop()

    assert begun == (every > 0)


class Blocked:
    """Policy files at which a look takes as long as a test says."""

    def __init__(self, files: PolicyFiles) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.look, self.files = files.look, files
        files.look = self._look  # type: ignore[method-assign]

    def _look(self) -> bool:
        self.begun.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        return self.look()


def test_no_cycle_waits_for_policy_files_the_last_good_ones_count_until_the_new_are_whole(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world, slow = World(load=200.0), Blocked(files)
    running = service(world, files)
    path = tmp_path / "chat.yaml"
    path.write_text(path.read_text().replace("max: 9", "max: 5"))

    beside = threading.Thread(target=running.reloading.look)
    beside.start()
    assert slow.begun.wait(PATIENCE_SECONDS)
    meanwhile = running.tick()
    slow.go_on.set()
    beside.join(PATIENCE_SECONDS)
    world.pass_(15)
    after = running.tick()

    assert meanwhile.fleet.workloads[0].spec.replicas.max == 9
    assert after.fleet.workloads[0].spec.replicas.max == 5


def test_a_look_that_fails_is_told_once_and_the_next_one_comes(files: PolicyFiles) -> None:
    looked = threading.Semaphore(0)

    def look() -> bool:
        looked.release()
        raise ZeroDivisionError

    files.look = look  # type: ignore[method-assign]
    reloading = Reloading(files, 0.01)
    with capture_logs() as lines:
        reloading.start()
        assert all(looked.acquire(timeout=PATIENCE_SECONDS) for _ in range(4))
        reloading.stop()

    assert [line["event"] for line in lines] == ["policy files not looked at"]


def test_a_full_disk_loses_the_record_and_nothing_else(files: PolicyFiles) -> None:
    world = World()

    report = service(world, files, parts={"journal": Full()}).tick()

    assert world.replicas == 4
    assert report.journal_problem == "no space left"


class Unwilling(FileStore):
    """A store that cannot always be written."""

    refuses = True

    def save(self, data: bytes) -> None:
        if self.refuses:
            raise StateError("no space left")
        super().save(data)


def test_a_state_that_cannot_be_saved_is_tried_in_every_cycle_and_told_once(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world, store = World(), Unwilling(tmp_path / "state")
    with capture_logs() as lines:
        running = service(world, files, parts={"store": store})
        for refuses in (True, True, False):
            store.refuses = refuses
            cycle(running)
            world.pass_(1)

    assert store.load() is not None
    assert [(one["log_level"], one["event"]) for one in lines][1:] == [
        ("warning", "state not saved"),
        ("info", "state saved again"),
    ]


class Stalled(FileStore):
    """A store that keeps nothing until a test lets it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def save(self, data: bytes) -> None:
        self.begun.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        super().save(data)


def test_a_stalled_store_holds_up_no_cycle_but_the_next_change(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world, store = World(), Stalled(tmp_path / "state")
    running = service(world, files, parts={"store": store})

    running.tick()  # the first change: its state is on its way
    assert store.begun.wait(PATIENCE_SECONDS)
    world.pass_(1)
    running.tick()  # nothing to change, so nothing to wait for
    assert world.replicas == 4
    world.load = 60.0
    changing = threading.Thread(target=running.tick, daemon=True)
    changing.start()
    changing.join(0.3)
    waited = (changing.is_alive(), world.replicas)
    store.go_on.set()
    changing.join(PATIENCE_SECONDS)

    assert waited == (True, 4)
    assert (changing.is_alive(), world.replicas) == (False, 6)


def test_a_store_that_does_not_answer_holds_up_a_change_for_as_long_as_a_save_may_take(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world, store = World(), Stalled(tmp_path / "state")
    running = service(world, files, parts={"store": store})
    running.tick()
    assert store.begun.wait(PATIENCE_SECONDS)
    world.pass_(SAVE_SECONDS)
    world.load = 60.0

    running.tick()

    assert world.replicas == 6
    store.go_on.set()


def test_stopping_saves_the_state_gives_the_lease_back_and_closes(
    files: PolicyFiles, tmp_path: Path
) -> None:
    world, store, lease = World(), FileStore(tmp_path / "state"), Lease()
    running = service(world, files, parts={"store": store, "leadership": lease})
    running.tick()
    world.pass_(3)

    running.stop()

    saved = store.load()
    assert saved is not None
    assert load_state(saved)[1] == NOON + 3
    assert (lease.calls, world.closed) == (["stop"], 1)


class Running:
    """A service on real time, with a gate behind each cycle."""

    def __init__(self, world: World, files: PolicyFiles) -> None:
        self.seen = threading.Semaphore(0)
        self.service = Service(
            settings(interval_seconds=1),
            files,
            Parts(observer=world, actuator=world),
            narrate=lambda report: self.seen.release(),
        )

    def wait(self, cycles: int) -> bool:
        return all(self.seen.acquire(timeout=PATIENCE_SECONDS) for _ in range(cycles))


@pytest.fixture
def real(files: PolicyFiles) -> Iterator[tuple[World, Running]]:
    world = World()
    running = Running(world, files)
    running.service.start()
    yield world, running
    running.service.stop()


def test_cycles_come_by_themselves_the_first_at_once(real: tuple[World, Running]) -> None:
    world, running = real

    assert running.wait(2)
    assert world.replicas == 4


@pytest.mark.slow
def test_a_bug_in_one_cycle_ends_neither_the_process_nor_the_next_cycle(
    real: tuple[World, Running],
) -> None:
    world, running = real
    assert running.wait(1)

    with structlog.testing.capture_logs() as lines:
        world.breaks = True
        threading.Event().wait(1.5)
        world.breaks = False

    running.seen = threading.Semaphore(0)
    assert running.wait(1)
    assert {line["event"] for line in lines} == {"cycle failed"}


@pytest.mark.slow
def test_a_clock_that_is_set_back_stops_no_cycles(
    files: PolicyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = [0.0]

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(wall() - behind[0], tz)

    for module in ("schedulers.base", "executors.base", "triggers.interval"):
        monkeypatch.setattr(f"apscheduler.{module}.datetime", Shifted)
    world, ran = World(), threading.Semaphore(0)
    service = Service(
        settings(interval_seconds=1),
        files,
        Parts(observer=world, actuator=world),
        narrate=lambda report: ran.release(),
        clock=lambda: wall() - behind[0],
    )
    service.start()
    try:
        assert ran.acquire(timeout=PATIENCE_SECONDS)
        behind[0] = 3600.0
        assert all(ran.acquire(timeout=PATIENCE_SECONDS) for _ in range(3))
    finally:
        service.stop()
