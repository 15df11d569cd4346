from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.behavior import Behavior
from autoscaler.core.decision import Reason
from autoscaler.core.past import Mark, Past
from autoscaler.core.rules import (
    Case,
    apply,
    clamp,
    hold_blind,
    hold_rollout,
    limit_rate,
    outside_bounds,
    spend_flap_budget,
    stabilize,
)
from autoscaler.core.spec import Bounds
from tests.builders import NOON


def a_case(
    *,
    current: int = 5,
    wanted: int = 5,
    minimum: int = 1,
    maximum: int = 50,
    behavior: dict[str, Any] | None = None,
    past: Past | None = None,
    blind: str = "",
    broken: str = "",
) -> Case:
    """A case with the defaults of every behavior; `legacy` cases set it to None."""
    return Case(
        now=NOON,
        current=current,
        wanted=wanted,
        bounds=Bounds(min=minimum, max=maximum),
        behavior=Behavior.model_validate(behavior or {}),
        past=past or Past(),
        blind=blind,
        broken=broken,
    )


def legacy(case: Case) -> Case:
    return replace(case, behavior=None)


def ago(*marks: tuple[float, int]) -> tuple[Mark, ...]:
    """Marks by their age in seconds."""
    return tuple(Mark(NOON - seconds, count) for seconds, count in marks)


def up(*policies: tuple[str, int, int], select: str = "Max", window: int = 0) -> dict[str, Any]:
    return {"scaleUp": direction(policies, select, window)}


def down(*policies: tuple[str, int, int], select: str = "Max", window: int = 0) -> dict[str, Any]:
    return {"scaleDown": direction(policies, select, window)}


def direction(policies: Sequence[tuple[str, int, int]], select: str, window: int) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": window,
        "selectPolicy": select,
        "policies": [
            {"type": kind, "value": value, "periodSeconds": period}
            for kind, value, period in policies
        ],
    }


# --- worlds for the properties ---------------------------------------------------------------

