"""The controllers that a test moves by hand; on our server and on a real one."""

from typing import Any

import pytest

from tests.fakes.kubernetes import ApiServer, FakeApiServer, objects
from tests.fakes.kubernetes.cluster import Cluster
from tests.fakes.kubernetes.pods import is_ready

NOON = 1_700_000_000.0


def deployments(place: str, name: str = "chat") -> str:
    return f"/apis/apps/v1/namespaces/{place}/deployments/{name}"


def pods(server: ApiServer, place: str) -> list[dict[str, Any]]:
    found = server.objects(f"/api/v1/namespaces/{place}/pods")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def status(server: ApiServer, path: str) -> tuple[int, int]:
    """Return replicas and ready replicas."""
    found = server.peek(path)["status"]
    return found.get("replicas", 0), found.get("readyReplicas", 0)


def test_a_new_number_becomes_ready_pods_after_the_start(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place, ready_after=120)
    server.add(objects.deployment("chat", replicas=3, namespace=place))

    cluster.step(NOON)
    starting = status(server, deployments(place))
    cluster.step(NOON + 119)
    still = status(server, deployments(place))
    cluster.step(NOON + 120)

    assert (starting, still) == ((3, 0), (3, 0))
    assert status(server, deployments(place)) == (3, 3)
    selector = server.get(f"{deployments(place)}/scale")["status"]["selector"]
    found = server.get(f"/api/v1/namespaces/{place}/pods", labelSelector=selector)
    assert len(found["items"]) == 3


def test_the_cheapest_pod_goes_first(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place)
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    cluster.step(NOON)
    names = [pod["metadata"]["name"] for pod in pods(server, place)]
    for name, cost in zip(names, ("5", "-5", "0"), strict=True):
        annotations = {"controller.kubernetes.io/pod-deletion-cost": cost}
        server.merge(
            f"/api/v1/namespaces/{place}/pods/{name}", {"metadata": {"annotations": annotations}}
        )

    server.merge(f"{deployments(place)}/scale", {"spec": {"replicas": 2}})
    cluster.step(NOON + 1)

    assert {pod["metadata"]["name"] for pod in pods(server, place)} == {names[0], names[2]}


def test_an_ending_pod_stays_for_a_while(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place, ends_after=30)
    server.add(objects.deployment("chat", replicas=2, namespace=place))
    cluster.step(NOON)

    server.merge(f"{deployments(place)}/scale", {"spec": {"replicas": 0}})
    cluster.step(NOON + 1)
    ending = server.objects(f"/api/v1/namespaces/{place}/pods")
    cluster.step(NOON + 31)

    assert len(ending) == 2
    assert all("deletionTimestamp" in pod["metadata"] for pod in ending)
    assert status(server, deployments(place)) == (0, 0)
    assert server.objects(f"/api/v1/namespaces/{place}/pods") == []


