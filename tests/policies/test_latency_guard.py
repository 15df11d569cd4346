"""latency-guard: keep a p95 latency below its objective, knowing that it is convex in load."""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.observation import Series
from autoscaler.core.spec import Slo
from policies.reactive.latency_guard import LatencyGuard
from policies.reactive.plateau import Plateau
from tests.builders import NOON
from tests.policies.worlds import World, asked_twice, reversals, samples, shown

# The limit is 2 s, so 1.6 s are allowed; idle 0.4 s: a load of 0.75 is allowed.
GUARD = LatencyGuard(signal="ttft_p95", idle_seconds=0.4)
LEARNS = LatencyGuard(signal="ttft_p95")


@pytest.mark.parametrize(
    ("latency", "ready", "desired", "expected"),
    [
        # 1 - 0.4/4 = 0.9; 10 * 0.9/0.75 = 12
        pytest.param(samples(*[4.0] * 9), 10, 10, 12, id="above: as many as the load needs"),
        pytest.param(samples(*[1.7] * 9), 10, 10, 11, id="just above: one more at least"),
        pytest.param(samples(*[4.0] * 9), 10, 12, 12, id="those that start are the answer"),
        pytest.param(samples(*[4.0] * 9), 10, 14, 14, id="more are starting: none is called back"),
        # growing by 0.5 s each second: twice the load; 10 * 2/0.75 = 27, at most twice
        pytest.param(
            samples(5, 12.5, 20), 10, 10, 20, id="overload: as its growth tells, at most x2"
        ),
        pytest.param(samples(*[1.5] * 9), 10, 10, 10, id="allowed, and fewer would be too slow"),
        # 1 - 0.4/0.8 = 0.5; with 9: 0.556 and 0.9 s, below 1.2
        pytest.param(samples(*[0.8] * 9), 10, 10, 9, id="low: one fewer"),
        pytest.param(samples(1.5, *[0.8] * 8), 10, 10, 10, id="the worst of the window decides"),
        pytest.param(samples(*[0.8] * 9), 2, 2, 2, id="one of two would be saturated"),
        pytest.param(samples(*[0.4] * 9), 1, 1, 1, id="the last replica stays"),
        pytest.param(samples(0.0), 4, 4, 3, id="idle: one fewer"),
        pytest.param(samples(*[4.0] * 9), 0, 3, None, id="nobody serves: no opinion"),
        pytest.param(samples(*[4.0] * 9), 0, 0, None, id="nobody wanted: no opinion"),
    ],
)
def test_latency_is_converted_to_load(
    latency: Series, ready: int, desired: int, expected: int | None
) -> None:
    assert GUARD.recommend(shown(ready, desired=desired, ttft_p95=latency)).replicas == expected


def test_growth_of_a_token_gap_is_no_queue() -> None:
    itl = LatencyGuard(signal="itl_p95", idle_seconds=0.02)

    answer = itl.recommend(shown(10, itl_p95=samples(0.05, 0.1, 20.0)))

    assert answer.replicas == 14  # 1 - 0.02/20 over 1 - 0.02/0.08


@pytest.mark.parametrize(
    ("signal", "objective", "name", "limit"),
    [
        pytest.param("ttft_p95", None, "ttft_p95_seconds", 2.0, id="first token, by name"),
        pytest.param("itl_p95", None, "itl_p95_seconds", 0.1, id="token gap, by name"),
        pytest.param("e2e_p95", None, "e2e_p95_seconds", 30.0, id="whole answer, by name"),
        pytest.param("slowness", "e2e", "e2e_p95_seconds", 30.0, id="stated"),
        pytest.param("ttft_p95", "itl", "itl_p95_seconds", 0.1, id="stated against the name"),
    ],
)
def test_the_limit_is_that_of_the_objective(
    signal: str, objective: str | None, name: str, limit: float
) -> None:
    policy = LatencyGuard.model_validate({"signal": signal, "objective": objective})
    series = {signal: samples(*[limit / 2] * 9)}

    answer = policy.recommend(shown(4, slo=Slo(**{name: limit}), **series))  # type: ignore[arg-type]

    assert answer.evidence["allowed"] == pytest.approx(0.8 * limit)


def test_without_a_limit_it_has_no_opinion() -> None:
    answer = GUARD.recommend(shown(4, slo=Slo(), ttft_p95=9.0))

    assert answer.replicas is None
    assert answer.reason == "spec.slo.ttftP95Seconds is not set: no limit to keep"


