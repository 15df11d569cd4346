"""One cycle for one workload, told from what was seen to the number and its trail."""

import copy
import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decision import Action, Cycle, Decision, Outcome, Reason, SignalState
from autoscaler.core.history import note_change
from autoscaler.core.observation import Gap, GapReason, Observation, Series, Snapshot
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState, decide, note_outcomes, plan_cycle
from autoscaler.core.policy import Combiner, Policy, Recommendation, Verdict, Vote
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload
from tests.builders import (
    NOON,
    Counts,
    PerReplica,
    Raises,
    Wants,
    a_fleet,
    a_snapshot,
    a_workload,
    largest,
    seen,
)

LOAD = {"load": {"maxAgeSeconds": 60}}
NOT_WHOLE: Any = 2.5
ERROR = {"load": Gap(GapReason.ERROR, "timed out")}


def decided(
    workload: ScaledWorkload, observation: Observation, past: Past | None = None
) -> Decision:
    """Decide once, from a clean past unless one is given."""
    return decide(workload, observation, past or Past(), largest)[0]


def test_the_policies_number_stands_where_nothing_limits_it() -> None:
    workload = a_workload(PerReplica(), signals=LOAD)

    decision = decided(workload, seen(2, signals={"load": 45.0}))

    assert (decision.current, decision.combined, decision.replicas) == (2, 5, 5)
    assert decision.reason is Reason.RECOMMENDED
    assert decision.text == "the largest of 1"
    assert decision.steps == ()
    assert decision.readings[0].state is SignalState.FRESH
    assert decision.proposals[0].policy == "per-replica(load)"


def test_at_target_says_so() -> None:
    decision = decided(a_workload(Wants(replicas=3)), seen(3))

    assert (decision.replicas, decision.reason) == (3, Reason.AT_TARGET)
    assert not decision.changes


def test_the_bounds_have_the_last_word_and_the_trail_says_it() -> None:
    decision = decided(a_workload(Wants(replicas=99), maximum=8), seen(3))

    assert (decision.combined, decision.replicas) == (99, 8)
    assert decision.reason is Reason.AT_MAXIMUM
    assert [(step.rule, step.before, step.after) for step in decision.steps] == [("clamp", 99, 8)]
    assert decision.text.startswith("the largest of 1; ")


@pytest.mark.parametrize(
    ("found", "minimum", "replicas", "reason"),
    [
        pytest.param(30, 1, 20, Reason.ABOVE_MAXIMUM, id="above the maximum: set at once"),
        pytest.param(1, 3, 3, Reason.BELOW_MINIMUM, id="below the minimum: set at once"),
        pytest.param(0, 1, 0, Reason.TURNED_OFF, id="zero by hand: left alone"),
    ],
)
def test_a_size_outside_the_bounds_skips_the_policies(
    found: int, minimum: int, replicas: int, reason: Reason
) -> None:
    decision = decided(a_workload(Raises(), minimum=minimum), seen(found))

    assert (decision.replicas, decision.reason) == (replicas, reason)
    assert decision.proposals == ()


def test_an_unseen_signal_silences_its_policy_and_holds() -> None:
    workload = a_workload(PerReplica(), signals=LOAD)

    decision = decided(workload, seen(5, missing=ERROR))

    assert (decision.replicas, decision.reason) == (5, Reason.BLIND)
    assert decision.combined is None
    assert decision.text == (
        "no policy can see enough: per-replica(load): load is missing (error: timed out)"
    )
    assert not decision.proposals[0].live


def test_another_policy_may_raise_but_not_lower_while_one_is_blind() -> None:
    def fleet_of(count: int) -> ScaledWorkload:
        return a_workload(PerReplica(), Wants(replicas=count), signals=LOAD)

    blind = seen(5, missing=ERROR)

    raised, held = decided(fleet_of(8), blind), decided(fleet_of(2), blind)

    assert (raised.replicas, raised.reason) == (8, Reason.RECOMMENDED)
    assert (held.replicas, held.reason) == (5, Reason.BLIND_NO_LOWERING)
    assert "load is missing (error: timed out)" in held.text


def test_a_signal_that_no_policy_uses_blocks_nothing() -> None:
    workload = a_workload(Wants(replicas=2), signals=LOAD)

    assert decided(workload, seen(5, missing=ERROR)).replicas == 2


