"""A real HorizontalPodAutoscaler follows the plan: kube-controller-manager asks, and moves.

The HPA is that of the manifests, for a Deployment `chat`. Pods are made and counted; nothing runs
in them.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.builders import NOON
from tests.fakes.controller_manager import SCALING, RealControllerManager, why_absent
from tests.metrics_adapter.aggregating import (
    CUSTOM_SERVICE,
    EXTERNAL_SERVICE,
    AggregatingApiServer,
    adapter_behind,
    documents,
)
from tests.metrics_adapter.cluster import HPA, FakeController
from tests.metrics_adapter.conftest import Running
from tests.metrics_adapter.plans import a_row, a_signal
from tests.waiting import until

pytestmark = pytest.mark.slow

DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/llm/deployments"
HPAS: Final = "/apis/autoscaling/v2/namespaces/llm/horizontalpodautoscalers"
PODS: Final = "/api/v1/namespaces/llm/pods"
VALUES: Final = "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm"
PATIENCE: Final = 60.0
"""Seconds for what takes the real ones a few."""
MOST: Final = 12


class Scene:
    """A cluster whose HPAs ask us."""

    def __init__(
        self,
        api: AggregatingApiServer,
        controller: FakeController,
        adapter: Running,
        controllers: RealControllerManager,
    ) -> None:
        self.api = api
        self.controller = controller
        self.adapter = adapter
        self._controllers = controllers

    def until(self, condition: Callable[[], Any]) -> None:
        ends = time.monotonic() + PATIENCE
        while not condition():
            self._controllers.check()
            assert time.monotonic() < ends, f"it did not come about; the HPAs: {self._told()}"
            time.sleep(0.1)

    def decides(self, desired: int, **more: Any) -> None:
        """Publish a plan, and wait until the adapter has it."""
        row = a_row(desired=desired, max=MOST, **more)
        before = self._cycle()
        self.controller.publish(row)
        until(lambda: self._cycle() != before)

    def replicas(self, name: str = "chat") -> tuple[int, int]:
        """Return replicas wanted, and replicas that exist."""
        found = self.api.get(f"{DEPLOYMENTS}/{name}")
        return found["spec"].get("replicas", 0), found.get("status", {}).get("replicas", 0)

    def condition(self, kind: str, name: str = "chat") -> dict[str, str]:
        found = self.api.get(f"{HPAS}/{name}").get("status", {}).get("conditions") or []
        return next((one for one in found if one["type"] == kind), {})

    def holds(self, name: str = "chat") -> str:
        """Wait until the HPA cannot tell what to do; return the reason that it shows."""
        self.until(lambda: self.condition("ScalingActive", name).get("status") == "False")
        found = self.condition("ScalingActive", name)
        assert found["reason"] == "FailedGetExternalMetric"
        return found["message"]

    def active(self, name: str = "chat") -> bool:
        return self.condition("ScalingActive", name).get("status") == "True"

    def asked(self) -> list[str]:
        """Return the values that the HPA's own account has asked for."""
        found = self.api.asked_by(HPA)
        return [one.path for one in found if one.path.startswith(VALUES)]

    def some_syncs(self) -> None:
        """Wait until it has asked three times more."""
        enough = len(self.asked()) + 3
        self.until(lambda: len(self.asked()) >= enough)

    def _cycle(self) -> str:
        board = self.adapter.adapter.newest.board
        return board.cycle if board else ""

    def _told(self) -> Any:
        return [one.get("status") for one in self.api.get(HPAS)["items"]]


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "engine", "image": "engine:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "llm"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def from_the_manifests(name: str) -> dict[str, Any]:
    """Return the HPA of our manifests, for another Deployment."""
    (found,) = documents("hpa-example.yaml")
    found["metadata"]["name"] = found["spec"]["scaleTargetRef"]["name"] = name
    selector = found["spec"]["metrics"][0]["external"]["metric"]["selector"]
    assert set(selector["matchLabels"]) == {"workload"}
    selector["matchLabels"]["workload"] = name
    assert found["spec"]["maxReplicas"] == MOST
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if reason := why_absent():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hpa")
    api = AggregatingApiServer(folder)
    controller = FakeController()
    adapter = adapter_behind(api, controller, folder)
    # The namespace controller shows what an API that does not answer would block.
    controllers = RealControllerManager(api, folder, (*SCALING, "namespace-controller"))
    found = Scene(api, controller, adapter, controllers)
    for name in (EXTERNAL_SERVICE, CUSTOM_SERVICE):
        found.until(lambda name=name: api.available(name))  # type: ignore[misc]
    found.decides(1)
    api.create(DEPLOYMENTS, deployment("chat"))
    api.create(HPAS, from_the_manifests("chat"))
    yield found
    controllers.stop()
    adapter.stop()
    controller.stop()
    api.stop()


