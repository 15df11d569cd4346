"""The query plan: one query for all who ask the same, and nobody gets another's answer."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.prometheus.plan import PlanLimits, PlannedQuery, QueryPlan, plan_queries
from autoscaler.adapters.prometheus.questions import dated
from autoscaler.config.promql import parse
from autoscaler.core.errors import ConfigError
from autoscaler.core.workload import ScaledWorkload
from tests.adapters.prometheus.fleets import (
    P95,
    QUEUE,
    a_large_fleet,
    asking,
    asking_all,
    fleet_of,
)


def served(plan: QueryPlan) -> list[tuple[str, str]]:
    return [one for query in plan.queries for names in query.serves.values() for one in names]


def asked_bytes(query: PlannedQuery) -> int:
    """How long the text is that is sent: values, ages of samples, count of series."""
    return len(dated(query).encode())


def test_workloads_that_ask_the_same_are_one_query() -> None:
    fleet = fleet_of(asking(name, QUEUE, model=name, ns="llm") for name in ("b", "a"))

    plan = plan_queries(fleet)

    (query,) = plan.queries
    assert query.promql == 'sum by (model, ns) (queue{model=~"a|b",ns="llm"})'
    assert query.selectors == ('queue{model=~"a|b",ns="llm"}',)
    assert query.labels == ("model", "ns")
    assert query.serves == {("a", "llm"): (("llm/a", "s0"),), ("b", "llm"): (("llm/b", "s0"),)}
    assert (query.window_seconds, query.step_seconds, query.range_seconds) == (120, 15, 61)
    assert (query.costly, query.apart, query.workloads) == (False, "", 2)
    assert (plan.signals, plan.saved) == (2, 1)


def test_values_ages_and_the_count_of_series_are_one_question() -> None:
    sums = "sum by ($labels) (a{$match} + b{$match})"
    (query,) = plan_queries(fleet_of([asking("a", sums, model="a")])).queries

    parts = [line.split(", ")[0] for line in dated(query).splitlines()]

    assert parts == [
        "label_replace((",
        'sum by (model) (a{model="a"} + b{model="a"})',
        ")",
        'or label_replace(max by (model) (timestamp(a{model="a"}))',
        'or label_replace(max by (model) (timestamp(b{model="a"}))',
        'or label_replace(count by (model) (a{model="a"})',
    ]
    parse(dated(query))


def test_equal_matchers_of_two_workloads_are_served_both() -> None:
    fleet = fleet_of(asking(name, QUEUE, QUEUE, model="same") for name in ("a", "b"))

    (query,) = plan_queries(fleet).queries

    assert query.promql == 'sum by (model) (queue{model="same"})'
    assert query.serves == {
        ("same",): (("llm/a", "s0"), ("llm/a", "s1"), ("llm/b", "s0"), ("llm/b", "s1"))
    }
    assert query.workloads == 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(asking("b", QUEUE, model="b", source="far"), id="source"),
        pytest.param(asking("b", QUEUE.replace("sum", "max"), model="b"), id="template"),
        pytest.param(asking("b", QUEUE, variant="b"), id="label names"),
        pytest.param(asking("b", QUEUE, model="b", ns="x"), id="one label more"),
        pytest.param(
            asking_all("b", {"s0": {"query": QUEUE, "windowSeconds": 60}}, match={"model": "b"}),
            id="window",
        ),
        pytest.param(
            asking_all("b", {"s0": {"query": QUEUE, "stepSeconds": 30}}, match={"model": "b"}),
            id="step",
        ),
    ],
)  # fmt: skip
def test_who_asks_something_else_has_a_query_of_its_own(other: ScaledWorkload) -> None:
    plan = plan_queries(fleet_of([asking("a", QUEUE, model="a"), other]))

    assert len(plan.queries) == 2
    assert served(plan) == [("llm/a", "s0"), ("llm/b", "s0")]


def test_several_sources_stand_side_by_side() -> None:
    fleet = fleet_of(
        asking(f"{source}-{n}", QUEUE, source=source, model=str(n))
        for source in ("west", "east")
        for n in range(3)
    )

    plan = plan_queries(fleet)

    assert [query.source for query in plan.queries] == ["west", "east"]
    selectors = ('queue{model=~"0|1|2"}',)
    assert plan.selectors == {"west": selectors, "east": selectors}


@pytest.mark.parametrize(
    "value", ['say "hi"', "a\\b", "line\nbreak", "a|b", "$1^.*+?()[]{}", "", "é€"]
)
def test_a_value_means_itself_in_a_union(value: str) -> None:
    fleet = fleet_of([asking("a", QUEUE, model=value), asking("b", QUEUE, model="plain")])

    (query,) = plan_queries(fleet).queries

    parse(query.promql)
    assert query.serves[(value,)] == (("llm/a", "s0"),)


def test_without_matchers_the_whole_is_one_series() -> None:
    (query,) = plan_queries(
        fleet_of([asking("a", "sum by ($labels) (queue{$match, x='y'})")])
    ).queries

    assert query.promql == "sum by () (queue{x='y'})"
    assert (query.labels, query.serves) == ((), {(): (("llm/a", "s0"),)})


def test_an_answer_that_cannot_be_told_apart_is_asked_for_each() -> None:
    fleet = fleet_of(
        [
            asking("a", "sum(queue{$match})", model="1"),
            asking("b", "sum(queue{$match})", model="2"),
            asking("c", "sum(queue{$match})", model="2"),
        ]
    )

    plan = plan_queries(fleet)

    assert [query.promql for query in plan.queries] == [
        'sum(queue{model="1"})',
        'sum(queue{model="2"})',
    ]
    assert [query.serves for query in plan.queries] == [
        {(): (("llm/a", "s0"),)},
        {(): (("llm/b", "s0"), ("llm/c", "s0"))},
    ]
    assert all("does not keep the labels" in query.apart for query in plan.queries)
    assert {query.labels for query in plan.queries} == {()}


@pytest.mark.parametrize(
    ("template", "labels", "keys"),
    [
        pytest.param("sum(whole)", (), [()], id="one answer for all"),
        pytest.param("sum by ($labels) (whole)", ("m",), [("1",), ("2",)], id="told apart"),
    ],
)  # fmt: skip
def test_a_template_without_matchers_is_asked_once(
    template: str, labels: tuple[str, ...], keys: list[tuple[str, ...]]
) -> None:
    (query,) = plan_queries(fleet_of(asking(n, template, m=n) for n in ("2", "1"))).queries

    assert (query.labels, list(query.serves)) == (labels, keys)
    assert query.selectors == ("whole",)
    assert query.apart == ""


def test_a_long_union_is_split() -> None:
    fleet = fleet_of(
        asking(
            f"w{n}", "sum by ($labels) (a{$match} + b{$match})", model=f"model.{n}", ns=f"n{n % 3}"
        )
        for n in range(100)
    )

    plan = plan_queries(fleet, limits=PlanLimits(longest_bytes=900))

    assert len(plan.queries) > 5
    assert max(map(asked_bytes, plan.queries)) <= 900
    assert sorted(served(plan)) == sorted((f"llm/w{n}", "s0") for n in range(100))
    neighbours = [{ns for _, ns in query.serves} for query in plan.queries]
    assert sum(len(names) == 1 for names in neighbours) >= len(neighbours) - 2


def test_a_single_workload_is_never_cut() -> None:
    fleet = fleet_of(asking(n * 50, QUEUE, model=n * 50) for n in ("a", "b"))

    plan = plan_queries(fleet, limits=PlanLimits(longest_bytes=10))

    assert [query.workloads for query in plan.queries] == [1, 1]


def test_histograms_are_cut_into_even_parts() -> None:
    fleet = fleet_of(asking(f"w{n:03d}", P95, QUEUE, model=f"{n:03d}") for n in range(301))

    plan = plan_queries(fleet)

    assert [(query.costly, len(query.serves)) for query in plan.queries] == [
        (True, 150), (True, 151), (False, 301),
    ]  # fmt: skip
    assert plan.queries[0].selectors[0].startswith("ttft_seconds_bucket{model=~")
    assert plan.queries[0].selectors[0].endswith(', le="+Inf"}')


def test_recorded_histograms_are_read_whole_and_their_age_is_that_of_the_raw_ones() -> None:
    fleet = fleet_of(asking(f"w{n:03d}", P95, model=f"{n:03d}") for n in range(301))
    raw = plan_queries(fleet)

    (query,) = plan_queries(fleet, limits=PlanLimits(recorded=True)).queries

    assert query.promql.startswith("max by (model) (inference_autoscaler:ttft_seconds:")
    assert (query.costly, len(query.serves)) == (False, 301)
    assert query.template == P95
    assert {one.split("{")[0] for one in query.selectors} == {"ttft_seconds_bucket"}
    assert sorted(served(raw)) == sorted(key for names in query.serves.values() for key in names)


@pytest.mark.parametrize("limit", ["scrape_seconds", "longest_bytes", "most_groups"])
def test_limits_are_positive(limit: str) -> None:
    values: dict[str, Any] = {limit: 0}
    with pytest.raises(ValueError, match="should be positive"):
        PlanLimits(**values)


def test_a_template_that_is_no_promql_names_its_workload() -> None:
    with pytest.raises(ConfigError, match=r"llm/a: spec.signals.s0.query: should be PromQL: uncl"):
        plan_queries(fleet_of([asking("a", "sum(up")]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([QUEUE, P95, "sum(queue{$match})", "time()"]),
            st.sampled_from(["east", "west"]),
            st.text(st.sampled_from('ab".|\\\n'), max_size=3),
        ),
        max_size=12,
    ),
    st.integers(1, 900),
    st.integers(1, 5),
    st.booleans(),
)
def test_every_signal_is_served_exactly_once(
    asked: list[tuple[str, str, str]], longest: int, most: int, recorded: bool
) -> None:
    fleet = fleet_of(
        asking(f"w{n}", query, source=source, model=value, ns="x")
        for n, (query, source, value) in enumerate(asked)
    )
    limits = PlanLimits(longest_bytes=longest, most_groups=most, recorded=recorded)

    plan = plan_queries(fleet, limits=limits)

    assert sorted(served(plan)) == sorted((f"llm/w{n}", "s0") for n in range(len(asked)))
    assert plan == plan_queries(fleet, limits=limits)
    for query in plan.queries:
        parse(query.promql)
        assert not query.costly or len(query.serves) <= most
        assert len(query.serves) == 1 or asked_bytes(query) <= longest
        for values in query.serves:
            assert len(values) == len(query.labels)
    assert {query.source for query in plan.queries} == {source for _, source, _ in asked}


@pytest.mark.slow
def test_ten_thousand_workloads_on_three_presets_cost_tens_of_queries() -> None:
    fleet = a_large_fleet(10_000, ("vllm-queue-latency", "sglang", "tgi"))

    begun = time.process_time()
    raw = plan_queries(fleet)
    taken = time.process_time() - begun
    recorded = plan_queries(fleet, limits=PlanLimits(recorded=True))

    assert raw.signals == 40_000
    assert sum(not query.costly for query in raw.queries) <= 20
    assert len(raw.queries) <= 100
    assert len(recorded.queries) <= 50
    assert max(map(asked_bytes, raw.queries)) <= PlanLimits().longest_bytes
    assert taken < 10.0  # a second or two; planning that looks at pairs would take minutes
