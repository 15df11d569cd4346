"""Nonsense from a plug-in is a PolicyError: the journal can hold whatever passes."""

import math
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.answers import asked, lent, memory_copy, recommendation_in, verdict_in
from autoscaler.core.errors import Ended, PolicyError
from autoscaler.core.policy import Recommendation, Verdict

SURROGATE = "\ud800"


class Side(StrEnum):
    LEFT = "left"


class Lane(IntEnum):
    THIRD = 3


def answer(**fields: Any) -> Recommendation:
    return Recommendation(**{"replicas": 3, "reason": "so", **fields})


def nested(times: int) -> dict[str, Any]:
    return {"in": nested(times - 1)} if times else {}


@pytest.mark.parametrize(
    ("given_answer", "problem"),
    [
        pytest.param(None, "should return a Recommendation, not NoneType", id="nothing"),
        pytest.param(
            answer(replicas=-1), "replicas should be a whole number, 0 or more, not -1", id="less"
        ),
        pytest.param(answer(reason=5), "a reason should be text, not 5", id="a reason of 5"),
        pytest.param(
            answer(reason=SURROGATE), r"text should be Unicode, not '\ud800'", id="half a letter"
        ),
        pytest.param(
            answer(evidence={"a": math.nan}),
            "evidence should be finite numbers by name, not 'a': nan",
            id="evidence of NaN",
        ),
        pytest.param(
            answer(evidence=[1]), "evidence should be numbers by name, not [1]", id="a list"
        ),
        pytest.param(
            answer(memory={"a": {1, 2}}),
            "memory should hold JSON values only, not {1, 2}",
            id="a set in memory",
        ),
        pytest.param(
            answer(memory={"a": 2**70}),
            "memory should hold JSON values only, not 1180591620717411303424",
            id="more than 64 bits",
        ),
        pytest.param(
            answer(memory={"a": math.inf}),
            "memory should hold JSON values only, not inf",
            id="infinity in memory",
        ),
        pytest.param(
            answer(memory={"a": {1: 2}}),
            "memory should hold JSON values only, not {1: 2}",
            id="a number as a name",
        ),
        pytest.param(
            answer(memory={"a": nested(200)}),
            "memory should be nested at most 100 deep",
            id="boxes in boxes",
        ),
        pytest.param(
            answer(evidence={"a": 2**70}),
            "evidence should be finite numbers by name, not 'a': 1180591620717411303424",
            id="evidence of more than 64 bits",
        ),
        pytest.param(Verdict(1, ""), "should return a Recommendation, not Verdict", id="a verdict"),
        pytest.param(
            answer(memory=[1]), "memory should be JSON values by name, not [1]", id="no mapping"
        ),
        pytest.param(
            answer(forecast="rain"), "forecast should be a Forecast, not 'rain'", id="rain"
        ),
        pytest.param(
            answer(raise_only="no"), "raise_only should be true or false, not 'no'", id="a word"
        ),
    ],
)
def test_nonsense_is_named(given_answer: object, problem: str) -> None:
    with pytest.raises(PolicyError) as failure:
        recommendation_in(given_answer)

    assert str(failure.value) == problem


def test_a_verdict_is_checked_too() -> None:
    assert verdict_in(Verdict(None, "nobody")) == Verdict(None, "nobody")
    with pytest.raises(PolicyError, match="should return a Verdict, not int"):
        verdict_in(3)


def test_an_absurd_count_becomes_the_largest_that_kubernetes_holds() -> None:
    assert recommendation_in(answer(replicas=10**12)).replicas == 2**31 - 1
    assert verdict_in(Verdict(10**12, "so")).replicas == 2**31 - 1


def test_a_good_answer_passes_unchanged_and_its_memory_is_ours() -> None:
    memory: dict[str, Any] = {"a": [1, 2.5, None, True, "x"], "b": {"c": {}}}
    good = answer(memory=memory, evidence={"load": 2.0})

    passed = recommendation_in(good)
    memory["a"].append("later")

    assert passed.memory == {"a": [1, 2.5, None, True, "x"], "b": {"c": {}}}
    assert passed.evidence == {"load": 2.0}


def test_whole_numbers_are_evidence() -> None:
    assert recommendation_in(answer(evidence={"ready": 3, "load": 2.5})).evidence["ready"] == 3


def test_a_mapping_of_another_kind_is_kept_as_a_plain_one() -> None:
    plain = {"ready": 3, "grew": None, "up": True, "loads": [1.5, "x", [False]]}
    kept = memory_copy(MappingProxyType({"size": MappingProxyType(plain)}))

    assert kept == {"size": plain}
    assert kept is not None
    assert type(kept["size"]) is dict
    assert kept["size"]["loads"] is not plain["loads"]


def test_a_memory_may_be_broader_than_it_may_be_deep() -> None:
    broad: dict[str, Any] = {str(number): [{}] for number in range(300)}

    assert memory_copy(broad) == broad


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("oh"), "ValueError: oh"),
        (SystemExit(1), "SystemExit: 1"),
        (UnspeakableError(), "UnspeakableError: and its text cannot be read"),
    ],
)
def test_whatever_a_plug_in_raises_is_caught(error: BaseException, text: str) -> None:
    def plugin() -> object:
        raise error

    with pytest.raises(PolicyError) as failure:
        asked(plugin)

    assert str(failure.value) == text


@pytest.mark.parametrize("end", [KeyboardInterrupt(), Ended(143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_person_can_still_stop_it(end: BaseException) -> None:
    def plugin() -> object:
        raise end

    with pytest.raises(type(end)):
        asked(plugin)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text()
    | st.binary()
    | st.tuples(st.integers()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(anything)
def test_what_passes_survives_json(memory: object) -> None:
    try:
        copy = memory_copy(memory)
    except PolicyError:
        return

    assert copy is None or orjson.loads(orjson.dumps(copy)) == copy == memory
    assert lent(copy) == copy
    assert copy is None or lent(copy) is not copy


@pytest.mark.parametrize(
    ("kept", "plain"),
    [
        pytest.param(np.float64(1.5), 1.5, id="a number of numpy"),
        pytest.param(Side.LEFT, "left", id="a word of an enumeration"),
        pytest.param(Lane.THIRD, 3, id="a number of an enumeration"),
    ],
)
def test_a_kind_of_a_plain_value_is_remembered_as_the_plain_value(
    kept: object, plain: object
) -> None:
    found = lent(memory_copy({"kept": kept}))

    assert found == {"kept": plain}
    assert type(found["kept"]) is type(plain)
