"""Runs under a hand: schedules are followed, and the controller's run is a replay."""

import numpy as np
import pytest

from autoscaler.core.node_pools import NodeBounds, NodePool, NodePoolMetadata, NodePoolSpec
from simulations.compare import run_policy
from simulations.replay import replay
from simulations.run import Schedule, Settings, follow
from simulations.runs import Candidate
from tests.simulations.comparing import SETTINGS, a_burst, candidates, serving


def test_a_policys_run_is_what_a_replay_says() -> None:
    candidate = candidates()[0]

    result, decided = run_policy(a_burst(), candidate, SETTINGS)
    told = replay(a_burst(), candidate.workload, drain_seconds=120)

    assert result.score == told.score
    assert result.changes == told.changes
    assert result.timeline.desired.tolist() == [moment.desired for moment in told.timeline]
    assert sum(count for _, count in decided.reasons) == told.cycles
    assert [(c.seconds, c.before, c.after) for c in decided.changes] == list(told.changes)
    assert all(change.done and change.text and change.because for change in decided.changes)


def test_a_policys_run_waits_for_nodes_as_a_replay_does() -> None:
    """One node of four GPUs is there for one replica of four; every other one takes a minute."""
    spec = NodePoolSpec(gpus_per_node=4, nodes=NodeBounds(max=9), provisioning_seconds=60)
    pools = (NodePool(metadata=NodePoolMetadata(name="h100"), spec=spec),)
    roomy = candidates()[0].workload
    replica = roomy.spec.replica.model_copy(update={"node_pool": "h100"})
    placed = roomy.model_copy(update={"spec": roomy.spec.model_copy(update={"replica": replica})})
    spread = Settings(drain_seconds=120, cold_start_spread=0.3, seed=4)

    result, _ = run_policy(a_burst(), Candidate("placed", placed, pools=pools), spread)
    told = replay(a_burst(), placed, pools=pools, drain_seconds=120, cold_start_spread=0.3, seed=4)
    without, _ = run_policy(a_burst(), Candidate("roomy", roomy), spread)

    assert result.score == told.score
    assert result.score.node_gpu_hours is not None
    assert result.score.pending_hours is not None
    assert result.score.pending_hours > 0
    assert without.score.node_gpu_hours is None


def test_a_schedule_is_followed_at_the_next_cycle() -> None:
    schedule = Schedule(np.array([60.0, 150.0]), np.array([4, 2]), initial=3)

    result = follow(a_burst(), serving(), SETTINGS, schedule)

    assert result.changes == ((60.0, 3, 4), (150.0, 4, 2))
    assert result.timeline.ready[0] == 3
    assert (result.initial, result.score.max_replicas) == (3, 4)


def test_following_a_runs_own_schedule_gives_the_same_run() -> None:
    run, _ = run_policy(a_burst(), candidates()[0], SETTINGS)

    again = follow(a_burst(), candidates()[0].workload, SETTINGS, run.schedule())

    assert again.score == run.score
    assert again.changes == run.changes


def test_every_request_is_in_a_minute() -> None:
    result = follow(a_burst(), serving(), SETTINGS, Schedule.constant(1))

    assert int(result.minutes.arrived.sum()) == result.score.requests == len(a_burst())
    met = int(result.minutes.met.sum())
    assert met / result.score.requests == result.score.attainment


def test_spread_cold_starts_follow_the_seed() -> None:
    schedule = Schedule(np.array([60.0]), np.array([4]), initial=1)
    one, same, other = (
        follow(
            a_burst(),
            serving(),
            Settings(cold_start_spread=0.5, seed=seed, drain_seconds=120),
            schedule,
        ).score
        for seed in (1, 1, 2)
    )

    assert one == same
    assert one != other


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_seconds": 0.0},
        {"scrape_seconds": -1.0},
        {"drain_seconds": -1.0},
        {"cold_start_spread": -0.1},
    ],
    ids=str,
)
def test_what_cannot_be_simulated_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="should be"):
        Settings(**wrong)  # type: ignore[arg-type]