def test_a_limit_that_idle_replicas_break_is_told() -> None:
    slow = LatencyGuard(signal="ttft_p95", idle_seconds=3.0)

    answer = slow.recommend(shown(4, ttft_p95=9.0))

    assert answer.replicas is None
    assert answer.reason == "idleSeconds is 3, not below 1.6 s: no number of replicas would do"


class TestIdleLatency:
    def test_the_lowest_seen_counts_for_a_day(self) -> None:
        memory = LEARNS.recommend(shown(10, ttft_p95=samples(0.2, 0.8))).memory

        soon, late = (
            LEARNS.recommend(
                shown(10, at=at, memory=memory, ttft_p95=samples(*[0.7] * 3, at=at))
            ).evidence["idle"]
            for at in (NOON + 86_000, NOON + 87_000)
        )

        assert (soon, late) == (0.2, 0.7)

    def test_a_lower_one_replaces_it(self) -> None:
        memory = LEARNS.recommend(shown(10, ttft_p95=0.4)).memory

        assert LEARNS.recommend(shown(10, memory=memory, ttft_p95=0.3)).evidence["idle"] == 0.3

    def test_a_start_in_the_middle_of_an_overload_is_not_taken_for_idle(self) -> None:
        answer = LEARNS.recommend(shown(4, ttft_p95=samples(*[30.0] * 9)))

        assert answer.evidence["idle"] == 0.8
        assert answer.replicas == 8

    def test_a_latency_of_zero_is_nobodys_latency(self) -> None:
        answer = LEARNS.recommend(shown(4, ttft_p95=samples(0.3, 0.0)))

        assert answer.evidence["idle"] == 0.3


class TestSettling:
    def test_what_was_added_is_given_time_to_show(self) -> None:
        slow = [4.0] * 9
        memory = GUARD.recommend(shown(10, desired=12, ttft_p95=samples(*slow))).memory
        for at, latency, expected in [
            (NOON + 60, 4.0, 12),
            (NOON + 180, 2.0, 12),
            (NOON + 299, 2.0, 12),
            (NOON + 300, 2.0, 13),  # they helped, and not enough
        ]:
            answer = GUARD.recommend(
                shown(12, at=at, memory=memory, ttft_p95=samples(*[latency] * 9, at=at))
            )
            memory = answer.memory

            assert answer.replicas == expected
            waits = answer.reason.endswith("waiting for 12 ready replicas to show")
            assert waits == (expected == 12)

    def test_unless_it_gets_worse(self) -> None:
        memory = GUARD.recommend(shown(10, desired=12, ttft_p95=4.0)).memory

        worse = shown(12, at=NOON + 60, memory=memory, ttft_p95=samples(4, 5, 6, at=NOON + 60))

        assert (GUARD.recommend(worse).replicas or 0) > 12

    def test_what_got_worse_before_they_served_is_no_worse_for_it(self) -> None:
        memory = GUARD.recommend(shown(10, desired=12, ttft_p95=4.0)).memory
        memory = GUARD.recommend(
            shown(12, at=NOON + 15, memory=memory, ttft_p95=samples(4, 20, 39, at=NOON + 15))
        ).memory

        climbed = samples(4, 20, 39, 38.4, at=NOON + 30)
        better = shown(12, at=NOON + 30, memory=memory, ttft_p95=climbed)

        assert GUARD.recommend(better).replicas == 12

    def test_nor_is_anything_taken_away_meanwhile(self) -> None:
        memory = GUARD.recommend(shown(10, ttft_p95=0.5)).memory

        fewer = shown(9, at=NOON + 60, memory=memory, ttft_p95=samples(0.5, at=NOON + 60))

        assert GUARD.recommend(fewer).replicas == 9
        assert GUARD.recommend(fewer).reason.endswith(
            "the number of ready replicas has just changed"
        )


def test_a_count_that_proved_too_few_is_not_tried_again_at_once() -> None:
    memory = GUARD.recommend(shown(9, ttft_p95=samples(*[1.7] * 9))).memory
    at = NOON + 15
    memory = GUARD.recommend(
        shown(10, at=at, memory=memory, ttft_p95=samples(*[0.8] * 9, at=at))
    ).memory

    held, tried = (
        GUARD.recommend(shown(10, at=at, memory=memory, ttft_p95=samples(*[0.8] * 9, at=at)))
        for at in (NOON + 900, NOON + 1900)
    )

    assert (held.replicas, tried.replicas) == (10, 9)
    assert held.reason.endswith("9 replicas lately proved too few")


