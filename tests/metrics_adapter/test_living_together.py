"""Beside another adapter: who owns an API, what is passed on to it, and pods."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import trustme
from structlog.testing import capture_logs

from autoscaler.core.errors import ConfigError
from metrics_adapter import delegate, server
from metrics_adapter.authority import DAY
from metrics_adapter.incumbents import Owner, Registration, advice
from metrics_adapter.targets import CUSTOM, EXTERNAL
from tests.metrics_adapter.cluster import FakeCluster, FakeController, Loopback, raw, say, until
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start
from tests.metrics_adapter.plans import a_row, a_signal
from tests.metrics_adapter.test_own_certificate import OWN, register, register_version

LIST = "/apis/external.metrics.k8s.io/v1beta1"
PODS = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm/pods"
KEDA = Owner("keda", "keda-operator-metrics-apiserver")
OURS = "APIService v1beta1.external.metrics.k8s.io"


def registered(owner: Owner | None, *, insecure: bool = False) -> Registration:
    return Registration("/", "v1beta1.external.metrics.k8s.io", owner, "", insecure)


@pytest.mark.parametrize(
    ("seen", "delegates", "text"),
    [
        pytest.param(registered(OWN), False, "", id="ours"),
        pytest.param(
            registered(OWN, insecure=True), False, "skips the check of our certificate", id="blind"
        ),
        pytest.param(None, False, f"{OURS} is not there: apply manifests/", id="nobody's"),
        pytest.param(registered(None), False, "names no Service: delete", id="the API server's"),
        pytest.param(registered(KEDA), False, "belongs to KEDA (keda/keda-op", id="keda"),
        pytest.param(
            registered(KEDA),
            False,
            "with delegates.external set and KEDA's certificate rotation off (--enable-cert-rot",
            id="keda writes over us",
        ),
        pytest.param(
            registered(Owner("monitoring", "prometheus-adapter")),
            False,
            "take it over by our manifest with delegates.external set to it",
            id="prometheus-adapter",
        ),
        pytest.param(
            registered(Owner("dd", "datadog-cluster-agent-metrics-api")),
            True,
            "belongs to the Datadog agent (dd/datadog-cluster-agent-metrics-api), so no request "
            "comes to us; take it over by our manifest, or",
            id="datadog",
        ),
        pytest.param(registered(Owner("a", "b")), True, "belongs to a/b, so", id="somebody's"),
    ],
)  # fmt: skip
def test_who_owns_an_api_decides_what_to_do(
    seen: Registration | None, delegates: bool, text: str
) -> None:
    found = advice(seen, OWN, EXTERNAL, delegates=delegates)

    assert text in found
    assert bool(found) == bool(text)
    assert "\n" not in found


PROMETHEUS = Owner("monitoring", "prometheus-adapter")
OLDER = "APIService v1beta1.custom.metrics.k8s.io"


def of_custom(owner: Owner | None, version: str, priority: int) -> Registration:
    return Registration("/", f"{version}.custom.metrics.k8s.io", owner, "", False, priority)


@pytest.mark.parametrize(
    ("seen", "older", "delegates", "text"),
    [
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 100),
            False,
            f"{OLDER} belongs to prometheus-adapter (monitoring/prometheus-adapter), but HPAs ask "
            "v1beta2.custom.metrics.k8s.io, which is ours: its metrics are lost to them until "
            "delegates.custom is set",
            id="its metrics are lost",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 100),
            True,
            "",
            id="passed on",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 300),
            True,
            "has the higher versionPriority, 300 over 200 of v1beta2.custom.metrics.k8s.io",
            id="it is preferred",
        ),
        pytest.param(
            None,
            of_custom(PROMETHEUS, "v1beta1", 100),
            False,
            "before you apply manifests/metrics-api/apiservice.yaml set delegates.custom to it",
            id="before ours is there",
        ),
        pytest.param(
            None,
            of_custom(PROMETHEUS, "v1beta1", 100),
            True,
            "APIService v1beta2.custom.metrics.k8s.io is not there: apply",
            id="before ours is there, passed on",
        ),
        pytest.param(
            of_custom(PROMETHEUS, "v1beta2", 200),
            of_custom(PROMETHEUS, "v1beta1", 100),
            False,
            "APIService v1beta2.custom.metrics.k8s.io belongs to prometheus-adapter",
            id="both are its own",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(OWN, "v1beta1", 100),
            False,
            f"{OLDER} names our Service, which serves v1beta2.custom.metrics.k8s.io alone: delete",
            id="a version that we do not serve",
        ),
        pytest.param(
            of_custom(OWN, "v1beta2", 200),
            of_custom(None, "v1beta1", 100),
            False,
            f"{OLDER} names no Service: delete it",
            id="the API server's",
        ),
    ],
)
def test_who_owns_another_version_decides_what_to_do(
    seen: Registration | None, older: Registration, delegates: bool, text: str
) -> None:
    found = advice(seen, OWN, CUSTOM, delegates=delegates, beside=[older])

    assert text in found
    assert bool(found) == bool(text)
    assert "\n" not in found


def test_an_incumbent_of_an_older_version_is_told_at_the_start(
    start: Start, cluster: FakeCluster
) -> None:
    register(cluster, EXTERNAL)
    register(cluster, CUSTOM, versionPriority=200)
    register_version(cluster, "v1beta1", CUSTOM, PROMETHEUS, versionPriority=100)
    with capture_logs() as logs:
        start()
        until(lambda: any(one["event"] == "metrics API not in order" for one in logs))

    (told,) = [one for one in logs if one["event"] == "metrics API not in order"]
    assert told["reason"].startswith(f"{OLDER} belongs to prometheus-adapter")


def test_an_incumbent_is_told_at_the_start(start: Start, cluster: FakeCluster) -> None:
    register(cluster, EXTERNAL, KEDA)
    register(cluster, CUSTOM)
    with capture_logs() as logs:
        start()
        until(lambda: any(one["event"] == "metrics API not in order" for one in logs))

    (told,) = [one for one in logs if one["event"] == "metrics API not in order"]
    assert told["reason"].startswith(f"{OURS} belongs to KEDA")


def test_an_incumbent_that_leaves_is_told(
    start: Start, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_adapter.service.ADVISE_SECONDS", 0.02)
    cluster.refuse = lambda method, path: 403 if "apiservices" in path else 0
    with capture_logs() as logs:
        start(groups=[EXTERNAL])
        until(lambda: any("it is not known who owns" in str(one) for one in logs))
        cluster.refuse = lambda method, path: 0
        register(cluster, EXTERNAL)
        until(lambda: any(one["event"] == "metrics API in order" for one in logs))


S0_CRON = {"metricName": "s0-cron", "metricLabels": None, "value": "3"}
ANSWERED = {
    "kind": "ExternalMetricValueList", "apiVersion": f"{EXTERNAL}/v1beta1", "metadata": {},
    "items": [S0_CRON],
}  # fmt: skip


class Incumbent(Loopback):
    """Another adapter: it knows `s0-cron` and says what it was asked."""

    def __init__(self, authority: trustme.CA) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.reply: bytes | None = None
        self.status = 200
        super().__init__(authority.issue_cert("incumbent.keda.svc"))

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        self.asked.append((request.path, request.headers.get("Authorization")))
        if self.reply is not None:
            say(request, self.status, self.reply)
        elif request.path.count("/") == 3:
            say(request, 200, {"kind": "APIResourceList", "resources": [{"name": "s0-cron"}, 7]})
        elif "s0-cron" in request.path:
            say(request, 200, {"items": [S0_CRON], "metadata": {"more": 5}})
        else:
            say(request, 404, {"kind": "Status", "code": 404, "message": "not known there"})


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def incumbent(authority: trustme.CA) -> Iterator[Incumbent]:
    server = Incumbent(authority)
    yield server
    server.stop()


@pytest.fixture
def behind(
    incumbent: Incumbent, authority: trustme.CA, cluster: FakeCluster, tmp_path: Path
) -> dict[str, Any]:
    """How the incumbent is asked."""
    ca_file = tmp_path / "incumbent.crt"
    authority.cert_pem.write_to_path(str(ca_file))
    return {
        "url": f"https://127.0.0.1:{incumbent.port}",
        "caFile": ca_file,
        "serverName": "incumbent.keda.svc",
        "tokenFile": cluster.token_file,
    }


@pytest.fixture
def delegating(start: Start, behind: dict[str, Any]) -> Running:
    return start(delegates={"external": behind})


def test_what_we_do_not_know_is_passed_on(delegating: Running, incumbent: Incumbent) -> None:
    path = f"{LIST}/namespaces/llm/s0-cron?labelSelector=scaledobject.keda.sh%2Fname%3Dx&limit=5"

    answer = delegating.get(path, AS_HPA)

    assert answer.status == 200
    assert answer.document == ANSWERED
    asked, token = incumbent.asked[-1]
    assert unquote(asked) == (
        f"{LIST}/namespaces/llm/s0-cron?labelSelector=scaledobject.keda.sh/name=x"
    )
    assert token == "Bearer adapter-token"


def test_what_we_know_is_ours_alone(delegating: Running, incumbent: Incumbent) -> None:
    assert delegating.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 200
    delegating.clock.now += 100
    assert delegating.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 503
    assert delegating.get(f"{LIST}/namespaces/llm/s0-cron", {"X-Remote-User": "bob"}).status == 403

    assert not [path for path, _ in incumbent.asked if "namespaces" in path]


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
    assert not [path for path, _ in incumbent.asked if "desired_replicas" in path]


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


def test_the_incumbent_s_names_are_listed_and_stay_while_it_is_away(
    delegating: Running, incumbent: Incumbent
) -> None:
    def listed() -> list[str]:
        answer = delegating.get(LIST, AGGREGATOR)
        return [one["name"] for one in answer.document["resources"]]

    until(lambda: listed() == ["desired_replicas", "load", "s0-cron"])
    incumbent.reply = b"out of order"

    assert listed() == ["desired_replicas", "load", "s0-cron"]
    value = delegating.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA)
    assert value.status == 503
    assert value.message.startswith("the adapter behind this one: ")


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


def kept(names: dict[str, list[str]]) -> Callable[[str, Iterable[str]], Awaitable[None]]:
    """What a delegate tells its names."""

    async def use(group: str, told: Iterable[str]) -> None:
        names[group] = list(told)

    return use


def test_an_incumbent_that_is_away_is_told_once(
    delegating: Running, incumbent: Incumbent, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: incumbent.asked)
    monkeypatch.setattr(delegate, "LOOK_SECONDS", 0.01)
    incumbent.reply, incumbent.status = json.dumps({"message": "no"}).encode(), 403
    settings = delegating.adapter.settings.delegates.external
    assert settings is not None

    async def looking() -> None:
        one = delegate.Delegate(EXTERNAL, settings)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(one.run(kept({})), 0.5)
        await one.close()

    before = len(incumbent.asked)
    with capture_logs() as logs:
        asyncio.run(looking())

    assert len(incumbent.asked) > before + 1
    reasons = [one["reason"] for one in logs if one["event"] == "delegate not reached"]
    assert set(reasons) == {"status 403"}
    assert len(reasons) <= 2  # the adapter itself may look once more, too


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b'{"resources":5}', id="a number"),
        pytest.param(b'{"resources":true}', id="yes"),
        pytest.param(b'{"resources":{"name":"x"}}', id="an object"),
        pytest.param(b'{"resources":[{"name":"x"}],"resources":[]}', id="two lists"),
        pytest.param(b"[" * 5000, id="deep"),
        pytest.param(b'{"resources":[{"name":"\\ud800"}]}', id="half a character"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_whatever_the_incumbent_lists_the_process_goes_on(
    start: Start, behind: dict[str, Any], incumbent: Incumbent, reply: bytes
) -> None:
    """A group that does not answer blocks the deletion of every namespace."""
    incumbent.reply = reply

    with capture_logs() as logs:
        adapter = start(delegates={"external": behind})
        until(lambda: any(one["event"] == "delegate not reached" for one in logs))

    assert adapter.get(LIST, AGGREGATOR).status == 200
    assert adapter.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 200
    assert adapter.error is None
    (told,) = [one for one in logs if one["event"] == "delegate not reached"]
    assert told["reason"].startswith("its answer (200) ")


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


def test_a_mistake_of_ours_is_told_with_its_cause_and_the_incumbent_asked_again(
    behind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegate, "LOOK_SECONDS", 0.01)
    settings = delegate.DelegateSettings.model_validate(behind)
    names: dict[str, list[str]] = {}
    failed: list[ZeroDivisionError] = []

    async def use(group: str, told: Iterable[str]) -> None:
        if len(failed) < 3:
            failed.append(ZeroDivisionError("seven"))
            raise failed[-1]
        await kept(names)(group, told)

    async def looking() -> None:
        one = delegate.Delegate(EXTERNAL, settings)
        running = asyncio.create_task(one.run(use))
        while not names:
            await asyncio.sleep(0.01)
        running.cancel()
        await one.close()

    with capture_logs() as logs:
        asyncio.run(looking())

    assert names == {EXTERNAL: ["s0-cron"]}
    assert len(failed) == 3
    (told,) = [one for one in logs if one["event"] == "delegate not reached"]
    assert told["reason"] == "it could not be understood: ZeroDivisionError('seven')"
    assert told["exc_info"] is failed[0]


@pytest.mark.parametrize(
    ("group", "names", "told", "left_out"),
    [
        pytest.param(
            EXTERNAL,
            ["s1", "", None, 5, "a/b", "a b", "a%2Fb", "..", "*", "s0", "s1", "x" * 254],
            ["s0", "s1"],
            "9 that nobody could ask for",
            id="external",
        ),
        pytest.param(
            CUSTOM,
            ["pods/s1", "pods", "/x", "x/", "a/b/c", "A b\n/c%2F", "namespaces/s0", None],
            ["namespaces/s0", "pods/s1"],
            "6 that nobody could ask for",
            id="custom",
        ),
        pytest.param(
            EXTERNAL,
            ["d", "b", "a", "e", "c", "b", ""],
            ["a", "b", "c"],
            "1 that nobody could ask for and 2 beyond the first 3",
            id="many",
        ),
    ],
)
def test_only_names_that_can_be_asked_for_are_listed_and_so_many_at_most(
    behind: dict[str, Any],
    incumbent: Incumbent,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    names: list[Any],
    told: list[str],
    left_out: str,
) -> None:
    monkeypatch.setattr(delegate, "MOST_NAMES", 3)
    resources = [{"name": name} for name in names]
    incumbent.reply = json.dumps(
        {"versions": [{"version": "v1beta1"}], "resources": [*resources, 7]}
    ).encode()

    async def asking() -> list[list[str]]:
        one = delegate.Delegate(group, delegate.DelegateSettings.model_validate(behind))
        found = [await one.names(), await one.names()]
        await one.close()
        return found

    with capture_logs() as logs:
        assert asyncio.run(asking()) == [told, told]

    (said,) = [one for one in logs if one["event"] == "delegate's names left out"]
    assert said["reason"] == left_out


def test_what_an_incumbent_wants_to_be_kept_is_not(
    start: Start,
    behind: dict[str, Any],
    incumbent: Incumbent,
    authority: trustme.CA,
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


def test_a_group_that_is_not_served_is_not_there(start: Start) -> None:
    adapter = start(groups=[CUSTOM])

    assert adapter.get(LIST, AGGREGATOR).status == 404
    assert adapter.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 404
    assert adapter.get("/apis/custom.metrics.k8s.io/v1beta2", AGGREGATOR).status == 200


def test_without_any_api_the_plan_is_followed_all_the_same(
    start: Start, cluster: FakeCluster
) -> None:
    adapter = start(groups=[])

    assert adapter.adapter.newest.board is not None
    assert cluster.asked == []


@pytest.mark.parametrize("own", [True, False], ids=["own certificate", "certificate in files"])
def test_without_any_api_probes_are_answered_and_nothing_else(
    start: Start, cluster: FakeCluster, own: bool
) -> None:
    """The Deployment's probes are the same; without an answer the kubelet would restart it."""
    files = {"certFile": None, "keyFile": None} if own else {}
    adapter = start(groups=[], serving_settings=files)
    kubelet = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    kubelet.check_hostname, kubelet.verify_mode = False, ssl.CERT_NONE

    def answer(path: str, *headers: str) -> tuple[int, bytes]:
        lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *headers]
        found = raw(adapter.address, kubelet, "\r\n".join([*lines, "", ""]).encode())
        return int(found.split()[1]), found

    assert answer("/livez")[0] == answer("/readyz")[0] == 200
    assert answer("/apis")[0] == 403
    assert answer(f"{LIST}/namespaces/llm/load")[0] == 403
    assert answer("/apis", "Authorization: Bearer adapter-token")[0] == 401

    adapter.clock.now += 100
    code, said = answer("/readyz")
    assert code == 503
    assert b"the newest plan is 100 s old" in said
    assert answer("/livez")[0] == 200
    assert cluster.asked == []


