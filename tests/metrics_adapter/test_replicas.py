"""Several adapters beside one controller: one is as good as the other."""

import base64

import pytest

from tests.metrics_adapter.cluster import FakeCluster, FakeController
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start
from tests.metrics_adapter.plans import a_row
from tests.waiting import until

LIST = "/apis/external.metrics.k8s.io/v1beta1"
VALUE = f"{LIST}/namespaces/llm/desired_replicas"
SERVICE = "inference-autoscaler-metrics.inference-autoscaler.svc"
SECRET = "/api/v1/namespaces/inference-autoscaler/secrets/inference-autoscaler-metrics-tls"


@pytest.fixture
def pair(start: Start, cluster: FakeCluster) -> tuple[Running, Running]:
    """Two that sign themselves; whoever comes second takes what the first one made."""
    alone = {"certFile": None, "keyFile": None}
    first, second = (start(serving_settings=alone) for _ in range(2))
    bundle = base64.b64decode(cluster.objects[SECRET]["data"]["ca.crt"])
    for one in (first, second):
        one.trust(bundle, SERVICE)
    return first, second


def test_both_answer_the_same_under_one_authority(
    pair: tuple[Running, Running], controller: FakeController
) -> None:
    controller.publish(a_row(desired=9))
    for one in pair:
        until(lambda one=one: _cycle(one) == "c-2")  # type: ignore[misc]

    values, listings = (
        {one.get(path, headers).body for one in pair}
        for path, headers in ((VALUE, AS_HPA), (LIST, AGGREGATOR))
    )

    assert len(values) == len(listings) == 1
    assert b'"value":"9"' in values.pop()


def test_one_goes_and_the_other_answers_on(pair: tuple[Running, Running]) -> None:
    first, second = pair

    first.stop()

    assert second.get(VALUE, AS_HPA).status == 200
    assert second.get("/readyz", proxied=False).status == 200


def test_one_that_lost_the_controller_is_not_ready_and_says_so_but_can_be_discovered(
    pair: tuple[Running, Running],
) -> None:
    first, second = pair

    first.clock.now += 1000

    assert first.get("/readyz", proxied=False).status == 503
    assert first.get("/livez", proxied=False).status == 200
    assert first.get(VALUE, AS_HPA).message.startswith("the newest plan is 10")
    assert first.get(LIST, AGGREGATOR).status == 200
    assert second.get("/readyz", proxied=False).status == 200
    assert second.get(VALUE, AS_HPA).status == 200


def _cycle(adapter: Running) -> str:
    board = adapter.adapter.newest.board
    return board.cycle if board else ""
