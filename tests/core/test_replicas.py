"""How replicas changed, and whether new ones come up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.behavior import Behavior
from autoscaler.core.observation import ReplicaStatus
from autoscaler.core.past import Mark, Past, age
from autoscaler.core.replicas import notice, why_broken
from tests.builders import NOON

BEHAVIOR = Behavior()


def test_the_size_found_first_is_the_first_recommendation() -> None:
    past = notice(Past(), ReplicaStatus(desired=7, ready=7), NOON, behavior=BEHAVIOR, ours=True)

    assert past.recommendations == (Mark(NOON, 7),)


def test_later_sizes_are_not_recommendations() -> None:
    past = Past(recommendations=(Mark(NOON - 15, 3),))

    assert notice(
        past, ReplicaStatus(9, 9), NOON, behavior=BEHAVIOR, ours=True
    ).recommendations == (Mark(NOON - 15, 3),)


def test_a_change_by_others_counts_only_where_we_do_not_act() -> None:
    past = Past(recommendations=(Mark(NOON - 15, 3),), desired=3)
    found = ReplicaStatus(desired=5, ready=3)

    assert notice(past, found, NOON, behavior=BEHAVIOR, ours=False).scale_ups == (Mark(NOON, 2),)
    assert notice(past, found, NOON, behavior=BEHAVIOR, ours=True).scale_ups == ()


def test_starting_replicas_are_kept_by_when_they_were_asked_for() -> None:
    past = notice(Past(), ReplicaStatus(desired=3, ready=1), NOON, behavior=BEHAVIOR, ours=True)
    past = notice(past, ReplicaStatus(desired=6, ready=1), NOON + 60, behavior=BEHAVIOR, ours=True)
    assert past.starting == (Mark(NOON, 2), Mark(NOON + 60, 3))

    past = notice(past, ReplicaStatus(desired=6, ready=4), NOON + 120, behavior=BEHAVIOR, ours=True)
    assert past.starting == (Mark(NOON + 60, 2),)

    past = notice(past, ReplicaStatus(desired=4, ready=4), NOON + 180, behavior=BEHAVIOR, ours=True)
    assert past.starting == ()


@pytest.mark.parametrize(
    ("replicas", "waited", "sentence"),
    [
        pytest.param(
            ReplicaStatus(desired=3, ready=1), 300, "", id="not overdue at the very limit"
        ),
        pytest.param(
            ReplicaStatus(desired=3, ready=1),
            301,
            "2 of 2 starting replicas do not come up (0 failing, 2 not ready after 300 s)",
            id="overdue after three cold starts, at least 300 s",
        ),
        pytest.param(
            ReplicaStatus(desired=3, ready=1, failing=1),
            0,
            "1 of 2 starting replicas do not come up (1 failing, 0 not ready after 300 s)",
            id="a crashing pod counts at once",
        ),
        pytest.param(
            ReplicaStatus(desired=10, ready=8, failing=2), 0, "", id="a quarter may be stuck"
        ),
        pytest.param(ReplicaStatus(desired=3, ready=3, failing=2), 0, "", id="nobody is starting"),
    ],
)
def test_too_many_stuck_replicas_are_named(
    replicas: ReplicaStatus, waited: float, sentence: str
) -> None:
    past = notice(Past(), replicas, NOON, behavior=BEHAVIOR, ours=True)

    assert why_broken(past, replicas, NOON + waited, cold_start=60) == sentence


def test_a_long_cold_start_is_waited_for() -> None:
    replicas = ReplicaStatus(desired=3, ready=1)
    past = notice(Past(), replicas, NOON, behavior=BEHAVIOR, ours=True)

    assert why_broken(past, replicas, NOON + 1800, cold_start=600) == ""
    assert why_broken(past, replicas, NOON + 1801, cold_start=600) != ""


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=20))
def test_the_marks_always_add_up_to_the_starting_replicas(
    sizes: list[tuple[int, int]],
) -> None:
    past = Past()
    for cycle, (desired, ready) in enumerate(sizes):
        replicas = ReplicaStatus(desired=desired, ready=ready)
        past = notice(past, replicas, NOON + 15 * cycle, behavior=BEHAVIOR, ours=True)

        assert sum(mark.count for mark in past.starting) == replicas.starting
        assert all(mark.count > 0 for mark in past.starting)
        assert list(past.starting) == sorted(past.starting, key=lambda mark: mark.time)


def test_a_reversal_is_remembered_for_an_hour() -> None:
    past = Past().turned(NOON, 3, 5).turned(NOON + 60, 5, 4).turned(NOON + 120, 4, 6)

    assert past.turns == (NOON + 60, NOON + 120)
    assert past.turned(NOON + 3700, 6, 7).turns == (NOON + 120,)


def test_no_change_is_no_event() -> None:
    assert Past().turned(NOON, 3, 3) == Past()


def test_an_age_is_exact_whatever_the_float() -> None:
    assert NOON + 0.3 - (NOON + 0.1) != 0.2
    assert age(NOON + 0.3, NOON + 0.1) == 0.2
