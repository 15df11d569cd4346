"""A standby that comes to lead goes on from what the leader before has saved."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.adapters.parts import Parts as RawSeries
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.observation import ReplicaStatus, Snapshot
from autoscaler.core.workload import FleetSpec
from autoscaler.service import Parts, Service
from autoscaler.settings import read_settings
from autoscaler.state import load_state
from tests.config.test_reload import written
from tests.fakes.kubernetes import FakeApiServer, objects
from tests.test_service import Lease, Notes, World, cycle

OURS = "inference-autoscaler"
STATE = f"/api/v1/namespaces/{OURS}/configmaps/state"
KEY = "llm/chat"
BEHAVIOR = """\
  behavior: {scaleUp: {policies: [{type: Pods, value: 20, periodSeconds: 1800}]}}
"""


class Pair:
    """Two processes that see one cluster and keep their state in one ConfigMap; `a` leads."""

    def __init__(self, folder: Path, api: FakeApiServer) -> None:
        path = written(folder, most=9)
        text = path.read_text().replace("spec:\n", "spec:\n  actuation: scale\n", 1)
        path.write_text(text.replace("min: 1", "min: 0") + BEHAVIOR)
        self.folder, self.api = folder, api
        self.world = World(load=25.0)
        self.closing: list[Callable[[], None]] = []
        self.leases = {name: Lease(leads=name == "a") for name in ("a", "b")}
        self.notes = {name: Notes() for name in self.leases}
        self.series = {name: RawSeries() for name in self.leases}
        self.a, self.b = self.start("a"), self.start("b")

    def start(self, name: str) -> Service:
        lease, world = self.leases[name], self.world
        connection = Connection.open(self.api.kubeconfig_path)
        store = ClusterStore(connection, OURS, "state", may_write=lease.is_leader)
        parts = Parts(
            observer=world,
            actuator=world,
            leadership=lease,
            store=store,
            memories={"notes": self.notes[name], "series": self.series[name]},
        )
        service = Service(
            read_settings(flags={"state_interval_seconds": 30}),
            PolicyFiles([self.folder]),
            parts,
            clock=lambda: world.now,
            monotonic=lambda: world.steady,
        )
        self.closing += [service.saving.close, connection.close]
        return service

    def pass_(self, cycles: int, *running: Service) -> None:
        for _ in range(cycles):
            self.world.pass_(15)
            for one in running:
                cycle(one)

    def hand_over(self) -> None:
        """Have the lead change hands, as when the leader is killed."""
        self.leases["a"].leads = False
        self.leases["b"].calls.append("taken")
        self.leases["b"].leads = True


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    (tmp_path / "policies").mkdir()
    with FakeApiServer(tmp_path) as api:
        api.add(objects.config_map("another", namespace=OURS))
        made = Pair(tmp_path / "policies", api)
        yield made
        for close in made.closing:
            close()


def test_a_workload_that_the_leader_put_to_sleep_wakes_under_the_next_one(pair: Pair) -> None:
    pair.pass_(22, pair.a, pair.b)  # nothing is lowered in the first window
    pair.world.load = 0.0
    pair.pass_(22, pair.a, pair.b)
    assert pair.world.replicas == 0

    pair.hand_over()
    pair.world.load = 25.0
    pair.pass_(1, pair.b)

    assert pair.world.replicas == 3


def test_a_workload_that_a_person_turned_off_stays_off_under_the_next_leader(pair: Pair) -> None:
    pair.pass_(2, pair.a, pair.b)
    pair.world.replicas = 0
    pair.pass_(2, pair.a, pair.b)

    pair.hand_over()
    pair.pass_(2, pair.b)

    assert pair.world.replicas == 0


def test_the_new_leader_knows_what_the_ends_of_the_one_before_remembered(pair: Pair) -> None:
    pair.notes["a"].noted = {KEY: [1, 2]}
    pair.notes["b"].noted = {KEY: [3]}
    pair.pass_(2, pair.a, pair.b)
    assert pair.notes["b"].noted == {KEY: [3]}

    pair.hand_over()
    pair.pass_(1, pair.b)

    assert pair.notes["b"].noted == {KEY: [1, 2]}


def test_the_new_leader_knows_how_many_raw_series_there_were_when_all_spoke(pair: Pair) -> None:
    fleet, four = pair.a.controller.fleet, ReplicaStatus(4, 4)
    (chat,) = fleet.workloads
    for name, count in (("a", 4), ("b", 1)):  # b began when three targets were dead already
        pair.series[name].follow(fleet)
        assert pair.series[name].lacking(chat, {"load": count}, four, pair.world.now) == {}
    pair.pass_(2, pair.a, pair.b)

    pair.hand_over()
    pair.pass_(1, pair.b)

    pair.series["b"].follow(fleet)
    gaps = pair.series["b"].lacking(chat, {"load": 1}, four, pair.world.now)
    assert [gap.detail for gap in gaps.values()] == [
        "1 of 4 series are left while 4 replicas are ready"
    ]


def test_the_newest_state_counts_not_the_one_from_when_the_standby_started(pair: Pair) -> None:
    pair.pass_(2, pair.a, pair.b)
    pair.world.load = 60.0
    pair.pass_(2, pair.a, pair.b)
    saved = state_of(pair)
    assert [mark.count for mark in saved.scale_ups] == [1, 3]

    pair.hand_over()
    with capture_logs() as lines:
        pair.pass_(1, pair.b)

    past = pair.b.controller.state.pasts[KEY]
    assert past.scale_ups == saved.scale_ups
    assert [line["event"] for line in lines] == ["the leader's state was taken over"]


def test_what_the_leader_did_after_it_saved_counts_once(pair: Pair) -> None:
    pair.pass_(2, pair.a, pair.b)
    with pair.api.faults.during(method="PUT", path="/configmaps/state", status=403):
        pair.world.load = 60.0
        pair.pass_(1, pair.a, pair.b)
    assert pair.world.replicas == 6

    pair.hand_over()
    pair.pass_(1, pair.b)

    past = pair.b.controller.state.pasts[KEY]
    assert sum(mark.count for mark in past.scale_ups) == 4
    assert past.desired == 6


def test_a_leader_that_was_cut_off_goes_on_from_what_the_other_did_meanwhile(pair: Pair) -> None:
    pair.pass_(1, pair.a, pair.b)
    pair.hand_over()
    pair.world.load = 60.0
    pair.pass_(2, pair.b)
    by_b = state_of(pair)

    pair.leases["b"].leads = False
    pair.leases["a"].calls.append("taken")
    pair.leases["a"].leads = True
    pair.pass_(1, pair.a)

    assert pair.a.controller.state.pasts[KEY].scale_ups == by_b.scale_ups


def test_a_cycle_that_began_as_a_standby_changes_nothing(pair: Pair) -> None:
    pair.pass_(1, pair.a, pair.b)
    pair.world.load = 60.0
    seen = pair.world.observe

    def lead_meanwhile(fleet: FleetSpec, now: float) -> Snapshot:
        pair.world.observe = seen  # type: ignore[method-assign]
        pair.hand_over()
        return seen(fleet, now)

    pair.world.observe = lead_meanwhile  # type: ignore[method-assign]
    pair.pass_(1, pair.b)
    assert pair.world.replicas == 3
    pair.pass_(1, pair.b)
    assert pair.world.replicas == 6


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param({"status": 403}, "403", id="it cannot be read"),
        pytest.param({"status": 404}, "no saved state was found", id="it is gone"),
    ],
)
def test_without_the_leaders_state_a_standby_goes_on_from_its_own(
    pair: Pair, fault: Mapping[str, Any], says: str
) -> None:
    pair.leases["b"].leads = False
    pair.pass_(2, pair.a)
    pair.closing.append(pair.b.saving.close)
    warm = pair.start("b")  # it began with a state
    pair.pass_(1, pair.a, warm)
    own = warm.controller.state.pasts[KEY].recommendations
    pair.notes["b"].noted = {KEY: [3]}

    pair.hand_over()
    with capture_logs() as lines, pair.api.faults.during(method="GET", path=STATE, **fault):
        pair.pass_(1, warm)

    past = warm.controller.state.pasts[KEY]
    assert past.recommendations[0] == own[0]  # the last is followed by an equal one
    assert own[0].count != own[-1].count
    assert past.unproven_since is not None  # as the leader's was: it began without a state, too
    assert pair.notes["b"].noted == {KEY: [3]}
    told = [line for line in lines if line["event"] == "the leader's state was not taken over"]
    assert [says in line["reason"] for line in told] == [True]


def state_of(pair: Pair) -> Any:
    connection = Connection.open(pair.api.kubeconfig_path)
    data = ClusterStore(connection, OURS, "state").load()
    connection.close()
    assert data is not None
    return load_state(data)[0].pasts[KEY]
