"""What a template says of its own query: sharing it is proven, not hoped for."""

from pathlib import Path

import pytest

from autoscaler.adapters.prometheus.promql import Reach, shape_of
from autoscaler.adapters.prometheus.template import fill, matchers
from tests.adapters.prometheus.promtool import differences, needs_promtool

LABELS = ("model", "ns")

SHARED = [
    "sum by ($labels) (x{$match})",
    "x_one{$match}",
    "sum by ($labels) (rate(x{$match}[$window]))",
    "avg by ($labels) (max by ($labels, pod) (x{$match}))",
    "sum without (pod) (x{$match})",
    "sum by ($labels) (x{$match} + y{$match})",
    "sum by ($labels) (x{$match}) / sum by ($labels) (y{$match})",
    "sum by ($labels) (x{$match}) / on ($labels) sum by ($labels, extra) (y{$match})",
    "sum by ($labels) (x{$match}) / ignoring (pod) sum by ($labels) (y{$match})",
    "sum by ($labels) (x{$match}) or sum by ($labels) (y{$match})",
    "sum by ($labels) (nothing{$match}) or sum by ($labels) (y{$match})",
    "-sum by ($labels) (x{$match}) * -(2)",
    "sum by ($labels) (x{$match}) > (1 + 1)",
    "sum by ($labels) (x{$match}) / scalar(sum(whole))",
    "sum by ($labels) (x{$match}) * on () group_left () sum(whole)",
    "sum(whole) * on () group_right () sum by ($labels) (x{$match})",
    "sum by ($labels) (x{$match}) and on () whole",
    "sum by ($labels) (x{$match}) unless on () nothing",
    "sum by ($labels) (x{$match} * on (pod) group_left (node) info{})",
    "sum by ($labels) (max_over_time(x{$match}[$window]))",
    "sum by ($labels) (max_over_time(sum by ($labels) (x{$match})[$window:15s]))",
    "quantile by ($labels) (0.5, x{$match})",
    "topk by ($labels) (1, sum by ($labels) (x{$match}))",
    'label_replace(sum by ($labels) (x{$match}), "to", "$1", "model", "(.*)")',
    "histogram_quantile(0.5, sum by ($labels, le) (rate(h_bucket{$match}[$window])))",
    "sum by ($labels) (x{$match}) * time()",
]  # fmt: skip

APART = [
    "sum(x{$match})",
    "sum by (ns) (x{$match})",
    "sum without (model) (x{$match})",
    "max(sum by ($labels) (x{$match}))",
    "scalar(x{$match})",
    "absent(x{$match})",
    "sum by ($labels) (x{$match}) / scalar(sum(y{$match}))",
    "sum by ($labels) (x{$match}) / on (ns) group_left () sum by (ns) (y{$match})",
    "sum by ($labels) (x{$match}) / on () group_left () sum by ($labels) (y{$match})",
    "sum by ($labels) (x{$match}) / ignoring (model) group_left () sum by ($labels) (y{$match})",
    "sum by ($labels) (x{$match}) / on (ns) whole_of_ns",
    "sum by ($labels) (x{$match}) or on () whole",
    "sum(whole) and on () sum by ($labels) (x{$match})",
    "sum(whole) * on () group_left () sum by ($labels) (x{$match})",
    "sum by ($labels) (x{$match}) * on () group_left (model) whole",
    "quantile by ($labels) (scalar(y{$match}), x{$match})",
    "topk(1, sum by ($labels) (x{$match}))",
    'count_values by ($labels) ("model", x{$match})',
    'label_replace(sum by ($labels) (x{$match}), ("model"), "same", "", "")',
    'label_join(sum by ($labels) (x{$match}), "model", "-", "ns")',
    "vector(scalar(x{$match})) + sum(whole)",
]

FIXED = ["sum(whole)", "sum by ($labels) (whole)", "time()", "whole * on () group_left () whole",
         "quantile(0.5, whole)", "sum(rate(whole[$window]))"]  # fmt: skip


@pytest.mark.parametrize("template", SHARED)
def test_can_be_shared(template: str) -> None:
    assert shape_of(template, LABELS, 61).reach is Reach.EACH


@pytest.mark.parametrize("template", APART)
def test_cannot_be_shared(template: str) -> None:
    assert shape_of(template, LABELS, 61).reach is Reach.ACROSS


@pytest.mark.parametrize("template", FIXED)
def test_is_the_same_for_everybody(template: str) -> None:
    assert shape_of(template, LABELS, 61).reach is Reach.FIXED


