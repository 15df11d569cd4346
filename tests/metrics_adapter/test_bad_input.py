"""What a bad client gets: a correct `Status` or a closed connection, and nobody else notices."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from metrics_adapter import handshakes, server
from tests.metrics_adapter.cluster import FakeCluster, FakeController, raw
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start, request
from tests.metrics_adapter.plans import a_row
from tests.waiting import has_ended, until

LIST = "/apis/external.metrics.k8s.io/v1beta1"
VALUE = f"{LIST}/namespaces/llm/load"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
MASTERS = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        pytest.param("/", 400, "the path is malformed", id="nothing"),
        pytest.param("/nowhere", 404, "could not find", id="unknown"),
        pytest.param("/apis/apps", 404, "could not find", id="another group"),
        pytest.param("/apis/apps/v1", 404, "could not find", id="another group's version"),
        pytest.param("/apis/external.metrics.k8s.io/v1", 404, "could not find", id="version"),
        pytest.param("/apis/custom.metrics.k8s.io/v1beta1", 404, "could not find", id="older one"),
        pytest.param(
            "/apis/custom.metrics.k8s.io/v1beta1/namespaces/llm/deployments.apps/chat/load",
            404,
            "could not find",
            id="value of an older version",
        ),
        pytest.param("/openapi/v3/apis/apps/v1", 404, "could not find", id="another's openapi"),
        pytest.param(f"{LIST}/namespaces/llm", 404, "could not find", id="no metric"),
        pytest.param(f"{VALUE}/more", 404, "could not find", id="more segments"),
        pytest.param(
            f"{LIST}/namespaces/llm/lod", 404, "namespace llm has a metric lod", id="metric"
        ),
        pytest.param(f"{LIST}/namespaces/other/load", 404, "namespace other", id="namespace"),
        pytest.param(
            f"{VALUE}?labelSelector=workload%3Dx", 404, "has labels workload=x", id="no match"
        ),
        pytest.param(f"{VALUE}?labelSelector=a%3D%3D%3Db", 400, "labelSelector: ", id="selector"),
        pytest.param(
            f"{VALUE}?labelSelector=a%20in%20(", 400, "labelSelector: ", id="open parenthesis"
        ),
        pytest.param(
            f"{CUSTOM}/namespaces/llm/deployments.apps/*/load?labelSelector=a%3D%3D%3Db",
            400,
            "labelSelector: ",
            id="selector of objects",
        ),
        pytest.param(
            f"{CUSTOM}/namespaces/llm/deployments.apps/chat/load?metricLabelSelector=%21%21",
            400,
            "metricLabelSelector: ",
            id="selector of metrics",
        ),
        pytest.param(f"{VALUE}?labelSelector=%FF", 400, "the query is malformed", id="not UTF-8"),
        pytest.param(f"{VALUE}?" + "&".join(["a=b"] * 17), 400, "the query", id="many parameters"),
        pytest.param(f"{VALUE}?watch=true", 405, "values cannot be watched", id="watch"),
        pytest.param(f"{VALUE}?watch", 405, "values cannot be watched", id="watch without a value"),
        pytest.param(
            f"{VALUE}?labelSelector=" + "a," * 2049 + "a", 400, "at most 4096", id="long selector"
        ),
        pytest.param(
            f"{VALUE}?labelSelector=" + "a," * 32 + "a", 400, "at most 32", id="many requirements"
        ),
        pytest.param(f"{LIST}/namespaces/../llm/load", 400, "malformed", id="dots"),
        pytest.param(f"{LIST}/namespaces/%2e%2e/load", 400, "malformed", id="escaped dots"),
        pytest.param(f"{LIST}/namespaces//load", 400, "malformed", id="empty segment"),
        pytest.param(f"{LIST}/namespaces/a%2Fb/load", 400, "malformed", id="escaped slash"),
        pytest.param(f"{LIST}/namespaces/a%5Cb/load", 400, "malformed", id="backslash"),
        pytest.param(f"{LIST}/namespaces/%00/load", 400, "malformed", id="nul"),
        pytest.param(f"{LIST}/namespaces/%zz/load", 400, "malformed", id="no escape"),
        pytest.param(f"{LIST}/namespaces/%FF/load", 400, "malformed", id="path not UTF-8"),
        pytest.param(f"{LIST}/namespaces/%252e/load", 400, "malformed", id="escaped twice"),
        pytest.param(f"{LIST}/namespaces/{'a' * 300}/load", 400, "malformed", id="long name"),
        pytest.param("https://elsewhere/apis", 400, "malformed", id="absolute"),
        pytest.param("*", 400, "", id="asterisk"),
        pytest.param(
            f"{CUSTOM}/namespaces/llm/deployments.apps/none/load", 404, "scales", id="object"
        ),
        pytest.param(
            f"{CUSTOM}/namespaces/llm/deployments.apps/*/load?labelSelector=a%3Db",
            404,
            "no deployments.apps with a metric load matches",
            id="no object matches",
        ),
    ],
)
def test_a_bad_path_or_query_is_a_status(
    shared: Running, path: str, status: int, message: str
) -> None:
    answer = shared.get(path, MASTERS)

    assert answer.status == status
    assert message in answer.message
    assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize(
    "query", ["pretty", "pretty&timeout=5s", "&pretty=true&", "watch=false", "watch=0"]
)
def test_parameters_that_change_nothing_are_let_pass(shared: Running, query: str) -> None:
    """`kubectl get --raw` and people say `?pretty`, without a value."""
    assert shared.get(f"{VALUE}?{query}", MASTERS).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(shared: Running, method: str) -> None:
    answer = shared.get(VALUE, {**MASTERS, "Content-Length": "0"}, method=method)

    assert answer.status == 405
    assert answer.headers["connection"] == "close"
    assert answer.document["reason"] == "MethodNotAllowed"


def test_head_has_no_body(shared: Running) -> None:
    answer = shared.get(VALUE, MASTERS, method="HEAD")

    assert answer.status == 200
    assert answer.body == b""


def test_a_body_is_refused(shared: Running) -> None:
    answer = shared.get(VALUE, {**MASTERS, "Content-Length": "10"})

    assert answer.status == 413


def test_who_takes_no_json_is_refused(shared: Running) -> None:
    answer = shared.get(VALUE, {**MASTERS, "Accept": "application/vnd.kubernetes.protobuf"})

    assert answer.status == 406


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"rubbish\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET /apis HTTP/3.7\r\n\r\n", id="unknown HTTP"),
        pytest.param(b"GET /apis\r\n\r\n", id="HTTP 0.9"),
        pytest.param(b"BREW /apis HTTP/1.1\r\nHost: a\r\n\r\n", id="method"),
        pytest.param(b"GET /apis HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", id="length"),
        pytest.param(
            b"GET /apis HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            id="two lengths",
        ),
        pytest.param(b"GET /apis HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n", id="header"),
        pytest.param(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", id="long path"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n", id="many headers"),
        pytest.param(b"\x16\x03\x01" * 100, id="TLS in TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP 2"),
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(shared: Running, data: bytes) -> None:
    found = raw(shared.address, shared.context(), data)

    if found:
        head, _, body = found.partition(b"\r\n\r\n")
        assert head.split()[:2] in (
            [b"HTTP/1.1", b"400"],
            [b"HTTP/1.0", b"400"],
            [b"HTTP/0.9", b"400"],
        )
        document = json.loads(body)
        assert document["kind"] == "Status"
        assert document["code"] == 400
        assert b"Traceback" not in found
        assert b"aiohttp" not in found


def test_ten_megabytes_of_headers_are_refused_while_others_are_answered(shared: Running) -> None:
    good = shared.connect(shared.front_proxy_client)
    data = b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 10_000_000

    found = raw(shared.address, shared.context(), data)

    assert b" 200 " not in found[:20]
    assert request(good, VALUE, AS_HPA).status == 200
    good.close()


def test_http_1_0_is_answered_once(shared: Running) -> None:
    data = b"GET /livez HTTP/1.0\r\n\r\n"

    found = raw(shared.address, shared.context(), data)

    assert found.startswith(b"HTTP/1.0 200 OK\r\n")
    assert found.endswith(b"ok")


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        pytest.param(VALUE, 200, "ExternalMetricValueList", id="value"),
        pytest.param(f"{LIST}/namespaces/llm/lod", 404, "Status", id="no such metric"),
        pytest.param("/a/../b", 400, "Status", id="path"),
    ],
)
def test_the_api_server_would_be_answered_in_http_1_0_too(
    shared: Running, path: str, status: int, kind: str
) -> None:
    lines = [f"GET {path} HTTP/1.0", *(f"{name}: {value}" for name, value in MASTERS.items())]
    data = "\r\n".join([*lines, "", ""]).encode()

    found = raw(shared.address, shared.context(shared.front_proxy_client), data)

    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.0 {status} ".encode())
    assert json.loads(body)["kind"] == kind


def test_a_client_that_always_sends_a_little_more_is_cut_off(start: Start) -> None:
    """What is limited is the time for the whole request, not for its next byte."""
    adapter = start(serving_settings={"headerSeconds": 0.5})
    with (
        socket.create_connection(adapter.address, timeout=10) as plain,
        adapter.context().wrap_socket(plain, server_hostname="localhost") as slow,
    ):
        began = time.monotonic()
        with contextlib.suppress(OSError):  # it was cut off
            while time.monotonic() - began < 8:
                slow.sendall(b"A")
                assert adapter.get("/livez", proxied=False).status == 200
                time.sleep(0.05)
        assert time.monotonic() - began < 5


@pytest.mark.slow
def test_who_takes_no_answer_is_cut_off_and_others_are_answered(
    start: Start, controller: FakeController
) -> None:
    """Answers that nobody takes do not pile up: no more is read of the connection."""
    adapter = start(serving_settings={"idleSeconds": 0.4, "headerSeconds": 0.6})
    controller.publish(*(a_row(f"w{n}") for n in range(2000)))
    until(lambda: adapter.adapter.newest.board and adapter.adapter.newest.board.cycle == "c-2")
    lines = [f"GET {VALUE} HTTP/1.1", "Host: a", *(f"{k}: {v}" for k, v in MASTERS.items())]
    asking = "\r\n".join([*lines, "", ""]).encode() * 100
    context = adapter.context(adapter.front_proxy_client)
    with (
        socket.create_connection(adapter.address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as greedy,
    ):
        greedy.sendall(asking)
        # Answers fill what the kernel keeps first; only then does a clock run.
        until(lambda: has_ended(greedy))
        assert adapter.get("/livez", proxied=False).status == 200
        taken = 0
        with contextlib.suppress(OSError):
            while chunk := greedy.recv(1 << 20):
                taken += len(chunk)

    whole = 100 * len(adapter.get(VALUE, AS_HPA).body)
    assert 0 < taken < whole / 2


def test_a_tunnel_is_refused(shared: Running) -> None:
    found = raw(
        shared.address,
        shared.context(shared.front_proxy_client),
        b"CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n",
    )

    assert not found or found.split()[1] in (b"400", b"405")


def test_a_slow_client_is_cut_off_and_others_are_answered(start: Start) -> None:
    adapter = start(serving_settings={"headerSeconds": 0.5})
    with (
        socket.create_connection(adapter.address, timeout=10) as plain,
        adapter.context().wrap_socket(plain, server_hostname="localhost") as slow,
    ):
        began = time.monotonic()
        slow.sendall(b"GET /apis HTTP/1.1\r\nHost: a\r\n")
        assert adapter.get(LIST, AGGREGATOR).status == 200
        with contextlib.suppress(OSError):
            assert slow.recv(1000) == b""
        assert time.monotonic() - began < 5


def test_a_handshake_that_never_comes_is_cut_off(start: Start) -> None:
    adapter = start(serving_settings={"headerSeconds": 0.3})
    with socket.create_connection(adapter.address, timeout=10) as silent:
        assert adapter.get(LIST, AGGREGATOR).status == 200
        assert silent.recv(1000) == b""


def test_handshakes_that_never_come_make_room_for_those_that_do(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has waited longest goes; nobody waits until its time is over."""
    monkeypatch.setattr(handshakes, "MOST", 4)
    adapter = start(serving_settings={"headerSeconds": 60})
    with contextlib.ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection(adapter.address, timeout=10))
            for _ in range(9)
        ]

        assert adapter.get(LIST, AGGREGATOR).status == 200
        assert [one.recv(1000) for one in silent[:5]] == [b""] * 5
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1000)


