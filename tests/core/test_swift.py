"""A swift dataclass is the same as any frozen one; only its making is faster."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.swift import swift


@dataclass(frozen=True, slots=True)
class Plain:
    """A thing."""

    name: str
    count: int = 3
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count should be 0 or more")


@swift
@dataclass(frozen=True, slots=True)
class Swift:
    """A thing."""

    name: str
    count: int = 3
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count should be 0 or more")


given_fields = st.fixed_dictionaries(
    {"name": st.text()},
    optional={"count": st.integers(), "seen": st.dictionaries(st.text(), st.integers())},
)


def made(kind: Any, fields: dict[str, Any]) -> Any:
    """The fields of the object made, or what was said instead."""
    try:
        one = kind(**fields)
    except ValueError as error:
        return str(error)
    return one.name, one.count, one.seen, repr(one).removeprefix(kind.__name__)


@given(given_fields)
def test_it_is_made_as_a_plain_one_is(fields: dict[str, Any]) -> None:
    assert made(Swift, fields) == made(Plain, fields)


def test_it_cannot_be_changed() -> None:
    one = Swift("a")

    with pytest.raises(FrozenInstanceError):
        one.count = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.count
    assert (type(one), one.count) == (Swift, 3)


def test_copies_equal_it() -> None:
    one = Swift("a", 1, {"b": 2})

    copies = [copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replace(one)]
    assert copies == [one] * 4
    assert {type(each) for each in copies} == {Swift}
    assert replace(one, count=2) == Swift("a", 2, {"b": 2}) != one


def test_two_share_no_default() -> None:
    assert Swift("a").seen is not Swift("b").seen


def test_arguments_are_told_as_of_a_plain_one() -> None:
    assert list(inspect.signature(Swift).parameters) == list(inspect.signature(Plain).parameters)
    assert Swift.__init__.__annotations__ == Plain.__init__.__annotations__
    with pytest.raises(TypeError, match=r"Swift.__init__\(\) missing 1 required .*'name'"):
        made(Swift, {})


@dataclass
class Open:
    name: str


@dataclass(frozen=True)
class WithoutSlots:
    name: str


@dataclass(frozen=True, slots=True)
class Derived(Plain):
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ByNameOnly:
    name: str


@dataclass(frozen=True, slots=True)
class WorkedOut:
    name: str = field(init=False, default="")


@pytest.mark.parametrize("kind", [Open, WithoutSlots, Derived, ByNameOnly, WorkedOut])
def test_another_kind_of_class_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} should be a plain dataclass, frozen"):
        swift(kind)