def test_a_roll_out_makes_surge_pods_and_keeps_most_serving(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place, ready_after=60)
    server.add(objects.deployment("chat", replicas=4, namespace=place))
    cluster.step(NOON)
    cluster.step(NOON + 60)
    containers = [{"name": "engine", "image": "engine:2"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    server.merge(deployments(place), patch)

    seen = []
    for step in range(2, 8):
        cluster.step(NOON + 60 * step, rounds=1)
        seen.append(status(server, deployments(place)))

    assert max(replicas for replicas, _ in seen) == 5
    assert min(ready for _, ready in seen) >= 3
    assert seen[-1] == (4, 4)
    images = {pod["spec"]["containers"][0]["image"] for pod in pods(server, place)}
    assert images == {"engine:2"}
    assert server.peek(deployments(place))["status"]["updatedReplicas"] == 4


def test_a_broken_roll_out_leaves_the_old_pods(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place)
    server.add(objects.deployment("chat", replicas=4, namespace=place))
    cluster.step(NOON)
    cluster.node.never_ready.add("chat")
    containers = [{"name": "engine", "image": "engine:broken"}]
    server.merge(deployments(place), {"spec": {"template": {"spec": {"containers": containers}}}})

    for step in range(1, 5):
        cluster.step(NOON + 60 * step)

    assert status(server, deployments(place)) == (5, 3)


def test_without_room_pods_wait(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place, capacity=2)
    server.add(objects.deployment("chat", replicas=3, namespace=place))

    cluster.step(NOON)
    full = status(server, deployments(place))
    (waiting,) = [pod for pod in pods(server, place) if not is_ready(pod)]
    cluster.node.capacity = 3
    cluster.step(NOON + 1)

    assert full == (3, 2)
    (condition,) = waiting["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert status(server, deployments(place)) == (3, 3)


@pytest.mark.parametrize(
    ("policy", "after_one"),
    [pytest.param("OrderedReady", 1, id="in order"), pytest.param("Parallel", 3, id="together")],
)
def test_a_stateful_set_counts_its_pods(
    server: ApiServer, place: str, policy: str, after_one: int
) -> None:
    cluster = Cluster(server, namespace=place)
    obj = objects.deployment(
        "chat", replicas=3, namespace=place, kind="StatefulSet", podManagementPolicy=policy
    )
    server.add(obj)
    path = f"/apis/apps/v1/namespaces/{place}/statefulsets/chat"

    cluster.step(NOON, rounds=1)
    first = status(server, path)
    cluster.step(NOON + 1)
    names = {pod["metadata"]["name"] for pod in pods(server, place)}
    server.merge(f"{path}/scale", {"spec": {"replicas": 1}})
    cluster.step(NOON + 2)

    assert first == (after_one, after_one)
    assert names == {"chat-0", "chat-1", "chat-2"}
    assert [pod["metadata"]["name"] for pod in pods(server, place)] == ["chat-0"]


def test_a_group_is_ready_as_a_whole(server: ApiServer, place: str) -> None:
    cluster = Cluster(server, namespace=place, capacity=3)
    template = objects.deployment("big")["spec"]["template"]
    api_version = "leaderworkerset.x-k8s.io/v1"
    size = {"size": 2, "workerTemplate": template}
    big = objects.custom(
        api_version, "LeaderWorkerSet", "big", namespace=place, leaderWorkerTemplate=size
    )
    big["spec"]["replicas"] = 2
    server.add(big)
    path = f"/apis/{api_version}/namespaces/{place}/leaderworkersets/big"

    cluster.step(NOON)
    three_of_four = status(server, path)
    cluster.node.capacity = None
    cluster.step(NOON + 1)
    whole = status(server, path)
    selector = server.get(f"{path}/scale")["status"]["selector"]
    server.merge(f"{path}/scale", {"spec": {"replicas": 1}})
    cluster.step(NOON + 2)

    assert (three_of_four, whole) == ((2, 1), (2, 2))
    assert selector == "leaderworkerset.sh/name=big,leaderworkerset.sh/worker-index=0"
    assert {pod["metadata"]["name"] for pod in pods(server, place)} == {"big-0", "big-0-1"}


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        pytest.param({"maxUnavailable": 1}, 1, id="one may go"),
        pytest.param({"minAvailable": 3, "maxUnavailable": None}, 1, id="three must stay"),
        pytest.param({"minAvailable": "100%", "maxUnavailable": None}, 0, id="all must stay"),
    ],
)
def test_a_budget_follows_its_pods(
    server: ApiServer, place: str, rule: dict[str, Any], allowed: int
) -> None:
    cluster = Cluster(server, namespace=place)
    budget = objects.disruption_budget("chat", app="chat", allowed=0, namespace=place, **rule)
    budget["spec"] = {name: value for name, value in budget["spec"].items() if value is not None}
    server.add(objects.deployment("chat", replicas=4, namespace=place), budget)

    cluster.step(NOON)

    found = server.peek(f"/apis/policy/v1/namespaces/{place}/poddisruptionbudgets/chat")
    assert found["status"]["disruptionsAllowed"] == allowed


def test_a_cluster_leaves_no_trace_among_the_requests(fake: FakeApiServer) -> None:
    fake.add(objects.deployment("chat", replicas=2))

    Cluster(fake).step(NOON + 5)

    assert len(fake.requests) == 0
    assert fake.now == NOON + 5
