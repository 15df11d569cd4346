"""The newest samples of a few workloads, at any moment."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from autoscaler.adapters.prometheus.breaker import BreakerState
from autoscaler.adapters.prometheus.errors import SourceError
from autoscaler.adapters.prometheus.newest import NewestReader
from autoscaler.adapters.prometheus.plan import plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from tests.adapters.prometheus.fleets import P95, QUEUE, asking_all, fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import Asked, Fault, Line, PrometheusDouble, always

CHAT, CODE = (
    asking_all(
        name,
        {"queue": {"query": QUEUE, "windowSeconds": 600, "stepSeconds": 15}},
        match={"model": name},
    )
    for name in ("chat", "code")
)


def models(asked: Asked) -> Iterator[Line]:
    """Both models have a queue, scraped every 5 s; that of code ended a minute ago."""
    yield Line({"model": "chat"}, always(3.0), lambda at: at // 5 * 5)
    yield Line(
        {"model": "code"},
        always(5.0),
        lambda at: at if at < NOON - 60 else None,
    )


@pytest.fixture
def double() -> Iterator[PrometheusDouble]:
    with PrometheusDouble(models) as server:
        yield server


Reading = Callable[..., NewestReader]


@pytest.fixture
def reading(double: PrometheusDouble) -> Iterator[Reading]:
    opened: list[Any] = []

    def make(deadline: float = 5.0) -> NewestReader:
        settings = {"name": "default", "url": double.url, "retry": {"attempts": 1}}
        source = PrometheusSource(SourceSettings.model_validate(settings))
        reader = NewestReader({"default": source}, plan_queries, deadline_seconds=deadline)
        opened.append(source)
        return reader

    yield make
    for one in opened:
        one.close()


def test_one_query_brings_each_signal_at_its_own_time_off_the_grid(
    double: PrometheusDouble, reading: Reading
) -> None:
    found = reading().read(fleet_of([CHAT, CODE]), NOON + 7.3)

    (asked,) = double.asked
    assert (asked.start, asked.end) == (NOON + 7.3, NOON + 7.3)
    # What has no raw sample behind it is an echo, and no news.
    (series,) = found.values()
    assert list(found) == [("llm/chat", "queue")]
    assert (series.times.tolist(), series.values.tolist()) == ([NOON + 5.0], [3.0])


def test_a_cycle_reports_the_looks_since_the_one_before(double: PrometheusDouble) -> None:
    settings = {"name": "default", "url": double.url, "breaker": {"failures": 1}}
    source = PrometheusSource(SourceSettings.model_validate(settings))
    sources, fleet = {"default": source}, fleet_of([CHAT])
    cycles = SignalReader(sources, plan_queries, jitter_seconds=0.0)
    looks = NewestReader(sources, plan_queries, deadline_seconds=5.0)

    def cycle(at: float, *looked: float) -> tuple[int, int]:
        for one in looked:
            looks.read(fleet, one)
        cycles.read(fleet, at)
        report = cycles.reports()["default"]
        return report.looks, report.queries

    with closing(source), closing(cycles):
        assert cycle(NOON, NOON - 2, NOON - 1) == (2, 1)
        assert cycle(NOON + 15, NOON + 5) == (1, 1)
        assert cycle(NOON + 30) == (0, 1)
        double.fault = lambda _: Fault(status=500)
        assert cycle(NOON + 45) == (0, 1)
        assert cycle(NOON + 60, NOON + 50) == (0, 1)  # a source that has failed is not looked at


def test_a_sum_that_lacks_a_part_is_left_out(reading: Reading, double: PrometheusDouble) -> None:
    both = asking_all(
        "chat",
        {"load": {"query": "sum by ($labels) (a{$match}) + sum by ($labels) (b{$match})"}},
        match={"model": "chat"},
    )

    def halves(second: float | None) -> Callable[[Asked], Iterator[Line]]:
        raws = (lambda at: at, lambda at: second)
        return lambda asked: iter([Line({"model": "chat"}, always(900.0), raws=raws)])

    reader = reading()
    double.answer = halves(None)
    lacking = reader.read(fleet_of([both]), NOON)
    double.answer = halves(NOON - 3)
    whole = reader.read(fleet_of([both]), NOON + 1)

    assert lacking == {}
    assert whole["llm/chat", "load"].times.tolist() == [NOON - 3]


def test_raw_histograms_are_not_asked_for(double: PrometheusDouble, reading: Reading) -> None:
    slow = asking_all("chat", {"p95": {"query": P95}}, match={"model": "chat"})

    assert reading().read(fleet_of([slow]), NOON) == {}
    assert double.asked == []


def test_who_was_left_out_for_want_of_time_comes_first_the_next_time(
    double: PrometheusDouble, reading: Reading
) -> None:
    signals = {f"s{n}": {"query": f"sum by ($labels) (m{n}{{$match}})"} for n in range(3)}
    fleet = fleet_of([asking_all("chat", signals, match={"model": "chat"})])
    reader = reading()
    turns = iter([True, False, True, True, True])

    first = reader.read(fleet, NOON, lambda: next(turns))
    second = reader.read(fleet, NOON, lambda: next(turns))

    assert list(first) == [("llm/chat", "s0")]
    assert list(second) == [("llm/chat", name) for name in ("s1", "s2", "s0")]


class TestInPassing:
    """What cycles ask goes first, and the breaker hears nothing of looks."""

    def test_a_look_that_fails_is_not_counted(
        self, double: PrometheusDouble, reading: Reading
    ) -> None:
        reader = reading()
        source = reader._sources["default"]
        double.fault = lambda _: Fault(status=500)
        for second in range(20):
            assert reader.read(fleet_of([CHAT]), NOON + second) == {}

        assert (source.breaker.state, source.breaker.problem) == (BreakerState.CLOSED, "")
        double.fault = lambda _: None
        assert source.query("up", NOON).rows is not None

    def test_a_source_that_failed_is_left_to_the_cycles(
        self, double: PrometheusDouble, reading: Reading
    ) -> None:
        reader = reading()
        source = reader._sources["default"]
        double.fault = lambda _: Fault(status=500)
        with pytest.raises(SourceError):
            source.query("up", NOON)
        double.asked.clear()

        assert reader.read(fleet_of([CHAT]), NOON) == {}
        assert double.asked == []

    def test_a_source_that_is_busy_is_left_to_the_cycles(
        self, double: PrometheusDouble, reading: Reading
    ) -> None:
        reader = reading()
        slots = reader._sources["default"]._slots
        while slots.acquire(blocking=False):
            pass

        assert reader.read(fleet_of([CHAT]), NOON) == {}
        assert double.asked == []


def test_a_fleet_is_planned_once(reading: Reading) -> None:
    reader, fleet = reading(), fleet_of([CHAT])
    reader.read(fleet, NOON)
    planned = reader._questions

    reader.read(fleet_of([CHAT]), NOON + 1)
    assert reader._questions is planned

    reader.read(fleet_of([CODE]), NOON + 2)
    assert reader._questions is not planned


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(body=b'{"status": "success", "data": {"result": [{"metric": 1}]}}'),
        Fault(delay_seconds=30.0),
        Fault(warnings=("a store did not answer",)),
    ],
    ids=["an error", "nonsense", "nothing in time", "a part"],
)
def test_what_fails_is_left_out(double: PrometheusDouble, reading: Reading, fault: Fault) -> None:
    reader = reading(deadline=0.5)
    double.fault = lambda _: fault
    begun = time.monotonic()

    assert reader.read(fleet_of([CHAT]), NOON) == {}
    assert time.monotonic() - begun < 10.0


def test_a_source_that_nobody_configured_brings_nothing(reading: Reading) -> None:
    elsewhere = asking_all("chat", {"queue": {"query": QUEUE}}, "west", {"model": "chat"})

    assert reading().read(fleet_of([elsewhere]), NOON) == {}