def test_a_policy_that_uses_an_undefined_signal_is_blind() -> None:
    decision = decided(a_workload(PerReplica()), seen(5))

    assert decision.reason is Reason.BLIND
    assert "load is not defined" in decision.text


@pytest.mark.parametrize(("load", "replicas"), [(95.0, 10), (5.0, 5)])
def test_an_ageing_signal_may_only_raise(load: float, replicas: int) -> None:
    workload = a_workload(PerReplica(), signals=LOAD)
    ageing = Series.of([(NOON - 45, load)])

    assert decided(workload, seen(5, signals={"load": ageing})).replicas == replicas


def test_a_floor_that_rests_on_an_ageing_signal_stays_a_floor() -> None:
    class AgeingFloor(PerReplica):
        def recommend(self, observation: Observation) -> object:  # type: ignore[override]
            answer = super().recommend(observation)
            return type(answer)(answer.replicas, answer.reason, raise_only=True)

    workload = a_workload(AgeingFloor(), signals=LOAD)

    decision = decided(workload, seen(5, signals={"load": Series.of([(NOON - 45, 15.0)])}))

    assert decision.combined == 2
    assert decision.replicas == 5
    assert decision.reason is Reason.BLIND_NO_LOWERING


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        pytest.param(Raises(), "raises failed: RuntimeError: division by cucumber", id="raises"),
        pytest.param(
            Wants.model_construct(replicas=-1),
            "wants failed: replicas should be a whole number, 0 or more, not -1",
            id="negative",
        ),
        pytest.param(
            Wants.model_construct(replicas=NOT_WHOLE),
            "wants failed: replicas should be a whole number, 0 or more, not 2.5",
            id="not whole",
        ),
        pytest.param(
            Wants.model_construct(replicas=True),
            "wants failed: replicas should be a whole number, 0 or more, not True",
            id="a boolean",
        ),
    ],
)
def test_a_policy_that_fails_holds_its_workload_loudly(policy: Policy, why: str) -> None:
    alone = decided(a_workload(policy), seen(5))
    beside = decided(a_workload(policy, Wants(replicas=2)), seen(5))

    assert (alone.replicas, alone.reason, alone.text) == (5, Reason.POLICY_FAILED, why)
    assert (beside.replicas, beside.reason) == (5, Reason.BLIND_NO_LOWERING)
    assert why in beside.text


def test_a_policy_that_returns_something_else_fails() -> None:
    class Mute(Policy):
        type: str = "mute"

        def recommend(self, observation: Observation) -> object:  # type: ignore[override]
            return None

    decision = decided(a_workload(Mute()), seen(5))

    assert decision.text == ("mute failed: should return a Recommendation, not NoneType")


class ExitsWhenAsked(Policy):
    """A plug-in that wants to end the process."""

    type: str = "exits"

    def recommend(self, observation: Observation) -> Recommendation:
        raise SystemExit(3)


def broken_combiner(answer: object) -> Combiner:
    def combine(votes: Sequence[Vote], current: int) -> Verdict:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    return combine


def test_a_policy_cannot_end_the_process() -> None:
    assert decided(a_workload(ExitsWhenAsked()), seen(5)).text == "exits failed: SystemExit: 3"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(ValueError("oh"), "ValueError: oh", id="raises"),
        pytest.param(None, "should return a Verdict, not NoneType", id="no verdict"),
        pytest.param(
            Verdict(NOT_WHOLE, ""),
            "replicas should be a whole number, 0 or more, not 2.5",
            id="not whole",
        ),
    ],
)
def test_a_combiner_that_fails_holds_its_workload_alone(answer: object, why: str) -> None:
    workload = a_workload(Wants(replicas=2))

    decision, _ = decide(workload, seen(5), Past(), broken_combiner(answer))

    assert (decision.replicas, decision.reason) == (5, Reason.POLICY_FAILED)
    assert decision.text == f"spec.combine failed: {why}"


