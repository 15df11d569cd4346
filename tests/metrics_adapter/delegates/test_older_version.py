"""Beside an adapter that serves custom.metrics.k8s.io/v1beta1 alone, as many are registered."""

import time
from typing import Any

import pytest

from metrics_adapter.targets import CUSTOM
from tests.metrics_adapter.cluster import FakeCluster, FakeController
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start, request
from tests.metrics_adapter.delegates.conftest import OBJECT, ask
from tests.metrics_adapter.incumbents import CUSTOM_GROUP, SELECTOR, Older, an_item
from tests.waiting import until

V1BETA2 = "custom.metrics.k8s.io/v1beta2"
HITS = "an item of its answer has a value of hits that "


def test_its_values_are_answered_in_our_version(with_older: Running, older: Older) -> None:
    answer = ask(with_older, f"{OBJECT}/hits?metricLabelSelector=verb%3DGET")

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
    assert older.asked[-1] == f"{CUSTOM_GROUP}/v1beta1/{OBJECT}/hits?metricLabelSelector=verb=GET"


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
    with_older: Running, older: Older, cluster: FakeCluster, rest: str, attributes: dict[str, str]
) -> None:
    cluster.rights.of["bob"] = {attributes["resource"]}

    answer = with_older.get(f"{CUSTOM_GROUP}/v1beta2/{rest}", {"X-Remote-User": "bob"})

    assert answer.document["items"][0]["metric"]["name"] == "hits"
    assert older.asked[-1] == f"{CUSTOM_GROUP}/v1beta1/{rest}"
    asked_about = cluster.reviews()[-1]["resourceAttributes"]
    told = {"verb": "get", "group": CUSTOM, "version": "v1beta2", **attributes}
    assert {name: value for name, value in asked_about.items() if value} == told
    assert with_older.get(f"{CUSTOM_GROUP}/v1beta2/{rest}", {"X-Remote-User": "eve"}).status == 403


def test_without_it_no_such_value_is_there(start: Start) -> None:
    answer = start().get(f"{CUSTOM_GROUP}/v1beta2/nodes/n1/hits", AS_HPA)

    assert (answer.status, answer.message) == (404, "workloads have no metrics of such objects")


def test_its_metrics_are_listed_in_our_version(with_older: Running) -> None:
    def listed() -> Any:
        document = with_older.get(f"{CUSTOM_GROUP}/v1beta2", AGGREGATOR).document
        return document["groupVersion"], [one["name"] for one in document["resources"]]

    until(lambda: "services/hits" in listed()[1])
    assert listed()[0] == V1BETA2


def test_what_it_refuses_stays_its_status(with_older: Running) -> None:
    answer = ask(with_older, f"{OBJECT}/misses")

    assert (answer.status, answer.message) == (404, "no such metric there")


def test_no_hpa_is_told_to_come_again_within_its_sync(with_older: Running, older: Older) -> None:
    older.busy = True

    answer = ask(with_older)

    assert (answer.status, answer.message) == (429, "too much")
    assert "retry-after" not in answer.headers


def test_discovery_waits_for_nobody_while_everything_behind_is_down(
    with_older: Running, older: Older, cluster: FakeCluster, controller: FakeController
) -> None:
    assert ask(with_older).status == 200
    older.late = 5.0
    cluster.broken = True
    controller.publish_bytes(b"out of order", 500)
    with_older.clock.now += 100
    connection = with_older.connect(with_older.front_proxy_client)
    took = []
    for path in (f"{CUSTOM_GROUP}/v1beta2", "/apis/external.metrics.k8s.io/v1beta1", "/apis") * 10:
        began = time.monotonic()
        answer = request(connection, path, AGGREGATOR)
        took.append(time.monotonic() - began)
        assert answer.status == 200
    connection.close()

    assert with_older.get("/readyz", proxied=False).status == 503
    assert sorted(took)[len(took) // 2] < 2.0


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
    with_older: Running, older: Older, items: Any, message: str
) -> None:
    older.items = items

    answer = ask(with_older)

    assert (answer.status, answer.message) == (503, f"the adapter behind this one: {message}")
