"""Lists, watches and discovery; the same on our server and on a real one."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import urllib3
from kubernetes import client, watch

from tests.fakes.kubernetes import ApiServer, FakeApiServer, objects

NOT_IN = "notin"  # codespell:ignore notin
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def maps(place: str) -> str:
    return f"/api/v1/namespaces/{place}/configmaps"


def watched(server: ApiServer, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    """Yield the events of a watch as they come; it ends by itself after a few seconds."""
    pool = urllib3.PoolManager(ca_certs=str(server.ca_path) if server.ca_path else None)
    sent = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    asked = {"watch": "true", "timeoutSeconds": "3", **query}
    answer = pool.request(
        "GET",
        f"{server.address}{path}",
        fields=asked,
        headers=sent,
        preload_content=False,
        timeout=10,
        retries=False,
    )
    with closing(answer):
        if answer.status != 200:
            raise AssertionError(f"{answer.status}: {answer.data.decode()}")
        rest = b""
        for chunk in answer.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(each) for each in lines)
    pool.clear()


def seeded(server: ApiServer, place: str, *names: str) -> None:
    for name in names:
        obj = objects.config_map(name, namespace=place)
        obj["metadata"]["labels"] = {"letter": name[0], "app": "autoscaler"}
        server.add(obj)


def test_a_list_is_sorted_and_has_a_version(server: ApiServer, place: str) -> None:
    seeded(server, place, "b1", "a1", "a2")

    found = server.get(maps(place))

    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    names = [each["metadata"]["name"] for each in found["items"] if "kube" not in str(each)]
    assert names == ["a1", "a2", "b1"]
    newest = server.peek(f"{maps(place)}/a2")["metadata"]["resourceVersion"]
    assert int(found["metadata"]["resourceVersion"]) >= int(newest)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        pytest.param({"labelSelector": "letter=a"}, {"a1", "a2"}, id="equal"),
        pytest.param({"labelSelector": "letter!=a,app"}, {"b1", "c1"}, id="unequal, present"),
        pytest.param({"labelSelector": "letter in (a, c)"}, {"a1", "a2", "c1"}, id="in"),
        pytest.param({"labelSelector": f"letter {NOT_IN} (a),app"}, {"b1", "c1"}, id="not in"),
        pytest.param({"labelSelector": "!letter,app"}, set(), id="absent"),
        pytest.param({"fieldSelector": "metadata.name=b1"}, {"b1"}, id="name"),
        pytest.param({"fieldSelector": "metadata.name!=b1", "labelSelector": "letter=b"}, set(),
                     id="both"),
    ],
)  # fmt: skip
def test_a_selector_narrows_a_list(
    server: ApiServer, place: str, selector: dict[str, str], names: set[str]
) -> None:
    seeded(server, place, "a1", "a2", "b1", "c1")

    found = server.get(maps(place), **selector)

    assert {each["metadata"]["name"] for each in found["items"]} == names


def test_a_selector_that_is_none_is_refused(server: ApiServer, place: str) -> None:
    answer = server.request("GET", maps(place), labelSelector="a=b=c")

    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")


def test_pages_belong_together(server: ApiServer, place: str) -> None:
    seeded(server, place, "a1", "a2", "a3")

    first = server.get(maps(place), limit=2)
    server.delete(f"{maps(place)}/a3")
    second = server.get(maps(place), limit=2, **{"continue": first["metadata"]["continue"]})

    assert [each["metadata"]["name"] for each in first["items"]] == ["a1", "a2"]
    assert first["metadata"]["remainingItemCount"] == 1
    assert [each["metadata"]["name"] for each in second["items"]] == ["a3"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in second["metadata"]


def test_items_of_built_in_kinds_do_not_say_their_kind(server: ApiServer, place: str) -> None:
    server.add(
        objects.deployment("chat", namespace=place),
        objects.scaled_object("chat", "chat", namespace=place),
    )

    (built_in,) = server.get(f"/apis/apps/v1/namespaces/{place}/deployments")["items"]
    (own,) = server.get(f"/apis/keda.sh/v1alpha1/namespaces/{place}/scaledobjects")["items"]

    assert not {"kind", "apiVersion"} & set(built_in)
    assert (own["kind"], own["apiVersion"]) == ("ScaledObject", "keda.sh/v1alpha1")
    (found,) = server.objects(f"/apis/apps/v1/namespaces/{place}/deployments")
    assert (found["kind"], found["apiVersion"]) == ("Deployment", "apps/v1")


def test_a_list_of_metadata_has_no_specs(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", namespace=place))

    answer = server.request(
        "GET", f"/apis/apps/v1/namespaces/{place}/deployments", headers={"Accept": PARTIAL}
    )

    assert answer.json["kind"] == "PartialObjectMetadataList"
    (item,) = answer.json["items"]
    assert item["metadata"]["name"] == "chat"
    assert item.keys() == {"kind", "apiVersion", "metadata"}
    assert item["kind"] == "PartialObjectMetadata"


def test_a_version_of_the_future_is_too_large(server: ApiServer, place: str) -> None:
    future = "99999999"

    answer = server.request("GET", maps(place), resourceVersion=future)

    assert (answer.status, answer.json["reason"]) == (504, "Timeout")
    assert answer.json["message"].startswith(
        f"Timeout: Too large resource version: {future}, current: "
    )
    assert answer.json["details"]["retryAfterSeconds"] == 1


def test_a_watch_tells_what_happens_after_a_list(server: ApiServer, place: str) -> None:
    seeded(server, place, "a1")
    version = server.get(maps(place))["metadata"]["resourceVersion"]
    seeded(server, place, "b1")
    server.merge(f"{maps(place)}/a1", {"data": {"x": "1"}})
    server.delete(f"{maps(place)}/b1")

    events = watched(server, maps(place), resourceVersion=version)
    seen = [next(events) for _ in range(3)]
    events.close()  # type: ignore[attr-defined]

    told = [(each["type"], each["object"]["metadata"]["name"]) for each in seen]
    assert told == [("ADDED", "b1"), ("MODIFIED", "a1"), ("DELETED", "b1")]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in seen]
    assert versions == sorted(set(versions))


def test_a_watch_without_a_version_starts_with_what_is_there(server: ApiServer, place: str) -> None:
    seeded(server, place, "a1", "a2")

    events = watched(server, maps(place), labelSelector="letter=a")
    first = [next(events) for _ in range(2)]
    seeded(server, place, "a3")
    third = next(events)
    events.close()  # type: ignore[attr-defined]

    assert [each["type"] for each in first] == ["ADDED", "ADDED"]
    assert (third["type"], third["object"]["metadata"]["name"]) == ("ADDED", "a3")


def test_what_leaves_a_selection_is_deleted_from_its_watch(server: ApiServer, place: str) -> None:
    seeded(server, place, "a1", "b1")
    version = server.get(maps(place))["metadata"]["resourceVersion"]

    events = watched(server, maps(place), resourceVersion=version, labelSelector="letter=a")
    server.merge(f"{maps(place)}/b1", {"metadata": {"labels": {"letter": "a"}}})
    server.merge(f"{maps(place)}/a1", {"metadata": {"labels": {"letter": "z"}}})
    seen = [next(events) for _ in range(2)]
    events.close()  # type: ignore[attr-defined]

    told = [(each["type"], each["object"]["metadata"]["name"]) for each in seen]
    assert told == [("ADDED", "b1"), ("DELETED", "a1")]


def test_an_initial_watch_says_where_the_start_ends(server: ApiServer, place: str) -> None:
    seeded(server, place, "a1")

    events = watched(
        server,
        maps(place),
        labelSelector="letter=a",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )
    first, second = next(events), next(events)
    events.close()  # type: ignore[attr-defined]

    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a1")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(second["object"]["metadata"]["resourceVersion"]) > 0


def test_a_watch_from_long_ago_gets_410(fake: FakeApiServer) -> None:
    seeded(fake, "default", "a1")
    fake.compact()
    seeded(fake, "default", "a2")

    (event,) = watched(fake, maps("default"), resourceVersion="1")

    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"
    assert event["object"]["message"].startswith("too old resource version: 1 (")


@pytest.mark.slow
def test_a_watch_ends_in_time(server: ApiServer, place: str) -> None:
    version = server.get(maps(place))["metadata"]["resourceVersion"]

    events = list(watched(server, maps(place), resourceVersion=version, timeoutSeconds="1"))

    assert [each["type"] for each in events if each["type"] != "ADDED"] == []


def test_a_bookmark_is_sent_when_asked_for(fake: FakeApiServer) -> None:
    seeded(fake, "default", "a1")
    version = fake.get(maps("default"))["metadata"]["resourceVersion"]

    events = watched(fake, maps("default"), resourceVersion=version, allowWatchBookmarks="true")
    fake.add(objects.lease("other"))
    seeded(fake, "default", "a2")
    assert next(events)["type"] == "ADDED"
    fake.bookmark()
    event = next(events)
    events.close()  # type: ignore[attr-defined]

    assert event["type"] == "BOOKMARK"
    assert int(event["object"]["metadata"]["resourceVersion"]) == fake.store.version


def test_a_list_continued_after_compaction_gets_410(fake: FakeApiServer) -> None:
    seeded(fake, "default", "a1", "a2", "a3")
    first = fake.get(maps("default"), limit=2)
    fake.compact()

    answer = fake.request(
        "GET", maps("default"), limit=2, **{"continue": first["metadata"]["continue"]}
    )

    assert (answer.status, answer.json["reason"]) == (410, "Expired")


def test_the_oldest_changes_are_forgotten_first(tmp_path: Any) -> None:
    with FakeApiServer(tmp_path, remembers=2) as small:
        seeded(small, "default", "a1", "a2", "a3")

        (event,) = watched(small, maps("default"), resourceVersion="1")

        assert event["object"]["code"] == 410


def test_the_real_clients_watch_works(server: ApiServer, place: str) -> None:
    seeded(server, place, "a1")
    core = client.CoreV1Api(server.client())

    stream = watch.Watch().stream(  # type: ignore[no-untyped-call]
        core.list_namespaced_config_map,
        namespace=place,
        label_selector="letter=a",
        timeout_seconds=1,
        _request_timeout=(3, 5),
    )
    event = next(iter(stream))

    assert (event["type"], event["object"].metadata.name) == ("ADDED", "a1")


def test_discovery_names_resources_and_subresources(server: ApiServer) -> None:
    groups = {each["name"] for each in server.get("/apis")["groups"]}
    apps = {each["name"]: each for each in server.get("/apis/apps/v1")["resources"]}
    core = {each["name"] for each in server.get("/api/v1")["resources"]}

    assert {"apps", "coordination.k8s.io", "keda.sh", "karpenter.sh", "policy"} <= groups
    assert {"deployments", "deployments/scale", "deployments/status", "statefulsets"} <= set(apps)
    assert apps["deployments/scale"]["kind"] == "Scale"
    assert apps["deployments/scale"]["group"] == "autoscaling"
    assert apps["deployments"]["kind"] == "Deployment"
    assert "deploy" in apps["deployments"]["shortNames"]
    assert {"pods", "configmaps", "events", "namespaces"} <= core
    pools = {each["name"]: each for each in server.get("/apis/karpenter.sh/v1")["resources"]}
    assert pools["nodepools"]["namespaced"] is False
    assert server.get("/version")["major"] == "1"
    assert server.get("/apis/apps")["preferredVersion"]["version"] == "v1"
    assert server.get("/api")["versions"] == ["v1"]


@pytest.mark.parametrize(
    "path",
    [
        "/apis/example.com/v1/things",
        "/apis/apps/v1/namespaces/default/nothing",
        "/apis/apps/v1/namespaces/default/deployments/a/nothing",
        "/nowhere",
    ],
)
def test_an_unknown_path_is_not_found(server: ApiServer, path: str) -> None:
    assert server.request("GET", path).status == 404
