"""The live questions asked at past times, and what would have been decided."""

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from autoscaler.cli.backtest import _begin
from autoscaler.core.errors import ConfigError
from tests.cli.conftest import Ran
from tests.cli.test_live_commands import POLICY
from tests.fakes.prometheus_double import Asked, Line, PrometheusDouble, always

Run = Callable[..., Ran]
NOON = 1_700_000_000.0
WHEN = ("--since", "1h", "--until", "2023-11-14T22:13:20Z", "--interval", "60", "--quiet")


def a_closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def recorded(asked: Asked) -> Iterable[Line]:
    """Two replicas ran all the time; 35 requests waited in the second half of the hour."""
    if "vllm" in asked.promql:
        half = NOON - 1800
        yield Line({"model_name": "chat"}, lambda time: 35.0 if time > half else 12.0)
    elif "kube_deployment" in asked.promql:
        yield Line({"namespace": "llm", "deployment": "chat"}, always(2.0))


@pytest.fixture
def prometheus() -> Iterator[PrometheusDouble]:
    Path("policy.yaml").write_text(
        POLICY.replace("min: 1", "min: 1").replace(
            "  policies:", "  replica: {gpus: 4}\n  policies:"
        )
    )
    with PrometheusDouble(recorded) as double:
        yield double


def test_it_says_what_would_have_been_decided_and_what_it_would_have_cost(
    run: Run, prometheus: PrometheusDouble
) -> None:
    ran = run("backtest", "policy.yaml", *WHEN, "--prometheus", prometheus.url, "--json")

    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)["workloads"]
    assert (found["cycles"], found["unseen"], found["blind"]) == (60, 0, 0)
    assert found["real_gpu_hours"] == pytest.approx(8.0)
    # 2 replicas wanted for half an hour, 4 for the other: 4 GPUs each.
    assert found["wanted_gpu_hours"] == pytest.approx(12.0, abs=0.2)
    assert found["decided_gpu_hours"] == pytest.approx(12.0, abs=0.2)
    assert (found["most_wanted"], found["fewer"]) == (4, 0)
    assert found["more"] in (29, 30)


def test_it_prints_a_table_and_a_journal_that_explain_reads(
    run: Run, prometheus: PrometheusDouble
) -> None:
    ran = run(
        "backtest", "policy.yaml", *WHEN, "--prometheus", prometheus.url, "--journal", "b.jsonl"
    )

    assert ran.code == 0, ran.err
    assert "real" in ran.out
    assert ran.out.split()[-3:] == ["8.0", "11.9", "11.9"]
    explained = run("explain", "chat", "--journal", "b.jsonl")
    assert "2 -> 4 (recommended)" in explained.out


def test_where_nothing_was_recorded_it_fails_and_says_why(
    run: Run, prometheus: PrometheusDouble
) -> None:
    prometheus.answer = lambda asked: []

    ran = run("backtest", "policy.yaml", *WHEN, "--prometheus", prometheus.url)

    assert ran.code == 1
    assert "0.0" in ran.out
    assert ran.err == (
        "llm/chat: unseen in 60 of 60 cycles; the last time: the target was not seen: empty: "
        "default: kube_deployment_spec_replicas has no sample of chat at that time\n"
    )


def test_where_nobody_listens_it_says_so_as_words_and_as_json(
    run: Run, prometheus: PrometheusDouble
) -> None:
    gone = f"http://127.0.0.1:{a_closed_port()}"
    why = f"default: unreachable: {gone}: connection refused"

    ran = run("backtest", "policy.yaml", *WHEN, "--prometheus", gone, "--json")

    assert ran.code == 1
    assert why in ran.err
    (found,) = json.loads(ran.out)["workloads"]
    assert (found["cycles"], found["unseen"]) == (0, 60)
    assert why in found["why_blind"]


def test_what_many_workloads_lack_for_one_reason_is_told_once(
    run: Run, prometheus: PrometheusDouble
) -> None:
    second = POLICY.replace("name: chat", "name: code")
    Path("policy.yaml").write_text(f"{POLICY}---\n{second}")
    gone = f"http://127.0.0.1:{a_closed_port()}"

    ran = run("backtest", "policy.yaml", *WHEN, "--prometheus", gone)

    (line,) = ran.err.splitlines()
    assert line.startswith("llm/chat and 1 more: unseen in 120 of 120 cycles; the last time: ")


def test_blind_hours_are_told(run: Run, prometheus: PrometheusDouble) -> None:
    prometheus.answer = lambda asked: [one for one in recorded(asked) if "vllm" not in asked.promql]

    ran = run("backtest", "policy.yaml", *WHEN[:-1], "--prometheus", prometheus.url)

    assert ran.code == 0
    assert "llm/chat: blind in 60 of 60 cycles; the last time: target-tracking" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--since", "soon"), "--since: should be a time such as"),
        (("--since", "2023-11-14T23:00:00Z"), "--since: should be before the end"),
        (("--until", "later"), "--until: should be a time such as"),
    ],
)
def test_times_that_are_none_are_told(
    run: Run, prometheus: PrometheusDouble, arguments: tuple[str, ...], says: str
) -> None:
    ran = run("backtest", "policy.yaml", *WHEN, "--prometheus", prometheus.url, *arguments)

    assert ran.code == 2
    assert says in ran.err


def test_without_a_source_it_says_so(run: Run, prometheus: PrometheusDouble) -> None:
    ran = run("backtest", "policy.yaml", *WHEN)

    assert ran.code == 2
    assert "should say whom to ask" in ran.err


@pytest.mark.parametrize(
    ("since", "seconds"),
    [("30s", 30), ("5m", 300), ("1.5h", 5400), ("7d", 604_800), ("1w", 604_800)],
)
def test_spans_are_counted_back_from_the_end(since: str, seconds: float) -> None:
    assert _begin(since, NOON) == NOON - seconds


def test_a_span_beyond_all_time_is_refused() -> None:
    with pytest.raises(ConfigError):
        _begin("9999999w", NOON)