def test_a_policy_cannot_change_what_is_remembered_or_recorded() -> None:
    class Meddles(Policy):
        type: str = "meddles"

        def recommend(self, observation: Observation) -> Recommendation:
            memory = dict(observation.memory or {"list": []})
            memory["list"].append(1)
            with pytest.raises(TypeError):
                observation.missing["load"] = Gap(GapReason.EMPTY)  # type: ignore[index]
            return Recommendation(1, "meddled", memory=memory)

    workload = a_workload(Meddles())
    _, first = decide(workload, seen(1), Past(), largest)
    _, second = decide(workload, seen(1, at=NOON + 15), first, largest)

    assert first.memories == {"0:meddles": {"list": [1]}}
    assert second.memories == {"0:meddles": {"list": [1, 1]}}


def test_a_workload_that_we_put_to_sleep_wakes_and_one_that_was_turned_off_does_not() -> None:
    workload = a_workload(Wants(replicas=3), minimum=0)
    fleet = a_fleet(workload)

    def state_after(change: tuple[int, int]) -> FleetState:
        snapshot = a_snapshot(seen(change[0]), workload)
        plan, state = plan_cycle(fleet, FleetState(), snapshot)
        outcome = Outcome(Action(workload.key, *change), done=True)
        return note_outcomes(fleet, state, Cycle(snapshot, plan, (outcome,)))

    zero = a_snapshot(seen(0, at=NOON + 15), workload)
    ours, _ = plan_cycle(fleet, state_after((2, 0)), zero)
    somebody_elses, _ = plan_cycle(fleet, state_after((2, 3)), zero)
    found, _ = plan_cycle(fleet, FleetState(), zero)

    assert ours.decisions[workload.key].replicas == 3
    assert somebody_elses.decisions[workload.key].reason is Reason.TURNED_OFF
    assert found.decisions[workload.key].replicas == 3


def test_no_opinion_changes_nothing() -> None:
    decision = decided(a_workload(Wants(replicas=None)), seen(5))

    assert (decision.replicas, decision.reason) == (5, Reason.NO_OPINION)


def test_broken_replicas_stop_growth() -> None:
    decision = decided(a_workload(Wants(replicas=9)), seen(1, desired=3, failing=2))

    assert (decision.replicas, decision.reason) == (3, Reason.BROKEN_ROLLOUT)


class TestFallback:
    """After a while without sight the fallback may raise, and never lowers."""

    def at(
        self,
        seconds: float,
        *,
        replicas: int | str,
        running: int = 5,
        minimum: int = 1,
        gap: GapReason = GapReason.ERROR,
    ) -> Decision:
        workload = a_workload(
            PerReplica(),
            signals=LOAD,
            minimum=minimum,
            fallback={"afterSeconds": 180, "replicas": replicas},
        )
        missing = {"load": Gap(gap)}
        _, past = decide(workload, seen(running, missing=missing), Past(), largest)
        return decided(workload, seen(running, at=NOON + seconds, missing=missing), past)

    def test_waits_its_time(self) -> None:
        assert self.at(179, replicas=8).reason is Reason.BLIND
        assert self.at(180, replicas=8).replicas == 8
        assert self.at(180, replicas=8).reason is Reason.FALLBACK
        assert self.at(180, replicas=8).text == "blind for 180 s: fallback.replicas is 8"

    def test_never_lowers(self) -> None:
        assert self.at(600, replicas=2).replicas == 5

    def test_keep_keeps(self) -> None:
        assert self.at(600, replicas="keep").replicas == 5

    def test_a_sleeping_workload_is_silent_and_not_blind(self) -> None:
        asleep = self.at(600, replicas=2, running=0, minimum=0, gap=GapReason.EMPTY)
        cut_off = self.at(600, replicas=2, running=0, minimum=0, gap=GapReason.ERROR)

        assert asleep.replicas == 0
        assert cut_off.replicas == 2

    def test_sight_ends_it(self) -> None:
        workload = a_workload(PerReplica(), signals=LOAD, fallback={"replicas": 8})
        _, past = decide(workload, seen(5, missing=ERROR), Past(), largest)
        _, past = decide(workload, seen(5, at=NOON + 170, signals={"load": 50.0}), past, largest)

        later = decided(workload, seen(5, at=NOON + 200, missing=ERROR), past)

        assert later.reason is Reason.BLIND

    def test_one_signal_may_insist_on_it_while_other_policies_see(self) -> None:
        workload = a_workload(
            PerReplica(),
            Wants(replicas=3),
            signals={"load": {"maxAgeSeconds": 60, "onMissing": "fallback"}},
            fallback={"afterSeconds": 0, "replicas": 8},
        )

        assert decided(workload, seen(5, missing=ERROR)).reason is Reason.FALLBACK


