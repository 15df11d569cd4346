"""The server: what is answered where, to whom, and what a bad client cannot do."""

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import Gap, GapReason
from autoscaler.telemetry import routes
from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from autoscaler.telemetry.latest import Entry, Latest
from tests.builders import NOON, Wants, a_workload, seen
from tests.telemetry.reports import CHAT, a_report

Serve = Callable[..., TelemetryServer]
Answer = tuple[int, dict[str, str], bytes]


class Clock:
    """Seconds that rise when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def latest(clock: Clock) -> Latest:
    return Latest(clock)


@pytest.fixture
def serve(latest: Latest) -> Iterator[Serve]:
    servers: list[TelemetryServer] = []

    def start(refresh_seconds: float = 10.0, **settings: Any) -> TelemetryServer:
        server = TelemetryServer(
            latest, ServerSettings(port=0, **settings), refresh_seconds=refresh_seconds
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def get(server: TelemetryServer, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def document(server: TelemetryServer, path: str, **headers: str) -> Any:
    status, _, body = get(server, path, **headers)
    assert status == 200, body
    return json.loads(body)


def test_it_listens_on_this_machine_alone_unless_told(serve: Serve) -> None:
    server = serve()

    assert server.address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.address[1]}"


def test_a_port_that_is_taken_is_told(serve: Serve, latest: Latest) -> None:
    port = serve().address[1]

    with pytest.raises(ConfigError, match=rf"^cannot listen on 127.0.0.1:{port}: .*in use"):
        TelemetryServer(latest, ServerSettings(port=port)).start()


def test_a_server_that_never_started_stops(latest: Latest) -> None:
    TelemetryServer(latest, ServerSettings(port=0)).stop()


def test_metrics_are_those_of_the_newest_cycle(serve: Serve, latest: Latest) -> None:
    server = serve()
    _, _, before = get(server, "/metrics")
    latest.publish(a_report())

    status, headers, body = get(server, "/metrics")

    assert b"inference_autoscaler_" not in before
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'inference_autoscaler_decided_replicas{namespace="llm",workload="chat"} 5.0' in body
    assert b"process_resident_memory_bytes" in body


def test_metrics_are_rendered_once_a_cycle(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    render = routes._metrics_of

    def counted(entry: Entry) -> bytes:
        calls.append(entry.id)
        return render(entry)

    monkeypatch.setattr(routes, "_metrics_of", counted)
    server = serve()
    latest.publish(a_report())

    first, second = get(server, "/metrics"), get(server, "/metrics")
    latest.publish(a_report(at=NOON + 15))
    get(server, "/metrics")

    assert first[2] == second[2]
    assert len(set(calls)) == len(calls) == 2


def test_a_client_that_takes_gzip_gets_it(serve: Serve, latest: Latest) -> None:
    server = serve()
    latest.publish(a_report())

    _, headers, packed = get(server, "/metrics", Accept_Encoding="br, gzip;q=0.5")
    _, _, plain = get(server, "/metrics", Accept_Encoding="gzip;q=0, identity")

    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed) == plain


def test_alive_is_a_loop_that_was_heard_of_lately(
    serve: Serve, latest: Latest, clock: Clock
) -> None:
    server = serve()
    latest.publish(a_report())
    young = get(server, "/healthz")
    clock.now += 61
    old = get(server, "/healthz")
    latest.tick()
    ticked = get(server, "/healthz?verbose")

    assert (young[0], young[2]) == (200, b"ok\n")
    assert old[0] == 503
    assert old[2] == b"[-] loop: last heard of 61 s ago, allowed are 60 s\n"
    assert ticked[2] == b"[+] loop: last heard of 0 s ago, allowed are 60 s\nok\n"


def test_the_first_cycle_may_take_minutes(serve: Serve, clock: Clock) -> None:
    server = serve()
    clock.now += 299
    patient = get(server, "/healthz")
    clock.now += 2

    assert patient[0] == 200
    assert get(server, "/healthz")[0] == 503


def test_not_ready_before_the_first_cycle(serve: Serve) -> None:
    status, _, body = get(serve(), "/readyz")

    assert (status, body) == (503, b"[-] cycle: no cycle has run yet\n")


def test_ready_with_a_young_cycle_in_which_something_was_seen(
    serve: Serve, latest: Latest, clock: Clock
) -> None:
    server = serve()
    latest.publish(a_report(interval_seconds=30.0))
    clock.now += 119
    young = get(server, "/readyz?verbose")
    clock.now += 2
    old = get(server, "/readyz")

    assert young[0] == 200
    assert b"[+] sight: all 1 workloads are seen\n" in young[2]
    assert old[0] == 503
    assert old[2] == b"[-] cycle: the newest cycle is 121 s old, allowed are 120 s\n"


def test_not_ready_while_every_workload_is_blind(serve: Serve, latest: Latest) -> None:
    server, other = serve(), a_workload(Wants(replicas=1), name="other")
    blind = {CHAT.key: seen(2, missing={"load": Gap(GapReason.ERROR, "timeout")})}
    latest.publish(a_report(blind))
    status, _, body = get(server, "/readyz")
    latest.publish(a_report({**blind, other.key: seen(1)}, CHAT, other))
    partly = get(server, "/readyz?verbose")

    assert status == 503
    assert body.startswith(b"[-] sight: blind to 1 of 1 workloads, such as llm/chat: per-replica")
    assert partly[0] == 200
    assert b"[+] sight: blind to 1 of 2 workloads" in partly[2]


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
    assert took < 1.0


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
    time.sleep(0.1)

    status, _, body = get(server, f"/v1/plan?after={cycle}&wait=20")
    server.stop()
    released = waiting.getresponse()
    waiting.close()

    assert (status, json.loads(body)["error"]) == (
        503,
        "too many wait for the next cycle already",
    )
    assert released.status == 204


def test_a_client_that_went_away_does_not_wait_any_longer(serve: Serve, latest: Latest) -> None:
    server = serve(max_connections=2)
    latest.publish(a_report())
    cycle = document(server, "/v1/plan")["cycle"]
    gone = http.client.HTTPConnection(*server.address, timeout=10)
    gone.request("GET", f"/v1/plan?after={cycle}&wait=60")
    time.sleep(0.1)
    gone.close()
    time.sleep(0.1)

    assert get(server, f"/v1/plan?after={cycle}&wait=0")[0] == 204


def test_cycles_are_listed_newest_first(serve: Serve, latest: Latest) -> None:
    server = serve()
    for step in range(30):
        latest.publish(a_report(at=NOON + step))

    some, usual = document(server, "/v1/cycles?limit=2"), document(server, "/v1/cycles")

    assert [one["time"] for one in some["cycles"]] == [NOON + 29, NOON + 28]
    assert len(usual["cycles"]) == 20
    assert some["cycles"][0]["changes"][0]["text"]
    assert some["cycles"][0]["actions"] == {"done": 1}


def test_the_newest_cycle_is_shown_whole_as_the_journal_writes_it(
    serve: Serve, latest: Latest
) -> None:
    from autoscaler.journal import decode

    server, report = serve(), a_report()
    latest.publish(report)

    shown = document(server, "/v1/cycles/latest")

    assert decode(shown["document"], {}) == report.cycle


def test_a_cycle_that_is_too_large_is_not_shown_at_once(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_SAMPLES", 0)
    server = serve()
    latest.publish(a_report())

    status, _, body = get(server, "/v1/cycles/latest")

    assert status == 507
    assert json.loads(body)["error"] == "the cycle holds 1 samples, more than 0; read the journal"


def test_workloads_are_listed_and_shown_with_their_trail(serve: Serve, latest: Latest) -> None:
    server = serve()
    latest.publish(a_report())

    listed = document(server, "/v1/workloads")["workloads"][0]
    by_key, by_name = (
        document(server, "/v1/workloads/llm/chat"),
        document(server, "/v1/workloads/chat"),
    )

    assert (listed["name"], listed["desired"], listed["costPerHour"]) == ("chat", 5, 20.0)
    assert by_key == by_name
    assert by_key["policies"][0]["reason"] == "load is 50"
    assert by_key["outcomes"] == [{"before": 2, "after": 5, "result": "done", "detail": ""}]


def test_a_name_that_nobody_has_or_several_have_is_told(serve: Serve, latest: Latest) -> None:
    server = serve()
    twin = CHAT.model_copy(
        update={"metadata": CHAT.metadata.model_copy(update={"namespace": "test"})}
    )
    latest.publish(a_report({CHAT.key: seen(1), twin.key: seen(1)}, CHAT, twin))

    nobody, several = get(server, "/v1/workloads/llm/nobody"), get(server, "/v1/workloads/chat")

    assert (nobody[0], json.loads(nobody[2])["error"]) == (
        404,
        "no workload is called llm/nobody",
    )
    assert (several[0], json.loads(several[2])["error"]) == (
        409,
        "several workloads are called chat: llm/chat, test/chat",
    )


@pytest.mark.parametrize(
    "path", ["/v1/plan", "/v1/workloads", "/v1/workloads/chat", "/v1/cycles/latest"]
)
def test_before_the_first_cycle_nothing_is_shown(serve: Serve, path: str) -> None:
    status, _, body = get(serve(), path)

    assert (status, json.loads(body)) == (503, {"version": 1, "error": "no cycle has run yet"})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v1/cycles?limit=0", 400, id="no cycles"),
        pytest.param("/v1/cycles?limit=241", 400, id="more than are kept"),
        pytest.param("/v1/cycles?limit=%C2%B2", 400, id="a digit that is no number"),
        pytest.param("/v1/cycles?limit=1e1", 400, id="no whole number"),
        pytest.param("/v1/plan?after=x&wait=nan", 400, id="no time at all"),
        pytest.param("/v1/plan?after=x&wait=-1", 400, id="a time before now"),
        pytest.param("/v1/plan?after=x&wait=soon", 400, id="a word"),
        pytest.param("/nowhere", 404, id="no such path"),
        pytest.param("/v1/../etc/passwd", 404, id="a way up"),
        pytest.param("/v1/workloads/%2e%2e/%2e%2e", 404, id="a hidden way up"),
        pytest.param("//v1/plan", 404, id="two slashes"),
        pytest.param("/v1/workloads/" + "x" * 3000, 404, id="a long name"),
    ],
)
def test_a_bad_request_is_told_in_one_line(
    serve: Serve, latest: Latest, path: str, status: int
) -> None:
    server = serve()
    latest.publish(a_report())

    found, _, body = get(server, path)

    assert found == status
    assert "\n" not in json.loads(body)["error"]
    assert len(body) < 300


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/v1/plan", "/metrics", "/nowhere"])
def test_nothing_but_get_and_head_is_answered(serve: Serve, method: str, path: str) -> None:
    status, headers, _ = get(serve(), path, method)

    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_and_no_body(serve: Serve, latest: Latest) -> None:
    server = serve()
    latest.publish(a_report())

    status, headers, body = get(server, "/v1/plan", "HEAD")

    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 100


def test_a_request_with_a_body_is_refused(serve: Serve) -> None:
    connection = http.client.HTTPConnection(*serve().address, timeout=10)
    connection.request("GET", "/v1/cycles", body=b"x" * 100)

    answer = connection.getresponse()

    assert answer.status == 413
    connection.close()


def test_every_answer_has_the_headers_of_a_careful_server(serve: Serve) -> None:
    for path in ("/", "/metrics", "/healthz", "/v1/plan", "/nowhere"):
        _, headers, _ = get(serve(), path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert headers["server"] == "inference-autoscaler"


def test_the_first_page_names_the_others(serve: Serve) -> None:
    assert "/v1/plan" in document(serve(), "/")["paths"]


def test_our_own_mistake_is_no_traceback_for_the_client_and_is_tried_again(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("division by cucumber")

    server = serve()
    latest.publish(a_report())
    with monkeypatch.context() as patched:
        patched.setattr("autoscaler.telemetry.views.plan_document", broken)
        with capture_logs() as logged:
            status, _, body = get(server, "/v1/plan")

    assert status == 500
    assert json.loads(body)["error"] == "this is our mistake; the log says more"
    assert b"cucumber" not in body
    assert [(one["event"], one["path"]) for one in logged] == [("answer failed", "/v1/plan")]
    assert get(server, "/v1/plan")[0] == 200


def test_an_answer_that_takes_too_long_is_given_up(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(routes, "LONGEST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(routes, "_metrics_of", lambda _: bytes(go_on.wait(10)))
    server = serve(answer_seconds=0.05)
    latest.publish(a_report())

    status, _, body = get(server, "/metrics")
    go_on.set()

    assert (status, json.loads(body)["error"]) == (503, "the answer took too long to make")


def test_v1_asks_for_the_token_and_the_probes_do_not(
    serve: Serve, latest: Latest, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    server = serve(token_file=token)
    latest.publish(a_report())

    none, wrong = get(server, "/v1/plan"), get(server, "/v1/plan", Authorization="Bearer wrong")
    basic = get(server, "/v1/plan", Authorization="Basic first")
    hidden = get(server, "/%76%31/plan")
    right = get(server, "/v1/plan", Authorization="bearer first")
    token.write_text("the second\n")
    replaced = get(server, "/v1/plan", Authorization="Bearer the second")
    token.unlink()
    removed = get(server, "/v1/plan", Authorization="Bearer the second")

    assert [one[0] for one in (none, wrong, basic, hidden)] == [401] * 4
    assert none[1]["www-authenticate"] == 'Bearer realm="inference-autoscaler"'
    assert [one[0] for one in (right, replaced, removed)] == [200] * 3
    assert get(server, "/readyz")[0] == 200
    assert get(server, "/metrics")[0] == 200


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "cannot be read: no such file or directory", id="absent"),
        pytest.param(" \n", "should hold a token, is empty", id="empty"),
    ],
)
def test_a_token_that_cannot_be_read_is_told_at_start(
    serve: Serve, tmp_path: Path, content: str | None, problem: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)

    with pytest.raises(ConfigError) as error:
        serve(token_file=token)

    assert str(error.value) == f"{token}: {problem}"


def issued(folder: Path, authority: trustme.CA) -> tuple[Path, Path]:
    """Write a certificate for this machine as a mounted secret would: chain and key."""
    certificate = authority.issue_cert("127.0.0.1")
    cert, key = folder / "tls.crt", folder / "tls.key"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(cert)
    return cert, key


def trusted(server: TelemetryServer, authority: trustme.CA) -> int:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = http.client.HTTPSConnection(*server.address, timeout=10, context=context)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_tls_follows_its_certificate_without_a_restart(serve: Serve, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    cert, key = issued(tmp_path, old)
    server = serve(cert_file=cert, key_file=key, refresh_seconds=0.05)
    before = trusted(server, old)
    cert.write_text("half a certificate")
    time.sleep(0.2)
    during = trusted(server, old)
    issued(tmp_path, new)
    time.sleep(0.3)

    assert (before, during, trusted(server, new)) == (200, 200, 200)
    assert server.url.startswith("https://")
    with pytest.raises(ssl.SSLCertVerificationError):
        trusted(server, old)


def test_a_folder_is_no_token(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        serve(token_file=tmp_path)


def test_a_certificate_without_its_key_is_told_at_start(serve: Serve, tmp_path: Path) -> None:
    cert, key = issued(tmp_path, trustme.CA())
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(key)

    with pytest.raises(ConfigError, match=r"tls\.crt: should be a certificate with the key in"):
        serve(cert_file=cert, key_file=key)
    with pytest.raises(ValueError, match="certFile and keyFile should be given together"):
        ServerSettings(cert_file=cert)


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-", id="half a header"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="no second request"),
    ],
)
def test_a_client_that_takes_its_time_is_cut_off(serve: Serve, sent: bytes) -> None:
    server = serve(header_seconds=0.2, answer_seconds=0.2)

    with socket.create_connection(server.address) as connection:
        connection.sendall(sent)

        assert closed_within(connection, 3)


def test_a_client_that_drips_its_header_is_cut_off(serve: Serve) -> None:
    server = serve(header_seconds=0.3)

    with socket.create_connection(server.address) as connection:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for letter in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"x" * 500:
                connection.sendall(bytes([letter]))
                time.sleep(0.02)

        assert time.monotonic() - started < 5


@pytest.mark.slow
def test_a_client_that_does_not_take_its_answer_is_cut_off(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_metrics_of", lambda _: b"x" * 50_000_000)
    server = serve(header_seconds=0.2, answer_seconds=0.3)
    latest.publish(a_report())

    with socket.create_connection(server.address) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        connection.settimeout(5)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(1_000_000):
                taken += len(block)

    assert 0 < taken < 50_000_000


def test_a_client_that_takes_a_long_answer_has_it_whole(
    serve: Serve, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_metrics_of", lambda _: b"x" * 50_000_000)
    server = serve()
    latest.publish(a_report())

    assert len(get(server, "/metrics")[2]) == 50_000_000


def test_one_connection_too_many_is_closed_and_the_others_live(serve: Serve) -> None:
    server = serve(max_connections=2)
    first = http.client.HTTPConnection(*server.address, timeout=10)
    first.request("GET", "/healthz")
    first.getresponse().read()
    with socket.create_connection(server.address), socket.create_connection(server.address) as more:
        assert closed_within(more, 3)
        first.request("GET", "/healthz")
        assert first.getresponse().status == 200
    first.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", id="huge header"),
        pytest.param(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", id="huge path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", id="many headers"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS to a plain port"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="a version to come"),
        pytest.param(b"\x00" * 1000, id="nulls"),
        pytest.param(b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", id="a method of nobody"),
    ],
)
def test_nonsense_is_refused_without_a_traceback(serve: Serve, sent: bytes) -> None:
    server = serve(header_seconds=0.5)

    with socket.create_connection(server.address) as connection:
        connection.settimeout(5)
        answer = b""
        try:
            connection.sendall(sent)
            while block := connection.recv(65536):
                answer += block
        except ConnectionError:
            pass

    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"Traceback" not in answer
    assert len(answer) < 20_000
    assert get(server, "/healthz")[0] == 200


def test_http_1_0_is_answered_and_closed(serve: Serve) -> None:
    with socket.create_connection(serve().address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = b""
        while block := connection.recv(65536):
            answer += block

    assert answer.startswith(b"HTTP/1.0 200")


def test_the_address_of_an_ipv6_server_is_in_brackets(serve: Serve) -> None:
    server = serve(host="::1")

    assert server.url == f"http://[::1]:{server.address[1]}"


def test_a_cycle_after_the_server_has_stopped_disturbs_nobody(serve: Serve, latest: Latest) -> None:
    server = serve()
    server.stop()
    server.stop()

    assert latest.publish(a_report()).number == 1
