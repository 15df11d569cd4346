"""Constant numbers of replicas: the fewest that do, found by a few simulations."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.spec import Slo
from simulations.baselines import NEARLY, _fewest, constants
from simulations.run import Schedule, follow
from tests.simulations.comparing import SETTINGS, a_burst, serving


def attained(replicas: int) -> tuple[float, float]:
    score = follow(a_burst(), serving(), SETTINGS, Schedule.constant(replicas)).score
    return score.attainment, score.worst_minute_attainment


def test_both_are_the_fewest_that_keep_the_objective() -> None:
    found = constants(a_burst(), serving(), SETTINGS)

    best, peak = found.best.initial, found.peak.initial
    assert 1 < best < peak <= 6
    assert attained(best)[0] >= 0.8 > attained(best - 1)[0]
    assert attained(peak)[1] >= 0.8 > attained(peak - 1)[1]
    assert found.best.score.scale_events == found.peak.score.scale_events == 0
    assert found.simulations <= 6


def test_where_nothing_keeps_it_the_fewest_that_come_near_the_most_are_taken() -> None:
    impossible = serving(slo=Slo(ttft_p95_seconds=0.001, attainment=0.8))

    found = constants(a_burst(), impossible, SETTINGS)

    assert found.best.score.attainment == found.peak.score.attainment == 0.0
    assert found.best.initial == found.peak.initial == 1


def test_bounds_are_kept() -> None:
    found = constants(a_burst(), serving(minimum=5, maximum=5), SETTINGS)

    assert found.best.initial == found.peak.initial == 5


def test_progress_ends_with_the_whole() -> None:
    heard: list[float] = []

    constants(a_burst(), serving(), SETTINGS, heard.append)

    assert heard[-1] == 1.0
    assert all(0 <= share <= 1 for share in heard)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_search_finds_the_fewest(low: int, span: int, needed: int, data: st.DataObject) -> None:
    high = low + span
    guess = data.draw(st.integers(low, high))
    asked: list[int] = []

    def good(replicas: int, least: float) -> float:
        asked.append(replicas)
        exactly = min(1.0, replicas / needed)
        return exactly if exactly >= least else (exactly + least) / 2

    found = _fewest(good, 1.0, guess, low, high)

    reachable = needed <= high
    limit = 1.0 if reachable else high / needed - NEARLY
    expected = next(n for n in range(low, high + 1) if min(1.0, n / needed) >= limit)
    assert found == expected
    assert low <= min(asked)
    assert max(asked) <= high
    assert len(set(asked)) <= 2 * span.bit_length() + 4


@pytest.mark.parametrize(
    "good",
    [pytest.param(lambda n, _: 1.0, id="always"), pytest.param(lambda n, _: 0.0, id="never")],
)
def test_the_search_ends_where_all_are_alike(good: Callable[[int, float], float]) -> None:
    assert _fewest(good, 0.9, 4, 1, 9) == 1
