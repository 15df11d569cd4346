"""Label selectors, as objects and as text."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.label_selectors import (
    Condition,
    Selector,
    of_object,
    of_text,
)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        pytest.param("app=a", {"app": "a"}, {"app": "b"}, id="equal"),
        pytest.param("app==a, tier!=b", {"app": "a"}, {"app": "a", "tier": "b"}, id="not equal"),
        pytest.param("app in (a, b)", {"app": "b"}, {"app": "c"}, id="in"),
        pytest.param("app notin (a,b)", {}, {"app": "a"}, id="an absent label is in no list"),
        pytest.param("app", {"app": ""}, {}, id="exists"),
        pytest.param("!app", {}, {"app": "a"}, id="does not exist"),
        pytest.param("app=", {"app": ""}, {"app": "a"}, id="an empty value"),
    ],
)
def test_a_text_picks(text: str, yes: Mapping[str, str], no: Mapping[str, str]) -> None:
    selector = of_text(text)

    assert selector is not None
    assert selector.matches(yes)
    assert not selector.matches(no)


@pytest.mark.parametrize("text", ["", "  ", None, 5, "a b c", "app in", "(x)", "a=1,,b=2"])
def test_what_is_no_selector_picks_nothing(text: object) -> None:
    assert of_text(text) is None


def test_an_object_picks_by_all_its_conditions() -> None:
    selector = of_object(
        {
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["x", "y"]},
                {"key": "d", "operator": "DoesNotExist"},
            ],
        }
    )

    assert selector == Selector(
        (("a", "1"), ("b", "2")),
        (Condition("c", "In", ("x", "y")), Condition("d", "DoesNotExist")),
    )
    assert selector.text == "a=1,b=2,c in (x,y),!d"


@pytest.mark.parametrize(
    "selector",
    [None, "app=a", {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}],
)
def test_an_object_that_is_not_understood_picks_nothing(selector: Any) -> None:
    assert of_object(selector) is None


def test_an_empty_object_picks_everything() -> None:
    selector = of_object({})

    assert selector is not None
    assert selector.matches({"any": "thing"})


names = st.text("abc./-", min_size=1, max_size=5).filter(lambda name: name not in {"in", "notin"})
values = st.text("xyz", max_size=3)
conditions = st.one_of(
    st.builds(
        Condition,
        names,
        st.sampled_from(["In", "NotIn"]),
        st.lists(values, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Condition, names, st.sampled_from(["Exists", "DoesNotExist"])),
)
selectors = st.builds(
    Selector,
    st.dictionaries(names, values, max_size=3).map(lambda labels: tuple(sorted(labels.items()))),
    st.lists(conditions, max_size=3).map(tuple),
)


@given(selector=selectors, labels=st.dictionaries(names, values))
def test_a_selector_means_the_same_as_text(selector: Selector, labels: dict[str, str]) -> None:
    again = of_text(selector.text)

    assert (again or Selector()).matches(labels) == selector.matches(labels)
