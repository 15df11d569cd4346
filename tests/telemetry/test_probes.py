"""Alive and ready: what the probes are told."""

from autoscaler.core.observation import Gap, GapReason
from autoscaler.telemetry.latest import Latest
from tests.builders import Wants, a_workload, seen
from tests.telemetry.conftest import Clock, Serve, get
from tests.telemetry.reports import CHAT, a_report


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
