"""kill -9 in the middle of an action, and a new process: nothing is lost, nothing is done twice."""

import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes.kubernetes import Break, FakeApiServer
from tests.live.stage import STATE, Stage
from tests.waiting import until

pytestmark = pytest.mark.slow

SCALE = r"/deployments/chat/scale(\?|$)"
LONG_SECONDS = 1800
"""Period of the rate limit: two replicas in half an hour, so that a change that was not counted
shows as another two."""

LATE_SECONDS = 15.0
"""How long a write is on its way: longer than a new process takes to begin and act."""

A_WHILE_SECONDS = 3.0
"""Several cycles of the new process."""


@dataclass(frozen=True)
class Blow:
    """When the process is killed.

    Attributes:
        faults: What holds the request up, so that there is time to kill.
        carried_out: How many replicas stand when the dust has settled, before the new process.
        after_the_write: Whether it lives until the change is seen.
    """

    faults: tuple[dict[str, Any], ...]
    carried_out: int
    after_the_write: bool = False


BLOWS = [
    pytest.param(
        Blow(({"method": "GET", "path": SCALE, "breaks": Break.HANG},), 2),
        id="before the write: while the count is read",
    ),
    pytest.param(
        Blow(({"method": "PATCH", "path": SCALE, "breaks": Break.HANG},), 2),
        id="the write is sent and never carried out",
    ),
    pytest.param(
        Blow(({"method": "PATCH", "path": SCALE, "delay": 1.0},), 4),
        id="the write is carried out when the process is dead already",
    ),
    pytest.param(
        Blow(
            (
                {"method": "PATCH", "path": SCALE, "breaks": Break.LOST},
                {"method": "GET", "path": SCALE, "breaks": Break.HANG, "after": 1},
            ),
            4,
        ),
        id="the write is carried out and its answer is lost",
    ),
    pytest.param(
        Blow(({"method": "PUT", "path": f"/configmaps/{STATE}", "breaks": Break.HANG},), 4, True),
        id="after the write: before the state is saved",
    ),
    pytest.param(
        Blow(({"method": "PUT", "path": f"/configmaps/{STATE}", "breaks": Break.LOST},), 4, True),
        id="after the write: when the state has just been saved",
    ),
]


@pytest.mark.parametrize("blow", BLOWS)
def test_a_change_is_made_once_and_counts(stage: Stage, fake: FakeApiServer, blow: Blow) -> None:
    stage.write_policy("chat", up=2, period=LONG_SECONDS)
    process = stage.run()
    until(lambda: bool(fake.requests.matching("WATCH", "/deployments$")), "it looks")
    armed = [fake.faults.add(**{"times": None, **fault}) for fault in blow.faults]

    stage.demand("chat", 80)
    until(lambda: armed[-1].hits > 0, "the process is in the middle of it")
    if blow.after_the_write:  # the state is saved after cycles without a change, too
        stage.until(blow.carried_out)
    process.kill()
    fake.faults.clear()
    time.sleep(1.2)
    assert stage.replicas() == blow.carried_out

    stage.run()
    stage.until(4)
    time.sleep(A_WHILE_SECONDS)

    assert stage.replicas() == 4
    assert stage.generation() == 2
    until(lambda: _counted(stage) == 2, "the saved state counts the change")


def test_a_write_that_is_late_does_not_undo_what_came_after(
    stage: Stage, fake: FakeApiServer
) -> None:
    process = stage.run()
    until(lambda: bool(fake.requests.matching("WATCH", "/deployments$")), "it looks")
    late = fake.faults.add(method="PATCH", path=SCALE, delay=LATE_SECONDS)
    stage.demand("chat", 80)
    until(lambda: late.hits > 0, "the write is on its way")
    sent = time.monotonic()
    process.kill()

    stage.demand("chat", 30)
    running = 'vllm:num_requests_running{model_name="chat"}'
    stage.prometheus.until(lambda: stage.prometheus.value(running) == 30, "the engine is scraped")
    stage.run()
    stage.until(3)
    assert time.monotonic() < sent + LATE_SECONDS, "too slow here to be overtaken by"
    time.sleep(sent + LATE_SECONDS + 1.0 - time.monotonic())

    assert stage.replicas() == 3
    assert stage.generation() == 2


def _counted(stage: Stage) -> int:
    past = stage.past("chat")
    return 0 if past is None else sum(mark.count for mark in past.scale_ups)
