"""A restart changes nothing: whoever finds the state again decides as if it had never stopped."""

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from autoscaler.controller import Controller
from autoscaler.core.decision import Action, Cycle, NodeAction, Outcome
from autoscaler.core.node_pools import NodeBounds, NodePool, NodePoolMetadata, NodePoolSpec
from autoscaler.core.observation import (
    Gap,
    GapReason,
    NodePoolStatus,
    Observation,
    ReplicaStatus,
    Series,
    Snapshot,
)
from autoscaler.core.planner import FleetState, note_outcomes, plan_cycle
from autoscaler.core.spec import Actuation, Replica
from autoscaler.core.workload import FleetSpec
from autoscaler.journal import SeriesByKey, decode, encode
from autoscaler.plugins import load_combiner
from policies.reactive.kpa import Kpa
from policies.reactive.target_tracking import TargetTracking
from tests.builders import NOON, Counts, a_workload

INTERVAL = 15.0

WORKLOAD = a_workload(
    TargetTracking(signal="load", target=10),
    Kpa(signal="load", target=10, scale_down_delay_seconds=40),
    name="chat",
    signals={"load": {"maxAgeSeconds": 40}},
    behavior={
        "scaleUp": {"policies": [{"type": "Pods", "value": 3, "periodSeconds": 60}]},
        "scaleDown": {
            "stabilizationWindowSeconds": 60,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 45}],
        },
        "maxReversalsPerHour": 3,
    },
    fallback={"replicas": 6, "afterSeconds": 45},
    replica=Replica(gpus=1, cold_start_seconds=30, node_pool="h100"),
)
FLEET = FleetSpec(
    (WORKLOAD, a_workload(Counts(), name="counted", behavior={})),
    {"highest": load_combiner("highest")},
    (
        NodePool(
            metadata=NodePoolMetadata(name="h100"),
            spec=NodePoolSpec(
                gpus_per_node=2, nodes=NodeBounds(min=1, max=9), actuation=Actuation.SCALE
            ),
        ),
    ),
)
KEYS = tuple(workload.key for workload in FLEET.workloads)


@dataclass(frozen=True)
class Moment:
    """What happens at one cycle: None as load is a silent signal, as everything an unread target.

    Attributes:
        load: Value of the signal.
        seen: Whether the target can be read.
        late: Replicas that do not serve yet.
        failing: Replicas that crash.
        meddled: What somebody else sets the replicas to beforehand.
        done: Whether actions succeed.
    """

    load: float | None = 0.0
    seen: bool = True
    late: int = 0
    failing: int = 0
    meddled: int | None = None
    done: bool = True


@dataclass
class World:
    """Plays a history, and is as big as it was told to be."""

    history: Sequence[Moment]
    replicas: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 2))
    nodes: int = 1
    samples: list[tuple[float, float]] = field(default_factory=list)

    def moment(self, now: float) -> Moment:
        return self.history[round((now - NOON) / INTERVAL)]

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        moment = self.moment(now)
        if moment.meddled is not None:
            self.replicas[KEYS[0]] = moment.meddled
        if moment.load is not None:
            self.samples.append((now, moment.load))
        gone = Gap(GapReason.ERROR, "timeout")
        keys = KEYS if moment.seen else KEYS[1:]
        return Snapshot(
            now,
            {key: self._seen(key, moment, now) for key in keys},
            {key: gone for key in KEYS if key not in keys},
            {pool.key: NodePoolStatus(self.nodes, self.nodes) for pool in fleet.pools},
        )

    def _seen(self, key: str, moment: Moment, now: float) -> Observation:
        desired = self.replicas[key]
        status = ReplicaStatus(
            desired=desired, ready=max(0, desired - moment.late), failing=moment.failing
        )
        recent = Series.of(self.samples[-8:])
        missing = {} if len(recent) else {"load": Gap(GapReason.EMPTY)}
        signals = {"load": recent} if len(recent) and key == KEYS[0] else {}
        return Observation(now, status, signals, missing if key == KEYS[0] else {})

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        if not self.moment(now).done:
            return Outcome(action, done=False, detail="the API server is away")
        if isinstance(action, NodeAction):
            self.nodes = action.after
        else:
            self.replicas[action.workload] = action.after
        return Outcome(action, done=True)


