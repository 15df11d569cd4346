"""The closed loop with nodes: a pool grows with its replicas, and one too small is a result."""

from pathlib import Path

import numpy as np
import pytest

from autoscaler.core.node_pools import NodePool
from autoscaler.core.spec import Actuation, Slo
from autoscaler.core.workload import ScaledWorkload
from autoscaler.journal import JournalFile, read_journal
from policies.reactive.queue_drain import QueueDrain
from policies.reactive.target_tracking import TargetTracking
from simulations.arrivals import Traffic, synthesize
from simulations.replay import ReplayResult, replay
from simulations.trace import Trace
from tests.simulations.builders import Fixed, a_pool, a_trace, a_workload, fleet

SLOW = "llama-3.1-70b/a100/tp4/bfloat16"


def a_burst() -> Trace:
    traffic = Traffic(
        seconds=360, requests_per_second=1.2, burst_from=120, burst_seconds=60, burst_factor=4
    )
    return synthesize(traffic, np.random.default_rng(1))


def drained(cold_start: float = 60.0) -> ScaledWorkload:
    """Replicas of 4 GPUs, so two on a node."""
    return a_workload(
        "queue_length",
        "in_flight",
        policies=[QueueDrain(signal="queue_length"), TargetTracking(signal="in_flight", target=60)],
        profile=SLOW,
        slo=Slo(ttft_p95_seconds=2.0, itl_p95_seconds=0.1),
        cold_start=cold_start,
        node_pool="h100",
    )


def wants(replicas: int, **workload: float) -> ScaledWorkload:
    return a_workload(
        profile=SLOW,
        node_pool="h100",
        policies=[Fixed(replicas=replicas)],
        **workload,  # type: ignore[arg-type]
    )


def journalled(path: Path, pool: NodePool, **settings: float) -> ReplayResult:
    workload = drained()
    with JournalFile(path, fleet(workload, pools=[pool])) as journal:
        return replay(a_burst(), workload, pools=[pool], journal=journal, **settings)  # type: ignore[arg-type]


def test_nodes_come_with_the_replicas() -> None:
    told = replay(a_burst(), drained(), pools=[a_pool(gpus=4, provisioning=30.0)])

    score = told.score
    assert score.finished == score.requests == len(a_burst())
    assert score.max_nodes is not None
    assert score.max_nodes > 1
    assert score.node_changes == len(told.node_changes) >= 1
    assert score.pending_hours is not None
    assert score.pending_hours > 0
    assert score.node_gpu_hours is not None
    assert score.node_gpu_hours >= score.gpu_hours
    assert score.cost == pytest.approx(3.0 * score.node_gpu_hours)
    assert told.timeline[-1].nodes_ready is not None


def test_a_pool_grows_in_the_cycle_that_asks_for_replicas() -> None:
    """Three replicas at 15 s: two fit the first node, the third waits 60 s, then starts in 20 s."""
    told = replay(a_trace((1.0, 10, 1), (200.0, 10, 1)), wants(3, cold_start=20), pools=[a_pool()])

    assert told.changes[0] == (15.0, 1, 3)
    assert told.node_changes[0] == (15.0, 1, 2)
    shown = {m.seconds: (m.ready, m.pending, m.nodes, m.nodes_ready) for m in told.timeline}
    assert shown[15.0] == (1, 0, 1, 1)
    assert shown[30.0] == (1, 1, 2, 1)
    assert shown[45.0] == (2, 1, 2, 1)
    assert shown[75.0] == (2, 0, 2, 2)
    assert shown[105.0] == (3, 0, 2, 2)


def test_nodes_go_after_the_replicas() -> None:
    """Down to 1 replica after the 300 s of the HPA's default; then its nodes, 120 s later."""
    told = replay(
        a_trace((1.0, 10, 1), (800.0, 10, 1)), wants(1), pools=[a_pool(gpus=4)], replicas=3
    )

    assert told.changes == ((330.0, 3, 1),)
    assert told.node_changes == ((450.0, 3, 1),)
    assert told.score.node_gpu_hours == pytest.approx(4 * (3 * 450 + 1 * 360) / 3600)
    assert told.score.seconds == 810.0