ages = st.sampled_from(
    [0.0, 14.999, 15.0, 15.001, 30.0, 59.999, 60.0, 60.001, 299.999, 300.0, 900.0]
)
counts = st.integers(0, 60)
marks = st.lists(st.builds(Mark, ages.map(lambda age: NOON - age), counts), max_size=6).map(tuple)
changes = st.lists(
    st.builds(Mark, ages.map(lambda age: NOON - age), st.integers(1, 9)), max_size=4
).map(tuple)
policies = st.lists(
    st.tuples(st.sampled_from(["Pods", "Percent"]), st.integers(1, 100), st.sampled_from([15, 60])),
    min_size=1,
    max_size=3,
)
directions = st.builds(
    direction, policies, st.sampled_from(["Max", "Min", "Disabled"]), st.sampled_from([0, 60, 300])
)
behaviors = st.one_of(
    st.none(),
    st.just(Behavior()),
    st.builds(
        lambda up_rules, down_rules, budget: Behavior.model_validate(
            {"scaleUp": up_rules, "scaleDown": down_rules, "maxReversalsPerHour": budget}
        ),
        directions,
        directions,
        st.none() | st.integers(0, 3),
    ),
)
turns = st.lists(ages.map(lambda age: NOON - age), max_size=4).map(tuple)
pasts = st.builds(
    Past,
    recommendations=marks,
    scale_ups=changes,
    scale_downs=changes,
    turns=turns,
    direction=st.sampled_from([-1, 0, 1]),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    minimum = draw(st.integers(0, 5))
    maximum = draw(st.integers(max(minimum, 1), 60))
    return Case(
        now=NOON,
        current=draw(st.integers(minimum, maximum)),
        wanted=draw(counts),
        bounds=Bounds(min=minimum, max=maximum),
        behavior=draw(behaviors),
        past=draw(pasts),
        blind=draw(st.sampled_from(["", "queue is stale"])),
        broken=draw(st.sampled_from(["", "2 of 3 do not come up"])),
    )


# --- all rules together ----------------------------------------------------------------------


@given(cases())
def test_the_result_lies_within_the_bounds(case: Case) -> None:
    decided, _ = apply(case.wanted, case)

    assert case.bounds.min <= decided <= case.bounds.max


@given(cases())
def test_nothing_is_lowered_while_something_is_unseen(case: Case) -> None:
    decided, _ = apply(case.wanted, replace(case, blind="queue is stale"))

    assert decided >= case.current


@given(cases())
def test_nothing_is_raised_while_earlier_replicas_do_not_come_up(case: Case) -> None:
    decided, _ = apply(case.wanted, replace(case, broken="2 of 3 do not come up"))

    assert decided <= case.current


@given(cases())
def test_the_flap_budget_never_stops_an_increase(case: Case) -> None:
    unlimited = without_budget(case)
    free, _ = apply(case.wanted, unlimited)
    decided, _ = apply(case.wanted, case)

    assert decided == free if free >= case.current else decided in (free, case.current)


def without_budget(case: Case) -> Case:
    if case.behavior is None:
        return case
    return replace(case, behavior=case.behavior.model_copy(update={"max_reversals_per_hour": None}))


@given(cases())
def test_deciding_the_decided_number_again_changes_nothing(case: Case) -> None:
    decided, _ = apply(case.wanted, case)

    assert apply(decided, case)[0] == decided


@given(cases(), counts)
def test_more_demand_never_means_fewer_replicas(case: Case, other: int) -> None:
    less, more = sorted((case.wanted, other))

    assert apply(less, case)[0] <= apply(more, case)[0]


@given(cases())
def test_the_trail_leads_from_the_number_wanted_to_the_number_decided(case: Case) -> None:
    decided, steps = apply(case.wanted, case)

    numbers = [case.wanted, *(step.after for step in steps)]
    assert [step.before for step in steps] == numbers[:-1]
    assert numbers[-1] == decided
    assert all(step.before != step.after and step.text for step in steps)


def test_a_trail_says_each_change_in_order() -> None:
    case = a_case(
        current=10, wanted=2, minimum=3, past=Past(recommendations=ago((30, 4))),
        behavior=down(("Pods", 20, 60), window=60),
    )  # fmt: skip

    decided, steps = apply(1, case)

    assert decided == 4
    assert [(step.rule, step.before, step.after, step.reason) for step in steps] == [
        ("stabilize", 1, 4, Reason.STABILIZED)
    ]
    assert steps[0].text == "the highest recommendation of the last 60 s is 4"


# --- outside the bounds ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "minimum", "asleep", "expected"),
    [
        pytest.param(5, 1, None, None, id="within the bounds the policies decide"),
        pytest.param(1, 1, None, None, id="the minimum belongs to the bounds"),
        pytest.param(8, 1, None, None, id="the maximum belongs to the bounds"),
        pytest.param(9, 1, None, (8, Reason.ABOVE_MAXIMUM), id="above the maximum"),
        pytest.param(1, 2, None, (2, Reason.BELOW_MINIMUM), id="below the minimum"),
        pytest.param(0, 1, None, (0, Reason.TURNED_OFF), id="0 is off where the minimum is not"),
        pytest.param(0, 0, None, None, id="0 is asleep where the minimum is 0"),
        pytest.param(0, 0, False, (0, Reason.TURNED_OFF), id="0 set by somebody else is off"),
        pytest.param(0, 2, True, None, id="asleep it can wake though the minimum was raised"),
    ],
)
def test_a_size_outside_the_bounds_is_set_at_once(
    current: int, minimum: int, asleep: bool | None, expected: tuple[int, Reason] | None
) -> None:
    found = outside_bounds(current, Bounds(min=minimum, max=8), asleep=asleep)

    assert (found[:2] if found else None) == expected


def test_a_size_outside_the_bounds_is_explained() -> None:
    bounds = Bounds(min=2, max=8)

    assert [found[2] for size in (9, 1, 0) if (found := outside_bounds(size, bounds))] == [
        "9 replicas run, more than replicas.max 8",
        "1 replicas run, fewer than replicas.min 2",
        "somebody set 0 replicas: left alone until it is scaled up",
    ]


NOTHING = (Reason.RECOMMENDED, "")
"""What a rule says that leaves the number alone."""


# --- hold_blind ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "blind", "expected"),
    [
        pytest.param(2, "", 2, id="all seen: it may shrink"),
        pytest.param(2, "queue is stale", 5, id="something unseen: it stays"),
        pytest.param(9, "queue is stale", 9, id="something unseen: it may grow"),
    ],
)
def test_blind_holds_decreases(wanted: int, blind: str, expected: int) -> None:
    allowed, reason, text = hold_blind(wanted, a_case(current=5, blind=blind))

    said = (Reason.BLIND_NO_LOWERING, f"no decrease: {blind}")
    assert (allowed, reason, text) == (expected, *(said if expected != wanted else NOTHING))