Restart = Callable[[FleetState, Sequence[Cycle]], FleetState]
"""What is found again, of the state at the end and of the cycles so far."""


def kept(state: FleetState, _cycles: Sequence[Cycle]) -> FleetState:
    return state


def pickled(state: FleetState, _cycles: Sequence[Cycle]) -> FleetState:
    again: FleetState = pickle.loads(pickle.dumps(state))
    return again


def as_json(state: FleetState, _cycles: Sequence[Cycle]) -> FleetState:
    adapter = TypeAdapter(FleetState)
    return adapter.validate_json(adapter.dump_json(state))


def folded_from_the_journal(_state: FleetState, cycles: Sequence[Cycle]) -> FleetState:
    written, known, again = SeriesByKey(), SeriesByKey(), FleetState()
    for number, cycle in enumerate(cycles, start=1):
        line = orjson.dumps(encode(cycle, number, written), option=orjson.OPT_SORT_KEYS)
        read = decode(orjson.loads(line), known)
        _, again = plan_cycle(FLEET, again, read.snapshot)
        again = note_outcomes(FLEET, again, read)
    return again


def lost(_state: FleetState, _cycles: Sequence[Cycle]) -> FleetState:
    return FleetState()


def run(history: Sequence[Moment], stop: int, restart: Restart) -> list[Cycle]:
    """Play a history with one restart, before the cycle of that number."""
    world, state = World(history), FleetState()
    cycles: list[Cycle] = []
    for first, last in ((0, stop), (stop, len(history))):
        controller = Controller(FLEET, observer=world, actuator=world, state=state)
        cycles += [controller.run_once(NOON + INTERVAL * step) for step in range(first, last)]
        state = restart(controller.state, cycles)
    return cycles


RESTARTS = [pickled, as_json, folded_from_the_journal]

moments = st.builds(
    Moment,
    load=st.one_of(st.none(), st.sampled_from([0.0, 5.0, 55.0, 120.0, math.nan, math.inf])),
    seen=st.sampled_from([True, True, True, False]),
    late=st.integers(0, 3),
    failing=st.sampled_from([0, 0, 0, 2]),
    meddled=st.sampled_from([None, None, None, None, 0, 4, 25]),
    done=st.sampled_from([True, True, False]),
)


@pytest.mark.parametrize("restart", RESTARTS, ids=lambda restart: str(restart.__name__))
@given(history=st.lists(moments, min_size=2, max_size=24), data=st.data())
def test_decides_after_a_restart_as_without_it(
    restart: Restart, history: list[Moment], data: st.DataObject
) -> None:
    stop = data.draw(st.integers(0, len(history)), label="restarts before cycle")

    assert run(history, stop, restart) == run(history, stop, kept)


WAVES = [Moment(load=120.0 if step % 8 < 4 else 0.0) for step in range(32)]


@pytest.mark.parametrize("restart", RESTARTS, ids=lambda restart: str(restart.__name__))
def test_decides_after_any_restart_of_a_busy_day_as_without_it(restart: Restart) -> None:
    without = run(WAVES, 0, kept)

    assert len([cycle for cycle in without if cycle.outcomes]) > 8
    assert all(run(WAVES, stop, restart) == without for stop in range(1, len(WAVES), 3))


def test_decides_otherwise_where_the_state_is_lost() -> None:
    """So the tests above can fail."""
    without = run(WAVES, 0, kept)

    assert all(run(WAVES, stop, lost) != without for stop in range(2, len(WAVES)))


def test_a_cycle_planned_twice_is_planned_alike() -> None:
    """One who stops after deciding and before acting decides the same again."""
    world, state = World(WAVES), FleetState()
    for step in range(len(WAVES)):
        snapshot = world.observe(FLEET, NOON + INTERVAL * step)

        plan, after = plan_cycle(FLEET, state, snapshot)
        again, after_again = plan_cycle(FLEET, pickled(state, ()), snapshot)

        assert (again, after_again) == (plan, after)
        outcomes = tuple(world.act(action, plan.now) for action in plan.actions())
        state = note_outcomes(FLEET, after, Cycle(snapshot, plan, outcomes))
