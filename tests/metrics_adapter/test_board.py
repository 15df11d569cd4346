"""What one plan lets us answer."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ObservationError
from metrics_adapter.board import KEPT_PLANS, Board, board_steps
from metrics_adapter.plan import read_plan
from metrics_adapter.quantities import quantity_of
from metrics_adapter.selectors import parse
from metrics_adapter.values import Value, rfc3339, servable, share
from tests.builders import NOON
from tests.metrics_adapter.plans import (
    a_board,
    a_document,
    a_plan,
    a_row,
    a_signal,
    written_by_the_controller,
)


def only(board: Board, metric: str, namespace: str = "llm") -> Value:
    (value,) = board.groups[namespace, metric].values
    return value


def a_forecast(signal: str = "load", **more: Any) -> dict[str, Any]:
    return {
        "signal": signal,
        "policy": "seasonal",
        "times": [NOON + 60, NOON + 120],
        "quantiles": [0.5, 0.9],
        "values": [[40.0, 45.0], [61.0, 58.0]],
        **more,
    }


def test_the_controller_s_own_document_can_be_read() -> None:
    plan = read_plan(written_by_the_controller())

    (workload,) = plan.rows()
    assert (workload.namespace, workload.name, workload.desired) == ("llm", "chat", 5)
    assert workload.signals["load"].value == 50.0
    assert workload.signals["load"].max_age_seconds == 60.0
    assert workload.signals["load"].role == "other"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(b"<html>", "the plan is no JSON document with a version", id="no JSON"),
        pytest.param(b"{}", "the plan is no JSON document with a version: 'version'", id="empty"),
        pytest.param(b"[]", "the plan is no JSON document with a version: expected '{'", id="list"),
        pytest.param(b"\xff{}", "the plan is no JSON document with a version", id="not UTF-8"),
        pytest.param(b'{"version":1', "the plan is no JSON document with a version", id="cut off"),
        pytest.param(b'{"version" 1}', "the plan is no JSON document with a version", id="colon"),
        pytest.param(b'{"version":1,}', "the plan is no JSON document with a version", id="comma"),
        pytest.param(b"{1:1}", "the plan is no JSON document with a version", id="no name"),
        pytest.param(b'{"version":1}{}', "the plan is no JSON document with a", id="two of them"),
        pytest.param(b'{"time":NaN}', "the plan is no JSON document with a version", id="NaN"),
        pytest.param(
            b'{"workloads":[1 2]}', "the plan is no JSON document with a version", id="no comma"
        ),
        pytest.param(
            b'{"workloads":' + b"[" * 100_000, "the plan is no JSON document", id="very deep"
        ),
        pytest.param(
            a_document().replace(b'"workloads":[{', b'"workloads":{"a":{').replace(b"}]}", b"}}}"),
            "the plan: workloads: Input should be a valid list",
            id="rows by name",
        ),
        pytest.param(
            a_document().replace(b'"match":{"model_name":"llama"}', b'"match":{"a":"\\ud800"}'),
            "the plan is no JSON document with a version",
            id="half a character",
        ),
        pytest.param(b'{"version":2}', "the plan should be of version 1, not 2", id="version"),
        pytest.param(b'{"version":1}', "the plan: cycle: Field required", id="no cycle"),
        pytest.param(
            a_document(a_row(desired="many")), "the plan: workloads.0.desired: Input", id="a word"
        ),
    ],
)
def test_what_is_no_plan_says_why(document: bytes, message: str) -> None:
    with pytest.raises(ObservationError) as refused:
        list(read_plan(document).rows())

    assert str(refused.value).startswith(message)


@given(
    rows=st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), max_size=4),
    space=st.text(" \t\r\n", max_size=3),
    order=st.permutations(["version", "cycle", "time", "intervalSeconds", "workloads", "more"]),
)
def test_rows_arrive_as_they_were_written(
    rows: list[dict[str, Any]], space: str, order: list[str]
) -> None:
    """However a JSON document is spaced and ordered, it is the same plan."""
    whole = {"version": 1, "cycle": "c", "time": 1.5, "intervalSeconds": 15, "more": [{}]}
    document = {name: {**whole, "workloads": rows}[name] for name in order}
    text = json.dumps(document, separators=(f"{space},{space}", f"{space}:{space}"))

    plan = read_plan(f"{space}{text}{space}".encode())

    assert plan.workloads == rows
    assert (plan.cycle, plan.time, plan.interval_seconds) == ("c", 1.5, 15.0)


def test_every_signal_and_the_number_decided_are_metrics() -> None:
    board = a_board(a_row(signals={"load": a_signal(), "ttft_p95": a_signal(0.25)}))

    assert board.external_names == ("desired_replicas", "load", "ttft_p95")
    assert only(board, "ttft_p95").quantity == "250m"
    assert only(board, "desired_replicas").quantity == "5"
    assert only(board, "load").labels == {"model_name": "llama", "workload": "chat"}


def test_the_values_of_one_workload_are_written_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def counting(number: float) -> str:
        nonlocal written
        written += 1
        return quantity_of(number)

    monkeypatch.setattr("metrics_adapter.values.quantity_of", counting)
    signals = {f"s{n}": a_signal() for n in range(50)}

    known = [written for _ in board_steps(a_plan(a_row(signals=signals)))]

    assert written == 51
    assert max(later - before for before, later in pairwise([0, *known])) == 1


def test_a_forecast_is_the_highest_value_within_the_horizon() -> None:
    board = a_board(a_row(forecasts=[a_forecast()]))

    assert only(board, "load_forecast_p50").quantity == "45"
    assert only(board, "load_forecast_p90").quantity == "61"


def test_of_two_forecasts_of_one_signal_the_higher_counts() -> None:
    higher = a_forecast(values=[[1.0, 1.0], [70.0, 70.0]])

    board = a_board(a_row(forecasts=[a_forecast(), higher]))

    assert only(board, "load_forecast_p50").quantity == "45"
    assert only(board, "load_forecast_p90").quantity == "70"


def test_a_forecast_is_as_old_as_the_sample_that_it_rests_on() -> None:
    signal = a_signal(time=NOON - 20, maxAgeSeconds=60)

    value = only(
        a_board(a_row(signals={"load": signal}, forecasts=[a_forecast()])), "load_forecast_p90"
    )

    assert value.sampled == NOON - 20
    assert value.lacks(NOON + 40) == ""
    assert value.lacks(NOON + 41) == "newest sample is 61 s old"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        pytest.param(
            {"signals": {"load": a_signal(state="stale")}},
            "load_forecast_p90: its signal is stale",
            id="of a stale signal",
        ),
        pytest.param(
            {"forecasts": [a_forecast(values=[[None, 1.0], [None, 2.0]])]},
            "load_forecast_p90 is nan, not a finite number",
            id="with a gap",
        ),
    ],
)
def test_a_forecast_of_no_use_is_a_problem(more: dict[str, Any], problem: str) -> None:
    board = a_board(a_row(**{"forecasts": [a_forecast()], **more}))

    assert only(board, "load_forecast_p90").lacks(NOON) == problem


def test_a_forecast_of_something_that_is_no_signal_is_as_old_as_the_plan() -> None:
    board = a_board(a_row(forecasts=[a_forecast("demand")]))

    assert only(board, "demand_forecast_p90").sampled == NOON


def test_a_forecast_without_times_is_none() -> None:
    board = a_board(a_row(forecasts=[a_forecast(times=[], values=[[], []])]))

    assert board.external_names == ("desired_replicas", "load")


def test_a_forecast_that_fails_once_keeps_its_name() -> None:
    before = a_board(a_row(forecasts=[a_forecast()]), a_row("gone", signals={"old": a_signal()}))

    board = a_board(a_row(), before=before)

    assert "load_forecast_p90" in board.external_names
    assert "old" not in board.external_names
    assert only(board, "load_forecast_p90").problem == "load_forecast_p90: not in the newest plan"
    assert "load_forecast_p90" in a_board(a_row(), before=board).external_names


def test_a_name_that_stays_lost_is_forgotten() -> None:
    """What a policy file has no longer holds nobody's sum for ever, and takes no memory."""
    other = a_row("code", signals={"load": a_signal(7.0)})
    board = a_board(a_row(signals={"load": a_signal(), "old": a_signal()}), other)
    for _ in range(KEPT_PLANS):
        board = a_board(a_row(signals={}), other, before=board)
        assert "old" in board.external_names
        assert len(board.groups["llm", "load"].values) == 2

    board = a_board(a_row(signals={}), other, before=board)

    assert "old" not in board.external_names
    assert only(board, "load").workload == "llm/code"


