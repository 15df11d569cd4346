"""How far a signal can be trusted is a matter of its newest finite sample's age."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decision import Reading, SignalState
from autoscaler.core.observation import Gap, GapReason, PodSample, Series
from autoscaler.core.signals import read_signals
from autoscaler.core.spec import SignalSpec
from tests.builders import NOON, seen

NAN, INF = math.nan, math.inf


def read(
    series: Series | None = None,
    *,
    gap: Gap | None = None,
    others: dict[str, tuple[dict[str, Any], float]] | None = None,
    ready: int = 1,
    **spec: Any,
) -> tuple[Reading, Series | None]:
    """Judge one signal called `it`, with a maximum age of 60 s, beside fresh others."""
    specs = {"it": SignalSpec.model_validate({"query": "q", "maxAgeSeconds": 60, **spec})}
    signals: dict[str, Series | float] = {} if series is None else {"it": series}
    for name, (fields, value) in (others or {}).items():
        specs[name] = SignalSpec.model_validate({"query": "q", **fields})
        signals[name] = value
    readings, shown = read_signals(
        specs, seen(ready, signals=signals, missing={"it": gap} if gap else {})
    )
    return readings["it"], shown.get("it")


def aged(seconds: float, value: float = 7.0) -> Series:
    return Series.of([(NOON - seconds, value)])


@pytest.mark.parametrize(
    ("age", "state", "usable", "may_lower"),
    [
        pytest.param(0, SignalState.FRESH, True, True, id="now"),
        pytest.param(30, SignalState.FRESH, True, True, id="half the maximum age is fresh"),
        pytest.param(30.001, SignalState.AGEING, True, False, id="past half may only raise"),
        pytest.param(60, SignalState.AGEING, True, False, id="the maximum age itself is ageing"),
        pytest.param(60.001, SignalState.STALE, False, False, id="past the maximum is stale"),
        pytest.param(-60, SignalState.FRESH, True, True, id="a little clock skew is forgiven"),
        pytest.param(-61, SignalState.SUSPECT, False, False, id="the far future is suspect"),
    ],
)
def test_the_age_of_the_sample_decides(
    age: float, state: SignalState, usable: bool, may_lower: bool
) -> None:
    reading, shown = read(aged(age))

    assert (reading.state, reading.usable, reading.may_lower) == (state, usable, may_lower)
    assert reading.value == 7.0
    assert (shown is not None) == usable


@pytest.mark.parametrize(
    ("series", "gap", "why"),
    [
        pytest.param(None, None, "empty", id="nothing at all"),
        pytest.param(Series.of([]), None, "empty", id="an empty series"),
        pytest.param(Series.of([(NOON, NAN)]), None, "nan", id="only NaN"),
        pytest.param(Series.of([(NOON, INF)]), None, "infinite", id="only infinity"),
        pytest.param(Series.of([(NOON, -INF)]), None, "infinite", id="only minus infinity"),
        pytest.param(None, Gap(GapReason.ERROR, "timed out"), "error: timed out", id="an error"),
        pytest.param(None, Gap(GapReason.EMPTY), "empty", id="an empty answer"),
    ],
)
def test_no_finite_sample_is_missing_and_never_zero(
    series: Series | None, gap: Gap | None, why: str
) -> None:
    reading, shown = read(series, gap=gap)

    assert reading == Reading("it", SignalState.MISSING, None, None, why=why)
    assert shown is None


def test_a_nan_after_a_good_sample_may_only_raise() -> None:
    reading, shown = read(Series.of([(NOON - 15, 7.0), (NOON, NAN)]))

    assert (reading.state, reading.value) == (SignalState.AGEING, 7.0)
    assert reading.why == "newest sample is nan"
    assert shown == Series.of([(NOON - 15, 7.0)])


def test_a_partial_answer_may_only_raise() -> None:
    reading, _ = read(aged(0), gap=Gap(GapReason.PARTIAL, "a store did not answer"))

    assert reading.state is SignalState.AGEING
    assert reading.why == "partial: a store did not answer"


def test_a_stale_sample_names_what_went_wrong() -> None:
    reading, _ = read(aged(90), gap=Gap(GapReason.ERROR, "timed out"))

    assert reading.why == "newest sample is 90 s old; error timed out"


def test_a_stale_sample_says_what_came_since() -> None:
    reading, _ = read(Series.of([(NOON - 90, 7.0), (NOON, NAN)]))

    assert reading.why == "newest sample is 90 s old, and nan since"


def test_the_last_value_counts_where_the_file_says_so_and_may_only_raise() -> None:
    reading, shown = read(aged(3600), onMissing="last")

    assert (reading.state, reading.usable, reading.may_lower) == (SignalState.STALE, True, False)
    assert shown == aged(3600)


def test_last_without_any_sample_stays_missing() -> None:
    reading, shown = read(None, onMissing="last")

    assert not reading.usable
    assert shown is None


@pytest.mark.parametrize(
    ("series", "gap", "usable"),
    [
        pytest.param(None, Gap(GapReason.EMPTY), True, id="an empty answer is a true zero"),
        pytest.param(None, None, True, id="no series is a true zero"),
        pytest.param(Series.of([(NOON, NAN)]), None, True, id="NaN is a true zero"),
        pytest.param(Series.of([(NOON, INF)]), None, False, id="infinity is not"),
        pytest.param(None, Gap(GapReason.ERROR), False, id="an error is not"),
        pytest.param(aged(90), None, False, id="a stale sample is not"),
    ],
)
def test_zero_only_where_the_file_says_so_and_the_source_answered(
    series: Series | None, gap: Gap | None, usable: bool
) -> None:
    reading, shown = read(series, gap=gap, onMissing="zero")

    assert reading.usable == usable
    assert (shown == Series.of([(NOON, 0.0)])) == usable


@pytest.mark.parametrize("role", ["throughput", "utilization"])
def test_a_zero_beside_a_queue_is_suspect(role: str) -> None:
    reading, shown = read(aged(0, 0.0), role=role, others={"queue": ({"role": "queue"}, 12.0)})

    assert reading.state is SignalState.SUSPECT
    assert reading.why == "reads 0 while queue is 12"
    assert shown is None


@pytest.mark.parametrize(
    ("role", "queue", "ready"),
    [
        pytest.param("throughput", 0.0, 1, id="an empty queue"),
        pytest.param("throughput", 5.0, 0, id="nobody ready to serve"),
        pytest.param("queue", 5.0, 1, id="a queue of 0 is normal"),
        pytest.param("latency", 5.0, 1, id="a latency of 0 is not doubted"),
    ],
)
def test_a_zero_is_believed_where_nothing_contradicts_it(
    role: str, queue: float, ready: int
) -> None:
    reading, _ = read(
        aged(0, 0.0), role=role, ready=ready, others={"queue": ({"role": "queue"}, queue)}
    )

    assert reading.state is SignalState.FRESH


QUIET = {"tokens": ({"role": "throughput"}, 0.0)}
EMPTY_QUEUE = {"queue": ({"role": "queue"}, 0.0)}


@pytest.mark.parametrize(
    ("others", "idle"),
    [
        pytest.param(QUIET, True, id="no tokens flow"),
        pytest.param(EMPTY_QUEUE, True, id="the queue stayed empty"),
        pytest.param({**QUIET, **EMPTY_QUEUE}, True, id="both"),
        pytest.param({}, False, id="nothing else to go by"),
        pytest.param({"tokens": ({"role": "throughput"}, 5.0)}, False, id="tokens flow"),
        pytest.param({**QUIET, "queue": ({"role": "queue"}, 3.0)}, False, id="somebody waits"),
        pytest.param({"tokens": ({"role": "arrivals"}, NAN)}, False, id="arrivals unknown"),
        pytest.param({"other": ({"role": "other"}, 0.0)}, False, id="an unrelated zero"),
    ],
)
def test_a_latency_of_nan_is_idle_only_where_something_else_says_so(
    others: dict[str, tuple[dict[str, Any], float]], idle: bool
) -> None:
    reading, shown = read(Series.of([(NOON, NAN)]), role="latency", others=others)

    assert (reading.state is SignalState.FRESH) == idle
    assert (shown == Series.of([(NOON, 0.0)])) == idle


def test_an_idle_latency_is_told_apart_from_a_measured_one() -> None:
    reading, _ = read(Series.of([(NOON, NAN)]), role="latency", others=QUIET)

    assert reading.why == "idle: nobody waited"


def test_a_latency_whose_source_is_gone_is_not_idle() -> None:
    reading, _ = read(None, role="latency", gap=Gap(GapReason.ERROR), others=QUIET)

    assert reading.state is SignalState.MISSING


def test_a_per_pod_signal_is_judged_by_its_newest_finite_sample() -> None:
    specs = {"it": SignalSpec(query="q", max_age_seconds=60)}
    pods = {
        "a": PodSample(2.0, NOON - 50),
        "b": PodSample(4.0, NOON - 40),
        "c": PodSample(NAN, NOON),
    }

    readings, _ = read_signals(specs, seen(pod_samples={"it": pods}))

    assert readings["it"].state is SignalState.AGEING
    assert (readings["it"].value, readings["it"].age_seconds) == (3.0, 40.0)


def test_the_default_maximum_age_fits_the_step() -> None:
    assert SignalSpec(query="q").max_age == 60.0
    assert SignalSpec(query="q", window_seconds=3600, step_seconds=300).max_age == 900.0


values = st.floats(allow_nan=True, allow_infinity=True)
ages = st.integers(min_value=-200, max_value=200)


@given(
    samples=st.lists(st.tuples(ages, values), max_size=5, unique_by=lambda pair: pair[0]),
    role=st.sampled_from(["queue", "throughput", "latency", "utilization", "other"]),
    on_missing=st.sampled_from(["hold", "last", "zero", "fallback"]),
    gap=st.sampled_from([None, *(Gap(reason) for reason in GapReason)]),
)
def test_policies_are_shown_finite_numbers_only(
    samples: list[tuple[int, float]], role: str, on_missing: str, gap: Gap | None
) -> None:
    series = Series.of(sorted((NOON - age, value) for age, value in samples))
    reading, shown = read(series, gap=gap, role=role, onMissing=on_missing)

    assert (shown is not None) == reading.usable
    if shown is not None:
        assert len(shown) > 0
        assert all(math.isfinite(value) for value in shown.values)
    if reading.may_lower:
        assert reading.usable
        assert reading.state is SignalState.FRESH or on_missing == "zero"
