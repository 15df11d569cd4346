"""What can be said of a PromQL template without a PromQL parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config.query import placeholders_in, query_faults


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
        "up # first (line\n+ (up)",
    ],
)
def test_has_no_objection_to(query: str) -> None:
    assert list(query_faults(query)) == []


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
    ],
)  # fmt: skip
def test_objects_to(query: str, fault: str) -> None:
    assert list(query_faults(query)) == [fault]


def test_names_every_unknown_placeholder_once() -> None:
    faults = list(query_faults("a{$x} + b{$x} + c{$y}"))

    assert [fault.rpartition("not ")[2] for fault in faults] == ["$x", "$y"]


def test_knows_which_placeholders_a_template_uses() -> None:
    assert placeholders_in("rate(up{$match}[$window])") == {"$match", "$window"}


@given(st.text(st.sampled_from("ab(){}[]'\"`\\$#\n"), max_size=30))
def test_brackets_are_balanced_exactly_if_nothing_is_said_of_them(query: str) -> None:
    """Against rewriting: strings and comments away, then pairs away until none is left."""
    import re

    strings = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*"
    bare = re.sub(strings, "", query, flags=re.DOTALL)
    while (shorter := re.sub(r"\(\)|\[\]|\{\}", "", re.sub(r"[^(){}\[\]'\"`]", "", bare))) != bare:
        bare = shorter

    assert (bare == "") == (not [f for f in query_faults(query) if "placeholders" not in f])
