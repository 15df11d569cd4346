"""What is said of a blind workload: every policy, and each cause once."""

from autoscaler.cli.trail import trail
from autoscaler.core.decision import Cycle, Decision
from autoscaler.core.observation import Gap, GapReason
from autoscaler.telemetry.health import ready
from autoscaler.telemetry.latest import Latest
from autoscaler.telemetry.report import CycleReport
from autoscaler.telemetry.sight import said_once, why_blind
from tests.builders import PerReplica, a_workload, seen
from tests.telemetry.reports import a_report

DOWN = "default: unreachable: http://prometheus:9090: connection refused"
BLIND = a_workload(
    PerReplica(),
    PerReplica(signal="queue"),
    PerReplica(signal="running"),
    signals={"load": {}, "queue": {}, "running": {}},
)


def blind(why: str = DOWN, other: str = "") -> tuple[CycleReport, Cycle, Decision]:
    gaps = {name: Gap(GapReason.ERROR, why) for name in BLIND.spec.signals}
    if other:
        gaps["queue"] = Gap(GapReason.ERROR, other)
    report = a_report({BLIND.key: seen(2, missing=gaps)}, BLIND)
    return report, report.cycle, report.cycle.plan.decisions[BLIND.key]


def test_one_cause_of_many_signals_is_told_once_and_every_policy_is_named() -> None:
    _, cycle, decision = blind()

    why = why_blind(cycle, decision)

    assert why.count("connection refused") == 1
    assert why.count("(the same)") == 2
    assert [one.policy for one in decision.proposals if one.policy in why] == [
        "per-replica(load)",
        "per-replica(queue)",
        "per-replica(running)",
    ]


def test_two_causes_are_both_told() -> None:
    _, cycle, decision = blind(other="eu: timed out: not back when the cycle had to go on")

    why = why_blind(cycle, decision)

    assert (why.count("connection refused"), why.count("timed out")) == (1, 1)


def test_short_causes_stay_as_they_are() -> None:
    _, cycle, decision = blind("timeout")

    assert why_blind(cycle, decision).count("timeout") == 3


def test_what_has_no_cause_in_it_is_left_alone() -> None:
    _, _, decision = blind()

    assert said_once(decision, "nothing of the kind") == "nothing of the kind"


def test_the_page_of_explain_and_readyz_say_a_cause_once() -> None:
    report, cycle, decision = blind()
    latest = Latest()
    latest.publish(report)

    page = "\n".join(trail(cycle, decision, None))
    checks = ready(latest, stopping=False)

    assert page.count("connection refused") == 1
    assert page.count("as above") == 8  # of three signals and six mentions by policies
    assert "".join(one.text for one in checks).count("connection refused") == 1
