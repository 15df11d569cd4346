"""Requests for another adapter's metrics: what is passed on to it, and what comes back."""

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

from autoscaler.core.errors import ConfigError
from metrics_adapter import delegate, server
from metrics_adapter.targets import EXTERNAL
from tests.metrics_adapter.cluster import FakeCluster, FakeController, say
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start
from tests.metrics_adapter.incumbents import S0_CRON, Incumbent
from tests.waiting import until

LIST = "/apis/external.metrics.k8s.io/v1beta1"
ANSWERED = {
    "kind": "ExternalMetricValueList", "apiVersion": f"{EXTERNAL}/v1beta1", "metadata": {},
    "items": [S0_CRON],
}  # fmt: skip


def test_what_we_do_not_know_is_passed_on(delegating: Running, incumbent: Incumbent) -> None:
    path = f"{LIST}/namespaces/llm/s0-cron?labelSelector=scaledobject.keda.sh%2Fname%3Dx&limit=5"

    answer = delegating.get(path, AS_HPA)

    assert answer.status == 200
    assert answer.document == ANSWERED
    assert incumbent.asked[-1] == (
        f"{LIST}/namespaces/llm/s0-cron?labelSelector=scaledobject.keda.sh/name=x"
    )
    assert incumbent.authorizations[-1] == "Bearer adapter-token"


def test_what_we_know_is_ours_alone(delegating: Running, incumbent: Incumbent) -> None:
    assert delegating.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 200
    delegating.clock.now += 100
    assert delegating.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 503
    assert delegating.get(f"{LIST}/namespaces/llm/s0-cron", {"X-Remote-User": "bob"}).status == 403

    assert not [path for path in incumbent.asked if "namespaces" in path]


def test_what_nobody_knows_is_what_the_incumbent_says(delegating: Running) -> None:
    answer = delegating.get(f"{LIST}/namespaces/llm/nothing", AS_HPA)

    assert (answer.status, answer.message) == (404, "not known there")


def test_before_the_first_plan_the_incumbent_s_metrics_are_answered_all_the_same(
    start: Start, behind: dict[str, Any], incumbent: Incumbent, controller: FakeController
) -> None:
    """What it does not know may be ours: that is unknown, not absent."""
    controller.publish_bytes(b"starting", 503)
    adapter = start(follows=False, delegates={"external": behind})
    until(lambda: "front proxy" not in adapter.adapter.lacks())

    value, nothing, ours = (
        adapter.get(f"{LIST}/namespaces/llm/{name}", AS_HPA)
        for name in ("s0-cron", "load", "desired_replicas")
    )

    assert (value.status, value.document) == (200, ANSWERED)
    for one in (nothing, ours):
        assert one.status == 503
        assert one.message.startswith("no plan yet: ")
    assert not [path for path in incumbent.asked if "desired_replicas" in path]


def test_what_neither_knows_is_unknown_while_the_plan_is_old(delegating: Running) -> None:
    delegating.clock.now += 100

    answer = delegating.get(f"{LIST}/namespaces/llm/nothing", AS_HPA)

    assert answer.status == 503
    assert answer.message.startswith("the newest plan is 100 s old")


