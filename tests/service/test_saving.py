"""State is saved beside the cycles: the newest only, in order, and before the next change."""

import threading
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState
from autoscaler.service.saving import SavedFirst, Saving
from autoscaler.state import StateError, load_state
from tests.builders import NOON
from tests.waiting import PATIENCE_SECONDS

A_MOMENT = 0.2
"""In which what must not happen would have happened."""


class Slow:
    """A store that keeps a state when a test lets it."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.saved: list[int] = []
        self.problem = ""

    def load(self) -> bytes | None:
        return None

    def save(self, data: bytes) -> None:
        self.begun.release()
        assert self.go_on.acquire(timeout=PATIENCE_SECONDS)
        if self.problem:
            raise StateError(self.problem)
        desired = load_state(data)[0].pasts["llm/chat"].desired
        assert desired is not None
        self.saved.append(desired)

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_SECONDS)


class Kept:
    """A `Saving` with a slow store, a clock and a term of a test's own."""

    def __init__(self) -> None:
        self.store, self.now, self.term = Slow(), 100.0, [1]
        self.saving = Saving(
            self.store,
            term=lambda: self.term[-1] if self.term else None,
            monotonic=lambda: self.now,
        )

    def keep(self, desired: int, *, changed: bool = True) -> None:
        state = FleetState({"llm/chat": Past(desired=desired)})
        self.saving.keep(state, NOON, {}, changed=changed)

    def end(self, writes: int = 1) -> None:
        """Let so many writes end."""
        self.store.go_on.release(writes)
        assert self.saving.flush(PATIENCE_SECONDS)


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.store.go_on.release(9)
    made.saving.close()


def beside(what: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread


def test_whoever_hands_a_state_over_waits_for_nothing_and_only_the_newest_follows(
    kept: Kept,
) -> None:
    kept.keep(1)
    kept.store.wait()
    for desired in (2, 3, 4):
        kept.keep(desired)

    kept.end(writes=2)

    assert kept.store.saved == [1, 4]


def test_a_change_waits_until_the_change_before_is_saved(kept: Kept) -> None:
    made: list[int] = []

    class Actuator:
        def act(self, action: Action | NodeAction, now: float) -> Outcome:
            made.append(action.after)
            return Outcome(action, done=True)

    first = SavedFirst(Actuator(), kept.saving)
    kept.keep(2)
    kept.store.wait()

    acting = beside(lambda: first.act(Action("llm/chat", 2, 4), NOON))
    acting.join(A_MOMENT)
    assert made == []
    kept.end()
    acting.join(PATIENCE_SECONDS)

    assert made == [4]


def test_a_change_that_could_not_be_saved_holds_up_no_other(kept: Kept) -> None:
    kept.store.problem = "no space left"
    kept.keep(2)
    kept.store.wait()

    waiting = beside(kept.saving.settle)
    kept.end()
    waiting.join(PATIENCE_SECONDS)

    assert not waiting.is_alive()
    assert kept.saving.due(1e9)


@pytest.mark.parametrize(
    ("changed", "later"),
    [
        pytest.param(True, 5.0, id="changes made 5 s ago"),
        pytest.param(False, 0.0, id="nothing was changed"),
    ],
)
def test_nobody_waits_for_what_is_old_enough_or_holds_no_change(
    kept: Kept, changed: bool, later: float
) -> None:
    kept.keep(2, changed=changed)
    kept.store.wait()
    kept.now += later

    waiting = beside(kept.saving.settle)
    waiting.join(PATIENCE_SECONDS)

    assert not waiting.is_alive()
    assert kept.store.saved == []


def test_a_state_that_replaces_one_with_changes_holds_them_too(kept: Kept) -> None:
    kept.keep(1, changed=False)
    kept.store.wait()
    kept.keep(2, changed=True)
    kept.keep(2, changed=False)

    waiting = beside(kept.saving.settle)
    waiting.join(A_MOMENT)

    assert waiting.is_alive()
    kept.end(writes=2)
    waiting.join(PATIENCE_SECONDS)
    assert kept.store.saved == [1, 2]


@pytest.mark.parametrize("terms", [[], [2]], ids=["nobody", "somebody else, and us again"])
def test_a_state_of_another_leadership_is_not_saved(kept: Kept, terms: list[int]) -> None:
    kept.keep(1)
    kept.store.wait()
    kept.keep(2)
    kept.term[:] = terms

    kept.end()

    assert kept.store.saved == [1]


def test_who_does_not_lead_hands_over_nothing(kept: Kept) -> None:
    kept.term.clear()

    kept.keep(1)

    assert kept.saving.flush(0.0)


def test_trouble_is_told_when_it_begins_and_when_it_ends(kept: Kept) -> None:
    with capture_logs() as lines:
        for problem in ("no space left", "no space left", ""):
            kept.store.problem = problem
            kept.keep(1)
            kept.end()

    assert [(line["log_level"], line["event"], line["reason"]) for line in lines] == [
        ("warning", "state not saved", "no space left"),
        ("info", "state saved again", "no space left"),
    ]


def test_a_bug_in_saving_is_told_and_the_next_state_is_saved(kept: Kept) -> None:
    with capture_logs() as lines:
        kept.saving.keep(FleetState(), NOON, {"counts": {"llm/chat": object()}}, changed=True)
        assert kept.saving.flush(PATIENCE_SECONDS)
        kept.keep(1)
        kept.end()

    assert lines[0]["reason"].startswith("internal error: TypeError: ")
    assert kept.store.saved == [1]


def test_at_the_end_the_newest_is_saved_first(kept: Kept) -> None:
    kept.keep(1)
    kept.store.wait()
    kept.keep(2)

    ending = beside(kept.saving.close)
    ending.join(A_MOMENT)
    assert ending.is_alive()
    kept.store.go_on.release(2)
    ending.join(PATIENCE_SECONDS)

    assert kept.store.saved == [1, 2]


def test_at_the_end_a_store_that_does_not_answer_is_given_up_and_told() -> None:
    store = Slow()
    saving = Saving(store, term=lambda: 0, monotonic=lambda: 0.0, seconds=0.1)
    saving.keep(FleetState({"llm/chat": Past(desired=1)}), NOON, {}, changed=True)
    store.wait()
    saving.keep(FleetState({"llm/chat": Past(desired=2)}), NOON, {}, changed=True)

    with capture_logs() as lines:
        saving.close()
    store.go_on.release(2)

    assert [(line["event"], line["reason"]) for line in lines] == [
        ("state not saved", "no answer within 0.1 s")
    ]
    assert saving.flush(PATIENCE_SECONDS)
    assert store.saved == [1]


def test_a_writer_that_was_ended_keeps_nobody_waiting(kept: Kept) -> None:
    class Ended(BaseException):
        pass

    def save(data: bytes) -> None:
        raise Ended

    working = kept.store.save
    kept.store.save = save  # type: ignore[method-assign]
    kept.keep(1)
    assert kept.saving.flush(PATIENCE_SECONDS)
    kept.saving.settle()

    kept.store.save = working  # type: ignore[method-assign]
    kept.keep(2)
    kept.end()
    assert kept.store.saved == [2]
