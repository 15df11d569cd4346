"""`/scale`: the same on our server and on a real one."""

from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.fakes.kubernetes import ApiServer, objects
from tests.fakes.kubernetes.client import APPLY, JSON_PATCH, MERGE, STRATEGIC

TIMEOUT = (3, 10)
CUSTOM = [
    pytest.param("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", id="LeaderWorkerSet"),
    pytest.param("cluster.x-k8s.io/v1beta2", "MachineDeployment", id="MachineDeployment"),
    pytest.param("cluster.x-k8s.io/v1beta2", "MachinePool", id="MachinePool"),
]


def deployments(place: str, name: str = "", sub: str = "") -> str:
    ends = "".join(f"/{part}" for part in (name, sub) if part)
    return f"/apis/apps/v1/namespaces/{place}/deployments{ends}"


def owned_by(obj: dict[str, Any], manager: str) -> list[dict[str, Any]]:
    return [each for each in obj["metadata"]["managedFields"] if each["manager"] == manager]


def owners(server: ApiServer, path: str) -> list[tuple[str, bool]]:
    """Return who owns the number, and whether since a known time."""
    return [
        (each["manager"], "time" in each)
        for each in server.peek(path)["metadata"]["managedFields"]
        if "f:replicas" in each["fieldsV1"].get("f:spec", {})
    ]


def test_the_real_client_reads_and_patches_a_scale(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    apps = client.AppsV1Api(server.client())

    before = apps.read_namespaced_deployment_scale("chat", place, _request_timeout=TIMEOUT)
    after = apps.patch_namespaced_deployment_scale(
        "chat",
        place,
        {"spec": {"replicas": 5}},
        field_manager="inference-autoscaler",
        _content_type=MERGE,
        _request_timeout=TIMEOUT,
    )

    assert before.spec is not None
    assert before.status is not None
    assert after.spec is not None
    assert (before.spec.replicas, before.status.selector) == (3, "app=chat")
    assert after.spec.replicas == 5
    deployment = server.peek(deployments(place, "chat"))
    assert deployment["metadata"]["generation"] == 2
    (entry,) = owned_by(deployment, "inference-autoscaler")
    assert (entry["operation"], entry["subresource"]) == ("Update", "scale")
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    (seed,) = owned_by(deployment, "seed")
    assert "f:replicas" not in seed["fieldsV1"]["f:spec"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ReplicaSet"])
def test_every_kind_of_workload_has_a_scale(server: ApiServer, place: str, kind: str) -> None:
    server.add(objects.deployment("chat", replicas=2, namespace=place, kind=kind))
    path = f"/apis/apps/v1/namespaces/{place}/{kind.lower()}s/chat/scale"

    changed = server.merge(path, {"spec": {"replicas": 4}})

    assert (changed["kind"], changed["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert server.get(path)["spec"] == {"replicas": 4}
    assert server.get(path)["metadata"].keys() == {
        "name", "namespace", "uid", "resourceVersion", "creationTimestamp",
    }  # fmt: skip


def test_a_spec_of_zero_is_an_empty_spec(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=0, namespace=place))

    scale = server.get(deployments(place, "chat", "scale"))

    assert scale["spec"] == {}
    assert scale["status"] == {"replicas": 0, "selector": "app=chat"}


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        pytest.param(MERGE, {"spec": {"replicas": 7}}, id="merge"),
        pytest.param(STRATEGIC, {"spec": {"replicas": 7}}, id="strategic merge"),
        pytest.param(
            JSON_PATCH, [{"op": "replace", "path": "/spec/replicas", "value": 7}], id="JSON"
        ),
    ],
)
def test_a_scale_takes_every_patch(
    server: ApiServer, place: str, content_type: str, patch: Any
) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))

    answer = server.request(
        "PATCH", deployments(place, "chat", "scale"), patch, content_type=content_type
    )

    assert answer.status == 200
    assert server.peek(deployments(place, "chat"))["spec"]["replicas"] == 7


def test_a_json_patch_may_test_the_present_number(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 7},
    ]

    answer = server.request(
        "PATCH", deployments(place, "chat", "scale"), patch, content_type=JSON_PATCH
    )

    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert server.peek(deployments(place, "chat"))["spec"]["replicas"] == 3


def test_a_patch_with_an_old_version_conflicts(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    path = deployments(place, "chat", "scale")
    version = server.get(path)["metadata"]["resourceVersion"]
    server.merge(deployments(place, "chat", "status"), {"status": {"replicas": 3}})

    patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 7}}
    answer = server.request("PATCH", path, patch, content_type=MERGE)

    assert answer.status == 409
    assert answer.json["reason"] == "Conflict"
    assert "the object has been modified" in answer.json["message"]
    assert server.peek(deployments(place, "chat"))["spec"]["replicas"] == 3