def test_strangers_connections_leave_room_for_the_api_server_and_for_probes(
    start: Start,
) -> None:
    """Of eight places two are for strangers; of these the one that came first makes room."""
    adapter = start(serving_settings={"maxConnections": 8})
    guests = [adapter.connect(None) for _ in range(3)]
    for guest in guests:
        assert request(guest, "/livez", {}).status == 200

    with pytest.raises((ConnectionError, http.client.HTTPException)):
        request(guests[0], "/livez", {})
    assert request(guests[1], "/livez", {}).status == 200
    assert adapter.get(VALUE, AS_HPA).status == 200
    for guest in guests:
        guest.close()


def test_strangers_that_wait_for_answers_keep_their_places(
    start: Start, cluster: FakeCluster
) -> None:
    adapter = start(serving_settings={"maxConnections": 4})
    asked, hold = threading.Event(), threading.Event()

    def slow(method: str, path: str) -> int:
        if "tokenreviews" in path:
            asked.set()
            hold.wait(20)
        return 0

    cluster.refuse = slow
    waiting = adapter.connect(None)
    waiting.request("GET", VALUE, headers={"Authorization": "Bearer rubbish"})
    assert asked.wait(10)

    assert raw(adapter.address, adapter.context(), b"GET /livez HTTP/1.0\r\n\r\n") == b""
    hold.set()
    assert waiting.getresponse().status == 401
    waiting.close()


