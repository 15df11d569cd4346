"""The plan that knows the future: asks early enough, and costs no more than standing still."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import FloatArray
from autoscaler.core.spec import Slo
from simulations.baselines import constants
from simulations.clairvoyant import ask_ahead, clairvoyant, needed, stretches, without
from simulations.run import Settings
from simulations.trace import Trace
from tests.simulations.builders import a_trace
from tests.simulations.comparing import SETTINGS, a_burst, serving

needs = st.lists(st.floats(0, 8), min_size=1, max_size=60).map(np.array)


def asked(*need: float, cold_start: float = 30.0, minimum: int = 0) -> list[int]:
    workload = serving(cold_start=cold_start, minimum=minimum)
    return list(ask_ahead(np.array(need), workload, Settings()))


@pytest.mark.parametrize(
    ("need", "cold_start", "expected"),
    [
        pytest.param([1, 1, 1, 1, 2, 1], 30, [1, 1, 2, 2, 2, 1], id="two cells ahead"),
        pytest.param([1, 1, 1, 1, 2, 1], 31, [1, 2, 2, 2, 2, 1], id="a part of a cell is a cell"),
        pytest.param([1, 1, 1, 1, 2, 1], 0, [1, 1, 1, 1, 2, 1], id="no cold start"),
        pytest.param([2, 1, 1, 2, 1, 1], 30, [2, 2, 2, 2, 1, 1], id="kept over a short gap"),
        pytest.param([2, 0, 0, 0, 2], 30, [2, 0, 2, 2, 2], id="given back over a long one"),
        pytest.param([0.4, 1.2], 15, [2, 2], id="rounded up"),
        pytest.param([1, 99], 15, [6, 6], id="never above the maximum"),
        pytest.param([2], 300, [2], id="cold start longer than the trace"),
    ],
)
def test_replicas_are_asked_for_one_cold_start_early(
    need: list[float], cold_start: float, expected: list[int]
) -> None:
    assert asked(*need, cold_start=cold_start) == expected


@given(needs, st.integers(0, 200), st.floats(0, 1))
def test_what_is_needed_was_asked_for_early_enough(
    need: FloatArray, cold_start: int, spread: float
) -> None:
    workload = serving(cold_start=cold_start)
    plan = ask_ahead(need, workload, Settings(cold_start_spread=spread))

    assert 1 <= plan.min() <= plan.max() <= 6
    for cell, count in enumerate(np.minimum(6, np.ceil(need)).tolist()):
        # Whoever is asked for between `early` and `cell` may still be starting in `cell`.
        early = max(0, cell - int(np.ceil(cold_start / 15)))
        assert plan[early : cell + 1].min() >= count


@given(needs, st.data())
def test_leaving_stretches_out_takes_away_just_their_cells(
    need: FloatArray, data: st.DataObject
) -> None:
    plan = ask_ahead(need, serving(), Settings())
    every = list(stretches(plan, need))
    left_out = [one for one in every if data.draw(st.booleans())]

    lower = without(plan, left_out)

    assert sum(one.cells for one in every) == int((plan - plan.min()).sum())
    assert int((plan - lower).sum()) == sum(one.cells for one in left_out)
    assert lower.min() >= plan.min()
    assert all(0 <= one.share <= 1 for one in every)


def test_need_is_the_rate_of_each_cell_over_the_capacity() -> None:
    steady = a_trace(*((0.5 * index, 300, 20) for index in range(120)))

    need = needed(steady, serving(), 15.0)

    assert len(need) == 4
    assert np.allclose(need, need[0])
    assert 0 < need[0] < 2


@pytest.mark.slow
def test_the_plan_keeps_the_objective_for_less_than_standing_still() -> None:
    plan = clairvoyant(a_burst(), serving(), SETTINGS)
    still = constants(a_burst(), serving(), SETTINGS).best

    assert plan.result.score.attainment >= 0.8
    assert plan.result.score.gpu_hours < still.score.gpu_hours
    assert plan.result.score.scale_events >= 2
    assert plan.simulations <= 20


@pytest.mark.slow
def test_a_burst_that_comes_before_anybody_could_start_is_met_from_the_beginning() -> None:
    """It knew: so it begins with what is needed before a cold start is over."""
    plan = clairvoyant(a_burst(), serving(cold_start=3600, slo=LOOSE), SETTINGS)

    assert plan.result.initial > 1
    assert plan.result.score.attainment >= LOOSE.attainment


LOOSE = Slo(ttft_p95_seconds=5.0, attainment=0.9)


def test_where_nothing_keeps_the_objective_the_least_misses_are_taken() -> None:
    hopeless = serving(maximum=1)

    plan = clairvoyant(a_burst(), hopeless, SETTINGS)

    assert plan.result.score.attainment < 0.8
    assert plan.result.score.max_replicas == 1


@pytest.mark.slow
def test_what_is_needed_least_is_left_out_while_the_objective_is_kept() -> None:
    """Two bursts that need the same, one of them as short as a blink: it may be missed."""
    long = a_burst().arrivals
    blink = np.linspace(250.0, 252.0, 120)
    arrivals = np.sort(np.concatenate([long, blink]))
    rows = np.full(len(arrivals), 300), np.full(len(arrivals), 20)
    both = Trace("both", arrivals, *rows)

    plan = clairvoyant(both, serving(), SETTINGS)

    assert plan.result.score.attainment >= 0.8
    assert plan.simulations > 2
    late = plan.result.timeline.seconds > 230
    assert plan.result.timeline.desired[late].max() == 1


def test_the_plan_sleeps_where_it_may_and_nobody_comes() -> None:
    quiet = a_trace((1.0, 300, 20), (1200.0, 300, 20))

    plan = clairvoyant(quiet, serving(minimum=0), SETTINGS)

    assert plan.result.score.attainment == 1.0
    assert plan.result.timeline.desired.min() == 0
    assert plan.result.score.gpu_hours < 0.5 * 4 * 1200 / 3600


@pytest.mark.slow
def test_equal_arguments_give_equal_plans() -> None:
    one, two = (
        clairvoyant(a_burst(120.0), serving(cold_start=20), SETTINGS).result for _ in range(2)
    )

    assert one.score == two.score
    assert one.changes == two.changes
