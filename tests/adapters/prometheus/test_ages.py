"""How old a signal is: the times of the raw samples behind it."""

import math

import pytest

from autoscaler.core.observation import Gap, GapReason
from tests.adapters.prometheus.conftest import Models, Reading, a_signal, wanting
from tests.adapters.prometheus.fleets import asking_all, fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import Line, PrometheusDouble, always


def test_sample_times_are_those_of_the_raw_samples(
    double: PrometheusDouble, reading: Reading
) -> None:
    # Evaluation at whole multiples of 15 s; raw samples lie on multiples of 5 s at or before.
    seen = reading(double).read(fleet_of([wanting("chat")]), NOON + 14)

    newest = seen["llm/chat"].signals["queue"].latest_time
    assert newest == math.floor(((NOON + 14) // 15 * 15) / 5) * 5


def test_a_dead_target_makes_the_signal_stale_although_the_query_still_answers(
    models: Models, double: PrometheusDouble, reading: Reading
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat"), wanting("code")])
    seen = reader.read(fleet, NOON)
    models.dies["chat"] = NOON + 1

    for elapsed in range(15, 75, 15):
        seen = reader.read(fleet, NOON + elapsed)

    assert seen["llm/chat"].signals["queue"].latest_time <= NOON + 1
    assert seen["llm/chat"].missing["queue"] == Gap(
        GapReason.EMPTY,
        "default: the series of model='chat' have ended: what the query still gives is an echo",
    )
    assert seen["llm/code"].signals["queue"].latest_time > NOON + 50
    assert "queue" not in seen["llm/code"].missing


BOTH = "sum by ($labels) (prompt{$match}) + sum by ($labels) (generated{$match})"


@pytest.mark.parametrize("first_window", [120, 600], ids=["few points", "many points"])
def test_a_sum_is_as_old_as_its_oldest_part(reading: Reading, first_window: int) -> None:
    died = NOON - 30
    parts = (lambda at: at, lambda at: at if at <= died else None)
    workload = asking_all(
        "chat", {"load": a_signal(BOTH, first_window)}, "default", {"model": "chat"}
    )
    with PrometheusDouble(lambda _: [Line({"model": "chat"}, always(1.0), raws=parts)]) as double:
        reader = reading(double)
        latest = {}
        for elapsed in range(0, 346, 15):
            seen = reader.read(fleet_of([workload]), NOON + elapsed)["llm/chat"]
            series = seen.signals.get("load")
            latest[elapsed] = -math.inf if series is None else series.latest_time

    grid = NOON // 15 * 15
    assert all(time <= died for elapsed, time in latest.items() if elapsed <= 255)
    # After five minutes the query is taken to do without the part that is gone.
    assert latest[345] == grid + 345


def test_a_scrape_that_came_late_takes_the_place_of_the_one_before(
    models: Models, double: PrometheusDouble, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    late = lambda at: at - 4 if at >= NOON - 10 else at  # noqa: E731
    monkeypatch.setattr(models, "_raw", lambda _: late)
    before = reader.read(fleet, NOON)["llm/chat"].signals["queue"]
    monkeypatch.setattr(models, "_raw", lambda _: lambda at: at)
    models.values["chat"] = always(4.0)
    after = reader.read(fleet, NOON + 15)["llm/chat"].signals["queue"]

    grid = NOON // 15 * 15
    assert before.times[-1] == grid - 4
    assert after.times[-3:].tolist() == [grid - 15, grid, grid + 15]
    assert after.values[-3:].tolist() == [3.0, 4.0, 4.0]


def test_another_name_that_never_answered_does_not_count(reading: Reading) -> None:
    parts = (lambda at: at, lambda _: None)
    workload = asking_all("chat", {"load": a_signal(BOTH)}, "default", {"model": "chat"})
    with PrometheusDouble(lambda _: [Line({"model": "chat"}, always(1.0), raws=parts)]) as double:
        reader = reading(double)
        reader.read(fleet_of([workload]), NOON)
        seen = reader.read(fleet_of([workload]), NOON + 15)["llm/chat"]

    assert seen.signals["load"].latest_time == (NOON + 15) // 15 * 15
    assert seen.missing == {}


def test_a_query_that_reads_no_series_is_as_old_as_its_evaluation(reading: Reading) -> None:
    workload = asking_all("chat", {"load": a_signal("vector(4)")}, "default", {"model": "chat"})
    with PrometheusDouble(lambda _: [Line({}, always(4.0))]) as double:
        reader = reading(double)
        reader.read(fleet_of([workload]), NOON)
        seen = reader.read(fleet_of([workload]), NOON + 15)["llm/chat"]

    assert seen.signals["load"].latest_time == (NOON + 15) // 15 * 15
