"""What policies remember between cycles: sizes, starts, rates, and counts that were too few."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.observation import ReplicaStatus
from policies.reactive.drain_rate import ASSUMED, KEPT_SECONDS, DrainRate
from policies.reactive.serving_size import ServingSize
from policies.reactive.starting import Starting
from policies.reactive.too_few import TooFew
from tests.builders import NOON
from tests.policies.worlds import samples, shown


class TestTooFew:
    def test_at_first_nothing_is_too_few(self) -> None:
        assert TooFew.recall(None).floor(NOON) == 0

    def test_a_count_that_failed_is_not_tried_again_for_a_while(self) -> None:
        known = TooFew().learn(4, NOON, 600)

        assert known.floor(NOON + 599) == 5
        assert known.floor(NOON + 600) == 0

    def test_a_larger_failure_replaces_a_smaller_one_and_not_the_other_way_round(self) -> None:
        known = TooFew().learn(4, NOON, 600)

        assert known.learn(6, NOON + 10, 600).floor(NOON + 20) == 7
        assert known.learn(2, NOON + 10, 600) == known
        assert known.learn(2, NOON + 700, 600).floor(NOON + 701) == 3

    def test_trouble_that_goes_on_extends_the_wait_and_does_not_double_it(self) -> None:
        known = TooFew().learn(4, NOON, 600).learn(4, NOON + 60, 600)

        assert known.hold_seconds == 600
        assert known.floor(NOON + 650) == 5

    def test_each_attempt_that_fails_again_doubles_the_wait_up_to_four_times(self) -> None:
        known, at, waits = TooFew().learn(4, NOON, 600), NOON, []
        for _ in range(4):
            at = known.seen + known.hold_seconds + 60
            known = known.learn(4, at, 600)
            waits.append(known.hold_seconds)

        assert waits == [1200, 2400, 2400, 2400]

    def test_what_is_long_past_counts_no_more(self) -> None:
        assert TooFew().learn(4, NOON, 600).learn(4, NOON + 1200, 600).hold_seconds == 600

    def test_it_survives_as_json(self) -> None:
        known = TooFew().learn(4, NOON, 600)

        assert TooFew.recall(json.loads(json.dumps({"tooFew": known.as_memory()}))) == known


class TestStarting:
    def test_batches_are_known_by_when_they_were_asked_for(self) -> None:
        first = Starting().update(ReplicaStatus(5, 3), NOON)
        second = first.update(ReplicaStatus(8, 3), NOON + 60)

        assert second.batches == ((NOON, 2), (NOON + 60, 3))
        assert second.total == 5

    def test_the_oldest_serve_first(self) -> None:
        starting = Starting(((NOON, 2), (NOON + 60, 3)))

        assert starting.update(ReplicaStatus(8, 6), NOON + 90).batches == ((NOON + 60, 2),)
        assert starting.update(ReplicaStatus(8, 4), NOON + 90).batches == (
            (NOON, 1),
            (NOON + 60, 3),
        )
        assert starting.update(ReplicaStatus(8, 3), NOON + 90) == starting

    def test_failing_replicas_are_not_on_their_way(self) -> None:
        assert Starting().update(ReplicaStatus(5, 3, failing=1), NOON).total == 1

    def test_they_work_from_when_they_serve(self) -> None:
        starting = Starting(((NOON, 2),))

        assert starting.replica_seconds(NOON + 40, 100, 130) == 2 * (130 - 60)

    def test_the_overdue_count_for_nothing(self) -> None:
        assert Starting(((NOON, 2),)).replica_seconds(NOON + 101, 100, 130) == 0

    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=20)
    )
    def test_they_are_always_as_many_as_are_missing(
        self, sights: list[tuple[int, int, int]]
    ) -> None:
        starting = Starting()
        for place, (desired, ready, failing) in enumerate(sights):
            replicas = ReplicaStatus(desired, ready, failing=failing)
            starting = starting.update(replicas, NOON + place)
            kept = json.loads(json.dumps({"starting": starting.as_memory()}))

            assert starting.total == max(0, replicas.starting - failing)
            assert all(count > 0 for _, count in starting.batches)
            assert Starting.recall(kept) == starting


class TestServingSize:
    def test_a_size_first_seen_has_not_changed(self) -> None:
        size = ServingSize.follow(shown(3))

        assert size == ServingSize(3)
        assert len(size.since_changed(samples(1, 2))) == len(size.since_grew(samples(1, 2))) == 2

    @pytest.mark.parametrize(
        ("before", "after", "changed", "grew"),
        [
            pytest.param(3, 3, None, None, id="the same"),
            pytest.param(3, 4, NOON, NOON, id="more"),
            pytest.param(3, 2, NOON, None, id="fewer"),
        ],
    )
    def test_it_tells_when_it_changed(
        self, before: int, after: int, changed: float | None, grew: float | None
    ) -> None:
        memory = {"size": ServingSize(before).as_memory()}

        size = ServingSize.follow(shown(after, memory=memory))

        assert (size.changed, size.grew) == (changed, grew)

    def test_samples_from_before_speak_of_another_size(self) -> None:
        size = ServingSize(3, changed=NOON - 15, grew=NOON - 30)

        assert list(size.since_changed(samples(1, 2, 3, 4)).values) == [4]
        assert list(size.since_grew(samples(1, 2, 3, 4)).values) == [3, 4]

    @pytest.mark.parametrize(
        ("ago", "expected"),
        [(0, 4), (14, 3), (15, 3), (60, -math.inf), (None, -math.inf)],
    )
    def test_what_was_seen_when_the_number_changed(
        self, ago: float | None, expected: float
    ) -> None:
        size = ServingSize(3, changed=None if ago is None else NOON - ago)

        assert size.value_then(samples(1, 2, 3, 4)) == expected


class TestDrainRate:
    def test_before_anything_is_seen_a_rate_is_assumed(self) -> None:
        rate = DrainRate.recall({}, NOON)

        assert (rate.value, rate.sure, rate.as_memory()) == (ASSUMED, False, None)

    def test_busy_replicas_show_their_rate(self) -> None:
        rate = DrainRate.recall({}, NOON).completed(12.0, 4, NOON)

        assert (rate.value, rate.sure) == (3.0, True)

    @pytest.mark.parametrize(("throughput", "ready"), [(0.0, 4), (12.0, 0)])
    def test_nothing_completed_shows_nothing(self, throughput: float, ready: int) -> None:
        assert DrainRate.recall({}, NOON).completed(throughput, ready, NOON).value == ASSUMED

    def test_a_falling_queue_shows_a_lower_bound(self) -> None:
        rate = DrainRate.recall({}, NOON).drained(20.0, 4, NOON)

        assert (rate.value, rate.sure, rate.seen) == (5.0, False, NOON)
        assert rate.drained(8.0, 4, NOON + 15) == rate
        assert rate.drained(80.0, 0, NOON + 15) == rate

    def test_a_measured_rate_is_not_replaced_by_a_lower_bound(self) -> None:
        measured = DrainRate(3.0, "measured", NOON)

        assert measured.drained(100.0, 4, NOON) == measured

    def test_it_is_remembered_for_a_day(self) -> None:
        rate = DrainRate(3.0, "measured", NOON)
        memory = json.loads(json.dumps({"rate": rate.as_memory()}))

        assert DrainRate.recall(memory, NOON + KEPT_SECONDS - 1) == rate
        assert DrainRate.recall(memory, NOON + KEPT_SECONDS).seen == -math.inf
