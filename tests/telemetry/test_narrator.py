"""What the log tells of cycles: changes with their trail; what lasts when it begins and ends."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    NodePoolStatus,
    Observation,
)
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState
from autoscaler.core.spec import Actuation
from autoscaler.telemetry.lasting import Lasting, Stage
from autoscaler.telemetry.narrator import Narrator
from autoscaler.telemetry.report import CycleReport, Mode, SourceReport
from tests.builders import NOON, Wants, a_workload, seen
from tests.telemetry.reports import CHAT, a_report

Line = dict[str, Any]


def told(*reports: CycleReport, narrator: Narrator | None = None) -> list[Line]:
    """What is logged above DEBUG."""
    narrator = narrator or Narrator()
    with capture_logs() as lines:
        for report in reports:
            narrator.narrate(report)
    return [dict(line) for line in lines if line["log_level"] != "debug"]


def events(lines: list[Line]) -> list[str]:
    return [line["event"] for line in lines if line["event"] not in ("leading", "shadow")]


def blind(at: float = NOON) -> CycleReport:
    gap = Gap(GapReason.ERROR, "timeout")
    return a_report({CHAT.key: seen(2, at=at, missing={"load": gap})}, at=at)


def shadowed(at: float = NOON) -> CycleReport:
    watched = {CHAT.key: seen(5, at=at, signals={"load": 50.0})}
    return a_report(watched, at=at, mode=Mode.SHADOW)


def still(at: float = NOON) -> CycleReport:
    return a_report({CHAT.key: seen(5, at=at, signals={"load": 50.0})}, at=at)


def test_a_change_is_one_line_with_its_trail() -> None:
    wide = a_workload(Wants(replicas=40))
    (line,) = [one for one in told(a_report({wide.key: seen(2)}, wide)) if one["event"] == "scale"]

    assert line == {
        "event": "scale",
        "log_level": "info",
        "workload": "llm/chat",
        "from": 2,
        "to": 20,
        "wanted": 40,
        "limited_by": "clamp",
        "reason": line["reason"],
    }
    assert "replicas.max is 20" in line["reason"]


def test_nothing_is_told_of_a_cycle_without_a_change() -> None:
    assert events(told(still(), still(NOON + 15))) == []


def test_blindness_is_told_when_it_begins_lasts_and_ends() -> None:
    cycles = [blind(NOON + 15 * step) for step in range(80)]

    lines = told(*cycles, still(NOON + 1200))

    assert events(lines) == ["blind", "still blind", "no longer blind"]
    begun, lasting, ended = (line for line in lines if line["event"] != "leading")
    assert begun["log_level"] == "warning"
    assert begun["workload"] == "llm/chat"
    assert "per-replica" in begun["reason"]
    assert (lasting["log_level"], lasting["for_seconds"]) == ("warning", 600)
    assert (ended["log_level"], ended["for_seconds"]) == ("info", 1200)


def test_a_decrease_that_is_not_made_for_want_of_trust_is_told_once() -> None:
    gap = {"load": Gap(GapReason.PARTIAL, "a store did not answer")}
    doubtful = [
        a_report({CHAT.key: seen(5, at=at, signals={"load": 10.0}, missing=gap)}, at=at)
        for at in (NOON, NOON + 15)
    ]

    lines = told(*doubtful, still(NOON + 30))

    assert events(lines) == ["holding", "no longer holding"]
    begun = lines[0] if lines[0]["event"] == "holding" else lines[1]
    assert begun["reason"] == "no decrease: load is ageing (partial: a store did not answer)"


def test_a_decrease_that_a_rule_holds_back_is_told_with_the_rule() -> None:
    state = FleetState({CHAT.key: Past(unproven_since=NOON, desired=5)})

    lines = told(a_report({CHAT.key: seen(5, signals={"load": 10.0})}, state=state))

    assert events(lines) == ["holding"]
    assert "what was decided before is not known" in lines[0]["reason"]


def test_what_ended_because_its_workload_was_removed_is_not_told() -> None:
    other = a_workload(Wants(replicas=1), name="other")

    assert events(told(blind(), a_report({other.key: seen(1)}, other, at=NOON + 15))) == ["blind"]


def with_intervention(one: Intervention) -> CycleReport:
    plain = seen(5, signals={"load": 50.0})
    return a_report(
        {CHAT.key: Observation(NOON, plain.replicas, plain.signals, interventions=(one,))}
    )


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (InterventionKind.PAUSED, "info"),
        (InterventionKind.SUSPENDED, "warning"),
        (InterventionKind.EXPECTED_MISSING, "warning"),
    ],
)
def test_interventions_are_told_once(kind: InterventionKind, level: str) -> None:
    report = with_intervention(Intervention(kind, "the HPA chat writes it too"))

    lines = [one for one in told(report, report) if one["event"] != "leading"]

    assert [(one["event"], one["log_level"]) for one in lines] == [(str(kind), level)]
    assert lines[0]["reason"] == "the HPA chat writes it too"


def test_an_intervention_that_has_ended_is_not_told() -> None:
    over = Intervention(InterventionKind.PAUSED, "ada paused it", until=NOON - 1)

    assert events(told(with_intervention(over))) == []


def test_an_action_that_fails_again_and_again_is_told_once() -> None:
    failing = [a_report(acted=False, at=NOON + 15 * step) for step in range(3)]
    lines = told(*failing, still(NOON + 45))

    assert events(lines) == ["action failed", "no longer action failed"]
    (failed,) = (one for one in lines if one["event"] == "action failed")
    assert (failed["target"], failed["reason"]) == ("llm/chat", "409 conflict")


def test_the_process_tells_of_its_own_troubles() -> None:
    bad = a_report(
        {CHAT.key: seen(5, signals={"load": 50.0})},
        sources={"eu": SourceReport(1, 1, problem="connection refused")},
        journal_problem="no space left on device",
        missed=1,
    )

    lines = told(bad, still(NOON + 15))

    assert sorted(events(lines)) == [
        "cycles missed",
        "journal down",
        "no longer cycles missed",
        "no longer journal down",
        "source down",
    ]
    (source,) = (one for one in lines if one["event"] == "source down")
    assert (source["source"], source["reason"]) == ("eu", "connection refused")


def test_a_leader_tells_that_it_leads_and_no_longer_does() -> None:
    narrator = Narrator()

    first = told(still(), narrator=narrator)
    seen_again = {CHAT.key: seen(5, at=NOON + 700, signals={"load": 50.0})}
    then = told(a_report(seen_again, leader=False, at=NOON + 700), narrator=narrator)

    assert [one["event"] for one in first] == ["leading"]
    assert [one["event"] for one in then] == ["no longer leading"]


def test_in_shadow_mode_nobody_says_that_this_process_acts() -> None:
    narrator = Narrator()

    (line,) = told(shadowed(), narrator=narrator)
    with capture_logs() as later:
        narrator.narrate(shadowed(NOON + 700))

    assert (line["event"], line["log_level"]) == ("shadow", "info")
    assert line["reason"] == "decisions are recorded, nothing is changed"
    assert [(one["event"], one["log_level"]) for one in later] == [
        ("still shadow", "debug"),
        ("cycle", "debug"),
    ]


def test_leading_for_long_is_no_news() -> None:
    narrator = Narrator()
    told(still(), narrator=narrator)

    with capture_logs() as lines:
        narrator.narrate(still(NOON + 700))

    assert [(one["event"], one["log_level"]) for one in lines] == [
        ("still leading", "debug"),
        ("cycle", "debug"),
    ]


def advised(actuation: Actuation, **report: Any) -> CycleReport:
    watched = a_workload(Wants(replicas=7), actuation=actuation)
    return a_report({watched.key: seen(2)}, watched, **report)


def test_what_is_only_advised_is_told_when_it_changes() -> None:
    report = advised(Actuation.NONE, mode=Mode.SHADOW)

    lines = told(report, report, report)

    assert events(lines) == ["advise"]
    (line,) = (one for one in lines if one["event"] == "advise")
    assert (line["from"], line["to"], line["log_level"]) == (2, 7, "info")


def test_a_standby_leaves_it_to_the_leader_to_tell() -> None:
    assert events(told(advised(Actuation.NONE, leader=False))) == []


def test_when_everything_is_blind_a_few_lines_say_so() -> None:
    many = [a_workload(Wants(replicas=1), name=f"chat-{number}") for number in range(50)]
    missing = {one.key: Gap(GapReason.ERROR, "401") for one in many}

    lines = [one for one in told(a_report({}, *many, missing=missing)) if one["event"] == "blind"]

    assert len(lines) == 21
    assert lines[-1]["more"] == 30


def test_a_pool_is_told_with_what_it_needs() -> None:
    pool = NodePool.model_validate(
        {
            "metadata": {"name": "h100"},
            "spec": {"gpusPerNode": 8, "nodes": {"max": 9}, "actuation": "scale"},
        }
    )
    chat = a_workload(Wants(replicas=4), replica={"gpus": 4, "nodePool": "h100"})
    report = a_report(
        {chat.key: seen(4)}, chat, pools=(pool,), nodes={"h100": NodePoolStatus(1, 1)}
    )

    (line,) = (one for one in told(report) if one["event"] == "resize")

    assert (line["pool"], line["from"], line["to"], line["needed"]) == ("h100", 1, 2, 2)


def test_a_clock_that_is_set_back_does_not_silence_a_state() -> None:
    lasting, state = Lasting(), {("blind", "llm/chat"): "timeout"}
    list(lasting.note(NOON, state))

    (reminder,) = lasting.note(NOON - 3600, state)

    assert reminder.stage is Stage.LASTS