def test_provisioning_costs_answers() -> None:
    slow, fast = (
        replay(a_burst(), drained(), pools=[a_pool(gpus=4, provisioning=seconds)]).score
        for seconds in (120.0, 0.0)
    )
    without = replay(a_burst(), drained()).score

    assert slow.waited_seconds > fast.waited_seconds
    assert fast.attainment == without.attainment
    assert fast.gpu_hours == without.gpu_hours


def test_a_pool_too_small_leaves_replicas_pending_and_requests_unanswered() -> None:
    """A replica is four GPUs and there are three: nothing ever serves, and the replay ends."""
    told = replay(
        a_trace((1.0, 10, 1), (60.0, 10, 1)),
        wants(2),
        pools=[a_pool(gpus=1, maximum=3)],
        drain_seconds=120.0,
    )

    assert told.score.seconds == 180.0
    assert (told.score.requests, told.score.unfinished) == (2, 2)
    assert told.score.attainment == told.score.gpu_hours == 0.0
    assert told.score.pending_hours is not None
    assert told.score.pending_hours > 0
    last = told.timeline[-1]
    assert (last.ready, last.nodes) == (0, 3)
    assert last.pending == last.desired > 0


def test_more_replicas_than_the_pool_holds_wait() -> None:
    told = replay(
        a_trace((1.0, 10, 1), (200.0, 10, 1)),
        wants(3, cold_start=20),
        pools=[a_pool(maximum=1)],
    )

    assert told.node_changes == ()
    assert told.score.finished == 2
    assert (told.timeline[-1].ready, told.timeline[-1].pending) == (2, 1)


def test_a_pool_of_somebody_else_changes_nothing() -> None:
    alone = replay(a_burst(), drained())

    assert replay(a_burst(), drained(), pools=[a_pool("a100")]) == alone


def test_a_pool_that_is_only_watched_is_sized_in_a_replay() -> None:
    pool = a_pool()
    assert pool.spec.actuation is Actuation.NONE

    assert replay(a_trace((60.0, 10, 1)), wants(3), pools=[pool]).node_changes


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_same_replay_twice_gives_equal_bytes(tmp_path: Path, spread: float) -> None:
    one, two = (
        journalled(tmp_path / name, a_pool(), cold_start_spread=spread)
        for name in ("one.jsonl", "two.jsonl")
    )

    assert one == two
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_nodes_are_drawn_by_the_seed_and_leave_cold_starts_alone() -> None:
    """What a node takes is drawn from a stream of its own: the first start is what it was."""
    trace = a_trace((1.0, 10, 1), (400.0, 10, 1))

    def ready_times(seed: int, *pools: NodePool) -> tuple[list[float], list[float]]:
        told = replay(
            trace,
            wants(3),
            pools=pools,
            interval_seconds=1.0,
            cold_start_spread=0.4,
            seed=seed,
        )
        nodes = [m.seconds for m in told.timeline if m.nodes_ready == 2]
        return [m.seconds for m in told.timeline if m.ready >= 2], nodes

    one, two = ready_times(1, a_pool()), ready_times(7, a_pool())

    assert one[0][0] == ready_times(1)[0][0]
    assert one[1][0] != two[1][0]


def test_the_journal_keeps_what_was_decided_of_the_pool(tmp_path: Path) -> None:
    told = journalled(tmp_path / "j.jsonl", a_pool())

    cycles = list(read_journal(tmp_path / "j.jsonl"))

    assert len(cycles) == told.cycles
    assert all(cycle.plan.pools["h100"].nodes is not None for cycle in cycles)
    assert all(cycle.snapshot.pools["h100"].desired >= 1 for cycle in cycles)
    made = [
        (outcome.action.before, outcome.action.after)
        for cycle in cycles
        for outcome in cycle.outcomes
        if outcome.done and outcome.action.key == "h100"
    ]
    assert made == [(before, after) for _, before, after in told.node_changes]