def test_more_connections_than_allowed_are_closed(start: Start) -> None:
    adapter = start(serving_settings={"maxConnections": 2})
    first, second = (adapter.connect(adapter.front_proxy_client) for _ in range(2))
    assert request(first, VALUE, AS_HPA).status == 200
    assert request(second, VALUE, AS_HPA).status == 200

    assert raw(adapter.address, adapter.context(), b"GET /livez HTTP/1.0\r\n\r\n") == b""
    assert request(first, VALUE, AS_HPA).status == 200
    first.close()
    second.close()


def test_requests_in_flight_are_answered_and_connections_end_while_it_stops(
    start: Start,
) -> None:
    adapter = start(serving_settings={"drainSeconds": 1})
    open_before = adapter.connect(adapter.front_proxy_client)
    assert request(open_before, VALUE, AS_HPA).headers.get("connection") != "close"

    adapter.begin_stopping()
    until(lambda: adapter.get("/readyz").status == 503)
    last = request(open_before, VALUE, AS_HPA)

    assert (last.status, last.headers["connection"]) == (200, "close")
    assert adapter.get("/readyz").message == "stopping"
    open_before.close()


def test_an_answer_that_takes_too_long_is_given_up(
    start: Start, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.2)
    adapter = start()
    hold = threading.Event()
    cluster.refuse = lambda method, path: 500 if not hold.wait(5) else 0

    answer = adapter.get(VALUE, AS_HPA)
    hold.set()

    assert (answer.status, answer.message) == (504, "the answer took too long to make")


