"""`/metrics`: every sample comes from the newest cycle, and means what the README says."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    NodePoolStatus,
    Series,
)
from autoscaler.telemetry.families import FAMILIES, PREFIX, Kind
from autoscaler.telemetry.lines import NUMBERS, texts_of
from autoscaler.telemetry.metrics import (
    CycleCollector,
    installed_version,
    page_of,
    process_text,
    text_of,
)
from autoscaler.telemetry.report import CycleReport, Mode, SourceReport
from autoscaler.telemetry.tally import Tally
from tests.builders import NOON, PerReplica, Wants, a_workload, seen
from tests.telemetry.reports import CHAT, Foresees, a_report

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

POOL = NodePool.model_validate(
    {"metadata": {"name": "h100"}, "spec": {"gpusPerNode": 8, "nodes": {"max": 9}}}
)


def scraped(*reports: CycleReport) -> Samples:
    """What Prometheus reads after these cycles, without our prefix."""
    tally = Tally()
    for report in reports:
        tally = tally.after(report)
    text = text_of(page_of(reports[-1], tally)).decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items()))
            assert name not in found, f"{name} is there twice"
            found[name] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def of_chat(samples: Samples, name: str, **labels: str) -> float | None:
    return value(samples, name, namespace="llm", workload="chat", **labels)


def a_full_report(**report: Any) -> CycleReport:
    """A cycle in which every family has a sample."""
    chat = a_workload(
        Wants(replicas=40),
        Wants(replicas=3),
        Foresees(),
        signals={"load": {}, "gone": {}},
        replica={"gpus": 4, "gpuHourPrice": 2.5, "nodePool": "h100"},
    )
    at = report.pop("at", NOON)
    observation = seen(
        2,
        at=at,
        signals={"load": Series.of([(at - 15, 40.0), (at, 50.0)])},
        missing={"gone": Gap(GapReason.EMPTY)},
        failing=1,
    )
    observation = type(observation)(
        at,
        observation.replicas,
        observation.signals,
        observation.missing,
        interventions=(Intervention(InterventionKind.PAUSED_DOWN, "ada paused it"),),
    )
    return a_report(
        {chat.key: observation},
        chat,
        at=at,
        pools=(POOL.with_actuation(POOL.spec.actuation.SCALE),),
        nodes={"h100": NodePoolStatus(1, 1)},
        sources={"default": SourceReport(queries=3, failures=1, seconds=0.5, signals=8, looks=7)},
        **report,
    )


def test_the_numbers_of_a_workload_are_there() -> None:
    samples = scraped(a_report())

    assert of_chat(samples, "recommended_replicas", policy="per-replica(load)") == 5
    assert of_chat(samples, "combined_replicas") == 5
    assert of_chat(samples, "decided_replicas") == 5
    assert of_chat(samples, "current_replicas") == 2
    assert of_chat(samples, "ready_replicas") == 2
    assert of_chat(samples, "starting_replicas") == 0
    assert of_chat(samples, "min_replicas") == 1
    assert of_chat(samples, "max_replicas") == 20
    assert of_chat(samples, "decision_reason", reason="recommended") == 1
    assert of_chat(samples, "signal_value", signal="load") == 50
    assert of_chat(samples, "signal_age_seconds", signal="load") == 0
    assert of_chat(samples, "signal_state", signal="load", state="fresh") == 1
    assert of_chat(samples, "blind") == 0


def test_cost_is_gpus_times_price_times_replicas_asked_for() -> None:
    samples = scraped(a_report())

    assert of_chat(samples, "desired_gpus") == 8
    assert of_chat(samples, "cost_per_hour") == 20


def test_a_rule_that_limits_is_a_state_and_a_counter() -> None:
    wide = a_workload(Wants(replicas=40))
    limited = a_report({wide.key: seen(2)}, wide)
    after = a_report({wide.key: seen(40)}, a_workload(Wants(replicas=40), maximum=50))

    during, later = scraped(limited, limited), scraped(limited, limited, after)

    rule = {"rule": "clamp", "reason": "at-maximum"}
    assert of_chat(during, "limited", **rule) == 1
    assert of_chat(during, "limited_cycles_total", **rule) == 2
    assert of_chat(later, "limited", **rule) is None
    assert of_chat(later, "limited_cycles_total", **rule) == 2


def test_blind_is_told_with_the_state_of_each_signal() -> None:
    report = a_report({CHAT.key: seen(2, missing={"load": Gap(GapReason.ERROR, "timeout")})})

    samples = scraped(report)

    assert of_chat(samples, "blind") == 1
    assert value(samples, "blind_workloads") == 1
    assert of_chat(samples, "signal_state", signal="load", state="missing") == 1
    assert of_chat(samples, "signal_value", signal="load") is None
    assert of_chat(samples, "combined_replicas") is None
    assert of_chat(samples, "decided_replicas") == 2


def test_a_target_that_was_not_seen_has_no_numbers_and_is_blind() -> None:
    samples = scraped(a_report({}, missing={CHAT.key: Gap(GapReason.ERROR, "404")}))

    assert of_chat(samples, "blind") == 1
    assert of_chat(samples, "current_replicas") is None
    assert of_chat(samples, "decided_replicas") is None
    assert of_chat(samples, "cost_per_hour") is None


def test_a_workload_asleep_whose_engine_is_silent_is_not_blind() -> None:
    asleep = a_workload(PerReplica(), minimum=0, signals={"load": {}})
    observation = seen(0, missing={"load": Gap(GapReason.EMPTY)})

    assert of_chat(scraped(a_report({asleep.key: observation}, asleep)), "blind") == 0


def test_an_intervention_is_told_while_it_holds() -> None:
    samples = scraped(a_full_report())

    assert of_chat(samples, "intervention", kind="paused-down") == 1
    assert of_chat(samples, "intervention", kind="paused") is None


def test_what_was_asked_and_saved_is_summed_by_source() -> None:
    samples = scraped(a_full_report(), a_full_report(at=NOON + 15))

    assert value(samples, "source_queries", source="default") == 3
    assert value(samples, "source_queries_total", source="default") == 6
    assert value(samples, "source_query_failures_total", source="default") == 2
    assert value(samples, "source_query_seconds_total", source="default") == 1
    assert value(samples, "source_queries_saved_total", source="default") == 10
    assert value(samples, "source_looks_total", source="default") == 14
    assert value(samples, "source_up", source="default") == 1


def test_a_source_that_is_down_is_told() -> None:
    down = SourceReport(queries=1, failures=1, problem="connection refused")

    assert value(scraped(a_report(sources={"eu": down})), "source_up", source="eu") == 0


def test_the_service_tells_of_itself() -> None:
    report = a_report(
        seconds=0.7,
        lag_seconds=0.1,
        missed=2,
        leader=False,
        mode=Mode.SHADOW,
        reload_problem="chat.yaml:3: no",
        journal_problem="disk is full",
    )

    samples = scraped(report)

    assert value(samples, "leader") == 0
    assert value(samples, "mode", mode="shadow") == 1
    assert value(samples, "cycles_total") == 1
    assert value(samples, "cycles_missed_total") == 2
    assert value(samples, "cycles_lost_total") == 1
    assert value(samples, "cycle_lag_seconds") == 0.1
    assert value(samples, "cycle_timestamp_seconds") == NOON
    assert value(samples, "reload_failed") == 1
    assert value(samples, "journal_failed") == 1
    assert value(samples, "cycle_seconds_bucket", le="0.5") == 0
    assert value(samples, "cycle_seconds_bucket", le="1.0") == 1
    assert value(samples, "cycle_seconds_bucket", le="+Inf") == 1
    assert value(samples, "cycle_seconds_sum") == 0.7
    assert any(name == "build_info" for name, _ in samples)


@pytest.mark.parametrize(
    ("report", "result"),
    [
        pytest.param({}, "done", id="done"),
        pytest.param({"acted": False}, "failed", id="the leader tried in vain"),
        pytest.param({"leader": False}, "withheld", id="another one leads"),
        pytest.param({"mode": Mode.SHADOW}, "withheld", id="shadow"),
    ],
)
def test_actions_are_counted_by_what_became_of_them(report: dict[str, Any], result: str) -> None:
    cycle = a_report(**report)

    assert of_chat(scraped(cycle, cycle), "actions_total", result=result) == 2


def test_node_pools_are_told() -> None:
    samples = scraped(a_full_report())

    assert value(samples, "node_pool_current_nodes", pool="h100") == 1
    assert value(samples, "node_pool_ready_nodes", pool="h100") == 1
    assert value(samples, "node_pool_needed_nodes", pool="h100") == 10
    assert value(samples, "node_pool_decided_nodes", pool="h100") == 9
    assert value(samples, "node_pool_actions_total", pool="h100", result="done") == 1


def test_a_pool_that_a_standby_would_size_is_counted_as_withheld() -> None:
    samples = scraped(a_full_report(leader=False))

    assert value(samples, "node_pool_actions_total", pool="h100", result="withheld") == 1


def test_a_pool_that_was_not_seen_has_no_nodes() -> None:
    samples = scraped(a_report(pools=(POOL,)))

    assert value(samples, "node_pool_needed_nodes", pool="h100") == 0
    assert value(samples, "node_pool_current_nodes", pool="h100") is None
    assert value(samples, "node_pool_decided_nodes", pool="h100") is None


def test_forecasts_are_told_and_scored_when_their_time_has_come() -> None:
    foreseeing = a_workload(Foresees(), signals={"load": {}})

    def at(time: float, load: float) -> CycleReport:
        observation = seen(1, at=time, signals={"load": Series.of([(time, load)])})
        return a_report({foreseeing.key: observation}, foreseeing, at=time)

    first, minute_later = at(NOON, 50.0), at(NOON + 60, 56.0)
    before, after = scraped(first), scraped(first, minute_later)

    which = {"policy": "foresees(load)", "signal": "load"}
    assert of_chat(before, "forecast", quantile="0.9", **which) == pytest.approx(55)
    assert of_chat(before, "forecast_horizon_seconds", **which) == 120
    assert of_chat(before, "forecast_error", horizon="next", **which) is None
    assert of_chat(after, "forecast_error", horizon="next", **which) == pytest.approx(6)
    assert of_chat(after, "forecasts_scored_total", horizon="next", **which) == 1
    assert of_chat(after, "forecasts_scored_total", horizon="far", **which) == 0
    exceeded = {"horizon": "next", "quantile": "0.9", **which}
    assert of_chat(after, "forecasts_exceeded_total", **exceeded) == 1


def test_a_workload_that_was_removed_leaves_no_series() -> None:
    other = a_workload(Wants(replicas=3), name="other")
    both = a_report({CHAT.key: seen(2, signals={"load": 50.0}), other.key: seen(1)}, CHAT, other)
    alone = a_report({other.key: seen(3)}, other)

    samples = scraped(both, alone)

    assert of_chat(scraped(both), "actions_total", result="done") == 1
    assert [labels for _, labels in samples if ("workload", "chat") in labels] == []
    assert value(samples, "decided_replicas", namespace="llm", workload="other") == 3


def test_a_workload_that_has_no_decision_yet_shows_only_its_bounds() -> None:
    report = a_report()
    other = a_workload(Wants(replicas=1), name="other")
    report = CycleReport(report.cycle, a_report({}, CHAT, other).fleet, started=NOON)

    samples = scraped(report)

    assert value(samples, "min_replicas", namespace="llm", workload="other") == 1
    assert value(samples, "decided_replicas", namespace="llm", workload="other") is None


def test_two_policies_of_one_label_do_not_collide() -> None:
    samples = scraped(a_full_report())

    assert of_chat(samples, "recommended_replicas", policy="wants") == 40
    assert of_chat(samples, "recommended_replicas", policy="wants#2") == 3


def test_our_writer_and_that_of_prometheus_client_write_the_same_bytes() -> None:
    report = a_full_report(seconds=0.3, lag_seconds=1234567.125)
    page = page_of(report, Tally().after(report))
    registry = CollectorRegistry()
    registry.register(CycleCollector(lambda: page))

    assert text_of(page) == generate_latest(registry)


@given(st.lists(st.floats() | st.integers(-(2**53), 2**53) | st.booleans()))
@example([0.0, -0.0, 1e-3, -9.99e-4, 1e-5, 999_999.9999999999, 1e6, 1e16, 1e22, 5e-324])
@example([float("nan"), float("inf"), float("-inf"), 0.1 + 0.2, 12.5, True])
def test_many_numbers_are_written_as_each_alone(numbers: list[float]) -> None:
    assert texts_of(numbers) == [NUMBERS[number] for number in numbers]


def test_another_fleet_has_labels_of_its_own() -> None:
    first, second = a_report(), a_report(None, CHAT, a_workload(Wants(replicas=1), name="other"))

    for report in (first, second, first):
        shown = {
            dict(labels).get("workload") for name, labels in scraped(report) if name == "blind"
        }
        assert shown == {workload.metadata.name for workload in report.fleet.workloads}


def test_before_the_first_cycle_there_is_nothing_to_collect() -> None:
    assert list(CycleCollector(lambda: None).collect()) == []


def test_label_values_are_escaped() -> None:
    odd = 'a"b\\c\nd'
    samples = scraped(a_report(sources={odd: SourceReport(1)}))

    assert value(samples, "source_queries", source=odd) == 1


def test_every_family_has_a_sample_in_a_full_cycle() -> None:
    reports = [a_full_report(at=NOON + 60 * minute) for minute in range(4)]
    samples = scraped(*reports)

    found = {name for name, _ in samples}
    expected = {name for name, family in FAMILIES.items() if family.kind is not Kind.HISTOGRAM}
    assert expected - found == set()


def test_label_values_come_from_files_and_closed_lists_alone() -> None:
    """What could grow without bound (reasons in words, details of errors) is no label."""
    closed = {
        "namespace", "workload", "policy", "signal", "quantile", "pool", "source",
        "reason", "rule", "result", "state", "kind", "horizon", "mode", "version", "python",
    }  # fmt: skip
    for family in FAMILIES.values():
        assert set(family.labels) <= closed
        assert list(family.labels) == sorted(family.labels)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: str(family.name))
def test_names_say_the_unit_and_help_is_a_sentence(family: Any) -> None:
    assert family.name.startswith(PREFIX)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert family.help.endswith(".")
    assert "\\" not in family.help


def test_the_process_tells_its_memory() -> None:
    assert b"process_resident_memory_bytes" in process_text()


def test_a_folder_that_was_never_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def absent(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr("autoscaler.telemetry.metrics.version", absent)

    assert installed_version() == "unknown"
