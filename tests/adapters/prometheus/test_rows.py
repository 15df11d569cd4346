"""The rows of an answer, as lines and times: what belongs to whom, and what is not there."""

import math

import numpy as np
import pytest

from autoscaler.adapters.prometheus.plan import PlannedQuery
from autoscaler.adapters.prometheus.questions import VANISHED_SECONDS, Question, raw_times
from autoscaler.adapters.prometheus.rows import MOST_TIMES, PART, Rows


def question_of(*models: str, selectors: tuple[str, ...] = ('q{model=~"a|b"}',)) -> Question:
    query = PlannedQuery(
        source="default",
        promql='sum by (model) (q{model=~"a|b"})',
        labels=("model",),
        window_seconds=60,
        step_seconds=15,
        range_seconds=60,
        template="sum by ($labels) (q{$match})",
        selectors=selectors,
        serves={(model,): ((f"llm/{model}", "queue"),) for model in models},
        costly=False,
    )
    return Question(query)


def row(model: str, part: int, *points: tuple[float, str]) -> dict[str, object]:
    return {"metric": {"model": model, PART: str(part)}, "values": [list(one) for one in points]}


def lists(array: np.ndarray) -> list[list[float | None]]:
    return [[None if math.isnan(one) else one for one in line] for line in array.tolist()]


def test_each_part_of_an_answer_is_spread_over_all_of_its_times() -> None:
    rows = question_of("a", "b").rows_in(
        [
            row("a", 0, (15, "1.5"), (30, "NaN")),
            row("b", 0, (30, "2")),
            row("a", 1, (15, "14"), (30, "29")),
            row("b", 1, (30, "28")),
            row("a", 2, (30, "4")),
            row("nobody", 0, (30, "9")),
        ]
    )

    assert rows.times.tolist() == [15, 30]
    assert rows.there.tolist() == [[True, True], [False, True]]
    assert lists(rows.values) == [[1.5, None], [None, 2.0]]
    assert [lists(age) for age in rows.ages] == [[[14.0, 29.0], [None, 28.0]]]
    assert lists(rows.counts) == [[None, 4.0], [None, None]]


def test_an_answer_without_rows_has_a_line_for_everybody_and_no_times() -> None:
    rows: Rows = question_of("a", "b").rows_in([])

    assert rows.values.shape == rows.there.shape == rows.counts.shape == (2, 0)


def test_an_answer_with_more_times_than_prometheus_gives_is_refused() -> None:
    points = [(float(time), "1") for time in range(MOST_TIMES + 1)]

    with pytest.raises(ValueError, match=f"should have up to {MOST_TIMES} times, not"):
        question_of("a").rows_in([row("a", 0, *points)])


def test_a_count_in_a_row_with_an_odd_label_is_read_all_the_same() -> None:
    odd = row("a", 2, (30, "3"))
    odd["metric"] = {"model": "a", PART: "2", "replica": "x"}

    rows = question_of("a").rows_in([row("a", 0, (30, "1")), odd])

    assert lists(rows.counts) == [[3.0]]


def test_rows_of_a_part_that_was_not_asked_for_are_left_out() -> None:
    rows = question_of("a").rows_in([row("a", 0, (30, "1")), row("a", 7, (30, "1"))])

    assert lists(rows.values) == [[1.0]]
    assert lists(rows.counts) == [[None]]


NONE = math.nan


def test_of_several_selectors_the_oldest_decides_until_it_has_long_vanished() -> None:
    times = np.array([0.0, 60.0, 60.0 + VANISHED_SECONDS, 90.0 + VANISHED_SECONDS])
    lively = np.array([[0.0, 58.0, 350.0, 380.0]])
    dying = np.array([[0.0, 55.0, NONE, NONE]])

    found, marks = raw_times(times, [lively, dying])

    assert found.tolist() == [[0.0, 55.0, 350.0, 380.0]]
    assert marks.tolist() == [[380.0, 55.0]]


def test_a_selector_that_vanished_lately_still_counts_with_its_last_sample() -> None:
    times = np.array([60.0, 75.0])

    found, _ = raw_times(
        times,
        [np.array([[58.0, 73.0]]), np.array([[NONE, NONE]])],
        np.array([[40.0, 41.0]]),
    )

    assert found.tolist() == [[41.0, 41.0]]


def test_a_value_without_any_raw_sample_behind_it_has_no_time() -> None:
    found, marks = raw_times(np.array([15.0, 30.0]), [np.array([[14.0, NONE], [NONE, NONE]])])

    assert found.tolist() == [[14.0, -math.inf], [-math.inf, -math.inf]]
    assert marks.tolist() == [[14.0], [-math.inf]]