def test_a_mistake_of_ours_is_a_status_without_details(
    adapter: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_raw: str) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("metrics_adapter.request.read_path", broken)

    with capture_logs() as logs:
        answer = adapter.get(VALUE, MASTERS)

    assert answer.status == 500
    assert answer.message == "this is our mistake; the log says more"
    assert "RuntimeError('a secret')" in [one["reason"] for one in logs]
    monkeypatch.undo()
    assert adapter.get(VALUE, MASTERS).status == 200


_PIECES = st.sampled_from(
    ["apis", "openapi", "v2", "v3", "external.metrics.k8s.io", "custom.metrics.k8s.io", "v1beta1",
     "v1beta2", "namespaces", "llm", "load", "pods", "*", "deployments.apps", "chat", "..", "%2e",
     "%", "%00", "a%2Fb", "", "~", "\u00e9", "desired_replicas"]
)  # fmt: skip
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Accept",
                "Authorization",
                "X-Remote-User",
                "X-Remote-Group",
                "Expect",
                "Connection",
                "X-Remote-Extra-a%zz",
                "Upgrade",
                "Host",
                "Range",
                "If-None-Match",
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    ),
    max_size=6,
)


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
@given(
    pieces=st.lists(_PIECES, max_size=9),
    query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    headers=_HEADERS,
    proxied=st.booleans(),
)
def test_whatever_is_asked_the_answer_is_json_with_the_right_status(
    shared: Running,
    pieces: list[str],
    query: str,
    headers: list[tuple[str, str]],
    proxied: bool,
) -> None:
    path = "/" + "/".join(pieces) + (f"?{query}" if query else "")
    lines = [f"GET {path} HTTP/1.1", "Connection: close", *(f"{k}: {v}" for k, v in headers)]
    data = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
    certificate = shared.front_proxy_client if proxied else None

    found = raw(shared.address, shared.context(certificate), data)

    head, _, body = found.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status in (200, 400, 401, 403, 404, 405, 406, 417)
    if status != 200:
        assert json.loads(body)["code"] == status
        assert json.loads(body)["kind"] == "Status"
    assert b"Traceback" not in found
