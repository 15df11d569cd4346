"""Recording rules: Prometheus accepts them, and they record what would have been asked."""

from pathlib import Path

import pytest
import yaml

from autoscaler.adapters.prometheus.groups import grouped
from autoscaler.adapters.prometheus.plan import PlanLimits, plan_queries
from autoscaler.adapters.prometheus.recording_rules import recording_rules, rule_file
from autoscaler.core.workload import FleetSpec
from tests.adapters.prometheus.fleets import P95, QUEUE, asking, asking_all, fleet_of
from tests.adapters.prometheus.promtool import complaints, needs_promtool


def rules_for(fleet: FleetSpec, most: int = 300) -> list[dict[str, object]]:
    document = recording_rules(grouped(fleet, 15), scrape_seconds=15, most_groups=most)
    return [{**rule, **group} for group in document["groups"] for rule in group["rules"]]


def test_a_rule_names_no_workload() -> None:
    some = fleet_of(asking(n, P95, QUEUE, model=n) for n in ("a", "b"))
    more = fleet_of(asking(n, P95, QUEUE, model=n) for n in ("a", "b", "c"))

    (rule,) = rules_for(some)

    assert rule["expr"] == (
        "histogram_quantile(0.95, sum by (model, le) (rate(ttft_seconds_bucket{}[61s])))"
    )
    assert rule["interval"] == "15s"
    assert rules_for(more) == [rule]


def test_the_plan_reads_what_the_rule_records() -> None:
    fleet = fleet_of(asking(n, P95, model=n) for n in ("a", "b"))
    (rule,) = rules_for(fleet)

    (query,) = plan_queries(fleet, limits=PlanLimits(recorded=True)).queries

    assert query.promql == f'max by (model) ({rule["record"]}{{model=~"a|b"}})'


def test_a_large_fleet_is_cut_by_one_label_and_the_last_rule_takes_the_rest() -> None:
    fleet = fleet_of(
        asking(f"w{n}", P95, model=name, ns="x")
        for n, name in enumerate(["a", "b", "c.d", "", "e"])
    )

    rules = rules_for(fleet, most=2)

    matched = [str(rule["expr"]).partition("{")[2].partition("}")[0] for rule in rules]
    assert matched == [
        'model=""', r'model=~"a|b"', r'model=~"c\\.d|e"', r'model!~"|a|b|c\\.d|e"',
    ]  # fmt: skip
    assert len({str(rule["record"]) for rule in rules}) == 1
    assert [rule["labels"] for rule in rules] == [
        {"inference_autoscaler_shard": str(number)} for number in (1, 2, 3, 4)
    ]
    assert len({str(rule["name"]) for rule in rules}) == 4


def test_the_same_question_is_recorded_once_whatever_the_source_and_window() -> None:
    fleet = fleet_of(
        [
            asking("a", P95, model="a"),
            asking("b", P95, model="b", source="far"),
            asking_all("c", {"p95": {"query": P95, "windowSeconds": 600}}, match={"model": "c"}),
        ]
    )

    assert len(rules_for(fleet)) == 1


@pytest.mark.parametrize(
    ("step", "interval", "range_"),
    [(1, "15s", "[61s]"), (30, "30s", "[61s]"), (600, "60s", "[601s]")],
)
def test_a_rule_is_computed_as_often_as_it_is_read_within_reason(
    step: int, interval: str, range_: str
) -> None:
    signal = {"query": P95, "stepSeconds": step, "windowSeconds": 600}
    (rule,) = rules_for(fleet_of([asking_all("a", {"p95": signal}, match={"m": "a"})]))

    assert rule["interval"] == interval
    assert range_ in str(rule["expr"])


def test_different_ranges_are_recorded_under_different_names() -> None:
    fleet = fleet_of(
        asking_all(
            name,
            {"p95": {"query": P95, "stepSeconds": step, "windowSeconds": 600}},
            match={"model": name},
        )
        for name, step in (("a", 15), ("b", 300))
    )

    assert len({str(rule["record"]) for rule in rules_for(fleet)}) == 2


def test_what_is_cheap_or_cannot_be_told_apart_is_not_recorded() -> None:
    apart = f"max({P95})"

    assert rules_for(fleet_of([asking("a", QUEUE, apart, "sum(whole)", model="a")])) == []


def test_a_query_without_a_metric_name_still_has_a_name() -> None:
    query = 'histogram_quantile(0.9, sum by ($labels) (rate({__name__=~"x|y", $match}[$window])))'

    (rule,) = rules_for(fleet_of([asking("a", query, model="a")]))

    assert str(rule["record"]).startswith("inference_autoscaler:query:")


def test_without_matchers_there_is_one_rule() -> None:
    query = "histogram_quantile(0.9, sum by ($labels, le) (rate(x_bucket{$match}[$window])))"

    (rule,) = rules_for(fleet_of([asking("a", query)]), most=1)

    assert rule["expr"] == "histogram_quantile(0.9, sum by (le) (rate(x_bucket{}[61s])))"


@needs_promtool
@pytest.mark.parametrize("most", [1, 2, 300])
def test_prometheus_accepts_the_file(tmp_path: Path, most: int) -> None:
    fleet = fleet_of(
        asking(f"w{n}", P95, P95.replace("0.95", "0.5"), model=value, ns=f"n{n}")
        for n, value in enumerate(['a"b', "c\\d", "e\nf", "g|h", "", "é", "\x01"])
    )
    document = recording_rules(grouped(fleet, 15), scrape_seconds=15, most_groups=most)
    text = rule_file(document)

    assert complaints(tmp_path, text) == ""
    assert yaml.safe_load(text) == document
    assert text.startswith("# Recording rules for `autoscaler`")
