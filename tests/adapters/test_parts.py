"""A sum over the targets that are left: told from the whole, and from a workload that shrank."""

from collections.abc import Mapping

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.parts import NORMAL_AFTER_SECONDS, Parts
from autoscaler.core.observation import Gap, GapReason, ReplicaStatus
from autoscaler.core.workload import ScaledWorkload
from tests.builders import NOON, a_fleet, a_workload

CHAT = a_workload(name="chat", signals={"load": {}}, match={"model": "chat"})

Look = tuple[int | None, int] | tuple[int | None, int, int]
"""Series of the signal (None: unknown), ready replicas, and pods that exist."""


class Watch:
    """One signal, looked at every 15 seconds."""

    def __init__(self, workload: ScaledWorkload = CHAT) -> None:
        self.workload = workload
        self.parts = Parts()
        self.now = NOON
        self.follow(workload)

    def follow(self, workload: ScaledWorkload) -> None:
        self.workload = workload
        self.parts.follow(a_fleet(workload))

    def look(self, count: int | None, ready: int, total: int | None = None) -> str:
        """Return what is said of the signal; empty for nothing."""
        self.now += 15
        seen = {} if count is None else {"load": count}
        gaps = self.parts.lacking(
            self.workload, seen, ReplicaStatus(ready, ready, total=total), self.now
        )
        return said(gaps)


def said(gaps: Mapping[str, Gap]) -> str:
    assert all(gap.reason is GapReason.PARTIAL for gap in gaps.values())
    return gaps["load"].detail if gaps else ""


@pytest.mark.parametrize(
    ("looks", "last"),
    [
        pytest.param([(4, 4)], "", id="the first sight is the whole"),
        pytest.param([(4, 4), (1, 4)], "1 of 4 series are left while 4 replicas are ready",
                     id="targets die and replicas stay"),
        pytest.param([(80, 2), (40, 2)], "40 of 80 series are left while 2 replicas are ready",
                     id="many series of each target"),
        pytest.param([(2, 1), (1, 1)], "1 of 2 series are left while 1 replica is ready",
                     id="two series of one replica"),
        pytest.param([(4, 4), (1, 4), (3, 4)], "3 of 4 series are left while 4 replicas are ready",
                     id="some are back"),
        pytest.param([(4, 4), (1, 4), (4, 4)], "", id="all are back"),
        pytest.param([(4, 4), (1, 4), (1, 1)], "", id="the replicas turn out to be gone"),
        pytest.param([(4, 4), (1, 4), (1, 2)], "1 of 4 series are left while 2 replicas are ready",
                     id="fewer replicas are gone than series"),
        pytest.param([(4, 4), (None, 4), (1, 4)],
                     "1 of 4 series are left while 4 replicas are ready", id="after an outage"),
        pytest.param([(4, 4), (3, 3)], "", id="a replica and its series end together"),
        pytest.param([(4, 4), (4, 2), (3, 2), (2, 2)], "", id="series outlive their replicas"),
        pytest.param([(4, 4), (4, 2), (3, 2), (2, 2), (1, 2)],
                     "1 of 2 series are left while 2 replicas are ready",
                     id="series outlive their replicas, then one is lost"),
        pytest.param([(3, 3), (2, 3), (2, 2)], "", id="series end before their replica"),
        pytest.param([(2, 2), (4, 2, 4), (2, 2, 2)], "", id="replicas that never became ready end"),
        pytest.param([(2, 2), (4, 2, 2), (2, 2, 2)],
                     "2 of 4 series are left while 2 replicas are ready",
                     id="what a replica had more of is lost"),
        pytest.param([(2, 2), (2, 4), (4, 4), (2, 4)],
                     "2 of 4 series are left while 4 replicas are ready",
                     id="ready before the first scrape, then lost"),
        pytest.param([(4, 4), (3, 3), (3, 4)], "", id="a replica that returns is not scraped yet"),
        pytest.param([(4, 4), (4, 2), (2, 3)], "", id="a replica has just become ready"),
        pytest.param([(4, 4), (4, 2), (2, 3), (2, 3)],
                     "2 of 4 series are left while 3 replicas are ready", id="and stays unseen"),
        pytest.param([(4, 4), (0, 0)], "", id="nothing is ready"),
        pytest.param([(4, 4), (None, 0), (1, 1)], "", id="from zero again"),
        pytest.param([(3, 0), (1, 1)], "", id="nothing was ready at first"),
    ],
)  # fmt: skip
def test_a_part_is_told_from_the_whole(looks: list[Look], last: str) -> None:
    watch = Watch()

    *before, newest = looks
    for look in before:
        watch.look(*look)

    assert watch.look(*newest) == last