def test_after_an_outage_a_decrease_waits_a_whole_window() -> None:
    workload = a_workload(
        PerReplica(), signals=LOAD, behavior={"scaleDown": {"stabilizationWindowSeconds": 300}}
    )
    past = Past()
    _, past = decide(workload, seen(5, missing=ERROR), past, largest)

    soon, past = decide(workload, seen(5, at=NOON + 299, signals={"load": 5.0}), past, largest)
    late, past = decide(workload, seen(5, at=NOON + 300, signals={"load": 5.0}), past, largest)

    assert (soon.replicas, soon.reason) == (5, Reason.STABILIZED)
    assert late.replicas == 1


def test_memory_comes_back_and_survives_a_blind_cycle() -> None:
    class RemembersLoad(PerReplica):
        type: str = "remembers"  # type: ignore[assignment]

        def recommend(self, observation: Observation):  # type: ignore[no-untyped-def]
            return Counts().recommend(observation)

    workload = a_workload(RemembersLoad(), signals=LOAD)
    state = Past()
    for cycle, signals in enumerate([{"load": 1.0}, {}]):
        observation = seen(1, at=NOON + 15 * cycle, signals=signals)
        _, state = decide(workload, observation, state, largest)

    last = seen(1, at=NOON + 30, signals={"load": 1.0})
    decision, state = decide(workload, last, state, largest)

    assert decision.combined == 2
    assert state.memories == {"0:remembers": {"asked": 2}}


def test_one_workloads_trouble_is_its_own() -> None:
    broken, fine = a_workload(Raises(), name="broken"), a_workload(Wants(replicas=4), name="fine")
    snapshot = Snapshot(NOON, {broken.key: seen(2), fine.key: seen(2)})

    plan, _ = plan_cycle(a_fleet(broken, fine), FleetState(), snapshot)

    assert plan.decisions[broken.key].replicas == 2
    assert plan.decisions[fine.key].replicas == 4
    assert plan.actions() == (Action(fine.key, 2, 4),)


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ({}, "the target was not seen: it is not in the snapshot"),
        (
            {"llm/chat": Gap(GapReason.ERROR, "403 forbidden")},
            "the target was not seen: error: 403 forbidden",
        ),
    ],
)
def test_an_unseen_target_is_left_alone(missing: dict[str, Gap], text: str) -> None:
    workload = a_workload(Wants(replicas=4))

    plan, state = plan_cycle(a_fleet(workload), FleetState(), Snapshot(NOON, {}, missing))

    decision = plan.decisions[workload.key]
    assert (decision.replicas, decision.reason, decision.text) == (None, Reason.UNSEEN, text)
    assert plan.actions() == ()
    assert state.pasts[workload.key] == Past()


def test_growth_comes_before_shrinking() -> None:
    shrinks, grows = (
        a_workload(Wants(replicas=1), name="a"),
        a_workload(Wants(replicas=5), name="b"),
    )
    snapshot = Snapshot(NOON, {shrinks.key: seen(3), grows.key: seen(3)})

    plan, _ = plan_cycle(a_fleet(shrinks, grows), FleetState(), snapshot)

    assert plan.actions() == (Action(grows.key, 3, 5), Action(shrinks.key, 3, 1))


@pytest.mark.parametrize("actuation", [Actuation.NONE, Actuation.HPA])
def test_a_workload_that_is_only_watched_gets_no_action(actuation: Actuation) -> None:
    workload = a_workload(Wants(replicas=5), actuation=actuation)

    plan, _ = plan_cycle(a_fleet(workload), FleetState(), a_snapshot(seen(3), workload))

    assert plan.decisions[workload.key].replicas == 5
    assert plan.actions() == ()


def test_only_changes_that_were_made_count() -> None:
    workload = a_workload(Wants(replicas=5))
    fleet, snapshot = a_fleet(workload), a_snapshot(seen(3), workload)
    plan, state = plan_cycle(fleet, FleetState(), snapshot)
    (action,) = plan.actions()
    stray = Outcome(Action("llm/gone", 1, 2), done=True)

    failed = note_outcomes(
        fleet, state, Cycle(snapshot, plan, (Outcome(action, done=False), stray))
    )
    made = note_outcomes(fleet, state, Cycle(snapshot, plan, (Outcome(action, done=True),)))

    assert failed.pasts[workload.key].scale_ups == ()
    assert [mark.count for mark in made.pasts[workload.key].scale_ups] == [2]


