"""What goes wrong with the process itself: restarts, its saved state, its disk, its files."""

import errno
import os
import re
from collections.abc import Iterator
from unittest.mock import patch

from tests.fakes.kubernetes.faults import Break
from tests.fakes.prometheus_double import Fault
from tests.faults.injection import fault
from tests.faults.world import HASTY, STATE, World

SAVED = "inference-autoscaler-state"


@fault("killed and started, state whole", cycles=1)
def restarted(world: World) -> Iterator[None]:
    world.restart()
    yield


@fault("killed and started, state unreadable", cycles=1, pace=HASTY)
def unreadable(world: World) -> Iterator[None]:
    with world.api.faults.during(method="GET", path=SAVED, status=500):
        world.restart()
    yield


@fault("killed and started, no answer about the state", cycles=1, pace=HASTY)
def unanswered(world: World) -> Iterator[None]:
    with world.api.faults.during(method="GET", path=SAVED, breaks=Break.RESET):
        world.restart()
    yield


@fault("killed and started, state gone", cycles=1)
def lost(world: World) -> Iterator[None]:
    world.api.request("DELETE", STATE)
    world.restart()
    yield


@fault("killed and started, state damaged", cycles=1)
def damaged(world: World) -> Iterator[None]:
    world.seed_state(lambda data: data.replace(b'"desired":6', b'"desired":7'))
    world.restart()
    yield


@fault("killed and started, state not ours", cycles=1)
def foreign(world: World) -> Iterator[None]:
    world.seed_state(lambda data: b"hello")
    world.restart()
    yield


@fault("killed and started, state of another version", cycles=1)
def other_version(world: World) -> Iterator[None]:
    world.seed_state(lambda data: re.sub(rb'"version":\d+', b'"version":99', data))
    world.restart()
    yield


@fault("killed and started, state an hour old", cycles=1)
def old(world: World) -> Iterator[None]:
    world.clock.wrong_by = -3600.0
    world.seed_state()
    world.clock.wrong_by = 0.0
    world.restart()
    yield


@fault("killed and started without Prometheus")
def started_blind(world: World) -> Iterator[None]:
    world.prometheus.fault = lambda asked: Fault(reset=True)
    world.restart()
    yield
    world.prometheus.fault = lambda asked: None


@fault("killed and started, other autoscalers unreadable")
def started_unsure(world: World) -> Iterator[None]:
    with world.api.faults.during(path="horizontalpodautoscalers", status=500):
        world.restart()
        yield


@fault("both away", pace=HASTY)
def both_away(world: World) -> Iterator[None]:
    world.prometheus.fault = lambda asked: Fault(reset=True)
    world.api.stop()
    yield
    world.prometheus.fault = lambda asked: None
    world.api.start()


@fault("both hang", pace=HASTY)
def both_hang(world: World) -> Iterator[None]:
    world.prometheus.fault = lambda asked: Fault(delay_seconds=30.0)
    with world.api.faults.during(breaks=Break.HANG):
        world.cut_watches()
        yield
    world.prometheus.fault = lambda asked: None


@fault("policy files broken")
def broken_files(world: World) -> Iterator[None]:
    whole = {path: path.read_text(encoding="utf-8") for path in world.policies.iterdir()}
    for path in whole:
        path.write_text("kind: [", encoding="utf-8")
    yield
    for path, text in whole.items():
        path.write_text(text, encoding="utf-8")


@fault("policy files gone")
def absent_files(world: World) -> Iterator[None]:
    whole = {path: path.read_text(encoding="utf-8") for path in world.policies.iterdir()}
    for path in whole:
        path.unlink()
    yield
    for path, text in whole.items():
        path.write_text(text, encoding="utf-8")


@fault("disk full, the journal cannot be written", journals=True)
def full_disk(world: World) -> Iterator[None]:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with patch("autoscaler.journal.rotation.os.write", side_effect=error):
        yield


@fault("nothing")
def nothing(world: World) -> Iterator[None]:
    yield
