"""The pages: metrics, cycles and workloads, and what a page says when it cannot be shown."""

import gzip
import json
import threading

import pytest
from structlog.testing import capture_logs

from autoscaler.telemetry import routes
from autoscaler.telemetry.latest import Entry, Latest
from tests.builders import NOON, seen
from tests.telemetry.conftest import Serve, document, get
from tests.telemetry.reports import CHAT, a_report


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
