"""Reading a fleet's signals: what is seen of each workload, and what is missing."""

import math
from collections.abc import Iterator

import pytest

from autoscaler.core.observation import Gap, GapReason
from tests.adapters.prometheus.conftest import Models, Reading, a_signal, wanting
from tests.adapters.prometheus.fleets import asking_all, fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import Asked, Fault, Line, PrometheusDouble, always


def test_one_query_serves_every_workload_and_each_gets_its_own(
    double: PrometheusDouble, reading: Reading
) -> None:
    fleet = fleet_of([wanting("chat"), wanting("code")])

    seen = reading(double).read(fleet, NOON)

    assert len(double.asked) == 1
    assert seen["llm/chat"].signals["queue"].latest == 3.0
    assert seen["llm/code"].signals["queue"].latest == 5.0
    assert seen["llm/chat"].missing == {}
    assert len(seen["llm/chat"].signals["queue"]) == 8


def test_the_raw_series_behind_the_newest_answer_are_counted(
    models: Models, double: PrometheusDouble, reading: Reading
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat"), wanting("code")])
    models.series = 4
    whole = reader.read(fleet, NOON)
    models.series = 3
    part = reader.read(fleet, NOON + 15)
    models.dies["chat"] = NOON + 16
    gone = reader.read(fleet, NOON + 30)

    assert whole["llm/chat"].parts == {"queue": 4}
    assert part["llm/chat"].parts == part["llm/code"].parts == {"queue": 3}
    assert gone["llm/chat"].parts == {}
    assert gone["llm/code"].parts == {"queue": 3}


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(warnings=("a store is down",))])
def test_nothing_is_counted_where_there_is_no_whole_answer(
    double: PrometheusDouble, reading: Reading, fault: Fault
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    reader.read(fleet, NOON)
    double.fault = lambda _: fault

    assert reader.read(fleet, NOON + 15)["llm/chat"].parts == {}


def test_a_count_outlives_a_change_of_the_fleet(double: PrometheusDouble, reading: Reading) -> None:
    reader = reading(double)
    reader.read(fleet_of([wanting("chat")]), NOON)

    later = reader.read(fleet_of([wanting("chat"), wanting("code")]), NOON + 1)

    assert later["llm/chat"].parts == {"queue": 1}


def test_what_is_not_there_is_empty_and_never_zero(
    double: PrometheusDouble, reading: Reading
) -> None:
    seen = reading(double).read(fleet_of([wanting("chat"), wanting("absent")]), NOON)

    assert "queue" not in seen["llm/absent"].signals
    assert seen["llm/absent"].missing["queue"] == Gap(
        GapReason.EMPTY, "default: no series for model='absent'"
    )


def test_series_without_a_value_are_told_apart_from_no_series(
    models: Models, double: PrometheusDouble, reading: Reading
) -> None:
    models.values["chat"] = lambda _: None

    seen = reading(double).read(fleet_of([wanting("chat")]), NOON)

    assert seen["llm/chat"].missing["queue"] == Gap(
        GapReason.EMPTY,
        "default: the series of model='chat' are there, but the query gives nothing for them",
    )


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_odd_values_are_handed_on_as_they_came(
    models: Models, double: PrometheusDouble, reading: Reading, odd: float
) -> None:
    models.values["chat"] = always(odd)

    seen = reading(double).read(fleet_of([wanting("chat")]), NOON)

    latest = seen["llm/chat"].signals["queue"].latest
    assert latest == odd or (math.isnan(odd) and math.isnan(latest))
    assert seen["llm/chat"].missing == {}


def test_strangers_in_the_answer_are_left_alone(double: PrometheusDouble, reading: Reading) -> None:
    seen = reading(double).read(fleet_of([wanting("chat")]), NOON)

    assert list(seen) == ["llm/chat"]
    assert seen["llm/chat"].signals["queue"].latest == 3.0


def test_workloads_with_the_same_labels_both_get_the_series(
    double: PrometheusDouble, reading: Reading
) -> None:
    twin = asking_all("twin", {"queue": a_signal()}, "default", {"model": "chat"})

    seen = reading(double).read(fleet_of([wanting("chat"), twin]), NOON)

    assert len(double.asked) == 1
    assert seen["llm/twin"].signals["queue"] == seen["llm/chat"].signals["queue"]


def test_a_label_that_the_query_keeps_is_named(
    models: Models, double: PrometheusDouble, reading: Reading
) -> None:
    models.extra = {"engine": "0"}

    seen = reading(double).read(fleet_of([wanting("chat")]), NOON)

    assert seen["llm/chat"].missing["queue"] == Gap(
        GapReason.ERROR,
        "default: bad query: the query keeps the label engine; "
        "aggregate them with sum by ($labels) (...) over engine",
    )
    assert seen["llm/chat"].signals == {}


def test_two_series_for_one_workload_are_a_gap(reading: Reading) -> None:
    twice = [Line({"model": "chat", "engine": n}, always(1.0)) for n in "01"]
    workload = asking_all("chat", {"queue": a_signal("max(queue)")}, "default", {"model": "chat"})
    with PrometheusDouble(lambda _: twice) as double:
        seen = reading(double).read(fleet_of([workload]), NOON)

    assert seen["llm/chat"].missing["queue"].detail == (
        "default: bad query: the query gives several series; "
        "aggregate them with sum(...) over engine, model"
    )
    assert seen["llm/chat"].signals == {}


def test_a_query_without_labels_may_answer_with_any_single_series(reading: Reading) -> None:
    workload = asking_all("chat", {"queue": a_signal('queue{q="a"}')}, "default", {"model": "chat"})
    with PrometheusDouble(lambda _: [Line({"job": "mq", "q": "a"}, always(9.0))]) as double:
        seen = reading(double).read(fleet_of([workload]), NOON)

    assert seen["llm/chat"].signals["queue"].latest == 9.0
    assert seen["llm/chat"].missing == {}


def test_native_histograms_are_refused_with_a_word_on_what_to_do(reading: Reading) -> None:
    row = b'{"metric":{"model":"chat"},"histograms":[[1,{}]]}'
    body = b'{"status":"success","data":{"resultType":"matrix","result":[' + row + b"]}}"
    with PrometheusDouble(lambda _: [], fault=lambda _: Fault(body=body)) as double:
        seen = reading(double).read(fleet_of([wanting("chat")]), NOON)

    assert (
        "native histograms; take histogram_quantile()" in seen["llm/chat"].missing["queue"].detail
    )


def test_a_query_that_keeps_pods_gives_a_sample_for_each(reading: Reading) -> None:
    per_pod = a_signal("sum by ($labels, pod) (queue{$match})")
    workload = asking_all("chat", {"queue": per_pod}, "default", {"model": "chat"})

    def lines(asked: Asked) -> Iterator[Line]:
        assert "max by (model, pod) (timestamp(" in asked.promql
        for number in range(2):
            late = 20.0 * number
            yield Line(
                {"model": "chat", "pod": f"chat-{number}"},
                always(float(number)),
                lambda at, late=late: at - late,  # type: ignore[misc]
            )

    with PrometheusDouble(lines) as double:
        seen = reading(double).read(fleet_of([workload]), NOON)["llm/chat"]

    samples = seen.pod_samples["queue"]
    newest = NOON // 15 * 15
    assert {pod: (one.value, one.time) for pod, one in samples.items()} == {
        "chat-0": (0.0, newest),
        "chat-1": (1.0, newest - 20),
    }
    assert seen.missing == {}
    assert seen.signals == {}
