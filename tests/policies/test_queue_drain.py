"""queue-drain: enough replicas that the backlog is gone within a deadline."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.observation import Series
from autoscaler.core.policy import MOST_REPLICAS
from policies.reactive.queue_drain import QueueDrain
from tests.builders import NOON
from tests.policies.worlds import World, asked_twice, reversals, samples, shown

BLIND = QueueDrain(signal="queue_length")
KNOWN = QueueDrain(signal="queue_length", requests_per_second_per_replica=2)
SEEING = QueueDrain(signal="queue_length", throughput="requests_per_second")

EMPTY = samples(*[0.0] * 9)


@pytest.mark.parametrize(
    ("queue", "ready", "desired", "expected"),
    [
        # g = 0, q = 60 - 1: 59/30 = 1.97 requests/s more, 0.98 replicas
        pytest.param(samples(*[60.0] * 9), 2, 2, 3, id="a standing backlog"),
        # g = 4: (4 + 239/30)/2 = 5.98 replicas
        pytest.param(samples(120, 180, 240), 2, 2, 8, id="a growing backlog"),
        pytest.param(samples(120, 180, 240), 2, 8, 8, id="those that start are the answer"),
        pytest.param(samples(120, 180, 240), 2, 6, 8, id="those that start are part of it"),
        # g = -4, q/D = 1.97: it will be gone in time
        pytest.param(samples(180, 120, 60), 2, 2, 2, id="a backlog that drains in time"),
        pytest.param(samples(180, 120, 60), 2, 5, 5, id="which does not lower either"),
        # g = 2, q/D = 1.97: 1.98 replicas, of which one is whole
        pytest.param(samples(0, 0, 0, 0, 60), 2, 2, 3, id="a jump asks for whole replicas"),
        pytest.param(samples(0, 0, 0, 0, 9), 2, 2, 2, id="a small jump may be an accident"),
        pytest.param(samples(*[1.0] * 9), 2, 2, 1, id="one request in two replicas is none"),
        pytest.param(EMPTY, 4, 4, 3, id="nothing waits: one fewer"),
        pytest.param(EMPTY, 1, 1, 1, id="nothing waits does not mean nothing runs"),
        pytest.param(samples(0.0), 4, 4, 4, id="one sample is no proof of quiet"),
        pytest.param(samples(90, 0, 0, 0), 4, 4, 4, id="busy within the window"),
        pytest.param(samples(1.0), 0, 0, 1, id="wakes from zero"),
        pytest.param(samples(*[600.0] * 9), 0, 0, 10, id="wakes as many as it takes"),
        pytest.param(samples(*[600.0] * 9), 0, 10, 10, id="and waits for them"),
        pytest.param(EMPTY, 0, 0, 0, id="sleeps on"),
    ],
)
def test_the_backlog_is_gone_in_time(
    queue: Series, ready: int, desired: int, expected: int
) -> None:
    answer = KNOWN.recommend(shown(ready, desired=desired, lead=0.0, queue_length=queue))

    assert answer.replicas == expected


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        pytest.param(0, 4, id="from zero: four"),
        pytest.param(2, 6, id="few: four more"),
        pytest.param(10, 20, id="many: twice as many"),
    ],
)
def test_a_step_on_a_guessed_rate_is_limited(ready: int, expected: int) -> None:
    huge = samples(*[100_000.0] * 9)

    assert BLIND.recommend(shown(ready, queue_length=huge)).replicas == expected


def test_the_rate_is_learned_from_throughput_while_a_backlog_stands() -> None:
    queue = samples(*[122.0] * 9)  # 120 above what is normal for 4: 4 requests/s more

    first = SEEING.recommend(shown(4, lead=0.0, queue_length=queue, requests_per_second=8.0))
    later = SEEING.recommend(
        shown(4, desired=6, at=NOON + 15, memory=first.memory, lead=0.0,
              queue_length=samples(122, 122, at=NOON + 15))
    )  # fmt: skip

    assert first.replicas == 6
    assert first.evidence["requestsPerSecondPerReplica"] == 2.0
    assert "at 2 requests/s each (measured)" in first.reason
    assert later.evidence["requestsPerSecondPerReplica"] == 2.0


def test_without_throughput_the_fastest_fall_is_a_lower_bound_of_the_rate() -> None:
    falling = BLIND.recommend(shown(2, queue_length=samples(900, 600, 300)))
    standing = BLIND.recommend(
        shown(2, at=NOON + 300, memory=falling.memory,
              queue_length=samples(*[301.0] * 3, at=NOON + 300))
    )  # fmt: skip

    assert falling.evidence["requestsPerSecondPerReplica"] == 10.0
    assert standing.replicas == 3  # 300/30 = 10 requests/s more


def test_those_on_their_way_that_will_have_drained_it_are_enough() -> None:
    memory, counts, reason, desired = None, [], "", 2
    for cycle, waiting in enumerate([900, 900, 920, 940, 960]):
        at = NOON + 15 * cycle
        queue = samples(*[float(waiting)] * 3, at=at)
        answer = KNOWN.recommend(
            shown(2, desired=desired, at=at, lead=60.0, memory=memory, queue_length=queue)
        )
        assert answer.replicas is not None
        memory, reason, desired = answer.memory, answer.reason, answer.replicas
        counts.append(desired)

    assert counts == [17, 17, 17, 17, 17]
    assert reason == (
        "queue_length is 960: it grows by 0/s with 2 ready and 15 are starting: no more are missing"
    )


def test_a_backlog_is_sized_as_it_will_be_when_replicas_serve() -> None:
    """The bundled demo at 28 minutes: 189 waited, 3.1/s more, and one start was thought enough."""
    policy = QueueDrain(signal="queue_length", requests_per_second_per_replica=9)
    queue = samples(*[189.5 - 3.1 * 15 * back for back in (4, 3, 2, 1, 0)])
    asked = policy.recommend(shown(1, lead=240.0, queue_length=queue)).memory
    at = NOON + 15
    later = samples(*queue.values, 189.5 + 46.5, at=at)

    answer = policy.recommend(shown(1, desired=2, at=at, memory=asked, queue_length=later))

    # 235.5 now, 979.5 when a replica asked for now serves; the other has served none of it
    # before: (3.1 + 979.5/60)/9 = 2.2 more
    assert answer.replicas == 4
    assert answer.reason == (
        "queue_length is 236: it grows by 3.1/s with 1 ready: 4 drain it in 60 s once they serve "
        "in 240 s at 9 requests/s each (given)"
    )


def test_a_long_start_does_not_ask_for_many_times_what_the_load_needs() -> None:
    """All arrivals are new: 20 requests/s, of which one replica serves 2."""
    for lead in (60.0, 240.0, 900.0):
        world = World(lambda at: 20.0 if at > 600 else 2.0, ready=2, cold_start=lead, maximum=1000)
        policy = KNOWN

        sizes = world.run(policy, 600 + lead)

        assert max(sizes) <= 6 * 10
        assert max(sizes) >= 10


@pytest.mark.parametrize("policy", [BLIND, KNOWN, SEEING], ids=["blind", "known", "measured"])
@pytest.mark.parametrize("huge", [1e150, 1e200, 1e308])
def test_absurd_numbers_ask_for_as_many_as_can_be(policy: QueueDrain, huge: float) -> None:
    jump = samples(0.0, huge)
    standing = samples(*[huge] * 9)

    for queue in (jump, standing):
        answer = policy.recommend(shown(4, queue_length=queue, requests_per_second=samples(1e-300)))
        assert answer.replicas == (MOST_REPLICAS if policy is KNOWN else 8)


def test_overdue_starts_are_not_relied_upon() -> None:
    memory = KNOWN.recommend(shown(2, desired=8, queue_length=samples(240.0))).memory

    late = shown(2, desired=8, at=NOON + 600, memory=memory, lead=60.0,
                 queue_length=samples(420, 480, 540, at=NOON + 600))  # fmt: skip

    assert KNOWN.recommend(late).replicas == 17


def test_what_has_just_begun_to_serve_is_given_time_to_show() -> None:
    memory = KNOWN.recommend(shown(2, desired=8, queue_length=samples(240.0))).memory

    came = shown(8, at=NOON + 15, memory=memory, queue_length=samples(420, 480, 900, at=NOON + 15))
    answer = KNOWN.recommend(came)

    assert answer.replicas == 8
    assert answer.reason == "queue_length is 900: it grows by 0/s with 8 ready: no more are missing"


def test_with_throughput_it_lowers_to_what_the_load_needs_in_one_step() -> None:
    policy = QueueDrain(
        signal="queue_length", throughput="requests_per_second", requests_per_second_per_replica=2
    )

    answer = policy.recommend(shown(12, queue_length=EMPTY, requests_per_second=samples(5, 8, 6)))

    assert answer.replicas == 5
    assert answer.reason == "queue_length is 0: 8 requests/s need 5 at 2/s each (given)"


def test_it_sleeps_only_when_nothing_was_completed_either() -> None:
    idle = SEEING.recommend(shown(1, queue_length=EMPTY, requests_per_second=EMPTY))
    served = SEEING.recommend(shown(1, queue_length=EMPTY, requests_per_second=samples(0.2)))

    assert idle.replicas == 0
    assert served.replicas == 1


class TestTooFew:
    def test_a_count_with_a_backlog_is_not_tried_again_at_once(self) -> None:
        memory = KNOWN.recommend(shown(4, queue_length=samples(*[90.0] * 9))).memory
        held, tried = (
            KNOWN.recommend(shown(5, at=at, memory=memory, queue_length=samples(*[0.0] * 9, at=at)))
            for at in (NOON + 30, NOON + 60)
        )
        grown = held.memory  # the size changed: only samples since then count
        held, tried = (
            KNOWN.recommend(shown(5, at=at, memory=grown, queue_length=samples(*[0.0] * 9, at=at)))
            for at in (NOON + 1700, NOON + 1900)
        )

        assert (held.replicas, tried.replicas) == (5, 4)
        assert held.reason.endswith("at least 1, but 4 lately proved too few")

    def test_unless_throughput_has_fallen_since(self) -> None:
        queue = samples(*[90.0] * 9)
        memory = SEEING.recommend(shown(4, queue_length=queue, requests_per_second=8.0)).memory
        at = NOON + 600
        empty = samples(*[0.0] * 9, at=at)

        same, less = (
            SEEING.recommend(
                shown(4, at=at, memory=memory, queue_length=empty, requests_per_second=rate)
            )
            for rate in (7.0, 3.0)
        )

        assert (same.replicas, less.replicas) == (4, 2)

    def test_a_backlog_left_by_a_smaller_size_is_no_failure_of_this_one(self) -> None:
        falling = KNOWN.recommend(shown(8, queue_length=samples(2000, 1990, 1980)))

        assert (falling.replicas or 0) > 8
        assert falling.memory is not None
        assert falling.memory["tooFew"]["count"] == -1


@pytest.mark.parametrize(
    ("queue", "ready", "desired", "reason"),
    [
        pytest.param(
            samples(120, 180, 240), 2, 2,
            "queue_length is 240: it grows by 4/s with 2 ready: 8 drain it in 30 s "
            "at 2 requests/s each (given)",
            id="raise",
        ),
        pytest.param(
            samples(180, 120, 60), 2, 3,
            "queue_length is 60: it falls by 4/s with 2 ready and 1 are starting: "
            "no more are missing",
            id="hold",
        ),
        pytest.param(
            EMPTY, 4, 4, "queue_length is 0: nothing waited in the window: one fewer, at least 1",
            id="lower",
        ),
        pytest.param(
            samples(0.0), 4, 4, "queue_length is 0: the samples reach back less than 30 s",
            id="short history",
        ),
        pytest.param(
            samples(90, 0, 0), 4, 4, "queue_length is 0: a backlog was there within the window",
            id="busy lately",
        ),
        pytest.param(EMPTY, 0, 0, "queue_length is 0: nothing waits and nothing runs", id="asleep"),
    ],
)  # fmt: skip
def test_the_reason_says_what_was_seen(
    queue: Series, ready: int, desired: int, reason: str
) -> None:
    answer = KNOWN.recommend(shown(ready, desired=desired, lead=0.0, queue_length=queue))

    assert answer.reason == reason


@given(
    queue=st.lists(st.floats(0, 1e4), min_size=1, max_size=9),
    factor=st.floats(1, 10),
    ready=st.integers(0, 20),
    starting=st.integers(0, 9),
    policy=st.sampled_from([BLIND, KNOWN]),
)
def test_more_load_never_needs_fewer(
    queue: list[float], factor: float, ready: int, starting: int, policy: QueueDrain
) -> None:
    less_load, more_load = (
        policy.recommend(
            shown(ready, desired=ready + starting, queue_length=samples(*values))
        ).replicas
        for values in (queue, [factor * value for value in queue])
    )

    assert less_load is not None
    assert more_load is not None
    assert less_load <= more_load


@given(
    queue=st.lists(st.floats(0, 1e4), min_size=1, max_size=9),
    more=st.floats(0, 1e4),
    ready=st.integers(0, 20),
)
def test_a_longer_queue_now_never_needs_fewer(queue: list[float], more: float, ready: int) -> None:
    less_load, more_load = (
        KNOWN.recommend(shown(ready, queue_length=samples(*values))).replicas
        for values in (queue, [*queue[:-1], queue[-1] + more])
    )

    assert less_load is not None
    assert more_load is not None
    assert less_load <= more_load


@given(
    queue=st.lists(st.floats(100, 1e4), min_size=3, max_size=9),
    ready=st.integers(0, 20),
    policy=st.sampled_from([BLIND, KNOWN]),
)
def test_one_burst_is_answered_once(queue: list[float], ready: int, policy: QueueDrain) -> None:
    first, second = asked_twice(policy, ready, queue_length=samples(*queue))

    assert first.replicas == second.replicas


@pytest.mark.parametrize("cold_start", [30.0, 300.0])
@pytest.mark.parametrize("load", [1.0, 5.0, 9.0, 15.0])
@pytest.mark.parametrize("policy", [BLIND, KNOWN], ids=["blind", "known rate"])
def test_constant_load_settles_without_knowing_the_load(
    policy: QueueDrain, load: float, cold_start: float
) -> None:
    """One attempt with fewer replicas in each `rememberSeconds`, ever rarer, and no more."""
    world = World(lambda _: load, ready=4, cold_start=cold_start)

    sizes = world.run(policy, 2.5 * 3600)

    enough = math.ceil(load / world.rate)
    dips = sum(1 for before, after in pairwise(sizes) if before >= enough > after)
    assert dips <= 3
    assert max(sizes[-60:]) <= 2 * enough
    assert sum(1 for queue in world.waiting[240:] if queue > 10) < 0.12 * len(world.waiting)


@pytest.mark.parametrize("load", [1.0, 5.0, 9.0, 15.0])
def test_constant_load_settles_for_good_where_throughput_tells_the_load(load: float) -> None:
    sizes = World(lambda _: load, ready=4).run(SEEING, 2 * 3600)

    # One try with too few, one answer before the rate was measured, one correction once it was.
    assert reversals(sizes) <= 2
    assert len(set(sizes[-300:])) == 1


def test_a_step_of_load_is_served_after_about_one_cold_start() -> None:
    world = World(lambda at: 20.0 if at > 600 else 4.0, ready=3, cold_start=120.0)

    world.run(SEEING, 600 + 120 + 240)

    assert world.ready >= 10
    assert world.queue < 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"throughput": "queue_length"}, "throughput should be another signal than signal"),
        ({"drainSeconds": 1e-300}, "greater than or equal to 1"),
        ({"requestsPerSecondPerReplica": 1e-300}, "greater than or equal to 0.001"),
        ({"drainSecond": 30}, "Extra inputs are not permitted"),
    ],
)
def test_parameters_are_checked(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QueueDrain.model_validate({"signal": "queue_length", **fields})


def test_the_queue_alone_is_enough_to_be_asked() -> None:
    assert SEEING.needs == {"queue_length"}
    assert SEEING.uses == {"queue_length", "requests_per_second"}
    assert QueueDrain.model_validate(
        {"type": "queue-drain", "signal": "queue_length", "drainSeconds": 30}
    ).uses == {"queue_length"}