def test_the_certificate_for_probes_is_renewed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_adapter.probes.LOOK_SECONDS", 0.02)
    with capture_logs() as logs:
        adapter = start(groups=[], serving_settings={"certFile": None, "keyFile": None})
        adapter.wall.now += 21 * DAY
        until(lambda: any(one["event"] == "certificate loaded" for one in logs))


def test_keda_is_served_beside_the_apis_or_without_them(start: Start) -> None:
    with capture_logs() as logs:
        start(groups=[], keda={"port": 0})
        until(lambda: any(one["event"] == "serving KEDA" for one in logs))

    (told,) = [one for one in logs if one["event"] == "serving KEDA"]
    host, _, port = told["address"].rpartition(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=5):
        pass


def test_a_part_that_fails_ends_the_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that follows nothing any more must not look alive."""

    async def broken(self: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("metrics_adapter.follower.Follower.run", broken)
    adapter = start(follows=False, waits=False)
    adapter.ended()

    assert isinstance(adapter.error, RuntimeError)
    assert isinstance(adapter.error.__cause__, ZeroDivisionError)


def test_a_mistake_in_the_settings_of_a_part_ends_the_process(start: Start, tmp_path: Path) -> None:
    controller = {"url": "https://127.0.0.1:1", "caFile": tmp_path / "none"}
    adapter = start(follows=False, waits=False, controller=controller)
    adapter.ended()

    assert isinstance(adapter.error, ConfigError)


def pod(name: str, owner: str | None, **labels: str) -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": f"{owner}-6d4f", "controller": True}] if owner else []
    return {
        "metadata": {
            "name": name,
            "labels": {"pod-template-hash": "6d4f", **labels},
            "ownerReferences": owners,
        }
    }


@pytest.fixture
def with_pods(adapter: Running, cluster: FakeCluster, controller: FakeController) -> Running:
    cluster.objects["/api/v1/namespaces/llm/pods"] = {
        "items": [
            pod("chat-a", "chat", app="chat"),
            pod("chat-b", "chat", app="chat"),
            pod("code-a", "code", app="code"),
            pod("alone", None, app="chat"),
        ]
    }
    signals = {"queue": a_signal(50.0, role="queue"), "usage": a_signal(0.9, role="utilization")}
    controller.publish(
        a_row(signals={**signals, "odd": a_signal()}), a_row("code", signals=signals)
    )
    until(lambda: adapter.adapter.newest.board and adapter.adapter.newest.board.cycle == "c-2")
    return adapter


def told(adapter: Running, path: str) -> dict[str, str]:
    answer = adapter.get(f"{PODS}/{path}", AS_HPA)
    assert answer.status == 200, answer.body
    return {one["describedObject"]["name"]: one["value"] for one in answer.document["items"]}


def test_each_pod_shows_its_share_of_a_total_and_the_whole_of_a_level(with_pods: Running) -> None:
    assert told(with_pods, "*/queue?labelSelector=app%3Dchat") == {"chat-a": "25", "chat-b": "25"}
    assert told(with_pods, "*/usage?labelSelector=app%3Dchat") == {
        "chat-a": "900m",
        "chat-b": "900m",
    }
    assert told(with_pods, "code-a/queue") == {"code-a": "50"}
    assert told(with_pods, "*/queue?metricLabelSelector=workload%3Dcode") == {"code-a": "50"}


def test_pods_are_listed_once_for_all_who_ask(with_pods: Running, cluster: FakeCluster) -> None:
    for _ in range(3):
        told(with_pods, "*/queue?labelSelector=app%3Dchat")
    with_pods.clock.now += 5
    told(with_pods, "*/queue?labelSelector=app%3Dchat")

    assert [path for _, path, _ in cluster.asked].count("/api/v1/namespaces/llm/pods") == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("*/odd", "that can be told of pods", id="neither total nor level"),
        pytest.param("*/none", "that can be told of pods", id="no such metric"),
        pytest.param("none/queue", "no pod with a metric queue matches", id="no such pod"),
        pytest.param("alone/queue", "no pod with a metric queue matches", id="nobody's pod"),
        pytest.param("*/queue?labelSelector=a%3Db", "no pod with a metric", id="no match"),
    ],
)
def test_no_pod_is_a_status(with_pods: Running, path: str, message: str) -> None:
    answer = with_pods.get(f"{PODS}/{path}", AS_HPA)

    assert answer.status == 404
    assert message in answer.message


def test_pods_that_cannot_be_listed_are_a_status_and_asked_for_again(
    with_pods: Running, cluster: FakeCluster
) -> None:
    cluster.refuse = lambda method, path: 500 if path.endswith("/pods") else 0
    answer = with_pods.get(f"{PODS}/*/queue", AS_HPA)
    cluster.refuse = lambda method, path: 0

    assert (answer.status, answer.message) == (503, "the pods of llm could not be listed")
    assert told(with_pods, "chat-a/queue") == {"chat-a": "25"}