# --- stabilize -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "wanted", "window_up", "window_down", "history", "expected"),
    [
        pytest.param(10, 2, 0, 300, ((299.999, 8),), 8, id="a higher one within the window holds"),
        pytest.param(10, 2, 0, 300, ((300, 8),), 2, id="one exactly a window old is out"),
        pytest.param(10, 2, 0, 300, ((10, 30),), 10, id="the present size is never passed by it"),
        pytest.param(3, 9, 60, 0, ((15, 4),), 4, id="growth goes to the lowest of the window"),
        pytest.param(3, 9, 60, 0, ((15, 2),), 3, id="a low one holds growth altogether"),
        pytest.param(3, 9, 60, 0, ((60, 2),), 9, id="growth: one exactly a window old is out"),
        pytest.param(6, 9, 60, 60, ((15, 4), (30, 8)), 6, id="within the corridor nothing moves"),
        pytest.param(5, 9, 0, 300, ((15, 5),), 9, id="a window of 0 stabilizes nothing"),
    ],
)
def test_stabilize_with_a_behavior(
    current: int,
    wanted: int,
    window_up: int,
    window_down: int,
    history: tuple[tuple[float, int], ...],
    expected: int,
) -> None:
    windows = {
        "scaleUp": {"stabilizationWindowSeconds": window_up},
        "scaleDown": {"stabilizationWindowSeconds": window_down},
    }
    past = Past(recommendations=ago(*history))

    allowed, reason, _ = stabilize(wanted, a_case(current=current, behavior=windows, past=past))

    assert (allowed, reason) == (expected, Reason.STABILIZED if expected != wanted else NOTHING[0])


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(300, 8, id="exactly 300 s old is in"),
        pytest.param(300.001, 2, id="older is out"),
    ],
)
def test_stabilize_without_a_behavior(age: float, expected: int) -> None:
    past = Past(recommendations=ago((age, 8)))

    assert stabilize(2, legacy(a_case(current=10, past=past)))[0] == expected


def test_the_window_of_decreases_can_be_that_of_another_controller() -> None:
    case = a_case(current=10, past=Past(recommendations=ago((100, 8))))

    assert stabilize(2, case)[0] == 8
    assert stabilize(2, replace(case, downscale_stabilization_seconds=60.0))[0] == 2


def test_both_directions_say_what_held_them() -> None:
    past = Past(recommendations=ago((15, 4)))
    case = a_case(current=3, behavior={"scaleUp": {"stabilizationWindowSeconds": 60}}, past=past)

    assert stabilize(9, case)[2] == "the lowest recommendation of the last 60 s is 4"
    assert stabilize(2, replace(case, current=9))[2] == (
        "the highest recommendation of the last 300 s is 4"
    )


@given(cases())
def test_stabilize_equals_a_search_of_every_number(case: Case) -> None:
    """Try every number: it must be covered from below and from above by some recommendation."""
    allowed, _, _ = stabilize(case.wanted, case)

    def recent(seconds: float, *, included: bool) -> list[int]:
        chosen = [case.wanted]
        for mark in case.past.recommendations:
            milliseconds = round((case.now - mark.time) * 1000)
            if milliseconds < seconds * 1000 or (included and milliseconds == seconds * 1000):
                chosen.append(mark.count)
        return chosen

    if case.behavior is None:
        covering = recent(300, included=True)
        expected = next(n for n in range(60, -1, -1) if n in covering)
    else:
        rules_up, rules_down = case.behavior.scale_up, case.behavior.scale_down
        window_up = (rules_up and rules_up.stabilization_window_seconds) or 0
        given_down = rules_down.stabilization_window_seconds if rules_down else None
        window_down = 300 if given_down is None else given_down
        lower, upper = recent(window_up, included=False), recent(window_down, included=False)
        possible = [
            n for n in range(61) if any(r <= n for r in lower) and any(r >= n for r in upper)
        ]
        expected = min(possible, key=lambda n: abs(n - case.current))
    assert allowed == expected


# --- limit_rate ------------------------------------------------------------------------------

EVENTS = Past(scale_ups=ago((45, 1)), scale_downs=ago((30, 3), (60, 5)))


