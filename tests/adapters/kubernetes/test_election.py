"""Never two leaders; always one again, soon."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.election import (
    Durations,
    Election,
    Fence,
    NotLeaderError,
    own_identity,
    steady,
)
from autoscaler.adapters.kubernetes.lease import ClusterLease
from tests.adapters.kubernetes.lease_world import Fault, World
from tests.fakes.kubernetes import Break, FakeApiServer
from tests.waiting import until

seconds = st.sampled_from([0.0, 0.25, 1.0, 3.0, 6.0, 12.0, 20.0, 40.0])
faults = st.builds(
    Fault,
    there=seconds,
    back=seconds,
    request_lost=st.booleans(),
    answer_lost=st.booleans(),
    late=st.sampled_from([0.0, 5.0, 14.0, 30.0]),
)


class Elections(RuleBasedStateMachine):
    """Candidates with clocks that run up to a tenth too fast or slow, and everything that fails."""

    @initialize(
        rates=st.lists(st.sampled_from([0.9, 1.0, 1.1]), min_size=2, max_size=4),
        walls=st.lists(st.sampled_from([-1e6, 0.0, 3e5]), min_size=4, max_size=4),
    )
    def begin(self, rates: list[float], walls: list[float]) -> None:
        self.world = World()
        for index, rate in enumerate(rates):
            self.world.join(f"c{index}", rate=rate, offset=1000.0 * index, wall=walls[index])

    @rule(seconds=seconds)
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(index=st.integers(0, 3), drawn=st.lists(faults, min_size=1, max_size=4))
    def requests_go_wrong(self, index: int, drawn: list[Fault]) -> None:
        one = self.world.candidates[index % len(self.world.candidates)]
        one.faults = drawn
        self.world.pass_time(2.5)

    @rule(index=st.integers(0, 3), seconds=seconds)
    def a_process_sleeps(self, index: int, seconds: float) -> None:
        one = self.world.candidates[index % len(self.world.candidates)]
        one.paused_until = self.world.time + seconds

    @rule(seconds=seconds)
    def the_api_is_gone(self, seconds: float) -> None:
        self.world.outage_until = self.world.time + seconds

    @rule()
    def somebody_deletes_the_lease(self) -> None:
        self.world.delete()

    @rule(index=st.integers(0, 3), gently=st.booleans())
    def a_process_ends_and_another_begins(self, index: int, gently: bool) -> None:
        one = self.world.candidates[index % len(self.world.candidates)]
        if gently:
            one.faults = []
            one.election.stop()
        one.dead = True
        self.world.candidates.remove(one)
        self.world.join(f"n{self.world.time}-{len(self.world.history)}", rate=one.rate)

    @invariant()
    def at_most_one_leads(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.leaders()) <= 1

    def teardown(self) -> None:
        """When nothing fails any more, one leads after a lease, a new record's wait and tries."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.outage_until = 0.0
        for one in world.candidates:
            one.faults, one.paused_until = [], 0.0
        world.pass_time(30.0)  # what is late has landed
        durations = world.durations
        world.pass_time((2 * durations.lease_seconds + 4 * durations.retry_seconds) / 0.9)
        assert len(world.leaders()) == 1


TestElections = Elections.TestCase


# --- one record, two candidates, no chance ---------------------------------------------------


def led_by(name: str, *others: str) -> World:
    """A world in which `name` leads and the others stand by."""
    world = World()
    world.join(name)
    world.pass_time(20.0)
    for other in others:
        world.join(other)
    world.pass_time(3.0)
    assert world.leaders() == [name]
    return world


def until_led(world: World, name: str, most: float) -> float:
    """Let time pass until `name` leads; return how long that took."""
    began = world.time
    while world.leaders() != [name]:
        world.pass_time(0.25)
        assert world.time - began <= most, f"{name} does not lead after {most} s"
    return world.time - began


def test_a_crashed_leader_is_followed_within_the_lease_and_a_retry() -> None:
    world = led_by("a", "b")

    world.candidates[0].dead = True

    took = until_led(world, "b", most=15.0 + 2.4)
    assert took >= 10.0


