"""Reading a fleet's signals: what is seen, what is missing, and who waits for whom."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.adapters.prometheus.answers import Answer
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.adapters.prometheus.plan import plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.core.observation import Gap, GapReason
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.adapters.prometheus.fleets import QUEUE, asking_all, fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import HTML, Asked, Fault, Line, PrometheusDouble, always

TOKENS = "sum by ($labels) (rate(tokens_total{$match}[$window]))"


class Models:
    """What the double knows: a value for each model; the newest raw sample is every 5 s."""

    def __init__(self, **values: float) -> None:
        self.values: dict[str, Callable[[float], float | None]] = {
            model: always(value) for model, value in values.items()
        }
        self.dies: dict[str, float] = {}
        self.extra: dict[str, str] = {}
        self.series = 1

    def __call__(self, asked: Asked) -> Iterator[Line]:
        for model, value in self.values.items():
            labels = {"model": model, **self.extra}
            yield Line(labels, value, self._raw(model), series=lambda _: self.series)

    def _raw(self, model: str) -> Callable[[float], float | None]:
        end = self.dies.get(model, math.inf)
        return lambda at: math.floor(at / 5) * 5 if at <= end else None


def a_signal(query: str = QUEUE, window: int = 120, step: int = 15, **spec: Any) -> dict[str, Any]:
    return {"query": query, "windowSeconds": window, "stepSeconds": step, **spec}


def wanting(name: str, *, source: str = "default", **signals: dict[str, Any]) -> ScaledWorkload:
    return asking_all(name, signals or {"queue": a_signal()}, source, {"model": name})


@pytest.fixture
def models() -> Models:
    return Models(chat=3.0, code=5.0)


@pytest.fixture
def double(models: Models) -> Iterator[PrometheusDouble]:
    with PrometheusDouble(models) as server:
        yield server


Reading = Callable[..., SignalReader]


@pytest.fixture
def reading() -> Iterator[Reading]:
    opened: list[Any] = []

    def make(*doubles: PrometheusDouble, **how: Any) -> SignalReader:
        settings = {"retry": {"attempts": 1}, **how.pop("settings", {})}
        sources = {}
        for name, double in zip(("default", "west"), doubles, strict=False):
            document = {"name": name, "url": double.url, **settings}
            sources[name] = PrometheusSource(SourceSettings.model_validate(document))
        reader = SignalReader(sources, plan_queries, **{"jitter_seconds": 0.0, **how})
        opened.extend([reader, *sources.values()])
        return reader

    yield make
    for one in opened:
        one.close()


def until_loaded(reader: SignalReader, fleet: FleetSpec, now: float) -> dict[str, SignalsSeen]:
    """Read until nothing says that the past is being loaded."""
    gaps: list[str] = []
    for _ in range(200):
        seen = dict(reader.read(fleet, now))
        gaps = [gap.detail for one in seen.values() for gap in one.missing.values()]
        if not any("being loaded" in detail for detail in gaps):
            return seen
        time.sleep(0.01)
    raise AssertionError(gaps)


# --- what is seen ----------------------------------------------------------------------------


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


def test_a_date_that_is_no_date_is_no_skew(double: PrometheusDouble, reading: Reading) -> None:
    double.fault = lambda _: Fault(headers={"Date": "yesterday"})

    assert reading(double).read(fleet_of([wanting("chat")]), NOON)["llm/chat"].missing == {}


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        pytest.param(Fault(status=503, body=b""), "overloaded", id="503"),
        pytest.param(Fault(status=401, body=b""), "unauthorised", id="401"),
        pytest.param(Fault(reset=True), "unreachable", id="reset"),
        pytest.param(Fault(half=True), "unreachable", id="half a body"),
        pytest.param(HTML, "malformed answer", id="html"),
        pytest.param(
            Fault(body=b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":7}]}}'),
            "failed: AttributeError in its answer", id="nonsense",
        ),
    ],
)  # fmt: skip
def test_a_source_that_fails_is_a_gap_and_the_old_samples_stay(
    double: PrometheusDouble, reading: Reading, fault: Fault, detail: str
) -> None:
    reader, fleet = reading(double), fleet_of([wanting("chat")])
    reader.read(fleet, NOON)
    double.fault = lambda _: fault

    seen = reader.read(fleet, NOON + 15)["llm/chat"]

    assert seen.missing["queue"].reason is GapReason.ERROR
    assert seen.missing["queue"].detail.startswith(f"default: {detail}")
    assert seen.signals["queue"].latest == 3.0
    assert seen.signals["queue"].latest_time <= NOON
    double.fault = lambda _: None
    healed = reader.read(fleet, NOON + 30)["llm/chat"]
    assert healed.missing == {}
    assert healed.signals["queue"].latest_time > NOON + 10


def test_a_slow_source_delays_nobody_else(
    double: PrometheusDouble, models: Models, reading: Reading
) -> None:
    fleet = fleet_of([wanting("chat"), wanting("code", source="west")])
    with PrometheusDouble(models, fault=lambda _: Fault(delay_seconds=30)) as slow:
        reader = reading(double, slow, deadline_seconds=0.4)
        begun = time.monotonic()
        seen = reader.read(fleet, NOON)
        took = time.monotonic() - begun

    assert took < 0.8
    assert seen["llm/chat"].missing == {}
    assert seen["llm/code"].missing["queue"].reason is GapReason.ERROR
    assert "west: timed out" in seen["llm/code"].missing["queue"].detail


class Sluggish(PrometheusSource):
    """Takes longer than it is allowed to."""

    def query_range(self, *given: Any, deadline: float | None = None) -> Answer:
        time.sleep(0.3)
        return super().query_range(*given)


def test_an_answer_that_comes_after_the_deadline_is_there_in_the_next_cycle(
    double: PrometheusDouble,
) -> None:
    fleet = fleet_of([wanting("chat")])
    with (
        Sluggish(SourceSettings(url=double.url)) as source,
        SignalReader({"default": source}, plan_queries, deadline_seconds=0.05) as reader,
    ):
        first = reader.read(fleet, NOON)["llm/chat"]
        second = reader.read(fleet, NOON + 1)["llm/chat"]
        time.sleep(0.5)
        third = reader.read(fleet, NOON + 2)["llm/chat"]

    late = Gap(GapReason.ERROR, "default: timed out: not back when the cycle had to go on")
    assert (first.missing, first.signals) == ({"queue": late}, {})
    assert second.missing == {"queue": late}
    assert (third.missing, third.signals["queue"].latest) == ({}, 3.0)
    assert len(double.asked) == 1


def test_a_source_that_nobody_configured_is_named(
    double: PrometheusDouble, reading: Reading
) -> None:
    fleet = fleet_of([wanting("chat", source="nowhere"), wanting("code")])

    seen = reading(double).read(fleet, NOON)

    assert seen["llm/chat"].missing["queue"] == Gap(
        GapReason.ERROR, "no source is called 'nowhere'; configured are: default"
    )
    assert seen["llm/code"].missing == {}


def test_a_warning_makes_the_answer_partial(double: PrometheusDouble, reading: Reading) -> None:
    double.fault = lambda _: Fault(warnings=("store eu-1 is gone",))

    seen = reading(double).read(fleet_of([wanting("chat")]), NOON)["llm/chat"]

    assert seen.missing["queue"] == Gap(GapReason.PARTIAL, "default: store eu-1 is gone")
    assert seen.signals["queue"].latest == 3.0


@pytest.mark.parametrize(("off", "words"), [(-75, "75 s behind"), (75, "75 s ahead of")])
def test_clocks_that_differ_are_told_of(
    double: PrometheusDouble, reading: Reading, off: float, words: str
) -> None:
    double.clock = lambda: NOON + off

    seen = reading(double).read(fleet_of([wanting("chat")]), NOON)["llm/chat"]

    gap = seen.missing["queue"]
    assert gap.reason is GapReason.PARTIAL
    assert gap.detail == f"default: its clock is {words} ours: ages are wrong by that much"
    assert seen.signals["queue"].latest == 3.0


# --- what is asked ---------------------------------------------------------------------------


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


def test_what_had_no_time_goes_first_in_the_next_cycle(reading: Reading, models: Models) -> None:
    signals = {f"s{n}": a_signal(f"sum by ($labels) (m{n}{{$match}})") for n in range(6)}
    fleet = fleet_of([asking_all("chat", signals, "default", {"model": "chat"})])
    with PrometheusDouble(models) as double:
        reader = reading(double, settings={"maxConcurrency": 1}, deadline_seconds=1.0)
        reads = []
        for now in (NOON, NOON + 15):
            double.fault = the_fourth_is_late(1.5)
            reads.append(reader.read(fleet, now)["llm/chat"])
            time.sleep(0.7)
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


# --- the fleet changes -----------------------------------------------------------------------


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
        time.sleep(0.5)
        seen = reader.read(other, NOON)["llm/chat"]

    assert seen.signals == {}


def test_an_equal_fleet_changes_nothing(double: PrometheusDouble, reading: Reading) -> None:
    reader = reading(double)
    reader.read(fleet_of([wanting("chat")]), NOON)
    plan = reader.plan

    reader.read(fleet_of([wanting("chat")]), NOON + 1)

    assert reader.plan is plan
    assert len(double.asked) == 1
