"""What goes wrong on purpose, as the real client meets it."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.fakes.kubernetes import (
    ApiError,
    ApiServer,
    Break,
    FakeApiServer,
    Fault,
    ScalePaths,
    custom,
    objects,
)
from tests.fakes.kubernetes.client import MERGE
from tests.fakes.test_reads import maps, seeded, watched

CHAT = "/apis/apps/v1/namespaces/default/deployments/chat"
TIMEOUT = (3, 3)


def apps(fake: FakeApiServer) -> client.AppsV1Api:
    fake.add(objects.deployment("chat", replicas=3))
    found = fake.client()
    found.configuration.retries = False
    return client.AppsV1Api(found)


def scale(api: client.AppsV1Api, replicas: int, seconds: float = 3) -> Any:
    return api.patch_namespaced_deployment_scale(
        "chat",
        "default",
        {"spec": {"replicas": replicas}},
        _content_type=MERGE,
        _request_timeout=(seconds, seconds),
    )


def replicas(fake: FakeApiServer) -> int:
    found: int = fake.peek(CHAT)["spec"]["replicas"]
    return found


def test_a_status_comes_as_often_as_said_with_its_retry_after(fake: FakeApiServer) -> None:
    api = apps(fake)
    armed = fake.faults.add(method="PATCH", path="/scale$", status=429, retry_after=2, times=1)

    with pytest.raises(ApiException) as caught:
        scale(api, 5)
    untouched = replicas(fake)
    scale(api, 5)

    assert (caught.value.status, dict(caught.value.headers or {})["Retry-After"]) == (429, "2")
    assert (untouched, replicas(fake), armed.hits) == (3, 5, 1)


def test_a_fault_may_wait_for_its_turn(fake: FakeApiServer) -> None:
    fake.faults.add(method="GET", status=500, after=2)

    found = [fake.request("GET", "/api/v1/namespaces").status for _ in range(4)]

    assert found == [200, 200, 500, 200]


def test_a_write_may_be_done_and_said_to_have_failed(fake: FakeApiServer) -> None:
    api = apps(fake)
    fake.faults.add(method="PATCH", status=504, done=True)

    with pytest.raises(ApiException) as caught:
        scale(api, 5)

    assert (caught.value.status, replicas(fake)) == (504, 5)


@pytest.mark.parametrize(
    ("breaks", "then"),
    [pytest.param(Break.RESET, 3, id="before"), pytest.param(Break.LOST, 5, id="after")],
)
def test_a_connection_is_reset_before_or_after_the_write(
    fake: FakeApiServer, breaks: Break, then: int
) -> None:
    api = apps(fake)
    fake.faults.add(method="PATCH", breaks=breaks)

    with pytest.raises(urllib3.exceptions.HTTPError):
        scale(api, 5)

    assert replicas(fake) == then


def test_half_a_body_is_noticed(fake: FakeApiServer) -> None:
    api = apps(fake)

    with (
        fake.faults.during(method="GET", path="/scale$", breaks=Break.HALF),
        pytest.raises(urllib3.exceptions.HTTPError),
    ):
        api.read_namespaced_deployment_scale("chat", "default", _request_timeout=TIMEOUT)

    api.read_namespaced_deployment_scale("chat", "default", _request_timeout=TIMEOUT)


def test_a_malformed_body_has_the_right_length(fake: FakeApiServer) -> None:
    fake.add(objects.deployment("chat"))
    fake.faults.add(breaks=Break.MALFORMED)

    answer = fake.request("GET", CHAT)

    assert answer.status == 200
    with pytest.raises(ValueError, match="unexpected end"):
        _ = answer.json


def test_a_body_of_ones_own(fake: FakeApiServer) -> None:
    fake.faults.add(body=b"<html>sign in</html>")

    assert fake.request("GET", "/api/v1/namespaces").body == b"<html>sign in</html>"


def test_a_slow_answer_outlasts_the_client(fake: FakeApiServer) -> None:
    api = apps(fake)
    fake.faults.add(method="PATCH", delay=10.0)
    begun = time.monotonic()

    with pytest.raises(urllib3.exceptions.HTTPError):
        scale(api, 5, seconds=0.1)

    assert time.monotonic() - begun < 5


def test_a_hanging_request_goes_on_when_the_fault_is_taken_back(fake: FakeApiServer) -> None:
    armed = fake.faults.add(Fault(breaks=Break.HANG, times=None))
    said: list[str] = []

    def ask() -> None:
        try:
            fake.request("GET", "/api/v1/namespaces")
        except urllib3.exceptions.HTTPError as error:
            said.append(type(error).__name__)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(0.1)
    hung = asking.is_alive()
    fake.faults.remove(armed)
    asking.join(5)

    assert hung
    assert said == ["ProtocolError"]


def test_410_for_a_list_and_for_a_watch(fake: FakeApiServer) -> None:
    fake.faults.add(method="GET", breaks=Break.GONE)
    fake.faults.add(method="WATCH", breaks=Break.GONE)

    listed = fake.request("GET", maps("default"))
    (event,) = watched(fake, maps("default"))

    assert (listed.status, listed.json["reason"]) == (410, "Expired")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


@pytest.mark.parametrize("breaks", [Break.HALF, Break.MALFORMED])
def test_a_watch_breaks_in_the_middle_of_a_line(fake: FakeApiServer, breaks: Break) -> None:
    seeded(fake, "default", "a1")
    fake.faults.add(method="WATCH", breaks=breaks)

    with pytest.raises((ValueError, urllib3.exceptions.HTTPError)):
        list(watched(fake, maps("default"), timeoutSeconds="1"))


def test_watches_are_cut(fake: FakeApiServer) -> None:
    seeded(fake, "default", "a1")

    events = watched(fake, maps("default"))
    first = next(events)
    fake.cut_watches()

    assert first["type"] == "ADDED"
    with pytest.raises(urllib3.exceptions.HTTPError):
        next(events)


def test_a_server_that_comes_back_remembers(fake: FakeApiServer) -> None:
    seeded(fake, "default", "a1")
    fake.stop()
    fake.stop()

    with pytest.raises(urllib3.exceptions.HTTPError):
        fake.request("GET", maps("default"))
    fake.start()
    fake.start()

    assert [each["metadata"]["name"] for each in fake.get(maps("default"))["items"]] == ["a1"]


def test_requests_are_recorded(fake: FakeApiServer) -> None:
    api = apps(fake)
    scale(api, 5)
    fake.request("GET", CHAT)
    list(watched(fake, maps("default"), timeoutSeconds="0.1"))

    (patch,) = fake.requests.matching("PATCH", "/scale$")
    assert patch.json == {"spec": {"replicas": 5}}
    assert (patch.status, patch.user) == (200, "admin")
    assert patch.headers["Content-Type"] == MERGE
    assert fake.requests.writes == [patch]
    assert [each.method for each in fake.requests] == ["PATCH", "GET", "WATCH"]
    assert fake.requests.matching("WATCH")[0].query["timeoutSeconds"] == "0.1"
    fake.requests.clear()
    assert len(fake.requests) == 0


def test_a_resource_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    paths = ScalePaths("spec.workers", "status.workers", "status.selector")
    resources = (custom("example.com", "v1", "engines", "Engine", scale=paths),)
    obj = objects.custom("example.com/v1", "Engine", "a", workers=2)

    with FakeApiServer(tmp_path_factory.mktemp("api"), resources=resources) as server:
        server.add({**obj, "status": {"workers": 1, "selector": "engine=a"}})
        path = "/apis/example.com/v1/namespaces/default/engines/a"
        server.merge(f"{path}/scale", {"spec": {"replicas": 4}})

        assert server.peek(path)["spec"] == {"workers": 4}
        assert server.peek(f"{path}/scale")["status"] == {"replicas": 1, "selector": "engine=a"}


def test_the_server_stamps_its_own_time(fake: FakeApiServer) -> None:
    fake.now = 1_750_000_000.0

    seeded(fake, "default", "a1")

    stamped = fake.peek(f"{maps('default')}/a1")["metadata"]["creationTimestamp"]
    assert stamped == "2025-06-15T15:06:40Z"


def test_looking_for_what_is_not_there_says_so(fake: FakeApiServer) -> None:
    with pytest.raises(ApiError) as caught:
        fake.peek(CHAT)

    assert (caught.value.code, caught.value.message) == (404, 'deployments.apps "chat" not found')


@pytest.mark.slow
def test_the_server_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    manifests = tmp_path / "objects.yaml"
    manifests.write_text(yaml.safe_dump(objects.deployment("chat", replicas=3)), encoding="utf-8")
    command = [sys.executable, "-m", "tests.fakes.kubernetes", str(tmp_path), str(manifests)]

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        server = ApiServer(address, tmp_path / "kubeconfig")
        found = server.peek(CHAT)
        server.close()
        process.communicate(timeout=10)

    assert found["spec"]["replicas"] == 3
    assert process.returncode == 0
