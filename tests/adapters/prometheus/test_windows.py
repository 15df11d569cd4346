"""Windows of samples: what was handed out never changes, and nothing outgrows its window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.prometheus.plan import PlannedQuery
from autoscaler.adapters.prometheus.questions import Question
from autoscaler.adapters.prometheus.windows import Holes, Track

points = st.integers(0, 60)
ranges = st.lists(st.tuples(points, points).map(lambda pair: (min(pair), max(pair))), max_size=8)


def track_of(*times: float) -> Track:
    track = Track()
    for time in times:
        track.append(time, 10 * time)
    return track


def test_samples_come_back_in_order_and_older_ones_are_forgotten() -> None:
    track = track_of(1, 2, 3, 4)

    series = track.series(since=2)

    assert series.times.tolist() == [3, 4]
    assert series.values.tolist() == [30, 40]
    assert len(track) == 2
    assert track.newest == 4


def test_the_newest_sample_is_kept_for_longer_where_that_is_asked() -> None:
    track = track_of(1, 2)

    assert track.series(since=5, newest_since=1).times.tolist() == [2]
    assert len(track.series(since=5, newest_since=2)) == 0


def test_a_track_without_samples_is_an_empty_series() -> None:
    assert len(Track().series(since=0)) == 0
    assert Track().newest == -np.inf


def test_nothing_new_is_the_same_object() -> None:
    track = track_of(1, 2, 3)

    assert track.series(since=0) is track.series(since=0)
    assert track.series(since=1) is not track.series(since=2)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda track: track.append(9, 9), id="append"),
        pytest.param(lambda track: track.replace_newest(3.5, 9), id="replace"),
        pytest.param(lambda track: track.merge([0.5], [9]), id="merge"),
        pytest.param(lambda track: track.series(since=2), id="trim"),
    ],
)
def test_a_series_that_was_handed_out_never_changes(change) -> None:  # type: ignore[no-untyped-def]
    track = track_of(1, 2, 3)
    before = track.series(since=0)

    change(track)
    track.append(10, 10)

    assert before.times.tolist() == [1, 2, 3]
    assert before.values.tolist() == [10, 20, 30]
    assert not before.values.flags.writeable


def test_the_newest_sample_can_be_replaced() -> None:
    track = track_of(1, 2)

    track.replace_newest(2.5, 7)

    assert track.series(since=0).times.tolist() == [1, 2.5]
    assert track.series(since=0).values.tolist() == [10, 7]


@pytest.mark.parametrize(
    ("time", "times"),
    [
        pytest.param(17.0, [0, 17], id="near, so in place of the newest"),
        pytest.param(17.5, [0, 10, 17.5], id="half a step later"),
    ],
)
def test_a_sample_near_the_newest_takes_its_place(time: float, times: list[float]) -> None:
    track = track_of(0, 10)

    track.put(time, 5.0, step=15.0)

    assert track.series(since=-1).times.tolist() == times
    assert track.series(since=-1).latest == 5.0
    assert track.newest == time


def test_after_everything_was_forgotten_a_new_sample_is_kept_as_long_as_any() -> None:
    track = track_of(1, 2)
    assert len(track.series(since=2)) == 0

    track.append(3, 30)

    assert track.series(since=2).times.tolist() == [3]
    assert len(track.series(since=3)) == 0


def test_a_hole_in_the_middle_heals() -> None:
    track = track_of(1, 2, 8, 9)

    track.merge([2, 5, 6], [99, 50, 60])

    assert track.series(since=0).times.tolist() == [1, 2, 5, 6, 8, 9]
    assert track.series(since=0).values.tolist() == [10, 99, 50, 60, 80, 90]


def test_memory_is_bounded_by_the_window() -> None:
    track = Track()
    for time in range(8_000):
        track.append(float(time), 1.0)
        track.series(since=time - 1000.0)

    assert len(track) == 1000
    assert track.nbytes <= 16 * 1000 * 1.15


@given(
    st.lists(st.tuples(st.integers(0, 50), st.lists(st.integers(0, 50), max_size=6)), max_size=9)
)
def test_merging_is_a_union(merges: list[tuple[int, list[int]]]) -> None:
    track = Track()
    expected: set[int] = set()
    for since, times in merges:
        some = sorted(set(times))
        track.merge(some, [float(time) for time in some])
        expected = {time for time in expected | set(some) if time > since}
        series = track.series(since=since)
        assert series.times.tolist() == sorted(expected)
        assert series.values.tolist() == sorted(expected)


def test_holes_are_asked_for_newest_first() -> None:
    holes = Holes()
    holes.add(0, 9)
    holes.remove(4, 5)

    assert holes.ranges == ((0, 3), (6, 9))
    assert holes.newest(3) == (7, 9)
    assert holes.newest(100) == (6, 9)
    assert len(holes) == 8


def test_after_a_clock_was_set_back_the_whole_window_is_asked_for() -> None:
    query = PlannedQuery(
        source="default",
        promql="up",
        labels=(),
        window_seconds=60,
        step_seconds=15,
        range_seconds=60,
        template="up",
        selectors=(),
        serves={(): (("llm/chat", "up"),)},
        costly=False,
    )
    question = Question(query)
    asked = question.newest_range(7200.0)
    assert asked is not None
    question.came(asked)

    assert question.newest_range(7200.0) is None
    assert question.newest_range(3600.0) == (237, 240)


def test_no_hole_is_nothing_to_ask() -> None:
    holes = Holes()

    assert not holes
    assert holes.newest(5) is None
    holes.add(3, 2)
    assert not holes


@given(ranges, ranges, points)
def test_holes_are_a_set_of_points(
    added: list[tuple[int, int]], removed: list[tuple[int, int]], first: int
) -> None:
    holes = Holes()
    expected: set[int] = set()
    for a, b in added:
        holes.add(a, b)
        expected |= set(range(a, b + 1))
    for a, b in removed:
        holes.remove(a, b)
        expected -= set(range(a, b + 1))
    holes.trim(first)
    expected = {point for point in expected if point >= first}

    found = [point for a, b in holes.ranges for point in range(a, b + 1)]

    assert found == sorted(expected)
    assert len(holes) == len(expected)
    assert bool(holes) is bool(expected)