def test_a_scale_is_put_with_and_without_a_version(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    path = deployments(place, "chat", "scale")
    scale = server.get(path)

    first = server.request("PUT", path, {**scale, "spec": {"replicas": 4}})
    stale = server.request("PUT", path, {**scale, "spec": {"replicas": 5}})
    bare = {**scale, "metadata": {"name": "chat", "namespace": place}}
    last = server.request("PUT", path, {**bare, "spec": {"replicas": 6}})

    assert (first.status, stale.status, last.status) == (200, 409, 200)
    assert server.get(path)["spec"]["replicas"] == 6


@pytest.mark.parametrize(
    ("replicas", "status", "says"),
    [
        pytest.param(-1, 422, "must be greater than or equal to 0", id="negative"),
        pytest.param("3", 422, "cannot unmarshal string into Go struct field", id="text"),
    ],
)
def test_a_scale_refuses_what_is_no_count(
    server: ApiServer, place: str, replicas: Any, status: int, says: str
) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))

    answer = server.request(
        "PATCH",
        deployments(place, "chat", "scale"),
        {"spec": {"replicas": replicas}},
        content_type=MERGE,
    )

    assert answer.status == status
    assert says in answer.json["message"]


def test_a_missing_workload_is_not_found(server: ApiServer, place: str) -> None:
    apps = client.AppsV1Api(server.client())

    with pytest.raises(ApiException) as caught:
        apps.read_namespaced_deployment_scale("chat", place, _request_timeout=TIMEOUT)

    assert caught.value.status == 404
    answer = server.request("GET", deployments(place, "chat", "scale"))
    assert answer.json["message"] == 'deployments.apps "chat" not found'
    assert answer.json["details"] == {"name": "chat", "group": "apps", "kind": "deployments"}


def test_the_same_number_again_is_no_new_wish(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))

    server.merge(
        deployments(place, "chat", "scale"), {"spec": {"replicas": 3}}, fieldManager="other"
    )

    found = server.peek(deployments(place, "chat"))
    assert found["metadata"]["generation"] == 1
    assert owned_by(found, "other") == []


def test_what_is_written_through_a_scale_has_no_time(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    path = deployments(place, "chat")

    server.merge(f"{path}/scale", {"spec": {"replicas": 4}}, fieldManager="kubectl")
    through_scale = owned_by(server.peek(path), "kubectl")
    server.merge(path, {"spec": {"replicas": 5}}, fieldManager="kubectl")
    through_object = owned_by(server.peek(path), "kubectl")

    assert [(each.get("subresource"), "time" in each) for each in through_scale] == [
        ("scale", False)
    ]
    assert [(each.get("subresource"), "time" in each) for each in through_object] == [(None, True)]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [pytest.param("apps/v1", "Deployment", id="Deployment"), CUSTOM[0]],
)
def test_zero_is_nobodys_and_so_is_what_follows(
    server: ApiServer, place: str, api_version: str, kind: str
) -> None:
    made = objects.deployment("chat", replicas=3, namespace=place)
    if kind != "Deployment":
        made = objects.custom(api_version, kind, "chat", namespace=place, replicas=3)
    server.add(made)
    path = f"/apis/{api_version}/namespaces/{place}/{kind.lower()}s/chat"

    found = []
    for number in (4, 0, 5):
        server.merge(f"{path}/scale", {"spec": {"replicas": number}}, fieldManager="us")
        found.append(owners(server, path))
    server.merge(path, {"spec": {"replicas": 6}}, fieldManager="human")

    assert found == [[("us", False)], [], []]
    assert owners(server, path) == [("human", True)]


def test_an_apply_of_a_scale_survives_zero(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    path = deployments(place, "chat")
    wish = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "chat", "namespace": place},
        "spec": {"replicas": 0},
    }

    server.apply(f"{path}/scale", wish, manager="us", force="true")

    assert owners(server, path) == [("us", False)]
    assert server.peek(path)["spec"]["replicas"] == 0


def test_the_same_number_twice_leaves_it_without_an_owner(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place))
    path = deployments(place, "chat")

    server.merge(f"{path}/scale", {"spec": {"replicas": 3}}, fieldManager="us")
    once = owners(server, path)
    server.merge(f"{path}/scale", {"spec": {"replicas": 3}}, fieldManager="us")
    twice = owners(server, path)
    server.merge(f"{path}/scale", {"spec": {"replicas": 4}}, fieldManager="us")
    then = owners(server, path)

    assert (once, twice, then) == ([("seed", False)], [], [])


