"""Beside an adapter that serves custom.metrics.k8s.io/v1beta1 alone, as many are registered."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ObservationError
from metrics_adapter import delegate as delegate_module
from metrics_adapter.delegate import Delegate, DelegateSettings
from metrics_adapter.reply import LONGEST_PART
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import CUSTOM, EXTERNAL
from metrics_adapter.translation import Steps, translated
from tests.metrics_adapter.cluster import FakeCluster, FakeController, Loopback, say, until
from tests.metrics_adapter.conftest import (
    AGGREGATOR,
    AS_HPA,
    Answer,
    Clock,
    Running,
    Start,
    request,
)

GROUP = "/apis/custom.metrics.k8s.io"
OBJECT = "namespaces/web/services/shop"
V1BETA2 = "custom.metrics.k8s.io/v1beta2"
SELECTOR = {"matchLabels": {"verb": "GET"}}


def an_item(**more: Any) -> dict[str, Any]:
    """A value as v1beta1 has it."""
    return {
        "describedObject": {
            "kind": "Service", "namespace": "web", "name": "shop", "apiVersion": "/v1",
        },
        "metricName": "hits",
        "timestamp": "2026-11-22T00:54:11Z",
        "window": 60,
        "value": "31500m",
        "selector": SELECTOR,
        **more,
    }  # fmt: skip


class Older(Loopback):
    """Another adapter: it serves some versions, and says what it was asked."""

    def __init__(self, authority: trustme.CA) -> None:
        self.versions = ["v1beta1"]
        self.tells_of_its_group = True
        self.items: Any = [an_item()]
        self.reply: bytes | None = None
        self.busy = False
        self.late = 0.0
        self.asked: list[str] = []
        super().__init__(authority.issue_cert("older.monitoring.svc"))

    def looks(self) -> int:
        """How often it was asked what it serves."""
        return self.asked.count(GROUP)

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        self.asked.append(unquote(request.path))
        time.sleep(self.late)
        segments = urlsplit(request.path).path.split("/")[3:]
        if self.reply is not None:
            say(request, 200, self.reply)
        elif self.busy and len(segments) > 1:
            status = {"kind": "Status", "code": 429, "message": "too much"}
            say(request, 429, status, Retry_After="1")
        elif not segments and self.tells_of_its_group:
            versions = [
                {"groupVersion": f"{CUSTOM}/{one}", "version": one} for one in self.versions
            ]
            say(request, 200, {"kind": "APIGroup", "name": CUSTOM, "versions": versions})
        elif not segments or segments[0] not in self.versions:
            say(request, 404, b"404 page not found\n")
        elif len(segments) == 1:
            say(request, 200, {"resources": [{"name": "services/hits"}]})
        elif segments[-1] != "hits":
            say(request, 404, {"kind": "Status", "code": 404, "message": "no such metric there"})
        else:
            say(request, 200, self._values(segments[0]))

    def _values(self, version: str) -> dict[str, Any]:
        known = {"kind": "MetricValueList", "apiVersion": f"{CUSTOM}/{version}", "metadata": {}}
        if version == "v1beta1":
            return {**known, "items": self.items}
        return {**known, "items": [{"metric": {"name": "hits", "selector": None}, "value": "7"}]}


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def older(authority: trustme.CA) -> Iterator[Older]:
    server = Older(authority)
    yield server
    server.stop()


@pytest.fixture
def behind(
    older: Older, authority: trustme.CA, cluster: FakeCluster, tmp_path: Path
) -> dict[str, Any]:
    """How it is asked."""
    ca_file = tmp_path / "older.crt"
    authority.cert_pem.write_to_path(str(ca_file))
    return {
        "url": f"https://127.0.0.1:{older.port}",
        "caFile": ca_file,
        "serverName": "older.monitoring.svc",
        "tokenFile": cluster.token_file,
    }


@pytest.fixture
def adapter(start: Start, behind: dict[str, Any]) -> Running:
    return start(delegates={"custom": behind})


def ask(adapter: Running, rest: str = f"{OBJECT}/hits") -> Answer:
    return adapter.get(f"{GROUP}/v1beta2/{rest}", AS_HPA)


def test_its_values_are_answered_in_our_version(adapter: Running, older: Older) -> None:
    answer = ask(adapter, f"{OBJECT}/hits?metricLabelSelector=verb%3DGET")

    assert answer.status == 200
    assert answer.document == {
        "kind": "MetricValueList",
        "apiVersion": V1BETA2,
        "metadata": {},
        "items": [
            {
                "describedObject": an_item()["describedObject"],
                "metric": {"name": "hits", "selector": SELECTOR},
                "timestamp": "2026-11-22T00:54:11Z",
                "windowSeconds": 60,
                "value": "31500m",
            }
        ],
    }
    assert older.asked[-1] == f"{GROUP}/v1beta1/{OBJECT}/hits?metricLabelSelector=verb=GET"


@pytest.mark.parametrize(
    ("rest", "attributes"),
    [
        pytest.param(
            "namespaces/web/metrics/hits",
            {"namespace": "web", "resource": "metrics", "name": "hits"},
            id="of a namespace",
        ),
        pytest.param(
            "nodes/n1/hits",
            {"resource": "nodes", "name": "n1", "subresource": "hits"},
            id="of an object without a namespace",
        ),
        pytest.param(
            "persistentvolumes/*/hits",
            {"resource": "persistentvolumes", "name": "*", "subresource": "hits"},
            id="of all of them",
        ),
    ],
)
def test_values_of_what_no_workload_scales_are_its_own(
    adapter: Running, older: Older, cluster: FakeCluster, rest: str, attributes: dict[str, str]
) -> None:
    cluster.rights.of["bob"] = {attributes["resource"]}

    answer = adapter.get(f"{GROUP}/v1beta2/{rest}", {"X-Remote-User": "bob"})

    assert answer.document["items"][0]["metric"]["name"] == "hits"
    assert older.asked[-1] == f"{GROUP}/v1beta1/{rest}"
    asked_about = cluster.reviews()[-1]["resourceAttributes"]
    told = {"verb": "get", "group": CUSTOM, "version": "v1beta2", **attributes}
    assert {name: value for name, value in asked_about.items() if value} == told
    assert adapter.get(f"{GROUP}/v1beta2/{rest}", {"X-Remote-User": "eve"}).status == 403


def test_without_it_no_such_value_is_there(start: Start) -> None:
    answer = start().get(f"{GROUP}/v1beta2/nodes/n1/hits", AS_HPA)

    assert (answer.status, answer.message) == (404, "workloads have no metrics of such objects")


def test_its_metrics_are_listed_in_our_version(adapter: Running) -> None:
    def listed() -> Any:
        document = adapter.get(f"{GROUP}/v1beta2", AGGREGATOR).document
        return document["groupVersion"], [one["name"] for one in document["resources"]]

    until(lambda: "services/hits" in listed()[1])
    assert listed()[0] == V1BETA2


def test_what_it_refuses_stays_its_status(adapter: Running) -> None:
    answer = ask(adapter, f"{OBJECT}/misses")

    assert (answer.status, answer.message) == (404, "no such metric there")


def test_no_hpa_is_told_to_come_again_within_its_sync(adapter: Running, older: Older) -> None:
    older.busy = True

    answer = ask(adapter)

    assert (answer.status, answer.message) == (429, "too much")
    assert "retry-after" not in answer.headers


def test_discovery_takes_milliseconds_while_everything_behind_is_down(
    adapter: Running, older: Older, cluster: FakeCluster, controller: FakeController
) -> None:
    assert ask(adapter).status == 200
    older.late = 0.5
    cluster.broken = True
    controller.publish_bytes(b"out of order", 500)
    adapter.clock.now += 100
    connection = adapter.connect(adapter.front_proxy_client)
    took = []
    for path in (f"{GROUP}/v1beta2", "/apis/external.metrics.k8s.io/v1beta1", "/apis") * 10:
        began = time.monotonic()
        answer = request(connection, path, AGGREGATOR)
        took.append(time.monotonic() - began)
        assert answer.status == 200
    connection.close()

    assert adapter.get("/readyz", proxied=False).status == 503
    assert sorted(took)[len(took) // 2] < 0.05


def test_which_version_it_serves_is_asked_once_for_many_values(
    adapter: Running, older: Older
) -> None:
    until(older.looks)
    for name in ("hits", "misses", "hits", "errors"):
        ask(adapter, f"{OBJECT}/{name}")

    assert older.looks() == 1


def test_a_new_version_is_found_after_a_404(adapter: Running, older: Older) -> None:
    assert ask(adapter).document["items"][0]["value"] == "31500m"
    older.versions = ["v1beta2"]

    just_asked = ask(adapter)
    adapter.clock.now += delegate_module.AGAIN_SECONDS
    later = ask(adapter)

    assert just_asked.status == 503
    assert just_asked.message == (
        "the adapter behind this one: its answer (404) is no object in JSON"
    )
    assert later.document["items"] == [{"metric": {"name": "hits", "selector": None}, "value": "7"}]
    assert older.looks() == 2


def test_our_version_goes_before_an_older_one(adapter: Running, older: Older) -> None:
    assert ask(adapter).document["items"][0]["value"] == "31500m"
    older.versions = ["v1beta1", "v1beta2"]
    adapter.clock.now += delegate_module.AGAIN_SECONDS
    assert ask(adapter, f"{OBJECT}/misses").status == 404

    assert ask(adapter).document["items"][0]["value"] == "7"


def test_without_a_word_of_its_group_its_versions_are_tried(
    start: Start, behind: dict[str, Any], older: Older
) -> None:
    older.tells_of_its_group = False

    answer = ask(start(delegates={"custom": behind}))

    assert answer.document["items"][0]["metric"]["name"] == "hits"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda older: setattr(older, "versions", ["v1alpha1"]),
            "it serves custom.metrics.k8s.io neither at v1beta2 nor v1beta1",
            id="older still",
        ),
        pytest.param(
            lambda older: older.__dict__.update(versions=[], tells_of_its_group=False),
            "status 404",
            id="not this group",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b"<html>"),
            "its answer (200) is no object in JSON", id="no JSON",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b"[]"), "its answer (200) is no object in JSON",
            id="no object",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b'{"versions":5}'),
            "its answer (200) has no list of versions", id="no list",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b'{"versions":[{"version":["v1beta1"]},{},5]}'),
            "it serves custom.metrics.k8s.io neither at v1beta2 nor v1beta1", id="no version",
        ),
    ],
)  # fmt: skip
def test_whoever_serves_no_version_that_is_known_is_told(
    start: Start,
    behind: dict[str, Any],
    older: Older,
    change: Callable[[Older], Any],
    message: str,
) -> None:
    change(older)

    answer = ask(start(delegates={"custom": behind}))

    assert (answer.status, answer.message) == (503, f"the adapter behind this one: {message}")


def test_an_answer_has_its_time_however_many_questions_it_takes(
    behind: dict[str, Any], older: Older
) -> None:
    older.late = 0.25

    async def asking() -> None:
        one = Delegate(CUSTOM, DelegateSettings.model_validate({**behind, "timeoutSeconds": 0.35}))
        try:
            await one.answer([*OBJECT.split("/"), "hits"], {})
        finally:
            await asyncio.sleep(2 * older.late)  # then the connection that was given up ends
            await one.close()

    with pytest.raises(RefusalError, match=r"this one: no answer within 0\.35 s$") as refused:
        asyncio.run(asking())

    assert refused.value.code == 503
    assert len(older.asked) == 2


def test_of_many_who_ask_at_once_one_finds_out(behind: dict[str, Any], older: Older) -> None:
    """Those who waited for one that found nothing do not ask again, each after the other."""
    older.versions = ["v1alpha1"]
    clock = Clock(0.0)

    def rising() -> float:
        clock.now += 0.001
        return clock.now

    async def asking() -> list[Any]:
        one = Delegate(CUSTOM, DelegateSettings.model_validate(behind), rising)
        answers = (one.answer(["a", "b"], {}) for _ in range(8))
        found = await asyncio.gather(*answers, return_exceptions=True)
        await one.close()
        return found

    found = asyncio.run(asking())

    assert all(isinstance(one, RefusalError) and one.code == 503 for one in found)
    assert any("it is not known which version" in one.message for one in found)
    assert older.looks() == 1


HITS = "an item of its answer has a value of hits that "


@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param(7, "its answer (200) has no list of items", id="no list"),
        pytest.param([7], "an item of its answer is no object", id="no item"),
        pytest.param(
            [an_item(metricName="")], "an item of its answer is not of hits", id="no name"
        ),
        pytest.param(
            [an_item(), an_item(metricName="errors")], "an item of its answer is not of hits",
            id="another name",
        ),
        pytest.param([an_item(value=None)], f"{HITS}is none", id="null"),
        pytest.param([an_item(value="")], f"{HITS}is no quantity", id="empty"),
    ],
)  # fmt: skip
def test_a_value_that_would_read_as_zero_is_refused(
    adapter: Running, older: Older, items: Any, message: str
) -> None:
    older.items = items

    answer = ask(adapter)

    assert (answer.status, answer.message) == (503, f"the adapter behind this one: {message}")


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
