"""A run that cannot reach what it should is known in the middle of it, and given up."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.spec import Slo
from simulations.at_best import AtBest
from simulations.baselines import constants
from simulations.clairvoyant import clairvoyant
from simulations.cluster import Engine, SimulatedCluster
from simulations.run import Follower, Schedule, TooSlowError, follow, run
from tests.simulations.builders import a_trace
from tests.simulations.comparing import SETTINGS, a_burst, serving

LEFT_ALONE = serving(signals=())


class Looks:
    """A hand that notes what a run can still come to."""

    def __init__(self, schedule: Schedule) -> None:
        self.follower = Follower(schedule, SETTINGS.start)
        self.seen: list[AtBest] = []

    def act(self, cluster: SimulatedCluster, now: float) -> None:
        self.seen.append(cluster.at_best())
        self.follower.act(cluster, now)


@given(
    st.lists(
        st.tuples(st.floats(0, 200), st.integers(1, 3000), st.integers(1, 300)),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.integers(0, 4), min_size=1, max_size=20),
    st.sampled_from([0.05, 0.5, 2.0, None]),
)
def test_no_ending_exceeds_what_a_run_can_still_come_to(
    rows: list[tuple[float, int, int]], counts: list[int], ttft: float | None
) -> None:
    trace = a_trace(*sorted(rows))
    times = 15.0 * np.arange(1, len(counts) + 1, dtype=np.float64)
    looks = Looks(Schedule(times, np.array(counts), 1))
    workload = serving(minimum=0, slo=Slo(ttft_p95_seconds=ttft, itl_p95_seconds=0.05))

    ended = run(trace, workload, SETTINGS, looks, replicas=1).score

    bounds = [*looks.seen, AtBest(ended.attainment, ended.worst_minute_attainment)]
    for earlier, later in pairwise(bounds):
        assert earlier.attainment >= later.attainment
        assert earlier.worst_minute >= later.worst_minute


def test_a_hopeless_run_is_given_up_in_the_middle() -> None:
    heard: list[float] = []

    with pytest.raises(TooSlowError, match=r"comes to 0\.\d{4} at best") as given_up:
        follow(
            a_burst(), LEFT_ALONE, SETTINGS, Schedule.constant(1), heard.append, least=AtBest(0.8)
        )

    whole = follow(a_burst(), LEFT_ALONE, SETTINGS, Schedule.constant(1)).score
    assert whole.attainment <= given_up.value.at_best.attainment < 0.8
    assert heard[-1] < 1.0


def test_a_run_whose_worst_minute_is_too_bad_is_given_up() -> None:
    whole = follow(a_burst(), LEFT_ALONE, SETTINGS, Schedule.constant(4)).score
    assert whole.worst_minute_attainment < 0.8 < whole.attainment

    with pytest.raises(TooSlowError):
        follow(a_burst(), LEFT_ALONE, SETTINGS, Schedule.constant(4), least=AtBest(0.0, 0.8))


def test_a_run_that_may_reach_it_is_run_to_the_end_and_is_the_same() -> None:
    whole = follow(a_burst(), LEFT_ALONE, SETTINGS, Schedule.constant(6))

    asked = follow(a_burst(), LEFT_ALONE, SETTINGS, Schedule.constant(6), least=AtBest(0.8, 0.8))

    assert asked.score == whole.score


def test_the_plain_engine_gives_nothing_up() -> None:
    cluster = SimulatedCluster(a_burst(), LEFT_ALONE, start=0.0, engine=Engine.PLAIN)

    cluster.advance(60.0)

    assert cluster.at_best() == AtBest(1.0, 1.0)


def test_beyond_the_objective_the_plan_is_the_one_that_misses_least() -> None:
    """Two replicas cannot keep it; of all plans, the one with the most of both is the best."""
    short = serving(maximum=2)

    plan = clairvoyant(a_burst(), short, SETTINGS).result
    still = constants(a_burst(), short, SETTINGS)

    most = follow(a_burst(), short, SETTINGS, Schedule.constant(2)).score
    assert plan.score.attainment <= most.attainment < 0.8
    assert still.best.score.attainment >= most.attainment - 0.001
