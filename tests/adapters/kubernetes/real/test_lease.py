"""Who leads, by a Lease, on both servers: one at a time, whatever is cut."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.election import Durations, Election, NotLeaderError
from autoscaler.adapters.kubernetes.lease import Claim, ClusterLease, ConflictError
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER
from autoscaler.service import wall
from tests.adapters.kubernetes.real.place import Place
from tests.adapters.kubernetes.real.relay import Cut, Relay
from tests.fakes.kubernetes.client import write_kubeconfig
from tests.waiting import until

FAST = Durations(lease_seconds=2.0, renew_seconds=1.2, retry_seconds=0.1, request_seconds=0.5)
NAME = "leader"
SLACK = 0.5  # seconds that a busy machine may take longer


def record(place: Place) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{place.namespace}/leases/{NAME}"
    return place.server.peek(path)


def put_free(place: Place) -> None:
    """Put a lease there that nobody holds: the first one need not wait."""
    spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 4}
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": place.namespace},
        "spec": spec,
    }
    place.server.add(body)


@dataclass(slots=True)
class Watcher:
    """Looks all the time who leads, and that it is never two."""

    elections: dict[str, Election] = field(default_factory=dict)
    seen: list[frozenset[str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.over.is_set():
            self.seen.append(self.leaders)
            time.sleep(0.005)

    @property
    def leaders(self) -> frozenset[str]:
        # Asked twice: one whose right ended while the others were asked does not count.
        asked = [name for name, one in self.elections.items() if one.is_leader()]
        return frozenset(name for name in asked if self.elections[name].is_leader())

    def leads(self, name: str) -> bool:
        return self.elections[name].is_leader()


@contextmanager
def candidates(place: Place, **connections: Connection) -> Iterator[Watcher]:
    """Run an election for each connection; look all the time that never two of them lead."""
    watcher = Watcher()
    with ExitStack() as stack:
        for name, connection in connections.items():
            store = ClusterLease(
                connection, place.namespace, NAME, deadline_seconds=FAST.request_seconds
            )
            election = Election(store, name, now=wall, chance=lambda: 0.5, durations=FAST)
            stack.callback(election.stop, 10.0)
            watcher.elections[name] = election
        thread = threading.Thread(target=watcher.look, daemon=True)
        thread.start()
        yield watcher
        watcher.over.set()
        thread.join()
    assert max(map(len, watcher.seen)) <= 1


@pytest.fixture
def second(place: Place) -> Iterator[Connection]:
    opened = Connection.open(place.server.kubeconfig_path)
    yield opened
    opened.close()


@pytest.fixture
def cable(place: Place, tmp_path: Path) -> Iterator[tuple[Relay, Connection]]:
    """A connection of its own through a cable that can be cut."""
    url = urlsplit(place.server.address)
    assert url.port is not None
    with Relay(url.port) as relay:
        address = f"{url.scheme}://127.0.0.1:{relay.port}"
        path = write_kubeconfig(
            tmp_path / "through-the-cable",
            address,
            token=place.server.token,
            ca_path=place.server.ca_path,
        )
        connection = Connection.open(path)
        yield relay, connection
        connection.close()


def test_one_leads_and_hands_over_when_it_ends(
    place: Place, connection: Connection, second: Connection
) -> None:
    put_free(place)
    with candidates(place, first=connection, second=second) as they:
        they.elections["first"].start()
        until(lambda: they.leads("first"), seconds=2.0)
        they.elections["second"].start()
        time.sleep(3 * FAST.retry_seconds)
        assert they.leaders == {"first"}

        assert they.elections["first"].stop()
        taken = until(lambda: they.leads("second"), seconds=FAST.lease_seconds)

        assert taken < FAST.renew_seconds
        with pytest.raises(NotLeaderError, match="the lease names"):
            they.elections["first"].assert_leader()
        fence = they.elections["second"].assert_leader()
    assert (fence.holder, fence.transitions) == ("second", 6)


def test_the_record_says_who_leads_and_since_when(place: Place, connection: Connection) -> None:
    put_free(place)
    with candidates(place, first=connection) as they:
        they.elections["first"].start()
        until(lambda: they.leads("first"), seconds=2.0)
        begun = record(place)["spec"]
        until(lambda: record(place)["spec"]["renewTime"] > begun["renewTime"], seconds=2.0)
        renewed = record(place)

    micro = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    assert micro.fullmatch(begun["acquireTime"])
    assert micro.fullmatch(begun["renewTime"])
    assert begun["holderIdentity"] == "first"
    assert (begun["leaseDurationSeconds"], begun["leaseTransitions"]) == (2, 5)
    assert renewed["spec"]["acquireTime"] == begun["acquireTime"]
    assert {one["manager"] for one in renewed["metadata"]["managedFields"]} == {FIELD_MANAGER}
    left = record(place)["spec"]
    assert left.get("holderIdentity", "") == ""
    assert left["leaseTransitions"] == 5


@pytest.mark.slow
def test_a_lease_that_is_new_is_held_for_its_length_first(
    place: Place, connection: Connection
) -> None:
    with candidates(place, first=connection) as they:
        they.elections["first"].start()
        taken = until(lambda: they.leads("first"), seconds=FAST.lease_seconds + SLACK)

    assert taken >= FAST.lease_seconds - SLACK
    assert record(place)["spec"]["leaseTransitions"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", Cut)
def test_a_leader_that_is_cut_off_stops_before_another_leads(
    place: Place, cable: tuple[Relay, Connection], second: Connection, how: Cut
) -> None:
    relay, far = cable
    put_free(place)
    with candidates(place, far=far, near=second) as they:
        they.elections["far"].start()
        until(lambda: they.leads("far"), seconds=2.0)
        they.elections["near"].start()
        time.sleep(3 * FAST.retry_seconds)

        cut_at = time.monotonic()
        relay.cut(how)
        until(lambda: not they.leads("far"), seconds=FAST.renew_seconds + SLACK)
        stopped = time.monotonic() - cut_at
        until(lambda: they.leads("near"), seconds=2 * FAST.lease_seconds)
        taken = time.monotonic() - cut_at

    assert stopped <= FAST.renew_seconds + SLACK
    # A silent cable loses the answer: its last write may have been later than the cut.
    latest = FAST.lease_seconds + FAST.request_seconds + FAST.retry_seconds
    assert stopped < taken <= latest + SLACK
    assert they.elections["far"].standing().trouble
    assert record(place)["spec"]["leaseTransitions"] == 6


def test_of_two_that_write_at_once_one_is_refused(
    place: Place, connection: Connection, second: Connection
) -> None:
    put_free(place)
    stores = [
        ClusterLease(one, place.namespace, NAME, deadline_seconds=2.0)
        for one in (connection, second)
    ]
    claims = [Claim(name, 15.0, wall(), taken=True) for name in ("first", "second")]
    read = [store.read() for store in stores]
    assert read[0] is not None
    assert read[1] is not None

    written = stores[0].replace(read[0], claims[0])
    with pytest.raises(ConflictError, match="changed by somebody else meanwhile"):
        stores[1].replace(read[1], claims[1])

    assert stores[1].read() == written
    assert written.holder == "first"
    with pytest.raises(ConflictError):
        stores[1].create(claims[1])


def test_a_lease_that_is_gone_cannot_be_put_back(place: Place, connection: Connection) -> None:
    put_free(place)
    store = ClusterLease(connection, place.namespace, NAME, deadline_seconds=2.0)
    read = store.read()
    assert read is not None

    place.server.drop(f"/apis/coordination.k8s.io/v1/namespaces/{place.namespace}/leases/{NAME}")

    assert store.read() is None
    with pytest.raises(ConflictError):
        store.replace(read, Claim("first", 15.0, wall(), taken=True))
