"""The window averages of Knative's KPA."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import Series
from policies.reactive.kpa_windows import LinearWindow, WeightedWindow, window_average
from tests.builders import NOON


def samples(*values: float, every: float = 15.0) -> Series:
    """The last sample is taken at noon."""
    first = NOON - every * (len(values) - 1)
    return Series.of([(first + every * index, value) for index, value in enumerate(values)])


def test_values_of_one_slot_add_up_and_an_unfilled_window_counts_its_own_slots() -> None:
    window = LinearWindow(6)
    window.record(0.2, 10)
    window.record(1.1, 20)
    window.record(1.6, 6)

    assert window.average(1.9) == 18
    assert not window.is_empty(7.9)
    assert window.is_empty(8.0)


def test_silence_within_counts_as_zero_and_silence_at_the_end_shortens_the_window() -> None:
    window = LinearWindow(6)
    window.record(0, 12)
    window.record(3, 6)

    assert window.average(3) == 4.5
    assert window.average(5) == 4.5
    assert window.average(8) == 6
    assert window.average(9) == 0


def test_a_late_value_counts_unless_it_is_a_whole_window_late() -> None:
    window = LinearWindow(6)
    window.record(10, 6)
    window.record(5, 12)
    window.record(4, 1000)

    assert window.average(10) == 3


def test_a_window_that_grows_or_shrinks_keeps_what_fits() -> None:
    window = LinearWindow(4)
    for second in range(4):
        window.record(second, 10 * second)

    window.resize(4, 3)
    assert window.average(3) == 15
    window.resize(2, 3)
    assert window.average(3) == 25
    window.resize(8, 3)
    assert window.average(3) == 25  # it still knows no more than two slots


def test_a_window_resized_after_a_long_silence_starts_anew() -> None:
    window = LinearWindow(4)
    window.record(1, 10)
    window.resize(6, 100)

    assert window.average(1) == 0
    window.record(1, 12)
    assert window.average(1) == 2  # a full window: when it began to fill is no longer known
    window.record(100, 7)
    assert window.average(100) == 7


def test_a_plain_average_has_six_digits_and_halves_go_away_from_zero() -> None:
    up, down, third = LinearWindow(1), LinearWindow(1), LinearWindow(3)
    up.record(0, 2.5e-6)
    down.record(0, -2.5e-6)
    third.record(0, 0)
    third.record(2, 1)

    assert (up.average(0), down.average(0)) == (3e-6, -3e-6)
    assert third.average(2) == 0.333333


@pytest.mark.parametrize("window", [LinearWindow(6), WeightedWindow(6)])
def test_a_window_without_values_is_empty_and_averages_zero(window: LinearWindow) -> None:
    assert window.is_empty(NOON)
    assert window.average(NOON) == 0
    window.resize(8, NOON)
    assert window.is_empty(NOON)


def test_newer_slots_weigh_more_and_weights_are_not_made_to_sum_to_one() -> None:
    window = WeightedWindow(2)  # the newest weighs 0.99
    window.record(0, 100)
    assert window.average(0) == pytest.approx(99.0)
    window.record(1, 200)
    assert window.average(1) == pytest.approx(198 + 0.99)
    assert window.average(2) == pytest.approx(1.98)


def test_in_a_long_window_the_newest_slot_weighs_a_fifth() -> None:
    window = WeightedWindow(3600)
    window.record(0, 100)

    assert window.average(0) == pytest.approx(20)
    assert window.average(1) == pytest.approx(16)


@given(
    values=st.lists(st.tuples(st.integers(0, 12), st.floats(0, 100)), max_size=30),
    size=st.integers(1, 20),
    slot=st.sampled_from([1, 2, 5]),
    silence=st.integers(0, 30),
)
def test_both_averages_equal_their_definition(
    values: list[tuple[int, float]], size: int, slot: int, silence: int
) -> None:
    linear, weighted = LinearWindow(size * slot, slot), WeightedWindow(size * slot, slot)
    assert linear.is_empty(0)
    slots: dict[int, float] = {}
    now, first, last = 0, None, None
    for gap, value in values:
        now += gap
        index = now // slot
        first = index if last is None or index - last >= size else first
        last = index
        slots[index] = slots.get(index, 0.0) + value
        for window in (linear, weighted):
            window.record(now, value)

    index = (now + silence) // slot
    inside = [] if first is None else range(max(first, index - size + 1), (last or 0) + 1)
    plain = sum(slots.get(i, 0.0) for i in inside) / len(inside) if inside else 0.0
    newest = max(1 - 0.0001 ** (1 / size), 0.2)
    heavy = sum(slots.get(i, 0.0) * newest * (1 - newest) ** (index - i) for i in inside)

    assert linear.average(now + silence) == pytest.approx(plain, abs=1.1e-6)
    assert weighted.average(now + silence) == pytest.approx(heavy, abs=1e-9)


@pytest.mark.parametrize(
    ("series", "seconds", "expected"),
    [
        pytest.param(samples(900, 1, 2, 3, 6), 60, 3.0, id="four samples lie in a minute"),
        pytest.param(samples(900, 1, 2, 3, 6), 6, 6.0, id="at least the newest"),
        pytest.param(samples(4, 5, 6), 60, 5.0, id="a short history counts what there is"),
        pytest.param(samples(8), 60, 8.0, id="one sample"),
        pytest.param(
            Series.of([(NOON - 45, 10.0), (NOON - 30, 20.0), (NOON, 30.0)]), 60, 20.0,
            id="a sample that is missing is not a zero",
        ),
        pytest.param(
            Series.of([(NOON - 50, 10.0), (NOON - 20, 20.0), (NOON - 9, 1.0), (NOON - 8, 1.0)]),
            60, 8.0, id="uneven samples each count once",
        ),
        pytest.param(
            Series.of([*((NOON - 30 * back, 900.0) for back in range(9, 1, -1)),
                       (NOON - 15, 1.0), (NOON - 10, 2.0), (NOON - 5, 3.0), (NOON, 6.0)]),
            60, 3.0, id="samples that come faster than before each count",
        ),
        pytest.param(Series.of([(NOON - 100, 5.0), (NOON - 90, 7.0)]), 60, 7.0, id="all too old"),
    ],
)  # fmt: skip
def test_a_window_average_counts_each_sample_of_the_window_once(
    series: Series, seconds: float, expected: float
) -> None:
    assert window_average(series, NOON, seconds, "linear") == expected


def test_the_weights_are_those_of_a_window_of_as_many_slots_as_samples_fit_into_it() -> None:
    # four slots: the newest weighs 1 - 0.0001^(1/4) = 0.9
    average = window_average(samples(100, 200), NOON, 60, "weighted-exponential")

    assert average == pytest.approx(0.9 * 200 + 0.09 * 100)


def test_a_window_average_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs at least one sample"):
        window_average(Series.of([]), NOON, 60, "linear")
