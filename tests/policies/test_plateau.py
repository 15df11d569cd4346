"""Whether added replicas took latency away: averages at two sizes, and what they tell."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.reactive.plateau import Level, Plateau, Sizes, idle_of
from tests.builders import NOON


def grown(before: float, after: float, plateau: Plateau | None = None) -> Sizes:
    """From 2 replicas to 4, both watched for ten minutes."""
    return Sizes(Level(4, after, 600, NOON), Level(2, before, 600, NOON - 300), plateau)


@given(idle=st.floats(0.01, 10), load=st.floats(0.0, 1.9), more=st.integers(3, 40))
def test_two_sizes_of_the_convex_form_tell_the_idle_latency(
    idle: float, load: float, more: int
) -> None:
    before, after = (idle / (1 - load / ready) for ready in (2, more))

    assert idle_of(2, before, more, after) == pytest.approx(idle)


@given(before=st.floats(0.01, 10), after=st.floats(0.01, 10), more=st.integers(3, 40))
def test_it_is_never_above_what_was_seen(before: float, after: float, more: int) -> None:
    assert 0 < idle_of(2, before, more, after) <= min(before, after)


@pytest.mark.parametrize(
    ("after", "found", "goes_on"),
    [
        # 0.2 s idle: a load of 0.9 at 2, 0.45 at 4, where 0.36 s are predicted
        pytest.param(0.4, False, False, id="as predicted: they helped"),
        pytest.param(1.1, False, False, id="half of it: they helped"),
        pytest.param(1.3, True, True, id="less: they did not"),
        pytest.param(2.4, True, True, id="about the same"),
        pytest.param(2.6, False, True, id="clearly more: the load grew, nothing is known"),
    ],
)
def test_less_than_half_of_the_predicted_fall_is_no_help(
    after: float, found: bool, goes_on: bool
) -> None:
    sizes = grown(2.0, after).judge(0.2, NOON, 120, 1800)

    assert (sizes.plateau is not None, sizes.smaller is not None) == (found, goes_on)


def test_nothing_is_said_before_it_was_watched_for_long_enough() -> None:
    sizes = grown(2.0, 2.0)

    assert sizes.undecided(601)
    assert sizes.judge(0.2, NOON, 601, 1800) == sizes


@pytest.mark.parametrize(
    ("since_expiry", "hold"),
    [
        pytest.param(60, 3600, id="soon after: twice as long"),
        pytest.param(1801, 1800, id="long after: as at first"),
    ],
)
def test_found_again_it_counts_for_longer(since_expiry: float, hold: float) -> None:
    old = Plateau(2, 4, 2.0, 2.0, NOON - 1800 - since_expiry, 1800)

    found = grown(2.0, 2.0, old).judge(0.2, NOON, 120, 1800).plateau

    assert found is not None
    assert (found.seen, found.hold_seconds) == (NOON, hold)


def test_an_average_forgets_what_is_old() -> None:
    level = Level(2, 1.0, 0.0, NOON)
    for minute in range(1, 61):
        level = level.add(3.0, NOON + 60 * minute, 600)

    assert level.mean == pytest.approx(3.0, abs=0.01)
    assert level.add(9.0, level.seen, 600) == level


def test_it_survives_as_json() -> None:
    sizes = grown(2.0, 2.0).judge(0.2, NOON, 120, 1800)

    assert Sizes.recall(json.loads(json.dumps({"sizes": sizes.as_memory()}))) == sizes
    assert Sizes.recall({}) == Sizes()


def test_while_it_counts_it_is_not_found_anew() -> None:
    """Else it would never be tried again."""
    sizes = grown(2.0, 2.0, Plateau(2, 4, 2.0, 2.0, NOON - 600, 1800))

    assert sizes.judge(0.2, NOON, 120, 1800) == sizes