def a_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param(
            lambda: {"url": f"https://127.0.0.1:{a_closed_port()}"}, "connection refused",
            id="nobody there",
        ),
        pytest.param(
            lambda: {"serverName": "another.keda.svc"}, "certificate verify failed",
            id="another name",
        ),
    ],
)  # fmt: skip
def test_why_the_incumbent_was_not_reached_is_told_in_words(
    start: Start, behind: dict[str, Any], more: Callable[[], dict[str, Any]], why: str
) -> None:
    adapter = start(delegates={"external": {**behind, **more()}})

    answer = adapter.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA)

    assert answer.status == 503
    assert answer.message.startswith("the adapter behind this one: ")
    assert why in answer.message
    assert "object at 0x" not in answer.message


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", id="a length below zero"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", id="a long line"),
        pytest.param(b"\x00\xff\n\n\r\n\r\n", id="no HTTP"),
    ],
)
def test_what_is_no_http_is_told_in_one_line(
    delegating: Running, incumbent: Incumbent, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    def answer(request: BaseHTTPRequestHandler, body: Any) -> None:
        request.wfile.write(line)
        request.close_connection = True

    monkeypatch.setattr(incumbent, "answer", answer)

    told = delegating.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA)

    assert told.status == 503
    assert told.message.isprintable()
    assert len(told.message) < 400


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        pytest.param(200, b"<html>", "its answer (200) is no object in JSON", id="no JSON"),
        pytest.param(200, b"[]", "its answer (200) is no object in JSON", id="a list"),
        pytest.param(302, b"{}", "its answer (302) is none that can be passed on", id="elsewhere"),
        pytest.param(404, b"404 page not found", "its answer (404) is no object in JSON", id="404"),
        pytest.param(404, b'{"kind":"Error"}', "its answer (404) is no Status", id="no Status"),
        pytest.param(200, b"[" + b"1," * 3_000_000, "its answer is too large", id="too large"),
    ],
)
def test_nonsense_is_not_passed_on(
    delegating: Running, incumbent: Incumbent, status: int, reply: bytes, message: str
) -> None:
    incumbent.reply, incumbent.status = reply, status

    answer = delegating.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA)

    assert (answer.status, answer.message) == (503, f"the adapter behind this one: {message}")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        pytest.param(
            {"token": "one\ntwo"}, "token: should hold one token, in one line", id="two tokens"
        ),
        pytest.param({"url": f"https://{'a' * 64}.svc"}, "too long", id="no name of a host"),
    ],
)
def test_what_no_request_can_be_made_with_is_told(
    start: Start, behind: dict[str, Any], tmp_path: Path, more: dict[str, str], reason: str
) -> None:
    token = tmp_path / "another" / "token"
    token.parent.mkdir()
    token.write_text(more.get("token", "adapter-token"))
    url = more.get("url", behind["url"])
    adapter = start(delegates={"external": {**behind, "url": url, "tokenFile": token}})

    answer = adapter.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA)

    assert answer.status == 503
    assert reason in answer.message
    assert adapter.get(LIST, AGGREGATOR).status == 200
    assert adapter.error is None


def test_what_an_incumbent_wants_to_be_kept_is_not(
    start: Start,
    behind: dict[str, Any],
    incumbent: Incumbent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cookies are kept for names of hosts, not for addresses."""
    cookies: list[str | None] = []
    answered = incumbent.answer

    def answer(request: BaseHTTPRequestHandler, body: Any) -> None:
        cookies.append(request.headers.get("Cookie"))
        if "namespaces" in request.path:
            say(request, 200, ANSWERED, Set_Cookie="a=b; Path=/")
        else:
            answered(request, body)

    monkeypatch.setattr(incumbent, "answer", answer)
    adapter = start(
        delegates={"external": {**behind, "url": f"https://localhost:{incumbent.port}"}}
    )
    found = [adapter.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA).status for _ in range(3)]

    assert found == [200] * 3
    assert set(cookies) == {None}


def test_an_adapter_that_would_pass_on_to_itself_says_so(
    start: Start, cluster: FakeCluster, serving: trustme.CA, tmp_path: Path
) -> None:
    port = a_closed_port()
    serving.cert_pem.write_to_path(str(tmp_path / "self.crt"))
    cluster.tokens["adapter-token"] = {"username": "ourselves", "groups": []}
    cluster.rights.of["ourselves"] = {"*"}
    itself = {
        "url": f"https://127.0.0.1:{port}",
        "caFile": tmp_path / "self.crt",
        "serverName": "localhost",
        "tokenFile": cluster.token_file,
    }
    adapter = start(serving_settings={"port": port}, delegates={"external": itself})

    answer = adapter.get(f"{LIST}/namespaces/llm/nothing", AS_HPA)

    assert answer.status == 503
    assert answer.message == server.ROUND
    assert adapter.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 200


def test_not_all_may_wait_for_the_incumbent(
    delegating: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegate, "MOST_AT_ONCE", 0)

    assert delegating.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA).status == 429


def test_an_incumbent_without_an_authority_is_a_mistake(tmp_path: Path) -> None:
    settings = delegate.DelegateSettings.model_validate(
        {"url": "https://keda.keda.svc", "caFile": tmp_path / "none"}
    )

    with pytest.raises(ConfigError, match=r"none: should hold certificates: "):
        delegate.Delegate(EXTERNAL, settings)
