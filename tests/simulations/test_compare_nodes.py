"""What a comparison is measured against waits for nodes as the policy files do, or says so."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from autoscaler.core.errors import ConfigError
from autoscaler.core.node_pools import NodePool
from autoscaler.core.spec import Slo
from autoscaler.core.workload import ScaledWorkload
from policies.reactive.queue_drain import QueueDrain
from simulations.baselines import constants
from simulations.capacity import most_at_once
from simulations.clairvoyant import clairvoyant
from simulations.compare import compare, pool_holds
from simulations.profiles import profiles
from simulations.run import Schedule, Settings, follow, node_lead
from simulations.runs import Candidate, Comparison
from tests.simulations.builders import Fixed, a_pool, a_trace, a_workload
from tests.simulations.comparing import PROMISED, SETTINGS, SLOW, a_burst, serving


def placed(*, maximum: int = 6, slo: Slo = PROMISED, cold_start: float = 30.0) -> ScaledWorkload:
    """Replicas of four GPUs on nodes of eight."""
    return a_workload(
        "queue_length",
        "in_flight",
        policies=[QueueDrain(signal="queue_length")],
        profile=SLOW,
        slo=slo,
        cold_start=cold_start,
        maximum=maximum,
        node_pool="h100",
    )


def on_nodes(*pools: NodePool | None) -> Comparison:
    """One policy file for each pool; None has no pool and always room."""
    files = [
        Candidate(f"file-{index}", serving())
        if pool is None
        else Candidate(f"file-{index}", placed(), pools=(pool,))
        for index, pool in enumerate(pools)
    ]
    return compare(a_burst(), files, SETTINGS)


@cache
def on_equal_nodes() -> Comparison:
    return on_nodes(a_pool(), a_pool())


def test_what_policies_are_measured_against_has_their_nodes() -> None:
    comparison = on_equal_nodes()

    assert not comparison.unequal_nodes
    for run in comparison.runs:
        score = run.result.score
        assert score.node_gpu_hours is not None
        assert score.node_gpu_hours >= score.gpu_hours
        assert score.cost == pytest.approx(3.0 * score.node_gpu_hours)
    runs = {run.name: run for run in comparison.runs}
    best = runs["static-best"].result
    # Two replicas a node, from the start until the end.
    assert best.score.max_nodes == -(-best.initial // 2)
    assert best.score.node_gpu_hours == pytest.approx(
        8 * -(-best.initial // 2) * best.score.seconds / 3600
    )
    document = runs["file-0"].document()
    assert document["clairvoyant_node_gpu_hours"] == (
        comparison.reference.result.score.node_gpu_hours
    )


def test_the_plan_asks_for_nodes_early_enough_that_no_replica_waits_for_one() -> None:
    plan = on_equal_nodes().reference.result

    assert plan.score.attainment >= PROMISED.attainment
    assert plan.score.node_changes is not None
    assert plan.score.pending_hours == 0


def test_the_plan_obeys_provisioning_that_takes_longer_than_the_trace() -> None:
    """Whoever is not there from the beginning never comes: a constant number is the plan."""
    slow = [a_pool(provisioning=7200.0)]

    plan = clairvoyant(a_burst(), placed(), SETTINGS, pools=slow).result
    free = clairvoyant(a_burst(), placed(), SETTINGS).result

    assert plan.score.pending_hours == 0
    assert plan.timeline.ready.max() <= plan.initial
    assert free.initial < plan.initial
    assert plan.score.node_gpu_hours is not None
    assert plan.score.node_gpu_hours > free.score.gpu_hours


@pytest.mark.parametrize(
    "pools",
    [
        pytest.param([a_pool(), None], id="one file has none"),
        pytest.param([a_pool(), a_pool(provisioning=90.0)], id="two differ"),
    ],
)
def test_files_with_different_nodes_are_measured_against_plans_with_room(
    pools: Sequence[NodePool | None],
) -> None:
    comparison = on_nodes(*pools)

    assert comparison.unequal_nodes
    assert comparison.runs[0].result.score.node_gpu_hours is not None
    for run in comparison.runs[2:]:
        assert run.result.score.node_gpu_hours is None


def test_a_pool_that_holds_too_few_bounds_every_run() -> None:
    small = Candidate("small", placed(maximum=1_000_000), pools=(a_pool(maximum=1),))

    comparison = compare(a_burst(), [small], SETTINGS)

    assert max(run.result.timeline.ready.max() for run in comparison.runs) == 2
    assert {run.result.score.requests for run in comparison.runs} == {len(a_burst())}
    assert comparison.reference.attainment < PROMISED.attainment


def test_a_schedule_orders_nodes_one_provisioning_time_ahead() -> None:
    """Three replicas at 150 s need a second node, which takes 50 s: ordered at 90 s."""
    schedule = Schedule(np.array([150.0, 210.0]), np.array([3, 1]), initial=2)
    trace = a_trace((0.0, 10, 1), (300.0, 10, 1))
    workload = placed(cold_start=0.0)

    told = follow(trace, workload, Settings(), schedule, pools=[a_pool(provisioning=50.0)])

    assert told.changes == ((150.0, 2, 3), (210.0, 3, 1))
    assert told.node_changes == ((90.0, 1, 2), (210.0, 2, 1))
    assert told.score.pending_hours == 0
    assert told.timeline.nodes is not None
    assert told.timeline.nodes.max() == 2
    assert told.timeline.nodes_ready is not None
    first_ready = told.timeline.seconds[told.timeline.nodes_ready == 2][0]
    assert first_ready == 150.0


def test_the_lead_of_a_node_is_in_whole_cycles_and_longer_where_it_varies() -> None:
    pools = [a_pool("other", provisioning=600), a_pool(provisioning=50)]

    assert node_lead(placed(), Settings(), pools) == 60
    assert node_lead(placed(), Settings(cold_start_spread=1.0), pools) == 195
    assert node_lead(serving(), Settings(), pools) == 0
    assert node_lead(placed(), Settings(), []) == 0


@pytest.mark.parametrize(
    ("gpus", "each", "nodes", "expected"),
    [
        pytest.param(4, 8, 3, 6, id="two on a node"),
        pytest.param(3, 8, 3, 6, id="with a rest"),
        pytest.param(8, 8, 3, 3, id="a node each"),
        pytest.param(16, 8, 5, 2, id="two nodes each"),
        pytest.param(16, 8, 1, 0, id="none fits"),
    ],
)
def test_what_a_pool_holds(gpus: int, each: int, nodes: int, expected: int) -> None:
    assert pool_holds(a_pool(gpus=each, maximum=nodes), gpus) == expected


HOPELESS = Slo(ttft_p95_seconds=0.001, attainment=0.95)


def test_where_no_number_of_replicas_would_do_the_search_ends_soon() -> None:
    """A thousand million are allowed; a few dozen serve each request alone."""
    trace = a_burst(60.0)
    wide = serving(Fixed(replicas=1), maximum=2**31 - 1, slo=HOPELESS)

    comparison = compare(trace, [Candidate("wide", wide)], SETTINGS)

    most = most_at_once(trace, profiles()[SLOW])
    assert most < 2 * len(trace)
    assert max(run.result.score.max_replicas for run in comparison.runs) <= max(most, 64)
    assert comparison.reference.attainment == 0.0


def test_nobody_is_slower_than_alone() -> None:
    """As many replicas as requests at once: one more changes nothing."""
    trace = a_burst(60.0)
    most = most_at_once(trace, profiles()[SLOW])
    wide = serving(maximum=4 * most)

    ample, more = (
        follow(trace, wide, SETTINGS, Schedule.constant(count)).score for count in (most, 2 * most)
    )

    assert most > 1
    assert (ample.ttft, ample.itl, ample.e2e) == (more.ttft, more.itl, more.e2e)


def test_requests_that_nobody_can_hold_are_not_waited_for() -> None:
    huge = a_trace((0.0, 10_000_000, 10), (1.0, 10_000_000, 10))

    assert most_at_once(huge, profiles()[SLOW]) == 0
    found = constants(huge, serving(), SETTINGS)
    assert found.best.initial == found.peak.initial == 1
    assert found.best.score.failed == 2


def test_among_plans_that_miss_alike_the_cheapest_is_the_reference() -> None:
    huge = a_trace((0.0, 10_000_000, 10), (1.0, 10_000_000, 10))

    comparison = compare(huge, [Candidate("one", serving(Fixed(replicas=1)))], SETTINGS)

    assert [run.regret_gpu_hours for run in comparison.runs] == [0.0] * 4
    assert comparison.runs[2].note == (
        "always 1 replica, the fewest that keep the objective over the whole trace"
    )


def test_more_replicas_than_can_be_simulated_are_an_outcome_and_no_hang() -> None:
    trace = a_trace((0.0, 10, 1), (40.0, 10, 1))
    greedy = serving(maximum=2**31 - 1)

    told = follow(trace, greedy, Settings(), Schedule(np.array([15.0]), np.array([10_001]), 1))

    assert told.changes == ()
    assert told.score.max_replicas == 1
    with pytest.raises(ConfigError, match=r"spec\.replicas\.min: should be at most 10,000 to be"):
        follow(trace, greedy, Settings(), Schedule.constant(10_001))