def test_without_labels_to_keep_everything_that_matches_can_be_shared() -> None:
    assert shape_of("sum(x{$match})", (), 61).reach is Reach.EACH


WORKLOADS = [("a.b", "n1"), ("a|b", "n1"), ('c"\\', "n2")]


def world() -> dict[str, str]:
    """Two pods of each workload, and a stranger that the union of matchers also takes in."""
    series = {"whole{}": "7x100", 'info{pod="none"}': "1x100"}
    for number, (model, ns) in enumerate([*WORKLOADS, ("a.b", "n2")]):
        both = matchers({"model": [model], "ns": [ns]})
        series[f"x_one{{{both}}}"] = f"{number + 1}x100"
        for pod in ("p", "q"):
            name = f'{both},pod="{pod}{number}"'
            series[f"x{{{name}}}"] = f"{number}+{number + 1}x100"
            series[f"y{{{name}}}"] = f"{number + 5}x100"
            series[f'info{{pod="{pod}{number}",node="gpu"}}'] = "1x100"
            for le, slope in (("0.1", 1), ("1", 3 + number), ("+Inf", 9)):
                series[f'h_bucket{{{name},le="{le}"}}'] = f"0+{slope}x100"
    return series


def asked(template: str, *members: tuple[str, str]) -> str:
    columns = zip(*members, strict=True)
    values = {label: set(column) for label, column in zip(LABELS, columns, strict=True)}
    return "(" + fill(template, matchers(values), LABELS, 61) + ")"


@needs_promtool
def test_shared_queries_answer_what_each_workload_would_have_got(tmp_path: Path) -> None:
    """Prometheus is the judge: equal values with equal labels, for each workload."""
    expected = []
    for template in SHARED:
        together = asked(template, *WORKLOADS)
        apart = " or ".join(asked(template, one) for one in WORKLOADS)
        expected.append((f"count({together} == ({apart}))", float(len(WORKLOADS))))
        expected.append((f"count({apart})", float(len(WORKLOADS))))

    assert differences(tmp_path, world(), expected) == ""


@needs_promtool
def test_the_judge_would_notice(tmp_path: Path) -> None:
    together = asked("sum by (ns) (x{$match})", *WORKLOADS)
    apart = " or ".join(asked("sum by (ns) (x{$match})", one) for one in WORKLOADS)

    assert differences(tmp_path, world(), [(f"count({together} == ({apart}))", 3.0)])


@pytest.mark.parametrize(
    ("template", "selectors"),
    [
        pytest.param("sum(rate(x{$match}[5m]))", ["x{$match}"], id="one"),
        pytest.param(
            'x{$match, engine!="", a=~"b\\"|c", d!~"e"}',
            ['x{$match, engine!="", a=~"b\\"|c", d!~"e"}'],
            id="its other matchers stay, escaped",
        ),
        pytest.param("x{$match} + x{$match} + y{$match}", ["x{$match}", "y{$match}"], id="once"),
        pytest.param("x{$match} offset 1h @ 5", ["x{$match}"], id="how old it is now, not then"),
        pytest.param(
            "histogram_quantile(0.9, rate(h_bucket{$match}[1m]))",
            ['h_bucket{$match, le="+Inf"}'],
            id="one bucket tells the age of a histogram",
        ),
        pytest.param('h_bucket{$match, le="1"}', ['h_bucket{$match, le="1"}'], id="named"),
        pytest.param("x{$match} * on (pod) group_left (node) info", ["x{$match}"], id="joined"),
        pytest.param("sum by ($labels) (whole)", ["whole"], id="without $match"),
        pytest.param('{__name__="x", $match}', ['{__name__="x", $match}'], id="named by a matcher"),
        pytest.param("time()", [], id="no series"),
    ],
)  # fmt: skip
def test_the_series_behind_a_query_are_told(template: str, selectors: list[str]) -> None:
    assert list(shape_of(template, LABELS, 61).selectors) == selectors


@pytest.mark.parametrize(
    ("template", "costly"),
    [
        ("sum by ($labels) (rate(x{$match}[$window]))", False),
        ("histogram_quantile(0.9, sum by ($labels, le) (rate(h_bucket{$match}[$window])))", True),
        ("1 - histogram_fraction(0, 1, sum by ($labels) (rate(h{$match}[$window])))", True),
    ],
)
def test_histograms_are_costly(template: str, costly: bool) -> None:
    assert shape_of(template, LABELS, 61).costly is costly


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        shape_of("sum(up", LABELS, 61)
