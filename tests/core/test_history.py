import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.behavior import Behavior
from autoscaler.core.history import note_change, remember
from autoscaler.core.past import Mark, Past
from autoscaler.core.rules import Case, stabilize
from autoscaler.core.spec import Bounds
from tests.builders import NOON

SHORT = Behavior.model_validate(
    {
        "scaleUp": {
            "stabilizationWindowSeconds": 30,
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 60,
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}],
        },
    }
)
LONG = Behavior.model_validate(
    {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 600}]}}
)


def at(*times: float) -> tuple[Mark, ...]:
    return tuple(Mark(NOON + time, 5) for time in times)


def seen(*marks: tuple[float, int]) -> tuple[Mark, ...]:
    return tuple(Mark(NOON + time, count) for time, count in marks)


@pytest.mark.parametrize(
    ("behavior", "before", "after"),
    [
        pytest.param(SHORT, [(-60, 9)], [(-60, 9), (0, 5)], id="as old as the longer window: kept"),
        pytest.param(SHORT, [(-60.001, 9)], [(0, 5)], id="older than both windows: gone"),
        pytest.param(Behavior(), [(-300, 9)], [(-300, 9), (0, 5)], id="the default is 300 s"),
        pytest.param(None, [(-300, 9)], [(-300, 9), (0, 5)], id="without a behavior: 300 s"),
        pytest.param(None, [(-301, 9)], [(0, 5)], id="without a behavior: older is gone"),
        pytest.param(None, [], [(0, 5)], id="the first"),
        pytest.param(None, [(-30, 5), (-15, 5)], [(0, 5)], id="steady: the newest"),
        pytest.param(
            None, [(-30, 9), (-15, 7)], [(-30, 9), (-15, 7), (0, 5)], id="falling: highest of each"
        ),
        pytest.param(
            None, [(-30, 2), (-15, 4)], [(-30, 2), (-15, 4), (0, 5)], id="rising: lowest of each"
        ),
        pytest.param(
            None, [(-45, 6), (-30, 8), (-15, 2)], [(-30, 8), (-15, 2), (0, 5)], id="one is between"
        ),
    ],
)
def test_a_recommendation_is_kept_as_long_as_a_window_can_ask_for_it(
    behavior: Behavior | None, before: list[tuple[float, int]], after: list[tuple[float, int]]
) -> None:
    past = Past(recommendations=seen(*before))

    assert remember(past, NOON, 5, behavior).recommendations == seen(*after)


@given(
    steps=st.lists(st.tuples(st.sampled_from([0, 5, 15, 60]), st.integers(1, 9)), max_size=40),
    up=st.integers(0, 300),
    down=st.integers(0, 300),
    current=st.integers(1, 9),
)
def test_what_is_forgotten_would_change_no_stabilization(
    steps: list[tuple[int, int]], up: int, down: int, current: int
) -> None:
    windows = {
        "scaleUp": {"stabilizationWindowSeconds": up},
        "scaleDown": {"stabilizationWindowSeconds": down},
    }
    behavior = Behavior.model_validate(windows)
    now, short, whole = NOON, Past(), Past()
    for seconds, count in steps:
        now += seconds
        short = remember(short, now, count, behavior)
        whole = whole.recalling((*whole.recommendations, Mark(now, count)))

    for given_behavior, wanted in itertools.product((behavior, None), (1, 5, 9)):
        answers = [
            stabilize(wanted, Case(now + 15, current, wanted, Bounds(max=9), given_behavior, past))
            for past in (short, whole)
        ]
        if given_behavior is behavior or max(up, down) >= 300:
            assert answers[0] == answers[1]


def test_the_controllers_own_window_counts_where_the_behavior_names_none() -> None:
    past = Past(recommendations=seen((-120, 9)))

    assert remember(past, NOON, 5, Behavior(), 60.0).recommendations == seen((0, 5))
    assert remember(past, NOON, 5, None, 60.0).recommendations == seen((0, 5))


def test_a_change_takes_the_place_of_one_older_than_the_longest_period() -> None:
    past = Past()
    for time, before, after in [(0, 1, 2), (15, 2, 4), (30, 4, 5)]:
        past = note_change(past, NOON + time, before, after, SHORT)

    assert past.scale_ups == (Mark(NOON + 30, 1), Mark(NOON + 15, 2))


def test_each_direction_forgets_by_its_own_period() -> None:
    past = Past()
    for time, before, after in [(0, 9, 8), (20, 8, 9), (40, 9, 7), (55, 7, 9), (90, 9, 8)]:
        past = note_change(past, NOON + time, before, after, SHORT)

    assert past.scale_ups == (Mark(NOON + 55, 2),)
    assert past.scale_downs == (Mark(NOON + 90, 1), Mark(NOON + 40, 2))
    assert past.direction == -1
    assert len(past.turns) == 4


def test_what_was_once_outdated_stays_so_under_a_longer_period() -> None:
    past = Past(scale_ups=at(0, 15))
    past = note_change(past, NOON + 300, 1, 2, SHORT)
    assert past.scale_ups == (Mark(NOON, 5, outdated=True), Mark(NOON + 300, 1))

    past = note_change(past, NOON + 315, 2, 3, LONG)
    assert past.scale_ups == (Mark(NOON + 315, 1), Mark(NOON + 300, 1))


def test_without_a_behavior_only_the_direction_is_kept() -> None:
    past = note_change(Past(direction=1), NOON, 5, 3, None)

    assert (past.scale_ups, past.scale_downs) == ((), ())
    assert (past.direction, past.turns) == (-1, (NOON,))


def test_no_change_leaves_the_past_as_it_is() -> None:
    past = Past(scale_ups=at(-5), direction=1)

    assert note_change(past, NOON, 3, 3, SHORT) == past
