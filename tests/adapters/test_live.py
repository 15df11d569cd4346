"""The live ends: what is late or broken is missing, and nobody acts who may not."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from autoscaler.adapters.live import (
    NOT_LEADING,
    OUT_OF_TIME,
    UNREAD,
    FencedActuator,
    LiveObserver,
)
from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import ActuationError, ObservationError
from autoscaler.core.node_pools import NodeBounds, NodePool, NodePoolMetadata, NodePoolSpec
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    NodePoolStatus,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Series,
)
from autoscaler.core.workload import FleetSpec
from tests.builders import NOON, Wants, a_workload, largest

CHAT = a_workload(Wants(replicas=2), name="chat", signals={"load": {}})
CODE = a_workload(Wants(replicas=2), name="code", signals={"load": {}})
POOL = NodePool(
    metadata=NodePoolMetadata(name="h100"),
    spec=NodePoolSpec(gpus_per_node=8, nodes=NodeBounds(max=4)),
)
FLEET = FleetSpec((CHAT, CODE), {"highest": largest}, (POOL,))
SERIES = Series.of([(NOON, 3.0)])


@dataclass
class Signals:
    signals: Mapping[str, Series] = field(default_factory=lambda: {"load": SERIES})
    missing: Mapping[str, Gap] = field(default_factory=dict)
    pod_samples: Mapping[str, Mapping[str, PodSample]] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Target:
    replicas: ReplicaStatus = field(default_factory=lambda: ReplicaStatus(2, 2))
    pods: tuple[PodStatus, ...] = ()
    interventions: tuple[Intervention, ...] = ()


@dataclass
class Targets:
    observed: Mapping[str, Target]
    missing: Mapping[str, Gap] = field(default_factory=dict)


class Reader:
    """Answers what it is told, after waiting for what it is told to wait for."""

    def __init__(self, answer: Callable[[], object], gate: threading.Event | None = None) -> None:
        self.answer = answer
        self.gate = gate
        self.asked = 0

    def read(self, fleet: FleetSpec, now: float) -> object:
        self.asked += 1
        if self.gate is not None:
            self.gate.wait(5)
        return self.answer()


def raising(error: Exception) -> Callable[[], object]:
    def answer() -> object:
        raise error

    return answer


OF_PODS = {"load": {"chat-1": PodSample(2.0, NOON)}}
GOOD_SIGNALS = Reader(lambda: {CHAT.key: Signals(pod_samples=OF_PODS), CODE.key: Signals()})
GOOD_TARGETS = Reader(lambda: Targets({CHAT.key: Target(), CODE.key: Target()}))
GOOD_POOLS = Reader(lambda: ({"h100": NodePoolStatus(1, 1)}, {}))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def observer(
    signals: Reader = GOOD_SIGNALS,
    targets: Reader = GOOD_TARGETS,
    pools: Reader = GOOD_POOLS,
    *,
    seconds: float = 2.0,
    paused: Callable[[], Intervention | None] = lambda: None,
) -> LiveObserver:
    return LiveObserver(
        signals=signals,  # type: ignore[arg-type]
        targets=targets,  # type: ignore[arg-type]
        pools=pools,  # type: ignore[arg-type]
        seconds=seconds,
        paused=paused,
    )


def test_what_was_read_together_is_one_snapshot() -> None:
    snapshot = observer().observe(FLEET, NOON)

    assert snapshot.now == NOON
    assert set(snapshot.observations) == {CHAT.key, CODE.key}
    assert snapshot.observations[CHAT.key].signals == {"load": SERIES}
    assert snapshot.observations[CHAT.key].pod_samples == OF_PODS
    assert snapshot.pools == {"h100": NodePoolStatus(1, 1)}
    assert snapshot.missing == {}


def test_a_signal_of_which_a_part_is_left_says_so_unless_it_lacks_more() -> None:
    left = {"load": 4, "queue": 4}
    empty = Gap(GapReason.EMPTY, "no series")
    missing: dict[str, Gap] = {}
    signals = Reader(lambda: {CHAT.key: Signals(missing=dict(missing), parts=dict(left))})
    live = observer(signals)

    whole = live.observe(FLEET, NOON).observations[CHAT.key]
    left |= {"load": 1, "queue": 1}
    missing["queue"] = empty
    part = live.observe(FLEET, NOON + 15).observations[CHAT.key]

    assert whole.missing == {}
    says = "1 of 4 series are left while 2 replicas are ready"
    assert part.missing == {"load": Gap(GapReason.PARTIAL, says), "queue": empty}


def test_what_was_whole_is_known_to_the_next_process() -> None:
    left = {"load": 4}
    signals = Reader(lambda: {CHAT.key: Signals(parts=dict(left))})
    before, after = observer(signals), observer(signals)
    before.observe(FLEET, NOON)
    left["load"] = 1

    after.restore(before.kept())

    part = after.observe(FLEET, NOON + 15).observations[CHAT.key]
    assert part.missing["load"].reason is GapReason.PARTIAL


def test_a_target_that_was_not_read_is_missing_with_its_reason() -> None:
    gap = Gap(GapReason.ERROR, "403")
    targets = Reader(lambda: Targets({CHAT.key: Target()}, {CODE.key: gap}))

    snapshot = observer(targets=targets).observe(FLEET, NOON)

    assert set(snapshot.observations) == {CHAT.key}
    assert snapshot.missing == {CODE.key: gap}


def test_a_target_that_nobody_speaks_of_is_missing_too() -> None:
    snapshot = observer(targets=Reader(lambda: Targets({}))).observe(FLEET, NOON)

    assert snapshot.missing[CHAT.key].reason is GapReason.EMPTY


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ObservationError("no route"), "no route"),
        (KeyError("data"), "reading Prometheus failed: KeyError: 'data'"),
    ],
)
def test_when_signals_cannot_be_read_every_signal_is_missing_and_replicas_are_seen(
    error: Exception, says: str
) -> None:
    snapshot = observer(Reader(raising(error))).observe(FLEET, NOON)

    seen = snapshot.observations[CHAT.key]
    assert seen.replicas.desired == 2
    assert seen.missing == {"load": Gap(GapReason.ERROR, says)}


def test_when_targets_and_pools_cannot_be_read_all_are_missing() -> None:
    down = Reader(raising(ObservationError("refused")))

    snapshot = observer(targets=down, pools=down).observe(FLEET, NOON)

    assert snapshot.observations == {}
    assert snapshot.missing == dict.fromkeys(
        (CHAT.key, CODE.key, "h100"), Gap(GapReason.ERROR, "refused")
    )


def test_who_is_late_delays_nobody_and_is_not_asked_again_before_he_is_back(
    gate: threading.Event,
) -> None:
    slow = Reader(lambda: {CHAT.key: Signals(), CODE.key: Signals()}, gate)
    watching = observer(slow, seconds=0.05)

    first = watching.observe(FLEET, NOON)
    second = watching.observe(FLEET, NOON + 15)
    gate.set()
    watching._busy["signals"].result(5)
    third = watching.observe(FLEET, NOON + 30)
    watching.close()

    assert first.observations[CHAT.key].missing["load"].detail == (
        "Prometheus did not answer within 0.05 s"
    )
    assert "has not answered the cycle before yet" in (
        second.observations[CHAT.key].missing["load"].detail
    )
    assert third.observations[CHAT.key].missing == {}
    assert slow.asked == 2


def test_why_the_cluster_is_late_is_told_where_it_is_known(gate: threading.Event) -> None:
    watching = LiveObserver(
        signals=GOOD_SIGNALS,  # type: ignore[arg-type]
        targets=Reader(dict, gate),  # type: ignore[arg-type]
        pools=GOOD_POOLS,  # type: ignore[arg-type]
        seconds=0.05,
        trouble=lambda: "connection refused",
    )

    snapshot = watching.observe(FLEET, NOON)
    gate.set()
    watching.close()

    assert snapshot.missing[CHAT.key].detail == (
        "the Kubernetes API did not answer within 0.05 s: connection refused"
    )


def test_the_kill_switch_pauses_everything() -> None:
    pause = Intervention(InterventionKind.PAUSED, "everything is paused")
    switch: list[Callable[[], Intervention | None]] = [lambda: pause]

    def read() -> Intervention | None:
        return switch[-1]()

    watching = observer(paused=read)

    snapshot = watching.observe(FLEET, NOON)
    assert [seen.interventions for seen in snapshot.observations.values()] == [(pause,), (pause,)]

    switch.append(cast("Callable[[], None]", raising(ObservationError("unread"))))
    snapshot = watching.observe(FLEET, NOON + 15)
    assert snapshot.observations[CHAT.key].interventions == (pause,)

    switch.append(lambda: None)
    assert watching.observe(FLEET, NOON + 30).observations[CHAT.key].interventions == ()


@pytest.mark.parametrize("fails", [False, True], ids=["late", "failed"])
def test_before_the_kill_switch_was_read_once_everything_is_paused(
    gate: threading.Event, fails: bool
) -> None:
    def read() -> Intervention | None:
        assert gate.wait(20)
        if fails and watching.latest is None:
            raise ObservationError("unread")
        return None

    watching = observer(seconds=0.2, paused=read)
    if fails:
        gate.set()

    first = watching.observe(FLEET, NOON)
    gate.set()
    watching._busy["switch"].exception(20)
    watching._seconds = 20.0
    second = watching.observe(FLEET, NOON + 15)
    watching.close()

    assert [seen.interventions for seen in first.observations.values()] == [(UNREAD,), (UNREAD,)]
    assert first.paused == UNREAD.text
    assert (second.observations[CHAT.key].interventions, second.paused) == ((), "")


class Scaler:
    def __init__(self, error: Exception | None = None) -> None:
        self.made: list[Action | NodeAction] = []
        self.error = error

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        if self.error is not None:
            raise self.error
        self.made.append(action)
        return Outcome(action, done=True)


ACTION = Action("llm/chat", 1, 2)


def test_a_leader_acts_until_the_time_of_the_cycle_is_over() -> None:
    scaler, clock = Scaler(), [0.0]
    actuator = FencedActuator(scaler, leads=lambda: True, seconds=4.0, monotonic=lambda: clock[0])

    assert actuator.act(ACTION, NOON).done
    clock[0] = 4.0
    with pytest.raises(ActuationError, match=OUT_OF_TIME):
        actuator.act(ACTION, NOON)
    assert actuator.act(ACTION, NOON + 15).done
    assert len(scaler.made) == 2


def test_nobody_acts_who_does_not_lead_any_more() -> None:
    scaler, leads = Scaler(), [True, False]
    actuator = FencedActuator(scaler, leads=lambda: leads.pop(0), seconds=4.0)
    actuator.act(ACTION, NOON)

    with pytest.raises(ActuationError, match=NOT_LEADING):
        actuator.act(ACTION, NOON)
    assert len(scaler.made) == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ActuationError("409"), "409"),
        (ValueError("a bug\nwith lines"), "internal error: ValueError: a bug"),
    ],
)
def test_whatever_goes_wrong_is_an_actuation_error(error: Exception, says: str) -> None:
    actuator = FencedActuator(Scaler(error), leads=lambda: True, seconds=4.0)

    with pytest.raises(ActuationError) as told:
        actuator.act(ACTION, NOON)
    assert str(told.value) == says
