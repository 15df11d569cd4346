"""Who should run at all: learned from plans, kept through ignorance."""

from hypothesis import given
from hypothesis import strategies as st

from metrics_adapter.keda.activity import Activity
from tests.metrics_adapter.plans import a_board, a_row


def test_nothing_is_known_before_the_first_plan() -> None:
    assert Activity().of("llm/chat") is None


def test_what_becomes_known_and_what_changes_is_told_once() -> None:
    activity = Activity()
    running = a_board(a_row(current=2, desired=3))
    ended = a_board(a_row(current=3, desired=0))

    assert activity.learn(running) == {"llm/chat"}
    assert activity.learn(running) == set()
    assert activity.learn(ended) == {"llm/chat"}
    assert activity.of("llm/chat") is False
    assert activity.learn(ended) == set()


def test_a_wake_up_is_told_again_until_the_target_has_left_zero() -> None:
    activity = Activity()
    asleep = a_board(a_row(current=0, desired=2))

    assert activity.learn(asleep) == {"llm/chat"}
    assert activity.learn(asleep) == {"llm/chat"}
    assert activity.learn(a_board(a_row(current=1, desired=2))) == set()


def test_a_target_that_was_not_seen_stays_as_it_was() -> None:
    activity = Activity()
    activity.learn(a_board(a_row(desired=2)))

    assert activity.learn(a_board(a_row(current=None, desired=None))) == set()
    assert activity.of("llm/chat") is True


def test_a_workload_that_left_the_plan_is_forgotten() -> None:
    activity = Activity()
    activity.learn(a_board(a_row("chat"), a_row("code")))

    activity.learn(a_board(a_row("code")))

    assert activity.of("llm/chat") is None
    assert activity.of("llm/code") is True


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(-1, 3)), max_size=12)
)
def test_only_a_decided_zero_ever_ends_what_is_active(
    plans: list[tuple[int | None, int | None]],
) -> None:
    activity = Activity()
    for current, desired in plans:
        before = activity.of("llm/chat")
        told = activity.learn(a_board(a_row(current=current, desired=desired)))
        after = activity.of("llm/chat")

        if before is True and after is not True:
            assert desired == 0
        if after != before:
            assert told == {"llm/chat"}
        if desired is not None and desired > 0:
            assert after is True
