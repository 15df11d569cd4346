"""Workloads that sleep at zero: looked at between cycles, and a cycle comes at once for one."""

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from autoscaler.config.reload import PolicyFiles
from autoscaler.controller import Controller
from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.observation import Intervention, InterventionKind, Series, Snapshot
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState
from autoscaler.core.workload import FleetSpec
from autoscaler.service import Parts, Service
from autoscaler.service.waking import SHARE, Waking
from autoscaler.settings import read_settings
from tests.builders import NOON, PerReplica, a_fleet, a_workload, seen
from tests.config.test_reload import written
from tests.test_service import Lease
from tests.test_service import World as Cluster
from tests.waiting import until

CHAT, CODE = (
    a_workload(PerReplica(), name=name, signals={"load": {}}, minimum=0)
    for name in ("chat", "code")
)
ASLEEP = Past(desired=0, asleep=True)


@dataclass
class World:
    """Two workloads, and what a look finds of them."""

    replicas: dict[str, int] = field(default_factory=lambda: {CHAT.key: 0, CODE.key: 0})
    load: dict[str, float] = field(default_factory=lambda: {CHAT.key: 0.0, CODE.key: 0.0})
    now: float = NOON
    free: bool = True
    looked: list[tuple[str, ...]] = field(default_factory=list)
    soon: int = 0
    fails: bool = False
    woken: list[tuple[str, ...]] = field(default_factory=list)

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        return Snapshot(
            now,
            {
                one.key: seen(self.replicas[one.key], at=now, signals={"load": self.load[one.key]})
                for one in fleet.workloads
            },
        )

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        self.replicas[action.key] = action.after
        return Outcome(action, done=True)

    def look(self, fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        self.looked.append(tuple(one.key for one in fleet.workloads))
        if self.fails:
            raise RuntimeError("a bug")
        return self.observe(fleet, now)

    def judged(self, woken: Collection[str]) -> None:
        self.woken.append(tuple(woken))

    def bring(self) -> None:
        self.soon += 1


def scene(
    world: World, pasts: Mapping[str, Past] | None = None, *, seconds: float = 0.5
) -> tuple[Controller, Waking]:
    """A controller after one cycle, and what looks between the cycles."""
    state = FleetState({CHAT.key: ASLEEP, CODE.key: ASLEEP} if pasts is None else pasts)
    controller = Controller(a_fleet(CHAT, CODE), observer=world, actuator=world, state=state)
    controller.run_once(world.now)
    waking = Waking(
        controller,
        world,
        read_settings(flags={"wake_seconds": seconds}),
        turn=threading.Lock(),
        free=lambda: world.free,
        soon=world.bring,
        clock=lambda: world.now,
        monotonic=lambda: world.now,
    )
    return controller, waking


def test_a_cycle_is_brought_forward_for_a_workload_that_is_wanted() -> None:
    world = World()
    _, waking = scene(world)
    assert waking.once() == ()

    world.load[CHAT.key] = 25.0
    with capture_logs() as lines:
        woken = waking.once()

    assert (woken, world.soon) == ((CHAT.key,), 1)
    assert world.woken == [(), (CHAT.key,)]
    (line,) = lines
    assert (line["event"], line["workload"]) == ("cycle brought forward", CHAT.key)
    assert line["reason"] == "the largest of 1"


def test_it_is_brought_forward_once_and_then_left_to_the_planned_ones() -> None:
    world = World()
    _, waking = scene(world)
    world.load[CHAT.key] = 25.0
    waking.once()

    world.now += 1
    assert waking.once() == ()
    assert world.looked[-1] == (CODE.key,)

    world.now += 15
    assert waking.once() == (CHAT.key,)


def test_one_that_woke_and_sleeps_again_is_heard_again() -> None:
    world = World()
    controller, waking = scene(world)
    for load, replicas in ((25.0, 0), (25.0, 3), (0.0, 0)):
        world.load[CHAT.key], world.replicas[CHAT.key] = load, replicas
        waking.once()
        world.now += 1
        controller.run_once(world.now)

    controller.state = FleetState({CHAT.key: ASLEEP, CODE.key: ASLEEP})
    controller.run_once(world.now)
    world.load[CHAT.key] = 25.0

    assert waking.once() == (CHAT.key,)


def test_one_that_the_last_cycle_put_to_sleep_wakes_as_the_others_do() -> None:
    world = World(replicas={CHAT.key: 2, CODE.key: 0})
    controller, waking = scene(world, {CHAT.key: Past(desired=2), CODE.key: ASLEEP})
    assert world.replicas[CHAT.key] == 0

    def found(fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        here = before.observations[CHAT.key]
        assert here.replicas.desired == 0
        load = Series.of([(now, 25.0)])
        return replace(before, observations={CHAT.key: replace(here, signals={"load": load})})

    world.look = found  # type: ignore[method-assign]

    assert waking.once() == (CHAT.key,)
    assert controller.latest is not None


def test_only_those_that_sleep_are_looked_at() -> None:
    world = World(replicas={CHAT.key: 2, CODE.key: 0}, load={CHAT.key: 20.0, CODE.key: 0.0})
    _, waking = scene(world)

    waking.once()

    assert world.looked == [(CODE.key,)]


def test_nobody_is_asked_where_nobody_sleeps_or_no_cycle_may_come() -> None:
    busy = World(replicas={CHAT.key: 1, CODE.key: 1}, load={CHAT.key: 9.0, CODE.key: 9.0})
    _, waking = scene(busy)
    assert waking.once() == ()

    standby = World(free=False)
    _, other = scene(standby)
    standby.load[CHAT.key] = 25.0
    assert other.once() == ()

    assert (busy.looked, standby.looked) == ([], [])


def test_one_that_a_person_turned_off_is_left_alone() -> None:
    world = World()
    _, waking = scene(world, {CHAT.key: Past(desired=0, asleep=False), CODE.key: ASLEEP})
    world.load[CHAT.key] = 25.0

    assert waking.once() == ()
    assert world.looked == [(CODE.key,)]


def test_a_cycle_that_ran_during_a_look_has_seen_it_all() -> None:
    world = World()
    controller, waking = scene(world)
    world.load[CHAT.key] = 25.0

    def meanwhile(fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        controller.run_once(world.now + 1)
        return world.observe(fleet, now)

    world.look = meanwhile  # type: ignore[method-assign]

    assert (waking.once(), world.soon) == ((), 0)


def test_a_look_that_meets_a_cycle_does_not_wait_for_it() -> None:
    world = World()
    _, waking = scene(world)
    world.load[CHAT.key] = 25.0

    with waking._turn:
        assert waking.once() == ()
    assert world.woken == []
    assert waking.once() == (CHAT.key,)


def test_where_a_look_brings_nothing_new_nothing_is_decided() -> None:
    world = World()
    _, waking = scene(world)
    world.look = lambda fleet, before, now: Snapshot(now)  # type: ignore[method-assign]

    assert waking.once() == ()
    assert world.woken == []


def test_a_pause_holds_for_looks_too() -> None:
    world = World()
    _, waking = scene(world)
    world.load[CHAT.key] = 25.0
    pause = Intervention(InterventionKind.PAUSED, "paused by a person")

    def paused(fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        found = world.observe(fleet, now)
        held = {
            key: replace(one, interventions=(pause,)) for key, one in found.observations.items()
        }
        return replace(found, observations=held)

    world.look = paused  # type: ignore[method-assign]

    assert waking.once() == ()


def test_a_bug_in_a_look_is_told_and_the_next_look_comes() -> None:
    world = World(fails=True)
    _, waking = scene(world, seconds=0.01)
    with capture_logs() as lines:
        waking.start()
        until(lambda: len(world.looked) > 1, "it is looked again")
        waking.stop()

    assert lines[0]["event"] == "look failed"


def test_a_look_that_the_end_overtakes_is_no_bug() -> None:
    world = World(fails=True)
    _, waking = scene(world, seconds=0.001)

    def closed(fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        waking.stop()
        raise RuntimeError("closed")

    world.look = closed  # type: ignore[method-assign]
    with capture_logs() as lines:
        waking._run()

    assert lines == []


def test_without_a_time_between_looks_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    _, waking = scene(world, seconds=0.0)
    started: list[object] = []
    monkeypatch.setattr("autoscaler.service.waking.threading.Thread", started.append)

    waking.start()

    assert started == []


@pytest.mark.parametrize(
    ("took", "spent", "pause"),
    [
        pytest.param(0.1, 0.01, 0.4, id="as often as is set"),
        pytest.param(0.1, 0.09, 0.09 / SHARE - 0.1, id="a tenth of a processor at most"),
        pytest.param(3.0, 0.01, 3.0, id="a slow source is not asked without a pause"),
    ],
)
def test_looks_that_take_much_come_rarely(
    monkeypatch: pytest.MonkeyPatch, took: float, spent: float, pause: float
) -> None:
    world = World()
    _, waking = scene(world, seconds=0.5)
    pauses: list[float] = []
    processor = [0.0]

    class Ending:
        def wait(self, seconds: float) -> bool:
            pauses.append(seconds)
            return len(pauses) > 2

    def look(fleet: FleetSpec, before: Snapshot, now: float) -> Snapshot:
        world.now += took
        processor[0] += spent
        return Snapshot(now)

    world.look = look  # type: ignore[method-assign]
    waking._ending = Ending()  # type: ignore[assignment]
    monkeypatch.setattr("autoscaler.service.waking.time.thread_time", lambda: processor[0])
    waking._run()

    assert pauses[0] == 0.5
    assert pauses[1:] == pytest.approx([pause, pause], abs=1e-6)


class TestWhenACycleMayComeEarly:
    """Half of the time at least is left to other things, and only who acts is in a hurry."""

    @pytest.fixture
    def process(self, tmp_path: Path) -> Iterator[Service]:
        path = written(tmp_path, most=9)
        self.lease, self.seconds = Lease(), 0.0
        self.world = Cluster()
        made = Parts(observer=self.world, actuator=self.world, leadership=self.lease)
        service = Service(
            read_settings(), PolicyFiles([path]), made, monotonic=lambda: self.seconds
        )
        yield service
        service.stop()

    def test_not_before_the_first_nor_while_one_runs(self, process: Service) -> None:
        assert not process._may_come_early()
        process.tick()
        assert process._may_come_early()
        with process._turn:
            assert not process._may_come_early()

    def test_not_where_another_process_leads(self, process: Service) -> None:
        process.tick()
        self.lease.leads = False

        assert not process._may_come_early()

    def test_not_right_after_one_that_took_long(self, process: Service) -> None:
        def slow(fleet: FleetSpec, now: float) -> Snapshot:
            self.seconds += 4.0
            return Snapshot(now)

        self.world.observe = slow  # type: ignore[method-assign]
        process.tick()

        self.seconds += 3.9
        assert not process._may_come_early()
        self.seconds += 0.2
        assert process._may_come_early()