def test_a_deployment_follows_the_plan_up_and_down_to_the_replica(scene: Scene) -> None:
    """11 to 12 and back are within a tenth: only tolerance 0 follows them."""
    scene.until(scene.active)

    for desired in (7, 3, 11, 12, 11, 1, 2):
        scene.decides(desired)
        scene.until(lambda desired=desired: scene.replicas() == (desired, desired))  # type: ignore[misc]

    scene.some_syncs()
    assert scene.replicas() == (2, 2)
    pods = scene.api.get(PODS, labelSelector="app=chat")["items"]
    assert sum("deletionTimestamp" not in one["metadata"] for one in pods) == 2


def test_the_hpa_s_own_account_asks_and_is_allowed_by_the_cluster_s_rights(scene: Scene) -> None:
    scene.until(scene.active)
    scene.some_syncs()

    asked = [one for one in scene.api.asked_by(HPA) if one.path.startswith(VALUES)]

    assert {one.path for one in asked} == {f"{VALUES}/desired_replicas"}
    assert asked[-1].query == {"labelSelector": "workload=chat"}
    assert asked[-1].status == 200


def test_an_old_plan_is_held_and_said(scene: Scene) -> None:
    scene.decides(4)
    scene.until(lambda: scene.replicas() == (4, 4))

    scene.adapter.clock.now += 1000
    try:
        message = scene.holds()
        scene.some_syncs()

        assert "unable to get external metric llm/desired_replicas" in message
        assert "unable to fetch metrics from external metrics API: the newest plan is" in message
        assert scene.replicas() == (4, 4)
        assert scene.api.available(EXTERNAL_SERVICE)
    finally:
        scene.adapter.clock.now -= 1000
    scene.until(scene.active)
    scene.decides(5)
    scene.until(lambda: scene.replicas() == (5, 5))


def test_a_number_that_was_not_decided_is_held_and_said(scene: Scene) -> None:
    scene.decides(4)
    scene.until(lambda: scene.replicas() == (4, 4))

    before = len(scene.asked())
    scene.controller.publish(a_row(desired=None, blind="every signal is missing", max=MOST))
    message = scene.holds()

    assert "llm/chat: desired_replicas: every signal is missing" in message
    assert len(scene.asked()) > before
    scene.some_syncs()
    assert scene.replicas() == (4, 4)
    scene.decides(4)
    scene.until(scene.active)


def test_a_stale_signal_is_held_and_a_fresh_one_followed(scene: Scene) -> None:
    """An HPA of one's own on a signal: 50 in the queue, 10 for each replica."""
    api = scene.api
    api.create(DEPLOYMENTS, deployment("queue"))
    hpa = from_the_manifests("queue")
    metric = hpa["spec"]["metrics"][0]["external"]
    metric["metric"]["name"] = "load"
    metric["target"]["averageValue"] = "10"

    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "queue"}

    def publish(signal: dict[str, Any]) -> None:
        of_ours = a_row("queue", target=owner, signals={"load": signal})
        scene.controller.publish(a_row(max=MOST), of_ours)

    publish(a_signal(50.0))
    api.create(HPAS, hpa)
    scene.until(lambda: scene.replicas("queue") == (5, 5))

    publish(a_signal(400.0, state="stale", why="newest sample is 400 s old", time=NOON - 400))
    message = scene.holds("queue")
    scene.some_syncs()

    assert "llm/queue: load is stale: newest sample is 400 s old" in message
    assert scene.replicas("queue") == (5, 5)
    publish(a_signal(30.5))
    scene.until(lambda: scene.replicas("queue") == (4, 4))
    api.delete(f"{HPAS}/queue")