@pytest.mark.parametrize(
    ("latency", "reason"),
    [
        pytest.param(
            4.0,
            "ttft_p95 is 4 s, 1.6 s allowed (80% of 2 s): 12 needed, 10 ready and 0 starting",
            id="raise",
        ),
        pytest.param(
            0.8,
            "ttft_p95 is 0.8 s, 1.6 s allowed (80% of 2 s): 9 replicas would have 0.9 s",
            id="lower",
        ),
        pytest.param(
            1.2,
            "ttft_p95 is 1.2 s, 1.6 s allowed (80% of 2 s): "
            "9 replicas would have 1.54 s, not below 1.2 s",
            id="hold",
        ),
    ],
)
def test_the_reason_says_what_was_seen(latency: float, reason: str) -> None:
    assert GUARD.recommend(shown(10, ttft_p95=samples(*[latency] * 9))).reason == reason


def climb(
    levels: dict[int, float], policy: LatencyGuard = LEARNS, seconds: float = 3600.0
) -> tuple[list[int], list[str]]:
    """Sizes and reasons in a world where the latency depends on the size alone."""
    sizes, reasons, memory, ready, due = [], [], None, 1, math.inf
    asked, past = 1, [(NOON, levels[1])]
    for cycle in range(1, int(seconds / 15)):
        at = NOON + 15.0 * cycle
        if at >= due:
            ready, due = asked, math.inf
        past = [*past, (at, levels.get(ready, levels[max(levels)]))][-20:]
        answer = policy.recommend(
            shown(ready, desired=asked, at=at, memory=memory, ttft_p95=Series.of(past))
        )
        memory = json.loads(json.dumps(answer.memory))
        assert answer.replicas is not None
        if answer.replicas > asked:
            due = at + 120
        asked = max(1, answer.replicas)
        ready = min(ready, asked)
        sizes.append(asked)
        reasons.append(answer.reason)
    return sizes, reasons


class TestPlateau:
    """Long prompts: the latency is that of the work, and no number of replicas shortens it."""

    @pytest.mark.parametrize("policy", [LEARNS, GUARD], ids=["learned", "stated"])
    @pytest.mark.parametrize("level", [1.8, 3.0], ids=["0.9 of the limit", "above the limit"])
    def test_replicas_that_do_not_help_are_given_back(
        self, policy: LatencyGuard, level: float
    ) -> None:
        sizes, reasons = climb({1: level}, policy, seconds=6 * 3600)

        assert max(sizes) <= 2
        assert sum(sizes) < 1.15 * len(sizes)
        assert any(
            f"more replicas did not help: {level:g} s at 1 and {level:g} s at 2" in reason
            for reason in reasons
        )

    def test_they_are_tried_again_ever_more_rarely(self) -> None:
        sizes, _ = climb({1: 1.8}, seconds=12 * 3600)

        tries = [at for at, (old, new) in enumerate(pairwise(sizes)) if new > old]
        gaps = [later - sooner for sooner, later in pairwise(tries)]

        assert 4 <= len(tries) <= 9
        assert gaps[0] * 15 >= 1800
        assert gaps[-1] > 1.5 * gaps[0]

    def test_replicas_that_help_are_kept(self) -> None:
        """A load of 1.5 replicas whose idle latency is 0.5 s."""
        convex = {1: 30.0} | {n: 0.5 / (1 - 1.5 / n) for n in range(2, 12)}

        sizes, reasons = climb(convex, LatencyGuard(signal="ttft_p95", idle_seconds=0.5))

        assert max(sizes) <= 4
        assert convex[sizes[-1]] < 1.6
        assert not any("did not help" in reason for reason in reasons)

    def test_it_ends_where_the_latency_stops_to_fall(self) -> None:
        sizes, reasons = climb({1: 6.0, 2: 2.4, 3: 1.9}, GUARD)

        assert 2 <= sizes[-1] <= 4
        assert any("more replicas did not help" in reason for reason in reasons)

    def test_a_clearly_higher_latency_is_another_load(self) -> None:
        memory = plateau_memory()

        held, forgotten = (
            LEARNS.recommend(shown(1, memory=memory, ttft_p95=samples(*[latency] * 9)))
            for latency in (2.6, 2.8)
        )

        assert (held.replicas, forgotten.replicas) == (1, 2)

    def test_a_queue_that_grows_ends_it_at_once(self) -> None:
        answer = LEARNS.recommend(
            shown(1, memory=plateau_memory(), ttft_p95=samples(1.8, 2.2, 2.6, 3.0))
        )

        assert answer.replicas == 2

    def test_after_it_a_rise_is_to_last_before_it_is_believed(self) -> None:
        memory = plateau_memory(seen=NOON - 2000)

        short, lasting = (
            LEARNS.recommend(shown(1, memory=memory, ttft_p95=samples(*values)))
            for values in ([1.0] + [1.7] * 8, [1.7] * 9)
        )

        assert (short.replicas, lasting.replicas) == (1, 2)
        assert short.reason.endswith("but not yet for 120 s; more lately did not help")

    def test_below_the_size_it_began_from_the_usual_rule_holds(self) -> None:
        memory = plateau_memory(fewer=4, more=6)

        back, further = (
            LEARNS.recommend(shown(ready, memory=memory, ttft_p95=samples(*[1.7] * 9))).replicas
            for ready in (6, 4)
        )

        assert (back, further) == (5, 4)


