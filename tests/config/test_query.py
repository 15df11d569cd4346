"""What is wrong with a PromQL template, said before any Prometheus sees it; and filling one in."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config import load_fleet
from autoscaler.config.promql import nodes, parse
from autoscaler.config.query import _unbalanced, filled, pieces, placeholders_in, query_faults
from autoscaler.core.errors import ConfigError
from tests.config.texts import changed

P95 = "histogram_quantile({}, {} (rate(ttft_bucket{{$match}}[$window])))"
SHORT = (
    "rate should look back at least one step (15 s), or it never sees what lies between; "
    "not 10 s; write [$window]"
)
NO_LE = "histogram_quantile needs the label le of every bucket: write sum by ($labels, le) (...)"


@pytest.mark.parametrize(
    "query",
    [
        "up",
        'sum by ($labels) (rate(vllm:tokens_total{$match, engine!=""}[$window]))',
        'label_replace(up{$match}, "pod", "$1", "instance", "(.*)")',
        'label_replace(up, "pod", "${1}", "instance", "(.*)")',
        'up{job=~"a|b$"}',
        "up{job='it\\'s (fine'}",
        "up{job=`a\\`} # and a (comment",
        'up{job=`a"b`}',
        "up # first (line $match\n+ (up)",
        "up offset $window",
        "sum(up) by ($labels)",
        "a / on ($labels) group_left (x) b",
        'up{job=~"\\\\Qa.b\\\\E"}',
        "max_over_time(up{$match}[$window:15s])",
        "rate(up{$match}[10m])",
        "irate(up{$match}[1s])",
        "rate(up{$match}[1s:1s])",
        P95.format(0.95, "sum by ($labels, le)"),
        P95.format(0.95, "sum without (pod)"),
        "histogram_quantile(0.95, sum by ($labels) (rate(native_seconds{$match}[$window])))",
        "histogram_quantile(0.95, rate(ttft_bucket{$match}[$window]))",
        "histogram_quantile(0.95, sum(vector(1)))",
        "quantile by ($labels) (1, up{$match})",
        "quantile(scalar(up), up)",
    ],
)
def test_has_no_objection_to(query: str) -> None:
    assert list(query_faults(query, 15)) == []


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("up{$sel}", "placeholders should be $match, $labels, $window, not $sel; write $match"),
        ("up[$w]", "placeholders should be $match, $labels, $window, not $w; write $window"),
        ("up{${w}}", "placeholders should be $match, $labels, $window, not ${w}; write $window"),
        ("up{$foo}", "placeholders should be $match, $labels, $window, not $foo"),
        ("sum(up", "the ( at character 4 is never closed"),
        ("sum(up))", "the ) at character 8 closes nothing"),
        ("sum(up]", "the ] at character 7 closes nothing"),
        ("up{$match", "the { at character 3 is never closed"),
        ('up{a="b}', 'the quote " at character 6 is never closed'),
        ("up{a='b\\'}", "the quote ' at character 6 is never closed"),
        (
            'up{a="$match"}',
            '$match stands in a quoted text, where nothing is filled in: "$match"',
        ),
        ("up($match)", "$match should stand in braces: metric{$match}, not at character 4"),
        ("$match", "$match should stand in braces: metric{$match}, not at character 1"),
        ("(up){$labels}", "$labels should stand in by ($labels), not at character 6"),
        ("rat(up[5m])", "should be PromQL: unknown function with name 'rat'"),
        (
            "rate(up{$match})",
            "should be PromQL: expected type matrix in call to function 'rate', got vector",
        ),
        ("  ", "should be PromQL: no expression found in input"),
        ("sum by $labels (up)", "$labels should stand in by ($labels), not at character 8"),
        (
            'up{a="b" or c="d"}',
            "should have no 'or' within braces: no released Prometheus knows it; join with ' or '",
        ),
        (
            "(up{$match}[$window])",
            "should answer one value at each time, not a range; put it into a function: rate(...)",
        ),
        (
            "up[$window:15s]",
            "should answer one value at each time, not a range; put it into a function: rate(...)",
        ),
        ("'up'", "should answer a number, not the text 'up'"),
        ("rate(up{$match}[10s])", SHORT),
        (
            P95.format(95, "sum by ($labels, le)"),
            "histogram_quantile should be asked for a share from 0 to 1, not 95",
        ),
        (
            "quantile by ($labels) (-(0.5), up{$match})",
            "quantile should be asked for a share from 0 to 1, not -0.5",
        ),
        (P95.format(0.95, "sum by ($labels)"), NO_LE),
        (P95.format(0.95, "sum without (le)"), NO_LE),
        ("histogram_quantile(0.9, (sum(rate(ttft_bucket[$window]))))", NO_LE),
    ],
)
def test_objects_to(query: str, fault: str) -> None:
    assert list(query_faults(query, 15)) == [fault]


def test_without_a_step_no_range_is_too_short() -> None:
    assert list(query_faults("rate(up{$match}[1s])")) == []


def test_names_every_unknown_placeholder_once() -> None:
    faults = list(query_faults("a{$x} + b{$x} + c{$y}"))

    assert [fault.rpartition("not ")[2] for fault in faults] == ["$x", "$y"]


def test_knows_which_placeholders_a_template_uses() -> None:
    assert placeholders_in("rate(up{$match}[$window])") == {"$match", "$window"}


def test_a_typo_is_told_with_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    text = changed(("query: sum", "query: rat(up[5m]) + sum"))
    file.write_text(text, encoding="utf-8")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "rat(up" in row)

    with pytest.raises(ConfigError) as raised:
        load_fleet([file])

    assert len(raised.value.problems) == 1
    assert re.fullmatch(
        rf"{re.escape(str(file))}:{line}: spec\.signals\.\w+\.query: "
        r"should be PromQL: unknown function with name 'rat'",
        raised.value.problems[0],
    )


@pytest.mark.parametrize(
    ("step", "fine"),
    [pytest.param("60", False, id="a longer step"), pytest.param("15", True, id="the same")],
)
def test_the_step_of_the_signal_decides_whether_a_range_is_too_short(
    tmp_path: Path, step: str, fine: bool
) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(
        changed(("query: sum", f"stepSeconds: {step}\n      query: rate(up[15s]) + sum")),
        encoding="utf-8",
    )
    if fine:
        assert load_fleet([file]).workloads
    else:
        with pytest.raises(ConfigError, match=r"at least one step \(60 s\)"):
            load_fleet([file])


@given(st.text(st.sampled_from("ab(){}[]'\"`\\$#\n"), max_size=30))
def test_brackets_are_balanced_exactly_if_nothing_is_said_of_them(query: str) -> None:
    """Against rewriting: strings and comments away, then pairs away until none is left."""
    strings = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*"
    bare = re.sub(strings, "", query, flags=re.DOTALL)
    while (shorter := re.sub(r"\(\)|\[\]|\{\}", "", re.sub(r"[^(){}\[\]'\"`]", "", bare))) != bare:
        bare = shorter

    assert (bare == "") == (_unbalanced(query) is None)


@given(st.text(st.sampled_from("ab(){}[]'\"`\\$# \n,matchlbels"), max_size=40))
def test_any_text_is_answered_with_sentences(query: str) -> None:
    assert all(fault and "\n" not in fault for fault in query_faults(query, 15))


@given(st.text(st.sampled_from("ab$match{}'\"`\\#\n"), max_size=40))
def test_the_pieces_are_the_query(query: str) -> None:
    assert "".join(piece.text for piece in pieces(query)) == query


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("up{$match}", 'up{a="b"}', id="matchers"),
        pytest.param("sum by ($labels, le) (up)", "sum by (a, le) (up)", id="labels"),
        pytest.param("rate(up[$window])", "rate(up[61s])", id="window"),
        pytest.param('up{x="$match"}', 'up{x="$match"}', id="not in quoted text"),
        pytest.param("up{$matchers}", "up{$matchers}", id="not a longer word"),
    ],
)
def test_is_filled_in(template: str, expected: str) -> None:
    assert filled(template, match='a="b"', labels="a", window="61s") == expected


@pytest.mark.parametrize(
    "template",
    ["up{$match}", 'up{$match, x="y"}', 'up{x="y", $match}', 'up{x="y",$match,}',
     "sum by ($labels) (up)", "sum by ($labels, le) (up)", "sum by (le, $labels) (up)"],
)  # fmt: skip
def test_nothing_to_fill_in_leaves_no_stray_comma(template: str) -> None:
    parse(filled(template, match="", labels="", window="61s"))


def test_the_nodes_of_a_tree_come_parents_first() -> None:
    names = [type(node).__name__ for node in nodes(parse("sum(rate(up[5m]))"))]

    assert names == ["AggregateExpr", "Call", "MatrixSelector", "VectorSelector"]
