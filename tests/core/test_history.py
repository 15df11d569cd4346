import pytest

from autoscaler.core.behavior import Behavior
from autoscaler.core.history import note_change, remember
from autoscaler.core.past import Mark, Past
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


@pytest.mark.parametrize(
    ("behavior", "kept", "expected"),
    [
        pytest.param(SHORT, (-60,), (-60, 0), id="exactly the longer window old: kept"),
        pytest.param(SHORT, (-60.001,), (0,), id="older than both windows: its place is taken"),
        pytest.param(SHORT, (-90, -80, -10), (-90, 0, -10), id="the last of the spent ones goes"),
        pytest.param(Behavior(), (-300, -10), (-300, -10, 0), id="the default window is 300 s"),
        pytest.param(None, (-300,), (-300, 0), id="without a behavior: 300 s"),
        pytest.param(None, (-301,), (0,), id="without a behavior: older is spent"),
        pytest.param(None, (), (0,), id="the first"),
    ],
)
def test_a_recommendation_takes_the_place_of_one_that_nobody_asks_for(
    behavior: Behavior | None, kept: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    past = Past(recommendations=at(*kept))

    assert remember(past, NOON, 5, behavior).recommendations == at(*expected)


def test_the_controllers_own_window_counts_where_the_behavior_names_none() -> None:
    past = Past(recommendations=at(-120))

    assert remember(past, NOON, 5, Behavior(), 60.0).recommendations == at(0)
    assert remember(past, NOON, 5, None, 60.0).recommendations == at(0)


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
