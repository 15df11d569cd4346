"""From zero: a request that nobody serves does not wait for the next cycle."""

import pytest

from tests.live.stage import Stage

pytestmark = pytest.mark.slow


def test_a_sleeping_workload_wakes_long_before_the_next_cycle(stage: Stage) -> None:
    stage.sleep("chat")
    stage.demand("code", 30)
    process = stage.run(settings={"intervalSeconds": 600, "wakeSeconds": 0.2})
    stage.until(3, "code")  # in the first cycle; chat sleeps on
    assert stage.replicas("chat") == 0

    stage.demand("chat", 30)

    stage.until(3, "chat")
    (told,) = process.lines("cycle brought forward")
    assert told["workload"] == f"{stage.namespace}/chat"