def test_a_name_that_is_found_again_is_kept_as_long_as_before() -> None:
    board = a_board()
    for _ in range(3):
        for _ in range(KEPT_PLANS - 1):
            board = a_board(a_row(signals={}), before=board)
        board = a_board(before=board)

    assert only(board, "load").quantity == "50"
    assert only(a_board(a_row(signals={}), before=board), "load").lost == 1


def test_a_number_decided_without_sight_is_the_plan_s_own() -> None:
    """The rule for blindness, hold or fallback, was applied by the plan; its signals are gone."""
    signals = {"load": a_signal(None, state="missing", why="empty")}

    board = a_board(a_row(desired=4, blind="load is missing", reason="blind", signals=signals))

    assert only(board, "desired_replicas").quantity == "4"
    assert only(board, "load").problem == "load is missing: empty"


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        pytest.param(
            a_signal(None, state="missing", why="empty"), "load is missing: empty", id="missing"
        ),
        pytest.param(a_signal(state="suspect"), "load is suspect", id="suspect"),
        pytest.param(a_signal(None), "load is fresh", id="no value"),
        pytest.param(a_signal(-3.0), "load is -3, and an HPA takes less than", id="below zero"),
    ],
)
def test_a_signal_of_no_use_is_a_problem_and_never_a_number(
    signal: dict[str, Any], problem: str
) -> None:
    value = only(a_board(a_row(signals={"load": signal})), "load")

    assert value.lacks(NOON).startswith(problem)
    assert (value.quantity, value.item) == ("", b"")


