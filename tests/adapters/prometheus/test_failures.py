"""A source that fails, is late or is wrong: who is told, and who does not wait for it."""

import time

import pytest

from autoscaler.adapters.prometheus.plan import plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.core.observation import Gap, GapReason
from tests.adapters.prometheus.conftest import Models, Reading, Sluggish, wanting
from tests.adapters.prometheus.fleets import fleet_of
from tests.builders import NOON
from tests.fakes.prometheus_double import HTML, Fault, PrometheusDouble
from tests.waiting import until


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

    assert took < 10.0
    assert seen["llm/chat"].missing == {}
    assert seen["llm/code"].missing["queue"].reason is GapReason.ERROR
    assert "west: timed out" in seen["llm/code"].missing["queue"].detail


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
        source.goes_on.set()
        until(lambda: not reader.read(fleet, NOON + 2)["llm/chat"].missing)
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


def test_a_date_that_is_no_date_is_no_skew(double: PrometheusDouble, reading: Reading) -> None:
    double.fault = lambda _: Fault(headers={"Date": "yesterday"})

    assert reading(double).read(fleet_of([wanting("chat")]), NOON)["llm/chat"].missing == {}
