"""What a source is asked, in which order, and how much at once."""

import time
from collections.abc import Callable

import pytest

from autoscaler.core.observation import GapReason
from tests.adapters.prometheus.conftest import Models, Reading, a_signal, until_loaded, wanting
from tests.adapters.prometheus.fleets import asking_all, fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import Asked, Fault, PrometheusDouble

TOKENS = "sum by ($labels) (rate(tokens_total{$match}[$window]))"


def test_only_what_is_new_is_asked_for_and_one_point_again(
    double: PrometheusDouble, reading: Reading
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    for elapsed in (0, 5, 15, 30, 75):
        reader.read(fleet, NOON + elapsed)

    grid = NOON // 15 * 15
    asked = [(one.start - grid, one.end - grid) for one in double.asked]
    assert asked == [(-105, 0), (0, 15), (15, 30), (30, 75)]


def test_a_long_window_is_loaded_in_parts_and_only_once(
    double: PrometheusDouble, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.prometheus.questions.MOST_POINTS", 500)
    day = 86_400
    fleet = fleet_of([wanting("chat", load=a_signal(TOKENS, window=7 * day, step=300))])
    double.fault = lambda asked: Fault(delay_seconds=0.2) if asked.end < NOON - day else None
    reader = reading(double)
    first = reader.read(fleet, NOON)["llm/chat"]
    double.fault = lambda _: None
    seen = until_loaded(reader, fleet, NOON + 1)["llm/chat"]

    asked = len(double.asked)
    assert first.missing["load"].reason is GapReason.PARTIAL
    assert first.missing["load"].detail.startswith("default: the past is being loaded:")
    assert len(first.signals["load"]) == 500
    assert len(seen.signals["load"]) == 7 * day / 300
    assert max((one.end - one.start) / 300 for one in double.asked) <= 500
    later = reader.read(fleet, NOON + 301)["llm/chat"]
    assert len(double.asked) == asked + 1
    assert double.asked[-1].end - double.asked[-1].start == 300
    assert len(later.signals["load"]) == 7 * day / 300
    assert reader.nbytes < 16 * 2016 * 1.2


def test_what_was_missed_while_the_source_was_down_is_fetched_later(
    double: PrometheusDouble, reading: Reading
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    reader.read(fleet, NOON)
    double.fault = lambda _: Fault(status=400, body=b'{"status":"error","error":"no"}')
    for elapsed in (15, 30, 45):
        reader.read(fleet, NOON + elapsed)
    double.fault = lambda _: None

    seen = reader.read(fleet, NOON + 60)["llm/chat"]

    steps = seen.signals["queue"].times[1:] - seen.signals["queue"].times[:-1]
    assert steps.max() <= 15


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_parts(
    double: PrometheusDouble, reading: Reading
) -> None:
    def refuse(asked: Asked) -> Fault | None:
        if len(asked.times) <= 2:
            return None
        body = b'{"status":"error","error":"query processing would load too many samples"}'
        return Fault(status=422, body=body)

    double.fault = refuse
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    seen = reader.read(fleet, NOON)["llm/chat"]
    for _ in range(30):
        time.sleep(0.01)
        seen = reader.read(fleet, NOON)["llm/chat"]
        if not seen.missing:
            break

    assert seen.missing == {}
    assert len(seen.signals["queue"]) == 8


def test_an_answer_that_is_too_large_for_a_single_point_stays_a_gap(
    double: PrometheusDouble, reading: Reading
) -> None:
    body = b'{"status":"error","error":"query processing would load too many samples"}'
    double.fault = lambda _: Fault(status=422, body=body)
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    for elapsed in range(0, 300, 15):
        seen = reader.read(fleet, NOON + elapsed)["llm/chat"]
        assert "too many samples" in seen.missing["queue"].detail
        assert seen.signals == {}

    assert min(len(asked.times) for asked in double.asked) == 1


def test_a_query_of_long_steps_is_not_asked_at_every_cycle(
    double: PrometheusDouble, reading: Reading
) -> None:
    reader = reading(double)
    fleet = fleet_of([wanting("chat", load=a_signal(TOKENS, window=600, step=300))])
    seen = reader.read(fleet, NOON)["llm/chat"]
    for elapsed in range(15, 300, 15):
        seen = reader.read(fleet, NOON + elapsed)["llm/chat"]

    assert len(double.asked) <= 2
    assert len(seen.signals["load"]) >= 1
    assert seen.missing == {}


def test_no_more_than_allowed_is_asked_at_once(reading: Reading, models: Models) -> None:
    signals = {f"s{n}": a_signal(f"sum by ($labels) (m{n}{{$match}})") for n in range(12)}
    with PrometheusDouble(models, fault=lambda _: Fault(delay_seconds=0.03)) as double:
        seen = reading(double, settings={"maxConcurrency": 3}).read(
            fleet_of([asking_all("chat", signals, "default", {"model": "chat"})]), NOON
        )

    assert len(double.asked) == 12
    assert double.most_open == 3
    assert len(seen["llm/chat"].signals) == 12


def the_fourth_is_late(seconds: float) -> Callable[[Asked], Fault]:
    waits = iter([0.0, 0.0, 0.0, seconds])
    return lambda _: Fault(delay_seconds=next(waits, 0.0))


@pytest.mark.slow
def test_what_had_no_time_goes_first_in_the_next_cycle(reading: Reading, models: Models) -> None:
    signals = {f"s{n}": a_signal(f"sum by ($labels) (m{n}{{$match}})") for n in range(6)}
    fleet = fleet_of([asking_all("chat", signals, "default", {"model": "chat"})])
    with PrometheusDouble(models) as double:
        reader = reading(double, settings={"maxConcurrency": 1}, deadline_seconds=3.0)
        reads = []
        for now in (NOON, NOON + 15):
            double.fault = the_fourth_is_late(4.5)
            reads.append(reader.read(fleet, now)["llm/chat"])
            time.sleep(3.0)
    first, second = reads

    assert len(first.missing) == len(second.missing) == 3
    assert set(first.missing).isdisjoint(second.missing)


def test_each_source_is_first_asked_at_a_moment_of_its_own(
    double: PrometheusDouble, reading: Reading
) -> None:
    waits: list[float] = []
    reader = reading(double, jitter_seconds=0.5, sleep=waits.append)

    reader.read(fleet_of([wanting("chat")]), NOON)

    assert 0 < waits[0] <= 0.5


def test_the_report_of_a_cycle_says_what_was_asked_and_saved(
    double: PrometheusDouble, reading: Reading
) -> None:
    reader = reading(double)
    reader.read(fleet_of([wanting("chat"), wanting("code")]), NOON)
    well = reader.reports()["default"]
    double.fault = lambda _: Fault(status=503, body=b"")
    reader.read(fleet_of([wanting("chat"), wanting("code")]), NOON + 15)
    ill = reader.reports()["default"]

    assert (well.queries, well.failures, well.signals, well.saved) == (1, 0, 2, 1)
    assert well.seconds > 0
    assert well.problem == ""
    assert (ill.queries, ill.failures, ill.signals) == (1, 1, 0)
    assert ill.problem.startswith("default: overloaded")
    assert reader.plan is not None
    assert reader.plan.saved == 1
