"""What is filled into a template: any value, in many workloads, means itself and nothing else."""

import re

import promql_parser as promql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.prometheus.template import (
    fill,
    literal,
    matcher,
    matchers,
    quoted,
    range_seconds,
)
from autoscaler.config.promql import parse

NASTY = st.text(
    st.sampled_from("ab-_/.\\\"'`|()[]{}^$*+?\n\t\r\x00\x7fé€ ,=~#") | st.characters(codec="utf-8"),
    max_size=12,
)


def read_back(text: str) -> promql.Matcher:
    """The only matcher of `up{...}`, as the parser understands it."""
    tree = parse(f"up{{{text}}}")
    assert isinstance(tree, promql.VectorSelector)
    (found,) = tree.matchers.matchers
    return found


@given(NASTY)
def test_one_value_is_matched_as_it_is(value: str) -> None:
    found = read_back(matcher("model", [value]))

    assert (found.name, found.op, found.value) == ("model", promql.MatchOp.Equal, value)


@given(st.sets(NASTY, min_size=2, max_size=6), NASTY)
def test_several_values_match_themselves_and_nothing_else(values: set[str], other: str) -> None:
    found = read_back(matcher("model", values))
    pattern = re.compile(rf"(?:{found.value})", re.DOTALL)

    assert found.op == promql.MatchOp.Re
    assert all(pattern.fullmatch(value) for value in values)
    assert bool(pattern.fullmatch(other)) == (other in values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        pytest.param(["llama-70b"], 'm="llama-70b"', id="one"),
        pytest.param(["b", "a"], 'm=~"a|b"', id="several are sorted"),
        pytest.param(["a", ""], 'm=~"|a"', id="none is an empty alternative"),
        pytest.param([""], 'm=""', id="none"),
        pytest.param(["a.b", "c"], r'm=~"a\\.b|c"', id="a point is escaped twice"),
        pytest.param(['"', "\\"], r'm=~"\"|\\\\"', id="quote and backslash"),
        pytest.param(["a\nb"], r'm="a\nb"', id="newline"),
        pytest.param(["\x01"], r'm="\x01"', id="control character"),
        pytest.param(["a/b-c", "d"], 'm=~"a/b-c|d"', id="slash and dash need nothing"),
    ],
)
def test_a_matcher_reads(values: list[str], text: str) -> None:
    assert matcher("m", values) == text


def test_all_matchers_stand_in_order_of_their_labels() -> None:
    assert matchers({"b": ["1"], "a": ["2", "3"]}) == 'a=~"2|3",b="1"'
    assert matchers({}) == ""


def test_a_literal_escapes_what_prometheus_counts_as_special_and_no_more() -> None:
    every = "".join(map(chr, range(32, 127)))

    assert set(re.findall(r"\\(.)", literal(every))) == set("\\.+*?()|[]{}^$")


def test_quoted_text_stands_on_one_line() -> None:
    assert quoted('a"b\\c\nd\te\rf') == r'"a\"b\\c\nd\te\rf"'


def test_a_template_is_filled_in() -> None:
    template = 'sum by ($labels) (rate(x{$match, engine!=""}[$window]))'

    query = fill(template, 'm="a"', ("m", "namespace"), 61)

    assert query == 'sum by (m, namespace) (rate(x{m="a", engine!=""}[61s]))'


@pytest.mark.parametrize(
    ("step", "scrape", "seconds"),
    [
        pytest.param(15, 15, 61, id="four scrapes, and not exactly"),
        pytest.param(300, 15, 301, id="a long step is covered whole"),
        pytest.param(100, 15, 100, id="no multiple of the scrape interval"),
        pytest.param(5, 0.7, 5, id="a fraction of a second"),
        pytest.param(1, 0.7, 3, id="rounded up"),
    ],
)
def test_a_range_holds_a_step_and_four_scrapes(step: float, scrape: float, seconds: int) -> None:
    assert range_seconds(step, scrape) == seconds


@given(st.integers(1, 3600), st.integers(1, 300))
def test_a_range_never_ends_on_a_scrape(step: int, scrape: int) -> None:
    seconds = range_seconds(step, scrape)

    assert seconds >= max(step, 4 * scrape)
    assert scrape == 1 or seconds % scrape
