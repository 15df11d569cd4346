"""The fleet changes: what is kept of the past, what is loaded and what is forgotten."""

import time

import pytest

from autoscaler.adapters.prometheus.plan import plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from tests.adapters.prometheus.conftest import (
    Models,
    Reading,
    Sluggish,
    a_signal,
    until_loaded,
    wanting,
)
from tests.adapters.prometheus.fleets import fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import Fault, PrometheusDouble, always
from tests.waiting import until

TOKENS = "sum by ($labels) (rate(tokens_total{$match}[$window]))"


def test_a_new_workload_brings_only_its_own_past(
    double: PrometheusDouble, reading: Reading
) -> None:
    long = a_signal(TOKENS, window=30_000, step=300)
    reader = reading(double)
    until_loaded(reader, fleet_of([wanting("chat", load=long)]), NOON)
    asked = len(double.asked)

    seen = until_loaded(
        reader, fleet_of([wanting("chat", load=long), wanting("code", load=long)]), NOON + 300
    )

    later = double.asked[asked:]
    whole = [one for one in later if one.end - one.start > 20_000]
    assert len(whole) == 1
    assert "code" in whole[0].promql
    assert "chat" not in whole[0].promql
    assert len(seen["llm/code"].signals["load"]) >= 99
    assert len(seen["llm/chat"].signals["load"]) >= 99


def test_a_change_of_the_fleet_while_the_past_is_loading_loses_none_of_it(
    double: PrometheusDouble, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.prometheus.questions.MOST_POINTS", 20)
    long = a_signal(TOKENS, window=30_000, step=300)
    no = Fault(status=400, body=b'{"status":"error","error":"not now"}')
    double.fault = lambda asked: no if asked.end < NOON - 15_000 else None
    reader = reading(double)
    reader.read(fleet_of([wanting("chat", load=long)]), NOON)
    time.sleep(0.1)
    reader.read(fleet_of([wanting("chat", load=long)]), NOON + 1)
    double.fault = lambda _: None

    both = fleet_of([wanting("chat", load=long), wanting("code", load=long)])
    seen = until_loaded(reader, both, NOON + 300)

    assert len(seen["llm/chat"].signals["load"]) >= 99
    assert len(seen["llm/code"].signals["load"]) >= 99


def test_a_workload_that_went_is_forgotten(double: PrometheusDouble, reading: Reading) -> None:
    reader = reading(double)
    for elapsed in (0, 15):
        reader.read(fleet_of([wanting("chat"), wanting("code")]), NOON + elapsed)
    before = reader.nbytes

    seen = reader.read(fleet_of([wanting("chat")]), NOON + 30)

    assert list(seen) == ["llm/chat"]
    assert reader.nbytes < before


def test_another_query_under_the_same_name_starts_anew(
    models: Models, double: PrometheusDouble, reading: Reading
) -> None:
    reader = reading(double)
    reader.read(fleet_of([wanting("chat")]), NOON)
    models.values["chat"] = always(8.0)

    other = a_signal("max by ($labels) (queue{$match})")
    seen = reader.read(fleet_of([wanting("chat", queue=other)]), NOON + 15)["llm/chat"]

    assert set(seen.signals["queue"].values.tolist()) == {8.0}


def test_a_longer_window_brings_the_past_that_lacks(
    double: PrometheusDouble, reading: Reading
) -> None:
    reader = reading(double)
    reader.read(fleet_of([wanting("chat")]), NOON)

    seen = until_loaded(reader, fleet_of([wanting("chat", queue=a_signal(window=300))]), NOON + 15)

    assert len(seen["llm/chat"].signals["queue"]) == 20


def test_an_answer_to_a_plan_that_is_gone_is_left_alone(double: PrometheusDouble) -> None:
    other = fleet_of([wanting("chat", queue=a_signal("max by ($labels) (queue{$match})"))])
    with (
        Sluggish(SourceSettings(url=double.url)) as source,
        SignalReader({"default": source}, plan_queries, deadline_seconds=0.05) as reader,
    ):
        reader.read(fleet_of([wanting("chat")]), NOON)
        source.goes_on.set()
        until(lambda: double.asked)
        time.sleep(0.2)
        seen = reader.read(other, NOON)["llm/chat"]

    assert seen.signals == {}


def test_an_equal_fleet_changes_nothing(double: PrometheusDouble, reading: Reading) -> None:
    reader = reading(double)
    reader.read(fleet_of([wanting("chat")]), NOON)
    plan = reader.plan

    reader.read(fleet_of([wanting("chat")]), NOON + 1)

    assert reader.plan is plan
    assert len(double.asked) == 1
