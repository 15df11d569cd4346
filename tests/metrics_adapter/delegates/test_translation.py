"""Another adapter's values, told in our version: what is passed on, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ObservationError
from metrics_adapter.reply import LONGEST_PART
from metrics_adapter.targets import CUSTOM, EXTERNAL
from metrics_adapter.translation import Steps, translated
from tests.metrics_adapter.incumbents import SELECTOR, an_item

V1BETA2 = "custom.metrics.k8s.io/v1beta2"
HITS = "an item of its answer has a value of hits that "


def done(steps: Steps) -> bytes:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bytes(end.value)


def listing(items: str) -> bytes:
    return f'{{"kind":"MetricValueList","items":{items}}}'.encode()


def told(body: bytes, version: str = "v1beta1") -> Any:
    return json.loads(done(translated(200, body, CUSTOM, version, "hits")))


@pytest.mark.parametrize("items", ["null", "[]"])
def test_a_list_of_nothing_stays_one(items: str) -> None:
    assert told(listing(items)) == {
        "kind": "MetricValueList", "apiVersion": V1BETA2, "metadata": {}, "items": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param('{"a":' * 300 + "1" + "}" * 300, id="deep"),
        pytest.param('{"a":' + "1" * 30 + "}", id="more than 64 bits"),
        pytest.param("5", id="no object"),
    ],
)
def test_only_the_items_of_a_list_are_passed_on(metadata: str) -> None:
    body = f'{{"kind":5,"metadata":{metadata},"items":[],"more":[]}}'.encode()

    assert told(body) == told(listing("[]"))


KINDS = [
    pytest.param(CUSTOM, "v1beta1", '"metricName":"hits"', id="custom, v1beta1"),
    pytest.param(CUSTOM, "v1beta2", '"metric":{"name":"hits"}', id="custom, v1beta2"),
    pytest.param(EXTERNAL, "v1beta1", '"metricName":"hits"', id="external"),
]


@pytest.mark.parametrize(("group", "version", "name"), KINDS)
@pytest.mark.parametrize(
    ("value", "lacks"),
    [
        pytest.param("null", "is none", id="null"),
        pytest.param("{}", "is none", id="an object"),
        pytest.param("true", "is none", id="yes"),
        pytest.param('"many"', "is no quantity", id="a word"),
        pytest.param('"m"', "is no quantity", id="a suffix alone"),
        pytest.param('"-5"', "is below zero", id="below zero"),
        pytest.param("-0.001", "is below zero", id="a number below zero"),
        pytest.param('"-1n"', "is below zero", id="below zero by next to nothing"),
        pytest.param('"10E"', "has more than 64 bits", id="beyond thousandths"),
        pytest.param("1" * 40, "has more than 64 bits", id="beyond 64 bits"),
        pytest.param('"1e99999"', "has more than 64 bits", id="beyond all floats"),
        pytest.param("1e999", "is no quantity", id="beyond all bounds"),
    ],
)
def test_a_value_that_no_hpa_may_be_shown_is_refused_whoever_answers(
    group: str, version: str, name: str, value: str, lacks: str
) -> None:
    body = listing(f'[{{{name},"value":{value}}}]')

    with pytest.raises(ObservationError) as refused:
        done(translated(200, body, group, version, "hits"))

    assert str(refused.value) == f"{HITS}{lacks}"


@pytest.mark.parametrize(("group", "version", "name"), KINDS)
@pytest.mark.parametrize("value", ["0", '"0"', "7", "0.5", '"31500m"', '"1Ki"', '"1e3"'])
def test_other_values_are_passed_on_as_they_are(
    group: str, version: str, name: str, value: str
) -> None:
    body = listing(f'[{{{name},"value":{value}}}]')

    (item,) = json.loads(done(translated(200, body, group, version, "hits")))["items"]

    assert item["value"] == json.loads(value)


@pytest.mark.parametrize(("group", "version", "name"), KINDS)
@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param('[{"value":"1"}]', "an item of its answer is not of hits", id="no name"),
        pytest.param(
            '[{"value":"1","metric":"hits","metricName":5}]',
            "an item of its answer is not of hits", id="a name of another kind",
        ),
        pytest.param("[{}]", "an item of its answer is not of hits", id="nothing"),
        pytest.param("[[]]", "an item of its answer is no object", id="no object"),
        pytest.param('[],"items":[]', "its answer (200) has items twice", id="twice"),
        pytest.param('{"a":1}', "its answer (200) has no list of items", id="no list"),
        pytest.param(
            "[{NAME,VALUE} {NAME}]", "its answer (200) is no object in JSON", id="no JSON"
        ),
        pytest.param(
            '[{NAME,VALUE,"more":"\\ud800"}]', "its answer (200) is no object in JSON",
            id="half a character",
        ),
        pytest.param(
            '[{NAME,VALUE,"more":NaN}]', "its answer (200) is no object in JSON", id="NaN"
        ),
        pytest.param(
            '[{NAME,VALUE,"more":' + "1" * 30 + "}]", "its answer (200) is no object in JSON",
            id="more than 64 bits",
        ),
        pytest.param(
            '[{NAME,VALUE,"more":' + "[" * 300 + "]" * 300 + "}]",
            "its answer (200) is no object in JSON", id="deep",
        ),
        pytest.param(
            '[{NAME,VALUE,"more":"' + "x" * LONGEST_PART + '"}]',
            f"its answer (200) has a part that is none, or of more than {LONGEST_PART} characters",
            id="long",
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_list_is_refused_whoever_answers(
    group: str, version: str, name: str, items: str, message: str
) -> None:
    body = listing(items.replace("NAME", name).replace("VALUE", '"value":"1"'))

    with pytest.raises(ObservationError) as refused:
        done(translated(200, body, group, version, "hits"))

    assert str(refused.value) == message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"kind":"MetricValueList"}', id="without items"),
        pytest.param(b'{"kind":"Status","code":403,"items":[]}', id="a Status"),
    ],
)
def test_an_answer_that_is_no_list_of_values_is_refused(body: bytes) -> None:
    with pytest.raises(ObservationError, match=r"^its answer \(200\) is no list of values$"):
        told(body)


@pytest.mark.parametrize("length", [100, 2000, 2048, 2100, 60_000])
def test_items_of_any_length_are_read(length: int) -> None:
    item = an_item(selector="x" * length)

    found = told(json.dumps({"items": [item, an_item(), item]}).encode())["items"]

    assert [len(one["metric"]["selector"]) for one in found] == [length, len(SELECTOR), length]


def test_a_large_answer_is_read_in_small_steps() -> None:
    body = json.dumps({"items": [an_item()] * 500}).encode()

    assert sum(1 for _ in translated(200, body, CUSTOM, "v1beta1", "hits")) >= 500


def test_many_names_are_read_in_small_steps_too() -> None:
    body = json.dumps({f"n{number}": 1 for number in range(500)} | {"items": []}).encode()

    assert sum(1 for _ in translated(200, body, CUSTOM, "v1beta1", "hits")) >= 500


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    name=texts,
    value=st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,3})?(m|k|M|Mi)?", fullmatch=True)
    | st.integers(0, 2**53),
    window=st.none() | st.integers(0, 2**31),
    selector=st.none() | st.dictionaries(texts, texts),
    more=st.dictionaries(st.sampled_from(["timestamp", "describedObject"]), texts),
)
def test_every_item_says_the_same_in_both_versions(
    name: str, value: Any, window: int | None, selector: Any, more: dict[str, str]
) -> None:
    older = {"metricName": name, "value": value, "window": window, "selector": selector, **more}

    def read(version: str, item: Any) -> Any:
        body = json.dumps({"items": [item]}).encode()
        return json.loads(done(translated(200, body, CUSTOM, version, name)))["items"]

    (found,) = read("v1beta1", older)

    assert read("v1beta2", found) == [found]
    assert found.pop("metric") == {"name": name, "selector": selector}
    assert found.pop("windowSeconds", None) == window
    assert found == {"value": value, **more}
