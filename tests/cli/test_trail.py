"""The trail of one decision as text: what was seen, said, changed and done."""

import numpy as np

from autoscaler.cli.trail import trail
from autoscaler.core.decision import (
    Action,
    Cycle,
    Decision,
    NodePoolDecision,
    Outcome,
    Plan,
    Proposal,
    Reading,
    Reason,
    SignalState,
    Step,
)
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    NodePoolStatus,
    Observation,
    ReplicaStatus,
    Snapshot,
)
from autoscaler.core.policy import Forecast, Recommendation
from tests.builders import NOON

KEY = "llm/chat"
STATUS = NodePoolStatus(desired=3, ready=2)


def test_tells_a_change_from_the_signals_to_the_action() -> None:
    decision = Decision(
        KEY,
        current=4,
        combined=9,
        replicas=6,
        reason=Reason.RATE_LIMITED,
        text="at most 2 in 60 s",
        readings=(
            Reading("queue", SignalState.FRESH, 87.0, 5.0, usable=True, may_lower=True),
            Reading(
                "ttft", SignalState.MISSING, None, None, usable=False, may_lower=False, why="nan"
            ),
        ),
        proposals=(
            Proposal("drain(queue)", live=True, recommendation=Recommendation(9, "87 wait")),
            Proposal("guard(ttft)", live=False, recommendation=None, why="ttft is missing"),
            Proposal(
                "floor", live=True, recommendation=Recommendation(2, "by night", raise_only=True)
            ),
        ),
        steps=(Step("limit", 9, 6, Reason.RATE_LIMITED, "at most 2 in 60 s"),),
    )
    cycle = Cycle(
        Snapshot(NOON, {KEY: Observation(NOON, ReplicaStatus(4, 3, failing=1, rolling=True))}),
        Plan(NOON, {KEY: decision}),
        (Outcome(Action(KEY, 4, 6), done=False, detail="watching only"),),
    )

    assert trail(cycle, decision, NOON - 30) == [
        "llm/chat at 2023-11-14T22:13:20Z (+30 s since the first cycle)",
        "",
        "4 -> 6 (rate-limited): at most 2 in 60 s",
        "",
        "replicas",
        "  4 asked for, 3 ready, 1 starting, 1 failing, a roll-out is under way",
        "",
        "signals",
        "  queue  fresh    87  5 s old",
        "  ttft   missing  -            nan",
        "",
        "policies",
        "  drain(queue)  9          87 wait",
        "  guard(ttft)   -          ttft is missing",
        "  floor         2 or more  by night",
        "  together: 9",
        "",
        "steps",
        "  limit  9 -> 6  rate-limited  at most 2 in 60 s",
        "",
        "action  4 -> 6, not done: watching only",
    ]


def test_tells_that_nothing_could_be_seen() -> None:
    decision = Decision(KEY, None, None, None, Reason.UNSEEN, "the target could not be read")
    gap = Gap(GapReason.ERROR, "timeout")
    cycle = Cycle(Snapshot(NOON, missing={KEY: gap}), Plan(NOON, {KEY: decision}))

    assert trail(cycle, decision, NOON)[2:] == [
        "stays at unknown (unseen): the target could not be read",
        "",
        "replicas",
        "  not seen: error timeout",
        "",
        "signals",
        "  none",
        "",
        "policies",
        "  together: nothing",
        "",
        "steps",
        "  no rule changed the number",
    ]


def test_tells_that_nobody_looked() -> None:
    decision = Decision(KEY, None, None, None, Reason.UNSEEN, "nobody looked")
    cycle = Cycle(Snapshot(NOON), Plan(NOON, {KEY: decision}))

    assert "  not seen" in trail(cycle, decision, NOON)


def test_tells_what_became_of_the_node_pool() -> None:
    decision = Decision(KEY, 2, 2, 2, Reason.AT_TARGET, "enough")
    sized = NodePoolDecision("h100", 3, 1, 3, Reason.STABILIZED, "up to 3 were needed")
    cycle = Cycle(
        Snapshot(NOON, {KEY: Observation(NOON, ReplicaStatus(2, 2))}, pools={"h100": STATUS}),
        Plan(NOON, {KEY: decision}, pools={"h100": sized}),
    )

    assert trail(cycle, decision, NOON, sized)[-4:] == [
        "",
        "node pool h100",
        "  3 asked for, 2 ready, 1 needed",
        "  stays at 3 (stabilized): up to 3 were needed",
    ]


def test_tells_that_the_node_pool_was_not_seen() -> None:
    decision = Decision(KEY, 2, 2, 2, Reason.AT_TARGET, "enough")
    sized = NodePoolDecision("h100", None, 0, None, Reason.UNSEEN, "the pool was not seen")
    cycle = Cycle(Snapshot(NOON), Plan(NOON, {KEY: decision}, pools={"h100": sized}))

    assert trail(cycle, decision, NOON, sized)[-2:] == [
        "  not seen",
        "  stays at unknown (unseen): the pool was not seen",
    ]


def test_what_is_forecast_and_who_has_a_say_are_told() -> None:
    forecast = Forecast(
        "tokens", np.array([NOON + 60, NOON + 240]), (0.5, 0.9), np.array([[1.0, 120.0], [2, 180]])
    )
    answer = Recommendation(5, "p90 needs 5", forecast=forecast)
    proposals = (Proposal("seasonal(tokens)", live=True, recommendation=answer),)
    decision = Decision(
        KEY, 4, 5, 4, Reason.PAUSED, "seasonal wants 5; paused", proposals=proposals
    )
    said = Intervention(InterventionKind.PAUSED, "Deployment llm/chat is paused by kubectl")
    over = Intervention(InterventionKind.REPLICAS, "set to 3 until noon", 3, until=NOON)
    seen = Observation(NOON, ReplicaStatus(4, 4), interventions=(said, over))

    lines = trail(Cycle(Snapshot(NOON, {KEY: seen}), Plan(NOON, {KEY: decision})), decision, None)

    assert lines[0] == "llm/chat at 2023-11-14T22:13:20Z"
    assert "  paused: Deployment llm/chat is paused by kubectl" in lines
    assert not any("set to 3" in line for line in lines)
    assert "  seasonal(tokens) expects tokens at 2023-11-14T22:17:20Z: p50 120, p90 180" in lines
