"""Numbers from cycle to cycle: since when they stand, and which changes nobody has signed."""

import threading
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from autoscaler.adapters.kubernetes.counts import Counts
from tests.builders import NOON

CHAT = "llm/chat"


@dataclass(slots=True)
class Story:
    """A number that changes from cycle to cycle, by whomever."""

    leads: bool = True
    now: float = NOON
    uid: str = "one"
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = Counts(lambda: self.leads)

    def seen(self, count: int, after: float = 15.0) -> float:
        """Look once more; return since when the number stands, in seconds after noon."""
        self.now += after
        return self.counts.see(CHAT, self.uid, count, self.now) - NOON

    def restarted(self) -> "Story":
        """Return the story as the next process goes on."""
        later = Story(self.leads, self.now, self.uid)
        later.counts.restore(orjson.loads(orjson.dumps(self.counts.kept())))
        return later

    @property
    def edit(self) -> tuple[int, int] | None:
        """The number before and after, where somebody else has changed it."""
        found = self.counts.unsigned(CHAT)
        return None if found is None else found[:2]


def test_a_number_stands_since_it_was_first_seen() -> None:
    story = Story()

    assert [story.seen(2), story.seen(2), story.seen(3), story.seen(3)] == [15, 15, 45, 45]


def test_who_leads_without_a_break_knows_whose_change_it_was() -> None:
    story = Story()
    story.seen(2)
    story.counts.tries(CHAT, 4)

    story.seen(4)
    assert story.edit is None
    story.seen(7)
    assert story.edit == (4, 7)


def test_a_change_behind_a_change_of_leaders_may_have_been_the_leaders() -> None:
    story = Story(leads=False)
    story.seen(4)
    story.leads = True

    story.seen(0)
    assert story.edit is None
    story.seen(3)
    assert story.edit == (0, 3)


def test_an_edit_is_not_forgotten_while_nobody_leads_for_a_moment() -> None:
    story = Story()
    story.seen(4)
    story.seen(7)
    story.leads = False
    story.seen(7)
    story.leads = True
    story.seen(7)

    assert story.edit == (4, 7)


def test_what_another_leader_makes_of_an_edit_is_its_own() -> None:
    story = Story()
    story.seen(4)
    story.seen(7)
    story.leads = False

    story.seen(9)

    assert story.edit is None


def test_another_object_of_the_same_name_starts_anew() -> None:
    story = Story()
    story.seen(8)
    story.uid = "two"

    assert story.seen(1) == 30
    assert story.edit is None


def test_who_is_not_in_the_fleet_any_more_is_forgotten() -> None:
    story = Story()
    story.seen(4)
    story.counts.use(["llm/other"])
    story.counts.tries(CHAT, 5)

    assert story.counts.kept() == {}
    assert story.seen(2, after=30 * 86_400.0) == 15 + 30 * 86_400.0
    assert story.edit is None


def test_a_clock_that_is_put_back_makes_no_number_younger_than_now() -> None:
    story = Story()
    story.seen(2)

    assert story.seen(2, after=-3600.0) == 15 - 3600
    assert story.seen(2) == 15 - 3600


def test_the_next_process_knows_since_when_a_number_stands() -> None:
    story = Story()
    story.seen(3)

    assert story.restarted().seen(3, after=36_000.0) == 15


def test_the_next_process_knows_of_an_edit() -> None:
    story = Story()
    story.seen(2)
    story.seen(7)

    later = story.restarted()
    later.seen(7)

    assert later.edit == (2, 7)


def test_what_changed_between_two_processes_may_have_been_a_third() -> None:
    story = Story()
    story.seen(2)

    later = story.restarted()
    later.seen(7)

    assert later.edit is None


def test_a_write_that_arrives_after_a_restart_is_ours() -> None:
    story = Story()
    story.seen(2)
    story.counts.tries(CHAT, 4)
    later = story.restarted()
    later.seen(2)

    later.seen(4)
    assert later.edit is None
    later.seen(5)
    assert later.edit == (4, 5)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({CHAT: 3}, id="a number"),
        pytest.param({CHAT: ["one", "many", NOON, None, []]}, id="no count"),
        pytest.param({CHAT: ["one", 3]}, id="half of it"),
    ],
)
def test_what_was_kept_in_another_form_is_as_if_it_was_not(kept: dict[str, Any]) -> None:
    counts = Counts()

    counts.restore(kept)

    assert counts.kept() == {}


def test_it_may_be_kept_while_a_late_look_goes_on() -> None:
    counts, ending = Counts(), threading.Event()
    problems: list[BaseException] = []

    def look() -> None:
        number = 0
        while not ending.is_set() and number < 20_000:
            counts.see(f"llm/{number}", "one", 2, NOON)
            number += 1

    def keep() -> None:
        try:
            for _ in range(50):
                counts.kept()
        except RuntimeError as error:
            problems.append(error)
        ending.set()

    threads = [threading.Thread(target=one) for one in (look, keep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