def test_a_leader_that_stops_is_followed_at_the_next_try() -> None:
    world = led_by("a", "b")

    assert world.candidates[0].election.stop()

    assert world.leaders() == []
    world.candidates[0].dead = True
    until_led(world, "b", most=2.5)


def test_a_leader_without_an_api_server_ceases_to_lead_before_another_may() -> None:
    world = led_by("a", "b")

    world.outage_until = world.time + 60.0
    world.pass_time(10.25)

    assert world.leaders() == []
    assert "not there" in world.candidates[0].election.standing().trouble


def test_after_an_outage_for_all_the_same_one_goes_on() -> None:
    world = led_by("a", "b")
    before = world.record
    assert before is not None

    world.outage_until = world.time + 12.0
    world.pass_time(14.75)

    assert world.leaders() == ["a"]
    assert world.record is not None
    transitions = world.record["spec"]["leaseTransitions"]
    assert transitions == before["spec"]["leaseTransitions"]


def test_a_call_that_hangs_does_not_prolong_the_lead() -> None:
    world = led_by("a")
    one = world.candidates[0]
    one.faults = [Fault(back=40.0)]

    one.asking = True
    world.time += 1.0
    seen: list[bool] = []
    original = world.pass_time

    def watch(seconds: float) -> None:
        original(seconds)
        seen.append(one.election.is_leader())

    world.pass_time = watch  # type: ignore[method-assign]
    one.election.attempt()

    # It took effect 40 s ago by the time it is answered: too old to lead by.
    assert seen[-1] is False
    assert not one.election.is_leader()


def test_a_takeover_whose_answer_was_lost_is_recognised() -> None:
    world = led_by("a", "b")
    world.candidates[0].dead = True
    b = world.candidates[1]
    # The stack is taken from the end: reads as usual, then a write without an answer.
    world.pass_time(13.0)
    b.faults = [Fault(answer_lost=True), Fault()]

    until_led(world, "b", most=8.0)

    assert world.record is not None
    assert world.record["spec"]["leaseTransitions"] == 1


def test_two_processes_of_one_name_do_not_lead_together() -> None:
    world = led_by("twin")
    other = world.join("twin")

    world.pass_time(60.0)

    assert not other.election.is_leader()
    assert world.candidates[0].election.is_leader()


def test_a_lease_deleted_under_its_leader_is_not_led_by_another_at_once() -> None:
    world = led_by("a", "b")
    a, b = world.candidates
    a.paused_until = world.time + 8.0  # does not notice
    world.delete()

    world.pass_time(3.0)

    assert world.record is not None
    assert world.record["spec"]["holderIdentity"] == "b"
    assert not b.election.is_leader()
    until_led(world, "b", most=16.0)


def test_a_new_record_is_not_released_before_it_counts() -> None:
    world = led_by("a", "b", "c")
    a, b, c = world.candidates
    a.paused_until = world.time + 9.0
    c.paused_until = world.time + 3.0
    world.delete()
    world.pass_time(2.5)

    b.election.stop()
    b.dead = True

    assert world.record is not None
    assert world.record["spec"]["holderIdentity"] == "b"
    world.pass_time(6.0)  # a still counts on the record that is gone
    assert not c.election.is_leader()


def test_a_record_that_was_made_late_is_waited_out() -> None:
    world = World()
    one = world.join("a")
    one.faults = [Fault(request_lost=True, late=20.0), Fault()]
    world.pass_time(0.25)
    one.paused_until = 21.0

    world.pass_time(23.0)

    # The record names us since 20 s: whoever led before may have seen it vanish just then.
    assert world.record is not None
    assert world.record["spec"]["holderIdentity"] == "a"
    assert not one.election.is_leader()
    until_led(world, "a", most=16.0)


def test_what_stands_in_the_record_and_is_not_ours_is_kept() -> None:
    world = led_by("a")
    assert world.record is not None
    world.version += 1
    world.record = {
        "metadata": {"resourceVersion": str(world.version)},
        "spec": {**world.record["spec"], "strategy": "OldestEmulationVersion"},
    }

    world.pass_time(5.0)

    assert world.leaders() == ["a"]
    assert world.record["spec"]["strategy"] == "OldestEmulationVersion"


