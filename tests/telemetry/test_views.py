"""The documents of /v1: what a reader relies on."""

import json
from typing import Any

import pytest

from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    NodePoolStatus,
    Observation,
    Series,
)
from autoscaler.telemetry import views
from autoscaler.telemetry.latest import KEPT, Latest
from autoscaler.telemetry.report import CycleReport
from tests.builders import NOON, Raises, Wants, a_workload, seen
from tests.telemetry.reports import CHAT, Foresees, a_report


def plain(document: views.Document) -> Any:
    """As a client reads it."""
    return json.loads(views.json_of(document))


def one(report: CycleReport) -> Any:
    return plain(views.workload_document(report, report.fleet.workloads[0], "boot-1"))


def test_the_time_of_a_value_is_that_of_its_sample() -> None:
    report = a_report({CHAT.key: seen(2, signals={"load": Series.of([(NOON - 20.25, 50.0)])})})

    signal = one(report)["signals"]["load"]

    assert (signal["time"], signal["ageSeconds"]) == (NOON - 20.25, 20.25)


def test_a_signal_without_a_value_is_null_and_never_zero() -> None:
    report = a_report({CHAT.key: seen(2, missing={"load": Gap(GapReason.NAN, "no requests")})})

    document = one(report)

    assert document["signals"]["load"]["value"] is None
    assert document["signals"]["load"]["time"] is None
    assert document["missing"] == {"load": {"reason": "nan", "detail": "no requests"}}
    assert document["workload"]["blind"].startswith("per-replica(load): ")


def test_a_target_that_was_not_seen_says_why() -> None:
    report = a_report({}, missing={CHAT.key: Gap(GapReason.ERROR, "403 forbidden")})

    document = one(report)

    assert document["unseen"] == {"reason": "error", "detail": "403 forbidden"}
    assert document["workload"]["desired"] is None
    assert "replicas" not in document["workload"]


def test_a_target_that_nobody_looked_for_has_only_its_bounds() -> None:
    report = a_report({})
    alone = CycleReport(report.cycle, a_report({}, a_workload(name="new")).fleet, started=NOON)

    document = one(alone)

    assert "unseen" not in document
    assert (document["workload"]["max"], document["outcomes"]) == (20, [])
    assert plain(views.plan_document(alone, "boot-1"))["workloads"] == []


def test_a_forecast_has_a_row_for_each_quantile() -> None:
    foreseeing = a_workload(Foresees(), signals={"load": {}})
    report = a_report({foreseeing.key: seen(1, signals={"load": 50.0})}, foreseeing)

    (forecast,) = plain(views.plan_document(report, "boot-1"))["workloads"][0]["forecasts"]

    assert forecast["policy"] == "foresees(load)"
    assert forecast["quantiles"] == [0.5, 0.9]
    assert forecast["times"] == [NOON + 60, NOON + 120]
    assert forecast["values"][0] == [50.0, 50.0]
    assert forecast["values"][1] == pytest.approx([55.0, 55.0])


def test_interventions_that_hold_are_shown_with_who_and_until_when() -> None:
    said = (
        Intervention(InterventionKind.REPLICAS, "ada set 3", replicas=3, until=NOON + 60),
        Intervention(InterventionKind.PAUSED, "bob paused it", until=NOON - 60),
    )
    status = seen(2).replicas
    report = a_report({CHAT.key: Observation(NOON, status, interventions=said)})

    document = one(report)

    assert document["interventions"] == [
        {"kind": "replicas", "text": "ada set 3", "replicas": 3, "until": NOON + 60}
    ]
    assert document["workload"]["interventions"] == ["replicas"]


def test_a_policy_that_failed_is_shown_with_its_reason() -> None:
    broken = a_workload(Raises(), Wants(replicas=2))
    report = a_report({broken.key: seen(1)}, broken)

    first, second = one(report)["policies"]

    assert (first["failed"], first["replicas"], first["reason"]) == (True, None, "")
    assert "cucumber" in first["why"]
    assert (second["failed"], second["replicas"]) == (False, 2)


def test_steps_and_the_node_pool_are_part_of_the_trail() -> None:
    pool = NodePool.model_validate(
        {"metadata": {"name": "h100"}, "spec": {"gpusPerNode": 8, "nodes": {"max": 3}}}
    )
    wide = a_workload(Wants(replicas=40), replica={"nodePool": "h100"})
    report = a_report(
        {wide.key: seen(2)}, wide, pools=(pool,), nodes={"h100": NodePoolStatus(1, 1)}
    )

    document, listed = one(report), plain(views.workloads_document(report, "boot-1"))

    (step,) = document["steps"]
    assert (step["rule"], step["before"], step["after"]) == ("clamp", 40, 20)
    assert document["workload"]["limitedBy"] == ["clamp"]
    assert (document["nodePool"]["needed"], document["nodePool"]["nodes"]) == (3, 3)
    assert listed["nodePools"] == [document["nodePool"]]


def test_a_pool_that_was_not_seen_has_no_nodes() -> None:
    pool = NodePool.model_validate(
        {"metadata": {"name": "h100"}, "spec": {"gpusPerNode": 8, "nodes": {"max": 3}}}
    )

    (shown,) = plain(views.workloads_document(a_report(pools=(pool,)), "boot-1"))["nodePools"]

    assert (shown["current"], shown["ready"], shown["nodes"]) == (None, None, None)


def test_a_summary_counts_every_change_and_shows_some() -> None:
    many = [a_workload(Wants(replicas=2), name=f"chat-{number}") for number in range(150)]
    report = a_report({workload.key: seen(1) for workload in many}, *many, acted=False)

    summary = views.summary_of(report, "boot-1")

    assert (summary["changed"], len(summary["changes"])) == (150, 100)
    assert summary["actions"] == {"failed": 150}


def test_summaries_of_an_hour_are_kept() -> None:
    latest = Latest()
    for step in range(KEPT + 10):
        latest.publish(a_report(at=NOON + step))

    kept = latest.summaries(10_000)

    assert len(kept) == KEPT
    assert kept[0]["time"] == NOON + KEPT + 9


def test_cycles_of_two_processes_never_share_an_id() -> None:
    ids = {Latest().publish(a_report()).id for _ in range(20)}

    assert len(ids) == 20


def test_whoever_listens_is_woken_until_it_no_longer_listens() -> None:
    latest, woken = Latest(), []
    forget = latest.listen(lambda: woken.append(1))
    latest.publish(a_report())
    forget()
    latest.publish(a_report())

    assert woken == [1]