def test_an_hpa_on_the_object_s_metric_follows(scene: Scene) -> None:
    """The custom metrics API: the same number, of the Deployment itself."""
    api = scene.api
    api.create(DEPLOYMENTS, deployment("object"))
    hpa = from_the_manifests("object")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "object"}
    hpa["spec"]["metrics"] = [
        {
            "type": "Object",
            "object": {
                "describedObject": target,
                "metric": {"name": "desired_replicas"},
                "target": {"type": "AverageValue", "averageValue": "1"},
            },
        }
    ]
    rows = [a_row(max=MOST), a_row("object", desired=6, target=target)]
    scene.controller.publish(*rows)
    api.create(HPAS, hpa)

    scene.until(lambda: scene.replicas("object") == (6, 6))
    scene.controller.publish(rows[0], a_row("object", desired=2, target=target))
    scene.until(lambda: scene.replicas("object") == (2, 2))
    api.delete(f"{HPAS}/object")


def test_an_hpa_on_its_pods_metric_follows(scene: Scene) -> None:
    """A total is shared among the pods; their average then says what the total asks for."""
    api = scene.api
    api.create(DEPLOYMENTS, deployment("pods"))
    hpa = from_the_manifests("pods")
    target = {"type": "AverageValue", "averageValue": "10"}
    hpa["spec"]["metrics"] = [
        {"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": target}}
    ]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pods"}

    def publish(waiting: float) -> None:
        signals = {"queue": a_signal(waiting, role="queue")}
        scene.controller.publish(a_row(max=MOST), a_row("pods", target=owner, signals=signals))

    def follows(count: int) -> bool:
        scene.adapter.clock.now += 0.1  # pods are listed anew after some seconds
        for pod in api.get(PODS, labelSelector="app=pods")["items"]:
            if pod["status"].get("phase") != "Running":
                _ready(api, pod["metadata"]["name"])
        return scene.replicas("pods") == (count, count)

    publish(30.0)
    api.create(HPAS, hpa)

    scene.until(lambda: follows(3))
    publish(60.0)
    scene.until(lambda: follows(6))
    publish(20.0)
    scene.until(lambda: follows(2))
    api.delete(f"{HPAS}/pods")


def _ready(api: AggregatingApiServer, pod: str) -> None:
    """Say of a pod what its kubelet would say."""
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"}
    status = {
        "phase": "Running",
        "startTime": "2023-11-14T22:13:20Z",
        "conditions": [condition],
    }
    api.request(
        "PATCH",
        f"{PODS}/{pod}/status",
        {"status": status},
        content_type="application/merge-patch+json",
    )


def test_a_namespace_can_be_deleted_while_the_plan_is_old(scene: Scene) -> None:
    """Discovery is answered all the same: else no namespace of the cluster would ever end."""
    api, namespace = scene.api, "/api/v1/namespaces/passing"
    scene.adapter.clock.now += 1000
    try:
        scene.until(lambda: "the newest plan is" in scene.holds())
        api.create("/api/v1/namespaces", {"metadata": {"name": "passing"}})
        api.delete(namespace)

        scene.until(lambda: api.request("GET", namespace).status == 404)
    finally:
        scene.adapter.clock.now -= 1000
    scene.until(scene.active)


def test_raw_requests_of_a_person_go_through_the_same_way(scene: Scene) -> None:
    scene.decides(4)

    listing = scene.api.request("GET", "/apis/external.metrics.k8s.io/v1beta1")
    value = scene.api.request("GET", f"{VALUES}/desired_replicas")

    assert listing.status == 200
    assert {"load", "desired_replicas"} <= {one["name"] for one in listing.json["resources"]}
    assert [one["value"] for one in value.json["items"]] == ["4"]
