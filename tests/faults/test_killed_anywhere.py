"""A process that dies at any request that changes something, before it is sent or after.

The process dies as by SIGKILL: it gets no word in. Another is started and goes on from what was
saved: every change is made once, and the one that was made counts.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.core.past import Past
from autoscaler.state import load_state
from tests.faults.world import DEPLOYMENTS, NAMESPACE, SITUATIONS, World
from tests.waiting import PATIENCE_SECONDS

STRIKES = 4
WRITES = 5
"""Of the cycle in which all four workloads change: four counts, and the state."""

DEADLY = [
    pytest.param(number, sent, id=f"write {number}, {'after' if sent else 'before'} it is sent")
    for number in range(1, WRITES + 1)
    for sent in (False, True)
]


class Killed(BaseException):
    """The end of the process: nothing in it may catch this."""


class Deadly:
    """Ends the process at one of its next writes; renewals of the lease and events do not count.

    Attributes:
        writes: How many there were.
        dead: Whether it has come to that.
    """

    def __init__(self, connection: Connection, number: int, *, sent: bool) -> None:
        self.writes = 0
        self._number, self._sent, self.dead = number, sent, False
        self._send = connection._send
        connection._send = self  # type: ignore[method-assign, assignment]

    def __call__(self, what: Any, method: str, path: str, *rest: Any) -> Any:
        if self.dead:
            raise Killed
        if method == "GET" or "/leases" in path or "/events" in path:
            return self._send(what, method, path, *rest)
        self.writes += 1
        if self.writes != self._number:
            return self._send(what, method, path, *rest)
        self.dead = True
        if self._sent:
            self._send(what, method, path, *rest)
        raise Killed


def die_with_the_writer(world: World, deadly: Deadly) -> None:
    """Let the cycle end where the thread that saves its state has died: a process dies as one."""
    saving = world.service.saving
    keep = saving.keep

    def kept(*state: Any, **options: Any) -> None:
        keep(*state, **options)
        saving.flush(PATIENCE_SECONDS)
        if deadly.dead:
            raise Killed

    saving.keep = kept  # type: ignore[method-assign]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, strikes=STRIKES, due=STRIKES)
    yield found
    found.close()


def goal() -> dict[str, int]:
    return {one.name: one.after for one in SITUATIONS}


@pytest.mark.parametrize(("number", "sent"), DEADLY)
def test_what_was_begun_is_finished_once(world: World, number: int, *, sent: bool) -> None:
    for _ in range(STRIKES):
        world.cycle()
    deadly = Deadly(world.connection, number, sent=sent)
    die_with_the_writer(world, deadly)
    with pytest.raises(Killed):
        world.cycle()
    world.cycles += 1

    world.restart()
    world.settle_pods()
    for _ in range(6):
        world.cycle()

    assert world.counts[-1] == goal()
    for one in SITUATIONS:
        assert world.api.peek(f"{DEPLOYMENTS}/{one.name}")["metadata"]["generation"] == 2
    pasts = saved(world)
    assert sum(mark.count for mark in pasts["llm/up"].scale_ups) == 2
    assert sum(mark.count for mark in pasts["llm/down"].scale_downs) == 4


def test_a_cycle_in_which_everything_changes_has_that_many_writes(world: World) -> None:
    for _ in range(STRIKES):
        world.cycle()
    counted = Deadly(world.connection, 0, sent=False)
    world.cycle()

    assert counted.writes == WRITES
    assert world.replicas() == goal()


def saved(world: World) -> dict[str, Past]:
    connection = Connection.open(world.api.kubeconfig_path)
    data = ClusterStore(connection, NAMESPACE, "inference-autoscaler-state").load()
    connection.close()
    assert data is not None
    return dict(load_state(data)[0].pasts)
