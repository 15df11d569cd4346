"""Two processes: one acts. When it dies or freezes the other takes over; never do two act."""

import signal
import sys
import time
from functools import partial

import pytest

from tests.fakes.kubernetes import FakeApiServer, objects
from tests.live.process import Process
from tests.live.stage import Stage
from tests.waiting import until

pytestmark = pytest.mark.slow

LEASE_SECONDS = 5.0
SLACK_SECONDS = 3.0
"""For a busy machine: one look at the lease comes late, and the request takes its time."""

EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


class Pair:
    """Two processes with accounts of their own, so that the API server tells them apart."""

    def __init__(self, stage: Stage, fake: FakeApiServer) -> None:
        self.stage, self.fake = stage, fake
        self.users: dict[str, str] = {}
        self.processes: dict[str, Process] = {}
        for name in ("a", "b"):
            account = fake.account("default", name, objects.role(f"all-{name}", EVERYTHING))
            self.users[name] = f"system:serviceaccount:default:{name}"
            self.processes[name] = stage.run(
                kubeconfig=account.kubeconfig_path, election=True, settings={"identity": name}
            )
            until(partial(self.looks, name), f"{name} looks at its targets")

    def looks(self, name: str) -> bool:
        return any(one.user == self.users[name] for one in self.fake.requests.matching("WATCH"))

    def leader(self) -> str:
        """Return who holds the lease now."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.stage.own}/leases"
        held = [one["spec"].get("holderIdentity", "") for one in self.fake.objects(path)]
        return held[0].partition("_")[0] if held else ""

    def changes(self, name: str) -> list[int]:
        """Return the numbers that a process asked for."""
        asked = self.fake.requests.matching("PATCH", "/scale$")
        return [one.json["spec"]["replicas"] for one in asked if one.user == self.users[name]]

    def leads(self) -> str:
        """Wait until one of them acts; return which."""
        self.stage.demand("chat", 40)
        self.stage.until(4)
        leader = self.leader()
        assert self.changes(leader) == [4]
        return leader


@pytest.fixture
def pair(stage: Stage, fake: FakeApiServer) -> Pair:
    return Pair(stage, fake)


def other(name: str) -> str:
    return "b" if name == "a" else "a"


def test_after_kill_9_the_standby_acts_within_the_lease(
    pair: Pair,
) -> None:
    leader = pair.leads()
    standby = other(leader)
    assert pair.changes(standby) == []

    pair.processes[leader].kill()
    killed = time.monotonic()
    pair.stage.demand("chat", 70)
    until(lambda: pair.leader() == standby, "the standby takes the lease")
    taken = time.monotonic() - killed
    pair.stage.until(7)
    acted = time.monotonic() - killed

    told = f"lease of {LEASE_SECONDS:g} s: taken over after {taken:.2f} s, acted {acted:.2f} s"
    sys.stdout.write(f"{told}\n")  # shown with -s
    assert taken <= LEASE_SECONDS + SLACK_SECONDS
    assert pair.changes(leader) == [4]
    assert pair.changes(standby) == [7]


def test_a_leader_that_was_frozen_changes_nothing_when_it_wakes(pair: Pair) -> None:
    leader = pair.leads()
    standby = other(leader)

    pair.processes[leader].send(signal.SIGSTOP)
    pair.stage.demand("chat", 70)
    pair.stage.until(7)
    pair.processes[leader].send(signal.SIGCONT)
    pair.stage.demand("chat", 90)
    pair.stage.until(9)
    time.sleep(2.0)

    assert pair.changes(leader) == [4]
    assert pair.changes(standby) == [7, 9]
    assert pair.leader() == standby


def test_a_leader_that_ends_in_order_hands_over_at_once(pair: Pair) -> None:
    leader = pair.leads()
    standby = other(leader)

    pair.processes[leader].send(signal.SIGTERM)
    assert pair.processes[leader].ended()[0] == 0
    ended = time.monotonic()
    until(lambda: pair.leader() == standby, "the standby takes the lease")

    assert time.monotonic() - ended < LEASE_SECONDS
    pair.stage.demand("chat", 20)
    pair.stage.until(2)  # the new leader knows what was decided: it need not wait five minutes
    assert pair.changes(standby) == [2]
