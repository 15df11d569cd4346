"""The plan for those who follow it: what it holds, and who may wait for the next one."""

import http.client
import json
import threading
import time

from autoscaler.telemetry.latest import Latest
from tests.builders import NOON
from tests.telemetry.conftest import Serve, document, get
from tests.telemetry.reports import a_report
from tests.waiting import until


def test_the_plan_holds_what_a_follower_needs(serve: Serve, latest: Latest) -> None:
    server = serve()
    latest.publish(a_report())

    plan = document(server, "/v1/plan")

    assert plan["version"] == 1
    assert plan["time"] == NOON
    (workload,) = plan["workloads"]
    assert (workload["namespace"], workload["name"]) == ("llm", "chat")
    assert workload["desired"] == 5
    assert workload["match"] == {"model_name": "llama"}
    assert workload["signals"]["load"] == {
        "value": 50.0,
        "time": NOON,
        "ageSeconds": 0.0,
        "state": "fresh",
        "usable": True,
        "why": "",
        "role": "other",
        "maxAgeSeconds": 60.0,
    }


def test_a_plan_that_the_client_has_is_not_sent_again(serve: Serve, latest: Latest) -> None:
    server = serve()
    latest.publish(a_report())
    _, headers, _ = get(server, "/v1/plan")

    same = get(server, "/v1/plan", If_None_Match=f'"x", {headers["etag"]}')
    latest.publish(a_report(at=NOON + 15))
    new = get(server, "/v1/plan", If_None_Match=headers["etag"])

    assert (same[0], same[2]) == (304, b"")
    assert same[1]["etag"] == headers["etag"]
    assert new[0] == 200


def test_whoever_waits_for_the_next_plan_has_it_within_a_second(
    serve: Serve, latest: Latest
) -> None:
    server = serve()
    latest.publish(a_report())
    cycle = document(server, "/v1/plan")["cycle"]
    published: list[float] = []

    def publish() -> None:
        published.append(time.monotonic())
        latest.publish(a_report(at=NOON + 15))

    timer = threading.Timer(0.2, publish)
    timer.start()
    plan = document(server, f"/v1/plan?after={cycle}&wait=20")
    took = time.monotonic() - published[0]
    timer.join()

    assert plan["time"] == NOON + 15
    assert took < 10.0  # and not at the end of the wait


def test_whoever_waits_in_vain_is_told_so(serve: Serve, latest: Latest) -> None:
    server = serve()
    nothing_yet = get(server, "/v1/plan?after=x&wait=0")
    latest.publish(a_report())
    cycle = document(server, "/v1/plan")["cycle"]

    nothing_new = get(server, f"/v1/plan?after={cycle}&wait=0.05")
    another_process = get(server, "/v1/plan?after=0badcafe-7&wait=20")

    assert (nothing_yet[0], nothing_new[0], another_process[0]) == (204, 204, 200)


def test_only_half_of_the_connections_may_wait(serve: Serve, latest: Latest) -> None:
    server = serve(max_connections=3)
    latest.publish(a_report())
    cycle = document(server, "/v1/plan")["cycle"]
    waiting = http.client.HTTPConnection(*server.address, timeout=10)
    waiting.request("GET", f"/v1/plan?after={cycle}&wait=20")
    refused: list[str] = []

    def one_more() -> bool:
        status, _, body = get(server, f"/v1/plan?after={cycle}&wait=0.05")
        if status == 503:
            refused.append(json.loads(body)["error"])
        return bool(refused)

    until(one_more)
    server.stop()
    released = waiting.getresponse()
    waiting.close()

    assert refused == ["too many wait for the next cycle already"]
    assert released.status == 204


def test_a_client_that_went_away_does_not_wait_any_longer(serve: Serve, latest: Latest) -> None:
    server = serve(max_connections=2)
    latest.publish(a_report())
    cycle = document(server, "/v1/plan")["cycle"]
    gone = http.client.HTTPConnection(*server.address, timeout=10)
    gone.request("GET", f"/v1/plan?after={cycle}&wait=60")

    def one_more() -> int:
        return get(server, f"/v1/plan?after={cycle}&wait=0.05")[0]

    until(lambda: one_more() == 503)
    gone.close()

    until(lambda: one_more() == 204, seconds=30)
