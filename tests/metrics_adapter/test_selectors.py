import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_adapter.selectors import Requirement, SelectorError, parse

LABELS = {"app": "chat", "tier": "gold", "size": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("", True, id="everything"),
        pytest.param("app=chat", True, id="equal"),
        pytest.param("app==chat", True, id="equal, twice"),
        pytest.param("app=code", False, id="not equal to it"),
        pytest.param("app!=code", True, id="unequal"),
        pytest.param("none!=code", True, id="a label that is not there is unequal"),
        pytest.param("app=chat,tier=gold", True, id="both"),
        pytest.param("app=chat,tier=silver", False, id="one of two"),
        pytest.param("app in (chat, code)", True, id="in"),
        pytest.param("app in(code)", False, id="in without a space"),
        pytest.param("app notin (code,x)", True, id="notin"),
        pytest.param("app notin (chat)", False, id="notin that is"),
        pytest.param("none notin (a)", True, id="notin without the label"),
        pytest.param("app", True, id="there"),
        pytest.param("none", False, id="not there"),
        pytest.param("!none", True, id="absent"),
        pytest.param("!app", False, id="absent that is there"),
        pytest.param("size>5", True, id="more"),
        pytest.param("size<5", False, id="less"),
        pytest.param("app>5", False, id="more than a word"),
        pytest.param("none>5", False, id="more than nothing"),
        pytest.param("empty=", True, id="the empty value"),
        pytest.param("empty=,app=chat", True, id="the empty value in between"),
        pytest.param("empty in (,a)", True, id="the empty value in a set"),
        pytest.param("empty in ()", True, id="an empty set holds the empty value"),
        pytest.param("  app = chat ,\ttier\n", True, id="spaces"),
        pytest.param("example.com/app=x", False, id="a prefix"),
        pytest.param("in=x,notin in (in)", False, id="words as names"),
    ],
)
def test_selectors_match_as_in_kubernetes(text: str, matches: bool) -> None:
    assert parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(",", "',' is not the name of a label", id="a comma"),
        pytest.param("a=b,", "'' is not the name of a label", id="a comma at the end"),
        pytest.param("a b", "found 'b', expected one of: in, notin, =, ==, !=, >, <", id="words"),
        pytest.param("a=b c", "found 'c', expected ',' or the end", id="two values"),
        pytest.param("a===b", "'=' is not the value of a label", id="too equal"),
        pytest.param("a in b", "in and notin should be followed by values in par", id="no set"),
        pytest.param("a in (b", "values should end with ')'", id="an open set"),
        pytest.param("a in (b c)", "found 'c', expected ',' or ')'", id="no comma"),
        pytest.param("a>b", "a: should be compared with a whole number, not 'b'", id="more"),
        pytest.param("a>99999999999999999999", "a: should be compared", id="too large a number"),
        pytest.param("a>9223372036854775808", "a: should be compared", id="a bit too large"),
        pytest.param("-a=b", "'-a' is not the name of a label", id="name"),
        pytest.param("a/b/c=d", "'a/b/c' is not the name of a label", id="two prefixes"),
        pytest.param("A_/c=d", "'A_/c' is not the name of a label", id="prefix"),
        pytest.param("a=b/c", "'b/c' is not the value of a label", id="value"),
        pytest.param("a=" + "b" * 64, "is not the value of a label", id="a long value"),
        pytest.param("!", "'' is not the name of a label", id="absent what"),
        pytest.param("!a=b", "found '=', expected ',' or the end", id="absent and equal"),
        pytest.param("a" * 4097, "should have at most 4096 characters, not 4097", id="long"),
        pytest.param("a," * 32 + "a", "should have at most 32 parts", id="many"),
    ],
)
def test_what_is_no_selector_says_why(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse(text)

    assert message in str(refused.value)


NAMES = st.text(alphabet="aB0", min_size=1, max_size=4)
VALUES = NAMES | st.just("")
REQUIREMENTS = st.one_of(
    st.builds(Requirement, NAMES, st.sampled_from(["exists", "absent"])),
    st.builds(
        Requirement, NAMES, st.sampled_from(["in", "notin"]), st.frozensets(VALUES, min_size=1)
    ),
    st.builds(
        lambda name, operator, number: Requirement(name, operator, frozenset({str(number)})),
        NAMES,
        st.sampled_from(["gt", "lt"]),
        st.integers(0, 2**63 - 1),
    ),
)


def written(one: Requirement) -> str:
    values = ",".join(sorted(one.values))
    match one.operator:
        case "exists":
            return one.key
        case "absent":
            return f"!{one.key}"
        case "gt" | "lt":
            return f"{one.key} {'>' if one.operator == 'gt' else '<'} {values}"
        case _:
            return f"{one.key} {one.operator} ({values})"


@given(st.lists(REQUIREMENTS, min_size=1, max_size=8))
def test_what_is_written_reads_back(requirements: list[Requirement]) -> None:
    found = parse(",".join(map(written, requirements)))

    assert list(found.requirements) == sorted(requirements, key=lambda one: one.key)


@given(st.text(alphabet="ab/=!(),<> innot\t.-1", max_size=40))
def test_any_text_is_a_selector_or_says_why(text: str) -> None:
    with contextlib.suppress(SelectorError):
        assert parse(text).matches(LABELS) in (True, False)


@given(st.lists(REQUIREMENTS, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4))
def test_opposites_never_agree(requirements: list[Requirement], labels: dict[str, str]) -> None:
    opposite = {"in": "notin", "notin": "in", "exists": "absent", "absent": "exists"}
    for one in requirements:
        if one.operator in opposite:
            other = Requirement(one.key, opposite[one.operator], one.values)
            assert one.matches(labels) is not other.matches(labels)
