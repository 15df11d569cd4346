"""Objects: versions, patches, owners, leases, events; the same on our server and on a real one."""

import uuid
from typing import Any

import pytest
from kubernetes import client

from tests.fakes.kubernetes import ApiServer, objects
from tests.fakes.kubernetes.client import APPLY, JSON_PATCH, MERGE, STRATEGIC

TIMEOUT = (3, 10)


def path_of(place: str, plural: str, name: str = "", sub: str = "") -> str:
    prefix = {
        "deployments": "/apis/apps/v1",
        "leases": "/apis/coordination.k8s.io/v1",
        "horizontalpodautoscalers": "/apis/autoscaling/v2",
        "poddisruptionbudgets": "/apis/policy/v1",
    }.get(plural, "/api/v1")
    ends = "".join(f"/{part}" for part in (name, sub) if part)
    return f"{prefix}/namespaces/{place}/{plural}{ends}"


def owned_by(obj: dict[str, Any], manager: str) -> list[dict[str, Any]]:
    return [each for each in obj["metadata"]["managedFields"] if each["manager"] == manager]


# --- create, update, delete ---------------------------------------------------------------


def test_a_second_create_is_refused(server: ApiServer, place: str) -> None:
    server.add(objects.config_map("state", namespace=place))

    again = server.request("POST", path_of(place, "configmaps"), objects.config_map("state"))
    elsewhere = server.request(
        "POST", path_of(place, "configmaps"), objects.config_map("state", namespace="other")
    )

    assert elsewhere.status == 400
    assert again.status == 400  # its namespace is `default`
    twice = server.request(
        "POST", path_of(place, "configmaps"), objects.config_map("state", namespace=place)
    )
    assert (twice.status, twice.json["reason"]) == (409, "AlreadyExists")
    assert twice.json["message"] == 'configmaps "state" already exists'


def test_a_namespace_must_be_there_first(server: ApiServer) -> None:
    nowhere = f"nowhere-{uuid.uuid4().hex[:6]}"
    obj = objects.config_map("state", namespace=nowhere)

    answer = server.request("POST", path_of(nowhere, "configmaps"), obj)

    assert answer.status == 404
    assert answer.json["message"] == f'namespaces "{nowhere}" not found'