def test_a_write_is_fenced() -> None:
    world = led_by("a", "b")
    a, b = (one.election for one in world.candidates)

    assert a.assert_leader() == Fence("a", 0)
    assert 12.0 <= a.seconds_left() <= 15.0
    with pytest.raises(NotLeaderError, match=r"we do not lead \(the lease names a\)"):
        b.assert_leader()
    assert b.seconds_left() == 0.0
    assert b.fence() is None


def told(election: Election) -> list[str]:
    """Return what will be told, with how loud."""
    said: list[str] = []
    election._say = lambda text: said.append(f"info: {text}")
    election._warn = lambda text: said.append(f"warning: {text}")
    return said


def test_gaining_and_losing_the_lead_are_told_once() -> None:
    world = World()
    one = world.join("a")
    said = told(one.election)
    world.pass_time(25.0)
    world.outage_until = world.time + 30.0
    world.pass_time(20.0)

    assert said == [
        "info: we lead",
        "warning: election: the API server is not there",
        "info: we do not lead any more: the lease names a",
    ]


def test_trouble_with_the_lease_is_a_warning_when_it_begins_and_when_it_ends() -> None:
    world = led_by("a")
    one = world.candidates[0]
    said = told(one.election)
    one.faults = [Fault(request_lost=True), Fault(answer_lost=True), Fault(request_lost=True)]

    world.pass_time(30.0)

    assert said == [
        "warning: election: the request is lost",
        "warning: election: the lease can be reached again",
    ]
    assert world.leaders() == ["a"]


def test_a_bug_in_a_try_is_survived() -> None:
    world = led_by("a")
    one = world.candidates[0]
    original = one.election._try
    calls: list[int] = []

    def broken() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError
        original()

    one.election._try = broken  # type: ignore[method-assign]
    world.pass_time(2.5)
    assert one.election.standing().trouble == "ZeroDivisionError"
    world.pass_time(9.0)
    assert world.leaders() == ["a"]


def test_a_release_that_fails_is_told() -> None:
    world = led_by("a")
    one = world.candidates[0]
    said = told(one.election)
    one.faults = [Fault(request_lost=True)]

    assert one.election.stop()

    (line,) = said
    assert line.startswith("warning: the lead was not given back: the request is lost; another")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"retry_seconds": 0.0}, "retrySeconds and requestSeconds should be above 0"),
        ({"lease_seconds": 10.0}, "leaseSeconds should be above renewSeconds, not 10 <= 10"),
        (
            {"request_seconds": 8.0},
            "renewSeconds should be above retrySeconds + requestSeconds, not 10 <= 10",
        ),
    ],
    ids=["no pause", "two could lead", "no second try"],
)
def test_durations_that_cannot_work_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message.replace('+', '[+]')}$"):
        Durations(**wrong)


def test_identities_differ_and_the_clock_is_steady() -> None:
    assert own_identity("pod-1") != own_identity("pod-1")
    assert own_identity("pod-1").startswith("pod-1_")
    assert steady() <= steady()


def test_without_a_boot_clock_the_monotonic_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(steady() - time.monotonic()) < 1.0


# --- over HTTP, in threads --------------------------------------------------------------------

FAST = Durations(lease_seconds=4.0, renew_seconds=2.4, retry_seconds=0.2, request_seconds=0.9)