def test_what_lasts_is_the_new_normal() -> None:
    watch = Watch()
    watch.look(4, 4)
    said = [watch.look(3, 4) for _ in range(int(NORMAL_AFTER_SECONDS // 15) + 1)]

    assert all(said[:-1])
    assert said[-1] == ""
    assert watch.look(3, 4) == ""
    assert watch.look(2, 4) == "2 of 3 series are left while 4 replicas are ready"


def test_fewer_still_begins_the_wait_anew() -> None:
    watch = Watch()
    watch.look(4, 4)
    for _ in range(int(NORMAL_AFTER_SECONDS // 15)):
        watch.look(3, 4)

    assert watch.look(1, 4)
    assert watch.look(1, 4)


def test_a_clock_that_is_set_back_begins_the_wait_anew() -> None:
    watch = Watch()
    watch.look(4, 4)
    watch.look(3, 4)
    watch.now -= 10 * NORMAL_AFTER_SECONDS
    watch.look(3, 4)
    watch.now += NORMAL_AFTER_SECONDS

    assert watch.look(3, 4) == ""


@pytest.mark.parametrize(
    ("after", "distrusted"),
    [
        pytest.param({}, True, id="the same file"),
        pytest.param({"signals": {"load": {"maxAgeSeconds": 61}}}, True, id="same question"),
        pytest.param({"signals": {"load": {"query": "other"}}}, False, id="another query"),
        pytest.param({"match": {"model": "code"}}, False, id="other matchers"),
        pytest.param({"source": "west"}, False, id="another source"),
    ],
)
def test_only_an_answer_to_the_same_question_is_compared(
    after: dict[str, object], distrusted: bool
) -> None:
    watch = Watch()
    watch.look(4, 4)
    same = {"signals": {"load": {}}, "match": {"model": "chat"}}
    watch.follow(a_workload(name="chat", **{**same, **after}))  # type: ignore[arg-type]

    assert bool(watch.look(1, 4)) is distrusted


def test_a_signal_that_is_new_in_the_file_begins_with_what_is_there() -> None:
    watch = Watch(a_workload(name="chat", signals={"queue": {}}, match={"model": "chat"}))
    watch.look(4, 4)
    watch.follow(CHAT)

    assert watch.look(1, 4) == ""


def test_a_workload_that_left_the_fleet_is_forgotten() -> None:
    watch = Watch()
    watch.look(4, 4)
    watch.parts.follow(a_fleet())
    watch.follow(CHAT)

    assert watch.look(1, 4) == ""


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 40))
def test_counts_in_step_with_the_replicas_are_never_doubted(
    replicas: list[int], series: int
) -> None:
    watch = Watch()

    assert not any(watch.look(ready * series, ready) for ready in replicas)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 9))
def test_a_loss_is_doubted_after_any_past(replicas: list[int], lost: int) -> None:
    watch = Watch()
    for ready in [*replicas, 9]:
        watch.look(ready, ready)

    assert watch.look(9 - lost, 9) == (
        f"{9 - lost} of 9 series are left while 9 replicas are ready"
    )


def restarted(watch: Watch, workload: ScaledWorkload = CHAT) -> Watch:
    """Return another process, which goes on from what this one kept."""
    later = Watch()
    later.now = watch.now
    later.parts.restore(orjson.loads(orjson.dumps(watch.parts.kept())))
    later.follow(workload)
    return later


def test_a_process_that_starts_while_targets_are_dead_knows_what_was_whole() -> None:
    watch = Watch()
    watch.look(4, 4)
    left = "1 of 4 series are left while 4 replicas are ready"
    assert watch.look(1, 4) == left

    later = restarted(watch)

    assert later.look(1, 4) == left
    assert Watch().look(1, 4) == ""  # without it, what is left is taken for the whole
    later.now += NORMAL_AFTER_SECONDS - 30
    assert later.look(1, 4) == ""  # counted from when they died, not from the start


def test_what_asks_something_else_after_the_start_is_forgotten() -> None:
    watch = Watch()
    watch.look(4, 4)
    other = a_workload(name="chat", signals={"load": {}}, match={"model": "other"})

    assert restarted(watch, other).look(1, 4) == ""


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        pytest.param([(4, 4)], [(1, 4)], id="the other process knew the whole"),
        pytest.param([(1, 4)], [(4, 4)], id="this one did"),
    ],
)
def test_of_two_processes_the_one_counts_that_knew_more_series(
    theirs: list[tuple[int, int]], mine: list[tuple[int, int]]
) -> None:
    leader, standby = Watch(), Watch()
    for one, other in zip(theirs, mine, strict=True):
        leader.look(*one)
        standby.look(*other)

    standby.parts.restore(orjson.loads(orjson.dumps(leader.parts.kept())))
    standby.follow(CHAT)

    assert standby.look(1, 4) == "1 of 4 series are left while 4 replicas are ready"


@pytest.mark.parametrize(
    "kept", [{"llm/chat": 3}, {"llm/chat": [4, {"load": [4]}]}, {"llm/chat": [4, {"load": "x"}]}]
)
def test_what_has_another_form_is_as_if_nothing_was_kept(kept: dict[str, object]) -> None:
    watch = Watch()
    watch.look(4, 4)

    watch.parts.restore(kept)
    watch.follow(CHAT)

    assert watch.look(1, 4) == "1 of 4 series are left while 4 replicas are ready"


def test_of_a_single_series_nothing_is_kept() -> None:
    watch = Watch()
    watch.look(1, 1)

    assert watch.parts.kept() == {}