def test_an_apply_of_the_scale_without_force_conflicts_with_the_writer(
    server: ApiServer, place: str
) -> None:
    server.add(objects.deployment("chat", replicas=3, namespace=place), manager="kubectl-edit")
    path = deployments(place, "chat", "scale")
    wish = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "chat", "namespace": place},
        "spec": {"replicas": 7},
    }

    refused = server.request("PATCH", path, wish, content_type=APPLY, fieldManager="us")
    forced = server.request(
        "PATCH", path, wish, content_type=APPLY, fieldManager="us", force="true"
    )

    assert refused.status == 409
    assert refused.json["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-edit" using autoscaling/v1: '
        ".spec.replicas"
    )
    assert refused.json["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-edit" using autoscaling/v1',
            "field": ".spec.replicas",
        }
    ]
    assert forced.status == 200
    deployment = server.peek(deployments(place, "chat"))
    assert deployment["spec"]["replicas"] == 7
    (entry,) = owned_by(deployment, "us")
    assert (entry["operation"], entry.get("subresource")) == ("Apply", "scale")


@pytest.mark.parametrize(("api_version", "kind"), CUSTOM)
def test_a_custom_resource_is_scaled_by_its_paths(
    server: ApiServer, place: str, api_version: str, kind: str
) -> None:
    obj = objects.custom(api_version, kind, "pool", namespace=place, replicas=2)
    selector = {"hpaPodSelector": "pool=a", "selector": "pool=a"}
    server.add({**obj, "status": {"replicas": 1, **selector}})
    path = f"/apis/{api_version}/namespaces/{place}/{kind.lower()}s/pool/scale"

    before = server.get(path)
    server.merge(path, {"spec": {"replicas": 4}}, fieldManager="us")

    assert before["spec"] == {"replicas": 2}
    expected = {"replicas": 1} | ({} if kind == "MachinePool" else {"selector": "pool=a"})
    assert before["status"] == expected
    changed = server.peek(path.removesuffix("/scale"))
    assert (changed["spec"]["replicas"], changed["metadata"]["generation"]) == (4, 2)
    assert owned_by(changed, "us")[0]["subresource"] == "scale"


def test_a_custom_resource_without_a_number_has_no_scale_until_one_is_written(
    server: ApiServer, place: str
) -> None:
    api_version = "leaderworkerset.x-k8s.io/v1"
    server.add(objects.custom(api_version, "LeaderWorkerSet", "big", namespace=place, size=8))
    path = f"/apis/{api_version}/namespaces/{place}/leaderworkersets/big/scale"

    before = server.request("GET", path)
    server.merge(path, {"spec": {"replicas": 2}})

    assert before.status == 500
    assert 'the spec replicas field ".spec.replicas" does not exist' in before.json["message"]
    assert server.get(path)["spec"] == {"replicas": 2}


def test_a_node_pool_belongs_to_no_namespace(server: ApiServer, place: str) -> None:
    pool = objects.custom("karpenter.sh/v1", "NodePool", place, namespace=None, replicas=2)
    server.add({**pool, "status": {"nodes": 2}})
    path = f"/apis/karpenter.sh/v1/nodepools/{place}/scale"

    server.merge(path, {"spec": {"replicas": 3}})

    assert server.get(path)["spec"] == {"replicas": 3}
    assert server.get(path)["status"] == {"replicas": 2}
    assert "namespace" not in server.get(path)["metadata"]


def test_a_custom_resource_refuses_an_apply_of_its_scale(server: ApiServer, place: str) -> None:
    api_version = "leaderworkerset.x-k8s.io/v1"
    server.add(objects.custom(api_version, "LeaderWorkerSet", "big", namespace=place, replicas=1))
    path = f"/apis/{api_version}/namespaces/{place}/leaderworkersets/big/scale"
    wish = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "big", "namespace": place},
        "spec": {"replicas": 7},
    }

    applied = server.request("PATCH", path, wish, content_type=APPLY, fieldManager="us")
    forced = server.request(
        "PATCH", path, wish, content_type=APPLY, fieldManager="us", force="true"
    )
    below = server.request("PATCH", path, {"spec": {"replicas": -3}}, content_type=MERGE)

    assert (applied.status, forced.status) == (409, 500)
    assert "failed to convert new object" in forced.json["message"]
    assert below.status == 422
    assert below.json["message"].endswith(
        ".spec.replicas: Invalid value: -3: should be a non-negative integer"
    )


def test_a_custom_resource_without_a_scale_says_not_found(server: ApiServer, place: str) -> None:
    server.add(objects.scaled_object("chat", "chat", namespace=place))

    answer = server.request(
        "GET", f"/apis/keda.sh/v1alpha1/namespaces/{place}/scaledobjects/chat/scale"
    )

    assert answer.status == 404
    assert answer.json["message"] == 'scaledobjects.keda.sh "chat" not found'