class Cable:
    """A way to the API server that can be cut."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.cut = False

    def ask(self, *args: Any, **options: Any) -> Any:
        if self.cut:
            raise OSError("unreachable")
        return self.connection.ask(*args, **options)


@dataclass(frozen=True, slots=True)
class Process:
    """A candidate with a cable of its own."""

    election: Election
    cable: Cable


@pytest.fixture
def elect(api: FakeApiServer) -> Iterator[Callable[[str], Process]]:
    """Start candidates, each on its own cable; end them all."""
    started: list[Process] = []
    api.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "autoscaler"}})

    def start(name: str) -> Process:
        cable = Cable(Connection.open(api.kubeconfig_path))
        store = ClusterLease(
            cable, "autoscaler", "inference-autoscaler", deadline_seconds=FAST.request_seconds
        )
        one = Election(store, name, now=lambda: api.now, chance=lambda: 0.5, durations=FAST)
        started.append(Process(one, cable))
        one.start()
        return started[-1]

    yield start
    for process in started:
        assert process.election.stop()
        process.cable.connection.close()
    assert not [one for one in threading.enumerate() if one.name == "election"]


@pytest.mark.slow
def test_a_cut_off_leader_is_followed_within_the_lease_and_a_retry(
    api: FakeApiServer, elect: Callable[[str], Process]
) -> None:
    first, second = _leader_and_standby(elect)
    both: list[bool] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            both.append(first.election.is_leader() and second.election.is_leader())

    watcher = threading.Thread(target=watch)
    watcher.start()
    first.cable.cut = True
    took = until(second.election.is_leader)
    done.set()
    watcher.join()

    assert both
    assert not any(both)
    assert not first.election.is_leader()
    assert FAST.lease_seconds - FAST.renew_seconds < took
    assert took < 2 * FAST.lease_seconds
    lease = api.peek(
        "/apis/coordination.k8s.io/v1/namespaces/autoscaler/leases/inference-autoscaler"
    )
    assert lease["spec"]["leaseTransitions"] == 1


@pytest.mark.slow
def test_a_leader_that_stops_is_followed_at_once(elect: Callable[[str], Process]) -> None:
    first, second = _leader_and_standby(elect)

    assert first.election.stop()
    took = until(second.election.is_leader)

    assert took < FAST.lease_seconds - FAST.renew_seconds


@pytest.mark.slow
def test_a_server_that_hangs_ends_the_lead_on_time(
    api: FakeApiServer, elect: Callable[[str], Process]
) -> None:
    one = elect("only").election
    until(one.is_leader)

    with api.faults.during(breaks=Break.HANG):
        took = until(lambda: not one.is_leader())

    assert took < FAST.lease_seconds
    until(one.is_leader)


def _leader_and_standby(elect: Callable[[str], Process]) -> tuple[Process, Process]:
    first = elect("first")
    until(first.election.is_leader)
    second = elect("second")
    until(lambda: second.election.standing().holder == "first")
    return first, second


def test_the_record_is_what_the_api_server_takes(
    api: FakeApiServer, connection: Connection
) -> None:
    store = ClusterLease(connection, "default", "lead", deadline_seconds=2.0)
    clock = [100.0]
    one = Election(
        store,
        "a",
        now=lambda: 1_700_000_000.0,
        chance=lambda: 0.5,
        monotonic=lambda: clock[0],
    )

    assert store.read() is None
    one.attempt()
    clock[0] += 15.0
    one.attempt()

    assert one.is_leader()
    spec = api.peek("/apis/coordination.k8s.io/v1/namespaces/default/leases/lead")["spec"]
    assert spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.000000Z",
        "renewTime": "2023-11-14T22:13:20.000000Z",
        "leaseTransitions": 0,
    }
    one.stop()
    spec = api.peek("/apis/coordination.k8s.io/v1/namespaces/default/leases/lead")["spec"]
    assert spec["holderIdentity"] == ""
    assert spec["leaseDurationSeconds"] == 1


def test_a_namespace_that_is_not_there_is_told(api: FakeApiServer, connection: Connection) -> None:
    store = ClusterLease(connection, "nowhere", "lead", deadline_seconds=2.0)
    one = Election(store, "a", now=lambda: 0.0, chance=lambda: 0.5)

    one.attempt()

    assert "404" in one.standing().trouble
    assert not one.is_leader()


def test_an_election_is_started_once() -> None:
    world = World()
    one = world.join("a").election
    one._thread = threading.Thread()
    with pytest.raises(RuntimeError, match="started once"):
        one.start()


def test_durations_may_be_changed_one_by_one() -> None:
    assert replace(Durations(), lease_seconds=20.0).write_seconds == 10.0