def test_a_burst_is_not_answered_twice_while_replicas_start() -> None:
    workload = a_workload(PerReplica(), signals=LOAD)
    first, past = decide(workload, seen(2, signals={"load": 60.0}), Past(), largest)

    second = decided(workload, seen(2, desired=6, at=NOON + 15, signals={"load": 60.0}), past)

    assert first.replicas == 6
    assert second.replicas == 6


# What is true of every input ----------------------------------------------------------------

loads = st.one_of(
    st.floats(min_value=0, max_value=1e6), st.sampled_from([math.nan, math.inf, -math.inf])
)
behaviors = st.fixed_dictionaries(
    {},
    optional={
        "scaleUp": st.sampled_from(
            [{}, {"stabilizationWindowSeconds": 60}, {"selectPolicy": "Disabled"}]
        ),
        "scaleDown": st.sampled_from(
            [{}, {"stabilizationWindowSeconds": 0}, {"selectPolicy": "Min"}]
        ),
        "maxReversalsPerHour": st.integers(0, 3),
    },
)
histories = st.lists(st.tuples(loads, st.integers(0, 100), st.booleans()), min_size=1, max_size=12)


@given(behavior=behaviors, history=histories, minimum=st.integers(0, 3))
def test_bounds_hold_and_nothing_shrinks_unseen(
    behavior: dict[str, object], history: list[tuple[float, int, bool]], minimum: int
) -> None:
    workload = a_workload(PerReplica(), signals=LOAD, minimum=minimum, maximum=9, behavior=behavior)
    past, running = Past(), 3
    for cycle, (load, old, answered) in enumerate(history):
        now = NOON + 15 * cycle
        signals = {"load": Series.of([(now - old, load)])} if answered else {}
        observation = seen(running, at=now, signals=signals)

        decision, past = decide(workload, observation, past, largest)

        assert decision.replicas is not None
        assert minimum <= decision.replicas <= 9 or decision.reason is Reason.TURNED_OFF
        if not answered or not math.isfinite(load) or old > 30:
            assert decision.replicas >= running
        past = note_change(past, now, running, decision.replicas, workload.spec.behavior)
        running = decision.replicas


@given(lower=st.floats(0, 1e308), more=st.floats(0, 1e307), running=st.integers(1, 20))
def test_more_demand_never_gives_fewer_replicas(lower: float, more: float, running: int) -> None:
    workload = a_workload(PerReplica(), signals=LOAD, behavior={})

    first = decided(workload, seen(running, signals={"load": lower}))
    second = decided(workload, seen(running, signals={"load": lower + more}))

    assert first.replicas is not None
    assert second.replicas is not None
    assert second.replicas >= first.replicas


@given(load=st.floats(0, 500), running=st.integers(1, 20), behavior=behaviors)
def test_a_constant_load_settles(load: float, running: int, behavior: dict[str, object]) -> None:
    workload = a_workload(PerReplica(), signals=LOAD, behavior=behavior)
    past, sizes = Past(), [running]
    for cycle in range(60):
        now = NOON + 15 * cycle
        decision, past = decide(
            workload, seen(sizes[-1], at=now, signals={"load": load}), past, largest
        )
        assert decision.replicas is not None
        past = note_change(past, now, sizes[-1], decision.replicas, workload.spec.behavior)
        sizes.append(decision.replicas)

    directions = {after > before for before, after in itertools.pairwise(sizes) if after != before}
    assert len(directions) <= 1
    assert sizes[-1] == sizes[-20]


@given(load=loads, running=st.integers(0, 20), behavior=behaviors)
def test_equal_inputs_give_equal_answers_and_inputs_stay_untouched(
    load: float, running: int, behavior: dict[str, object]
) -> None:
    workload = a_workload(PerReplica(), Counts(), signals=LOAD, behavior=behavior)
    observation = seen(running, signals={"load": load})
    untouched = copy.deepcopy(observation)

    first, second = (decide(workload, observation, Past(), largest) for _ in range(2))

    assert first == second
    assert observation == untouched