@pytest.mark.parametrize(
    ("current", "wanted", "behavior", "past", "expected"),
    [
        pytest.param(1, 40, {}, Past(), 5, id="by default +4 replicas or double: +4"),
        pytest.param(10, 40, {}, Past(), 20, id="by default +4 replicas or double: double"),
        pytest.param(10, 1, {}, Past(), 1, id="by default everything may go at once"),
        pytest.param(5, 5, {}, Past(), 5, id="no change is not limited"),
        pytest.param(50, 90, up(("Percent", 10, 60)), Past(), 56, id="10 % of 50 rounds up to 56"),
        pytest.param(20, 1, down(("Percent", 80, 60)), Past(), 3, id="80 % of 20 is cut to 3"),
        pytest.param(
            4, 40, up(("Pods", 1, 15), ("Percent", 50, 60), select="Min"), Past(), 5,
            id="Min: the smaller growth",
        ),
        pytest.param(
            10, 1, down(("Pods", 1, 15), ("Percent", 50, 60), select="Min"), Past(), 9,
            id="Min: the smaller decrease",
        ),
        pytest.param(
            10, 1, down(("Pods", 1, 15), ("Percent", 50, 60)), Past(), 5,
            id="Max: the larger decrease",
        ),
        pytest.param(
            10, 1, down(("Pods", 4, 60)), EVENTS, 8,
            id="12 at the start of the period: both directions count, one of 60 s ago does not",
        ),
        pytest.param(
            10, 40, up(("Pods", 4, 60)), EVENTS, 16, id="growth counts from 12 as well"
        ),
        pytest.param(
            10, 40, up(("Pods", 4, 60)), Past(scale_ups=ago((5, 9))), 10,
            id="more than allowed was added already: none is taken back",
        ),
        pytest.param(
            10, 1, down(("Pods", 4, 60)), Past(scale_downs=ago((5, 9))), 10,
            id="more than allowed was removed already: none comes back",
        ),
    ],
)  # fmt: skip
def test_limit_rate_with_a_behavior(
    current: int, wanted: int, behavior: dict[str, Any], past: Past, expected: int
) -> None:
    case = a_case(current=current, maximum=100, behavior=behavior, past=past)

    allowed, reason, _ = limit_rate(wanted, case)

    assert allowed == expected
    assert reason is Reason.RATE_LIMITED or allowed == wanted


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        pytest.param(1, 40, 4, id="a small one may reach 4"),
        pytest.param(0, 40, 4, id="from 0 as well"),
        pytest.param(8, 40, 16, id="a larger one may double"),
        pytest.param(8, 9, 9, id="less is untouched"),
        pytest.param(8, 2, 2, id="decreases are not limited"),
        pytest.param(8, 0, 0, id="the minimum is left to clamp"),
    ],
)
def test_limit_rate_without_a_behavior(current: int, wanted: int, expected: int) -> None:
    assert limit_rate(wanted, legacy(a_case(current=current)))[0] == expected


@pytest.mark.parametrize(
    ("wanted", "given", "sentence"),
    [
        pytest.param(9, up(("Pods", 2, 60)), "scaleUp allows 2 replicas in 60 s: 7 now", id="up"),
        pytest.param(
            1, down(("Percent", 20, 30)), "scaleDown allows 20 % in 30 s: 4 now", id="down"
        ),
        pytest.param(9, up(("Pods", 2, 60), select="Disabled"), "scaleUp is disabled", id="no up"),
        pytest.param(
            1, down(("Pods", 2, 60), select="Disabled"), "scaleDown is disabled", id="no down"
        ),
        pytest.param(9, up(), "scaleUp is disabled", id="no policy allows nothing"),
    ],
)  # fmt: skip
def test_limit_rate_says_which_policy_binds(
    wanted: int, given: dict[str, Any], sentence: str
) -> None:
    allowed, reason, text = limit_rate(wanted, a_case(current=5, behavior=given))

    assert text == sentence
    assert reason in (Reason.RATE_LIMITED, Reason.SCALING_DISABLED)
    assert (allowed == 5) is (reason is Reason.SCALING_DISABLED)


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        pytest.param(a_case(maximum=7, behavior=up(("Pods", 2, 60))), 9, id="growth"),
        pytest.param(a_case(minimum=3, behavior=down(("Pods", 2, 60))), 1, id="decrease"),
        pytest.param(legacy(a_case(maximum=10)), 30, id="growth without a behavior"),
    ],
)
def test_where_a_bound_is_as_tight_the_bound_is_named(case: Case, wanted: int) -> None:
    decided, steps = apply(wanted, case)

    assert [step.rule for step in steps] == ["clamp"]
    assert decided in (case.bounds.min, case.bounds.max)


def test_an_absurd_limit_overflows_as_in_the_original() -> None:
    most = 2**31 - 1

    assert limit_rate(40, a_case(current=5, behavior=up(("Pods", most, 60))))[0] == 5
    assert limit_rate(40, a_case(current=200, behavior=up(("Percent", most, 60))))[0] == 40