def test_an_ageing_signal_is_told_with_its_own_time() -> None:
    signal = a_signal(state="ageing", time=NOON - 45)

    value = only(a_board(a_row(signals={"load": signal})), "load")

    assert b'"timestamp":"2023-11-14T22:12:35Z"' in value.item


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        pytest.param({"blind": "403 forbidden"}, "desired_replicas: 403 forbidden", id="blind"),
        pytest.param({"reason": "unseen"}, "desired_replicas: unseen", id="reason"),
        pytest.param({"reason": ""}, "desired_replicas: no number was decided", id="nothing told"),
    ],
)
def test_no_number_decided_is_a_problem(more: dict[str, Any], problem: str) -> None:
    board = a_board(a_row(desired=None, current=None, **more))

    assert only(board, "desired_replicas").problem == problem


def test_zero_replicas_are_a_number() -> None:
    assert only(a_board(a_row(desired=0, min=0)), "desired_replicas").quantity == "0"


def test_names_that_are_no_part_of_a_path_are_left_out() -> None:
    names = ["a/b", "a b", "..", "", "x" * 300, "caf\u00e9", "a%b", "desired_replicas"]

    board = a_board(a_row(signals={name: a_signal(7.0) for name in names}))

    assert board.external_names == ("desired_replicas",)
    assert only(board, "desired_replicas").quantity == "5"
    assert servable("vllm:num_requests_running")


def test_a_plan_is_too_old_after_four_intervals_and_a_minute_at_least() -> None:
    assert a_board().max_age_seconds == 60
    assert a_board(intervalSeconds=60).max_age_seconds == 240


def test_many_workloads_are_found_by_their_labels() -> None:
    rows = [a_row(f"w{n}", match={"tier": "gold" if n % 2 else "lead"}) for n in range(100)]
    group = a_board(*rows).groups["llm", "load"]

    def names(selector: str) -> list[str]:
        return [
            value.labels["workload"]
            for value in group.candidates(parse(selector))
            if parse(selector).matches(value.labels)
        ]

    assert names("workload=w7") == ["w7"]
    assert names("workload in (w9,w3),tier=gold") == ["w3", "w9"]
    assert names("workload in (w9,w4),tier=gold") == ["w9"]
    assert names("workload=none") == []
    assert len(names("tier!=gold")) == 50
    assert len(names("")) == 100


@pytest.mark.parametrize(
    ("api_version", "kind", "resource"),
    [
        ("apps/v1", "Deployment", "deployments.apps"),
        ("v1", "ReplicationController", "replicationcontrollers"),
        (
            "leaderworkerset.x-k8s.io/v1",
            "LeaderWorkerSet",
            "leaderworkersets.leaderworkerset.x-k8s.io",
        ),
        ("example.com/v1", "Gateway", "gateways.example.com"),
        ("example.com/v1", "Proxy", "proxies.example.com"),
        ("example.com/v1", "Class", "classes.example.com"),
    ],
)
def test_objects_are_called_as_kubernetes_calls_their_kind(
    api_version: str, kind: str, resource: str
) -> None:
    target = {"apiVersion": api_version, "kind": kind, "name": "chat"}

    board = a_board(a_row(target=target))

    assert "load" in board.objects["llm", resource, "chat"]
    assert f"{resource}/load" in board.custom_names


def test_totals_are_shared_by_pods_and_levels_are_not() -> None:
    board = a_board(
        a_row(
            signals={
                "queue": a_signal(50.0, role="queue"),
                "usage": a_signal(0.9, role="utilization"),
                "odd": a_signal(1.0, role="other"),
            }
        )
    )

    assert share(only(board, "queue"), 4) == "12500m"
    assert share(only(board, "usage"), 4) == "900m"
    assert [name for name in board.custom_names if name.startswith("pods/")] == [
        "pods/queue",
        "pods/usage",
    ]


def test_times_are_whole_seconds() -> None:
    assert rfc3339(NOON + 0.999) == "2023-11-14T22:13:20Z"
    assert rfc3339(-0.5) == "1969-12-31T23:59:59Z"


def test_a_value_without_a_known_age_lasts_as_long_as_its_plan() -> None:
    assert only(a_board(), "load").expires == math.inf