def test_a_put_with_an_old_version_conflicts(server: ApiServer, place: str) -> None:
    server.add(objects.config_map("state", namespace=place, a="1"))
    path = path_of(place, "configmaps", "state")
    old = server.peek(path)

    first = server.request("PUT", path, {**old, "data": {"a": "2"}})
    second = server.request("PUT", path, {**old, "data": {"a": "3"}})

    assert (first.status, second.status) == (200, 409)
    assert server.peek(path)["data"] == {"a": "2"}
    assert int(first.json["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])


def test_the_version_counts_all_objects_together(server: ApiServer, place: str) -> None:
    server.add(objects.config_map("a", namespace=place), objects.lease("b", namespace=place))

    first = server.peek(path_of(place, "configmaps", "a"))["metadata"]["resourceVersion"]
    second = server.peek(path_of(place, "leases", "b"))["metadata"]["resourceVersion"]

    assert int(second) > int(first)


@pytest.mark.parametrize(
    ("plural", "kind", "generation"),
    [
        pytest.param("deployments", "Deployment", 2, id="a Deployment counts annotations"),
        pytest.param("statefulsets", "StatefulSet", 1, id="a StatefulSet does not"),
        pytest.param("replicasets", "ReplicaSet", 1, id="a ReplicaSet does not"),
    ],
)
def test_annotations_are_a_wish_for_deployments_only(
    server: ApiServer, place: str, plural: str, kind: str, generation: int
) -> None:
    server.add(objects.deployment("chat", namespace=place, kind=kind))
    path = f"/apis/apps/v1/namespaces/{place}/{plural}/chat"

    server.merge(path, {"metadata": {"annotations": {"a": "1"}}})

    assert server.peek(path)["metadata"]["generation"] == generation


def test_the_generation_counts_wishes_and_not_labels_or_status(
    server: ApiServer, place: str
) -> None:
    server.add(objects.deployment("chat", namespace=place))
    path = path_of(place, "deployments", "chat")

    server.merge(path, {"metadata": {"labels": {"a": "1"}}})
    server.merge(f"{path}/status", {"status": {"replicas": 1}, "spec": {"replicas": 9}})
    still = server.peek(path)
    server.merge(path, {"spec": {"replicas": 2}, "status": {"replicas": 9}})
    then = server.peek(path)

    assert (still["metadata"]["generation"], still["spec"]["replicas"]) == (1, 1)
    assert still["status"]["replicas"] == 1
    assert then["metadata"]["generation"] == 2
    assert then["status"]["replicas"] == 1


def test_defaults_are_filled_in(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", namespace=place, replicas=None))

    spec = server.peek(path_of(place, "deployments", "chat"))["spec"]

    assert spec["replicas"] == 1
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_a_dry_run_shows_and_keeps_nothing(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", namespace=place))
    path = path_of(place, "deployments", "chat")

    shown = server.merge(path, {"spec": {"replicas": 5}}, dryRun="All")

    assert shown["spec"]["replicas"] == 5
    assert server.peek(path)["spec"]["replicas"] == 1


def test_a_deleted_object_is_gone(server: ApiServer, place: str) -> None:
    server.add(objects.config_map("state", namespace=place))
    path = path_of(place, "configmaps", "state")

    said = server.delete(path)

    assert (said["kind"], said["status"]) == ("Status", "Success")
    assert server.request("GET", path).status == 404
    assert server.request("DELETE", path).status == 404


def test_a_finalizer_keeps_an_object_until_it_is_taken_off(server: ApiServer, place: str) -> None:
    obj = objects.config_map("state", namespace=place)
    obj["metadata"]["finalizers"] = ["example.com/wait"]
    server.add(obj)
    path = path_of(place, "configmaps", "state")

    server.delete(path)
    waiting = server.peek(path)
    server.merge(path, {"metadata": {"finalizers": None}})

    assert "deletionTimestamp" in waiting["metadata"]
    assert server.request("GET", path).status == 404


def test_a_pod_on_a_node_ends_with_grace(server: ApiServer, place: str) -> None:
    server.add(objects.pod("chat-1", namespace=place), objects.pod("new", namespace=place, node=""))
    on_node, waiting = (path_of(place, "pods", name) for name in ("chat-1", "new"))

    server.delete(on_node)
    server.delete(waiting)
    ending = server.peek(on_node)["metadata"]
    server.delete(on_node, gracePeriodSeconds=0)

    assert ending["deletionGracePeriodSeconds"] == 30
    assert server.request("GET", waiting).status == 404
    assert server.request("GET", on_node).status == 404


# --- patches and owners -------------------------------------------------------------------


def test_a_strategic_patch_merges_containers_by_name(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", namespace=place))
    path = path_of(place, "deployments", "chat")
    containers = [{"name": "engine", "image": "engine:2"}, {"name": "side", "image": "side:1"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}

    server.request("PATCH", path, patch, content_type=STRATEGIC)

    found = server.peek(path)["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["image"] for each in found} == {
        "engine": "engine:2",
        "side": "side:1",
    }


def test_a_custom_resource_takes_no_strategic_patch(server: ApiServer, place: str) -> None:
    server.add(objects.scaled_object("chat", "chat", namespace=place))
    path = f"/apis/keda.sh/v1alpha1/namespaces/{place}/scaledobjects/chat"

    answer = server.request("PATCH", path, {"spec": {}}, content_type=STRATEGIC)

    assert answer.status == 415


def test_null_in_a_merge_patch_removes(server: ApiServer, place: str) -> None:
    server.add(objects.config_map("state", namespace=place, a="1", b="2"))
    path = path_of(place, "configmaps", "state")

    server.merge(path, {"data": {"a": None, "c": "3"}})

    assert server.peek(path)["data"] == {"b": "2", "c": "3"}


def test_a_json_patch_escapes_annotation_names(server: ApiServer, place: str) -> None:
    server.add(objects.pod("chat-1", namespace=place, annotations={"x": "y"}))
    name = "controller.kubernetes.io~1pod-deletion-cost"
    patch = [{"op": "add", "path": f"/metadata/annotations/{name}", "value": "-5"}]

    server.request("PATCH", path_of(place, "pods", "chat-1"), patch, content_type=JSON_PATCH)

    found = server.peek(path_of(place, "pods", "chat-1"))["metadata"]["annotations"]
    assert found == {"x": "y", "controller.kubernetes.io/pod-deletion-cost": "-5"}


def test_an_apply_creates_and_owns_only_what_it_says(server: ApiServer, place: str) -> None:
    wish = objects.deployment("chat", namespace=place, replicas=None)
    path = path_of(place, "deployments", "chat")

    created = server.request("PATCH", path, wish, content_type=APPLY, fieldManager="gitops")

    assert created.status == 201
    (entry,) = owned_by(created.json, "gitops")
    assert entry["operation"] == "Apply"
    assert "f:replicas" not in entry["fieldsV1"]["f:spec"]
    assert created.json["spec"]["replicas"] == 1


def test_an_apply_gives_back_what_it_no_longer_says(server: ApiServer, place: str) -> None:
    first = objects.config_map("state", namespace=place, a="1", b="2")
    second = objects.config_map("state", namespace=place, b="2")
    path = path_of(place, "configmaps", "state")
    server.apply(path, first, manager="us")

    server.apply(path, second, manager="us")

    assert server.peek(path)["data"] == {"b": "2"}


def test_a_shared_field_stays_when_one_owner_lets_go(server: ApiServer, place: str) -> None:
    both = objects.config_map("state", namespace=place, a="1", b="2")
    path = path_of(place, "configmaps", "state")
    server.apply(path, both, manager="us")
    server.apply(path, both, manager="them")

    server.apply(path, objects.config_map("state", namespace=place, b="2"), manager="us")

    assert server.peek(path)["data"] == {"a": "1", "b": "2"}
    (ours,) = owned_by(server.peek(path), "us")
    assert ours["fieldsV1"] == {"f:data": {"f:b": {}}}


def test_an_apply_needs_a_manager(server: ApiServer, place: str) -> None:
    wish = objects.config_map("state", namespace=place)

    answer = server.request(
        "PATCH", path_of(place, "configmaps", "state"), wish, content_type=APPLY
    )

    assert answer.status == 422
    assert answer.json["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for '
        "apply patch"
    )


def test_a_writer_without_a_name_is_called_after_its_program(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", namespace=place))
    apps = client.AppsV1Api(server.client())

    apps.patch_namespaced_deployment_scale(
        "chat", place, {"spec": {"replicas": 2}}, _content_type=MERGE, _request_timeout=TIMEOUT
    )

    found = server.peek(path_of(place, "deployments", "chat"))
    assert owned_by(found, "OpenAPI-Generator")[0]["subresource"] == "scale"


# --- leases -------------------------------------------------------------------------------

TIMES = [
    pytest.param("2026-01-01T00:00:00.000000Z", True, id="six digits"),
    pytest.param("2026-01-01T00:00:00.500000+00:00", True, id="six digits, offset"),
    pytest.param("2026-01-01T00:00:00Z", False, id="no digits"),
    pytest.param("2026-01-01T00:00:00.5Z", False, id="one digit"),
    pytest.param("2026-01-01T00:00:00.500000", False, id="no zone"),
]


@pytest.mark.parametrize(("renewed", "accepted"), TIMES)
def test_a_lease_wants_exactly_six_digits(
    server: ApiServer, place: str, renewed: str, accepted: bool
) -> None:
    obj = objects.lease("leader", namespace=place, renewed=renewed)

    answer = server.request("POST", path_of(place, "leases"), obj)

    assert answer.status == (201 if accepted else 400)
    if not accepted:
        assert f'parsing time "{renewed}"' in answer.json["message"]


def test_a_patched_lease_wants_exactly_six_digits(server: ApiServer, place: str) -> None:
    server.add(objects.lease("leader", namespace=place))

    answer = server.request(
        "PATCH",
        path_of(place, "leases", "leader"),
        {"spec": {"renewTime": "2026-01-01T00:00:00Z"}},
        content_type=MERGE,
    )

    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"].startswith(' "" is invalid: patch: Invalid value: "{')
    assert answer.json["message"].endswith('cannot parse "Z" as ".000000"')


def test_of_two_who_create_a_lease_one_gets_it(server: ApiServer, place: str) -> None:
    made = [
        server.request(
            "POST", path_of(place, "leases"), objects.lease(namespace=place, holder=who)
        ).status
        for who in ("a", "b")
    ]

    assert made == [201, 409]


def test_a_put_of_a_lease_needs_a_version(server: ApiServer, place: str) -> None:
    server.add(objects.lease("leader", namespace=place))

    answer = server.request(
        "PUT",
        path_of(place, "leases", "leader"),
        objects.lease("leader", namespace=place, holder="b"),
    )

    assert answer.status == 422
    assert answer.json["message"] == (
        'leases.coordination.k8s.io "leader" is invalid: metadata.resourceVersion: '
        "Invalid value: 0: must be specified for an update"
    )


def test_the_version_is_the_lock_of_a_lease(server: ApiServer, place: str) -> None:
    server.add(objects.lease("leader", namespace=place))
    path = path_of(place, "leases", "leader")
    seen = server.peek(path)

    def takes(who: str) -> int:
        spec = {**seen["spec"], "holderIdentity": who}
        return server.request("PUT", path, {**seen, "spec": spec}).status

    assert (takes("b"), takes("c")) == (200, 409)
    assert server.peek(path)["spec"]["holderIdentity"] == "b"


@pytest.mark.parametrize(
    ("field", "value"), [("leaseDurationSeconds", 0), ("leaseTransitions", -1)]
)
def test_a_lease_counts_from_zero(server: ApiServer, place: str, field: str, value: int) -> None:
    obj = objects.lease("leader", namespace=place)
    obj["spec"][field] = value

    answer = server.request("POST", path_of(place, "leases"), obj)

    assert answer.status == 422
    assert f"spec.{field}: Invalid value: {value}" in answer.json["message"]


# --- other kinds --------------------------------------------------------------------------


def test_an_event_is_seen_in_both_forms(server: ApiServer, place: str) -> None:
    events = "/apis/events.k8s.io/v1/namespaces/{}/events"
    event = {
        "metadata": {"name": "chat.1", "namespace": place},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "inference-autoscaler",
        "reportingInstance": "a",
        "action": "Scale",
        "reason": "ScaledUp",
        "type": "Normal",
        "note": "from 3 to 5",
        "regarding": {"kind": "Deployment", "name": "chat", "namespace": place},
    }

    made = server.request("POST", events.format(place), event)

    assert made.status == 201
    core = server.peek(path_of(place, "events", "chat.1"))
    assert core["message"] == "from 3 to 5"
    assert core["involvedObject"]["name"] == "chat"
    assert core["reportingComponent"] == "inference-autoscaler"
    found = server.get(
        path_of(place, "events"), fieldSelector="involvedObject.name=chat,reason=ScaledUp"
    )
    assert len(found["items"]) == 1


def test_only_some_fields_can_be_selected(server: ApiServer, place: str) -> None:
    by_node = server.request("GET", path_of(place, "pods"), fieldSelector="spec.nodeName=a")
    by_wish = server.request("GET", path_of(place, "deployments"), fieldSelector="spec.replicas=3")

    assert (by_node.status, by_wish.status) == (200, 400)


def test_a_custom_resource_is_put_with_a_version(server: ApiServer, place: str) -> None:
    server.add(objects.scaled_object("chat", "chat", namespace=place))
    path = f"/apis/keda.sh/v1alpha1/namespaces/{place}/scaledobjects/chat"
    seen = server.peek(path)

    bare = server.request("PUT", path, objects.scaled_object("chat", "other", namespace=place))
    whole = server.request("PUT", path, {**seen, "spec": {"scaleTargetRef": {"name": "other"}}})

    assert (bare.status, whole.status) == (422, 200)
    assert "metadata.resourceVersion: Invalid value: 0" in bare.json["message"]


def test_a_delete_may_be_meant_for_one_object_only(server: ApiServer, place: str) -> None:
    server.add(objects.config_map("state", namespace=place))
    path = path_of(place, "configmaps", "state")
    uid = server.peek(path)["metadata"]["uid"]

    other = server.request("DELETE", path, {"preconditions": {"uid": "another"}})
    this = server.request("DELETE", path, {"preconditions": {"uid": uid}})

    assert (other.status, this.status) == (409, 200)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"eventTime": None}, "eventTime: Required value", id="no time"),
        pytest.param({"reportingController": ""}, "reportingController: Required", id="nobody"),
        pytest.param({"type": "Bad"}, "type: Invalid value", id="type"),
        pytest.param({"note": "x" * 1025}, "can have at most 1024 characters", id="long"),
    ],
)
def test_an_event_is_complete(
    server: ApiServer, place: str, changes: dict[str, Any], says: str
) -> None:
    event = {
        "metadata": {"name": "chat.1", "namespace": place},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "inference-autoscaler",
        "reportingInstance": "a",
        "action": "Scale",
        "reason": "ScaledUp",
        "type": "Normal",
        "regarding": {"kind": "Deployment", "name": "chat", "namespace": place},
        **changes,
    }

    answer = server.request("POST", f"/apis/events.k8s.io/v1/namespaces/{place}/events", event)

    assert answer.status == 422
    assert says in answer.json["message"]


def test_an_event_stands_in_the_namespace_of_what_it_is_about(
    server: ApiServer, place: str
) -> None:
    event = {
        "metadata": {"name": "chat.1", "namespace": place},
        "involvedObject": {"kind": "Deployment", "name": "chat", "namespace": "default"},
    }

    answer = server.request("POST", path_of(place, "events"), event)

    assert answer.status == 422
    assert "involvedObject.namespace: Invalid value" in answer.json["message"]


def test_an_autoscaler_does_not_go_to_zero(server: ApiServer, place: str) -> None:
    obj = objects.autoscaler("chat", "chat", namespace=place, low=0)

    answer = server.request("POST", path_of(place, "horizontalpodautoscalers"), obj)

    assert answer.status == 422
    assert "spec.minReplicas: Invalid value: 0" in answer.json["message"]


def test_a_disruption_budget_shows_what_it_allows(server: ApiServer, place: str) -> None:
    server.add(objects.disruption_budget("chat", app="chat", allowed=2, namespace=place))

    found = server.peek(path_of(place, "poddisruptionbudgets", "chat"))

    assert found["status"]["disruptionsAllowed"] == 2


def test_a_deployment_selects_its_own_pods(server: ApiServer, place: str) -> None:
    obj = objects.deployment("chat", namespace=place)
    obj["spec"]["template"]["metadata"]["labels"] = {"app": "other"}

    answer = server.request("POST", path_of(place, "deployments"), obj)

    assert answer.status == 422
    assert "`selector` does not match template `labels`" in answer.json["message"]