@given(cases())
def test_limit_rate_equals_a_search_of_every_number(case: Case) -> None:
    """Grow or shrink by one replica at a time while the policies agree."""
    if case.behavior is None:
        return
    allowed, _, _ = limit_rate(case.wanted, case)

    def start(period: int) -> int:
        """The size a period ago: undo what changed since."""
        size = case.current
        for mark in case.past.scale_ups:
            size -= mark.count if round((case.now - mark.time) * 1000) < period * 1000 else 0
        for mark in case.past.scale_downs:
            size += mark.count if round((case.now - mark.time) * 1000) < period * 1000 else 0
        return size

    def permits(kind: str, value: int, period: int, size: int) -> bool:
        first = float(start(period))
        if size > case.current:
            bound = first + value if kind == "Pods" else first * (1 + float(value) / 100)
            return size < bound + 1
        bound = first - value if kind == "Pods" else first * (1 - float(value) / 100)
        return size > bound - 1

    rising = case.wanted > case.current
    rules = case.behavior.scale_up if rising else case.behavior.scale_down
    default = [("Pods", 4, 15), ("Percent", 100, 15)] if rising else [("Percent", 100, 15)]
    select = "Max"
    limits: list[tuple[str, int, int]] = default
    if rules is not None:
        select = rules.select_policy or "Max"
        limits = [(p.type, p.value, p.period_seconds) for p in rules.policies or ()] or default
    agree = all if select == "Min" else any
    size, step = case.current, 1 if rising else -1
    while (
        size != case.wanted
        and select != "Disabled"
        and agree(permits(*limit, size + step) for limit in limits)
    ):
        size += step
    if case.bounds.min < size < case.bounds.max:
        assert allowed == size
    else:
        assert case.bounds.clamp(allowed) == case.bounds.clamp(size)


# --- hold_rollout, spend_flap_budget, clamp --------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "broken", "expected"),
    [
        pytest.param(9, "", 9, id="all come up: it may grow"),
        pytest.param(9, "2 of 3 do not come up", 5, id="some do not: no more of them"),
        pytest.param(2, "2 of 3 do not come up", 2, id="some do not: it may shrink"),
    ],
)
def test_a_broken_rollout_holds_increases(wanted: int, broken: str, expected: int) -> None:
    allowed, reason, text = hold_rollout(wanted, a_case(current=5, broken=broken))

    said = (Reason.BROKEN_ROLLOUT, f"no increase: {broken}")
    assert (allowed, reason, text) == (expected, *(said if expected != wanted else NOTHING))


TWO_TURNS = Past(turns=(NOON - 3599.999, NOON - 60), direction=1)


@pytest.mark.parametrize(
    ("wanted", "budget", "past", "expected"),
    [
        pytest.param(2, 2, TWO_TURNS, 5, id="budget used up: no further reversal"),
        pytest.param(2, 3, TWO_TURNS, 2, id="one is left"),
        pytest.param(2, None, TWO_TURNS, 2, id="no budget"),
        pytest.param(9, 2, TWO_TURNS, 9, id="an increase is never refused"),
        pytest.param(2, 2, replace(TWO_TURNS, direction=-1), 2, id="going on down is no reversal"),
        pytest.param(2, 2, replace(TWO_TURNS, direction=0), 2, id="the first change is none"),
        pytest.param(
            2, 2, replace(TWO_TURNS, turns=(NOON - 3600, NOON - 60)), 2,
            id="exactly an hour ago is over",
        ),
        pytest.param(2, 0, Past(direction=1), 5, id="a budget of 0 allows no reversal at all"),
    ],
)  # fmt: skip
def test_the_flap_budget(wanted: int, budget: int | None, past: Past, expected: int) -> None:
    case = a_case(current=5, past=past, behavior={"maxReversalsPerHour": budget})

    allowed, reason, _ = spend_flap_budget(wanted, case)

    assert (allowed, reason) == (expected, Reason.FLAP_BUDGET if expected != wanted else NOTHING[0])


def test_the_flap_budget_explains_itself() -> None:
    case = a_case(current=5, past=TWO_TURNS, behavior={"maxReversalsPerHour": 2})

    assert spend_flap_budget(2, case)[2] == (
        "no decrease: 2 changes of direction within the hour, 2 are allowed"
    )


def test_without_a_behavior_there_is_no_flap_budget() -> None:
    assert spend_flap_budget(2, legacy(a_case(current=5, past=TWO_TURNS)))[0] == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(1, (3, Reason.AT_MINIMUM, "replicas.min is 3"), id="below"),
        pytest.param(9, (7, Reason.AT_MAXIMUM, "replicas.max is 7"), id="above"),
    ],
)
def test_the_bounds_have_the_last_word(wanted: int, expected: tuple[int, Reason, str]) -> None:
    assert clamp(wanted, a_case(minimum=3, maximum=7)) == expected


def test_asleep_with_a_raised_minimum_it_wakes_to_the_minimum() -> None:
    case = replace(a_case(minimum=7), current=0)

    assert apply(0, case)[0] == 7
    assert apply(3, legacy(case))[0] == 7