def plateau_memory(seen: float = NOON - 60, fewer: int = 1, more: int = 2) -> dict[str, object]:
    plateau = Plateau(fewer, more, 1.8, 1.8, seen, 1800.0)
    return {"sizes": {"plateau": plateau.as_memory()}}


def test_fewer_that_could_not_keep_up_would_be_overloaded() -> None:
    answer = GUARD.recommend(shown(2, ttft_p95=samples(*[1.5] * 9)))

    assert answer.reason.endswith(": 1 replica would be overloaded")


@pytest.mark.parametrize("values", [[1e308] * 9, [0.1, 1e308], [-1e308, 1e308], [5e-324] * 9])
def test_absurd_latencies_are_answered(values: list[float]) -> None:
    answer = LEARNS.recommend(shown(4, ttft_p95=samples(*values)))

    assert answer.replicas == (3 if values[0] < 1e-300 and len(values) == 9 else 8)


@given(
    latency=st.lists(st.floats(0.01, 100), min_size=1, max_size=9),
    factor=st.floats(1, 10),
    ready=st.integers(1, 50),
    starting=st.integers(0, 9),
    policy=st.sampled_from([GUARD, LEARNS]),
)
def test_more_load_never_needs_fewer(
    latency: list[float], factor: float, ready: int, starting: int, policy: LatencyGuard
) -> None:
    less_load, more_load = (
        policy.recommend(shown(ready, desired=ready + starting, ttft_p95=samples(*values))).replicas
        for values in (latency, [factor * value for value in latency])
    )

    assert less_load is not None
    assert more_load is not None
    assert less_load <= more_load


@given(latency=st.floats(1.7, 1000), ready=st.integers(1, 50))
def test_one_burst_is_answered_once_and_at_most_doubles(latency: float, ready: int) -> None:
    first, second = asked_twice(GUARD, ready, ttft_p95=latency)

    assert first.replicas == second.replicas
    assert ready < (first.replicas or 0) <= 2 * ready


@given(latency=st.floats(0.41, 1.59), ready=st.integers(2, 50))
def test_it_never_lowers_into_its_own_limit(latency: float, ready: int) -> None:
    answer = GUARD.recommend(shown(ready, ttft_p95=latency))
    assume(answer.replicas == ready - 1)

    load = (1 - 0.4 / latency) * ready / (ready - 1)

    assert 0.4 / (1 - load) < 1.6


@pytest.mark.parametrize("load", [1.0, 5.0, 9.0, 15.0])
@pytest.mark.parametrize("idle", [None, 0.2], ids=["learned", "stated"])
def test_constant_load_settles(idle: float | None, load: float) -> None:
    policy = LatencyGuard(signal="ttft_p95", idle_seconds=idle)
    world = World(lambda _: load, ready=4)

    sizes = world.run(policy, 2.5 * 3600)

    assert reversals(sizes) <= 6
    if idle is not None:
        assert reversals(sizes) <= 1
        assert len(set(sizes[-360:])) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"signal": "slowness"}, "objective should be given"),
        ({"signal": "ttft_p95", "lowerHeadroom": 0.9}, "lowerHeadroom should be at most headroom"),
        ({"signal": "ttft_p95", "maxStepFactor": 1}, "greater than 1"),
        ({"signal": "ttft_p95", "headroom": 1e-300}, "greater than or equal to 0.01"),
        ({"signal": "ttft_p95", "idleSeconds": 1e-300}, "greater than or equal to 0.000001"),
    ],
)
def test_parameters_are_checked(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LatencyGuard.model_validate(fields)
