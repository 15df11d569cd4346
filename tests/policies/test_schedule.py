"""schedule: floors by the calendar, in force on time in spite of the cold start."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.policy import Recommendation
from policies.reactive.schedule import Schedule
from tests.policies.worlds import shown

BERLIN = "Europe/Berlin"


def a_schedule(*windows: dict[str, Any], timezone: str = BERLIN) -> Schedule:
    return Schedule.model_validate({"timezone": timezone, "windows": list(windows)})


def unix(clock: str, timezone: str = BERLIN) -> float:
    return datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo(timezone)).timestamp()


def at(
    policy: Schedule, clock: str, *, lead: float = 0.0, timezone: str = BERLIN
) -> Recommendation:
    return policy.recommend(shown(2, at=unix(clock, timezone), lead=lead))


OFFICE = {
    "days": ["Mon", "Tue", "Wed", "Thu", "Fri"],
    "from": "08:30",
    "to": "18:00",
    "replicas": 6,
}
NIGHT = {"days": ["Sun"], "from": "22:00", "to": "02:00", "replicas": 3}
EVE = {"dates": ["2026-12-24"], "from": "00:00", "to": "24:00", "replicas": 2}


@pytest.mark.parametrize(
    ("clock", "expected"),
    [  # 2026-11-23 is a Monday
        pytest.param("2026-11-23T08:29:59", None, id="a second before"),
        pytest.param("2026-11-23T08:30:00", 6, id="at from"),
        pytest.param("2026-11-23T17:59:59", 6, id="to the last second"),
        pytest.param("2026-11-23T18:00:00", None, id="at to it is over"),
        pytest.param("2026-11-22T12:00:00", None, id="not on a Sunday"),
        pytest.param("2026-11-22T23:00:00", 3, id="Sunday night"),
        pytest.param("2026-11-23T01:59:59", 3, id="over midnight into Monday"),
        pytest.param("2026-11-23T02:00:00", None, id="and then over"),
        pytest.param("2026-11-22T01:00:00", None, id="not from Saturday into Sunday"),
        pytest.param("2026-12-24T23:59:59", 2, id="a date lasts its whole day"),
        pytest.param("2026-12-24T12:00:00", 6, id="where windows overlap the largest counts"),
        pytest.param("2026-12-25T00:00:00", None, id="and ends with it"),
    ],
)
def test_a_window_is_in_force_from_its_begin_to_its_end(clock: str, expected: int | None) -> None:
    answer = at(a_schedule(OFFICE, NIGHT, EVE), clock)

    assert answer.replicas == expected
    assert answer.raise_only


def test_every_day_if_no_days_are_given() -> None:
    always = a_schedule({"from": "00:00", "to": "24:00", "replicas": 1})

    assert [at(always, f"2026-11-{day}T00:00:00").replicas for day in range(21, 28)] == [1] * 7


def test_the_floor_is_asked_for_earlier_by_the_lead_time() -> None:
    policy = a_schedule(OFFICE)

    before = at(policy, "2026-11-23T08:25:59", lead=240)
    asked = at(policy, "2026-11-23T08:26:00", lead=240)

    assert before.replicas is None
    assert asked.replicas == 6
    assert asked.reason == (
        'window "08:30" to "18:00" wants at least 6 in 240 s: 6 asked for by now'
    )


def test_a_ramp_rises_in_steps_before_that_rounded_up() -> None:
    policy = a_schedule({**OFFICE, "rampSeconds": 600})

    floors = [
        at(policy, f"2026-11-23T08:{minute}:{second}", lead=240).replicas
        for minute, second in [(15, 59), (16, "01"), (17, 40), (17, 41), (21, "00"), (26, "00")]
    ]

    assert floors == [None, 1, 1, 2, 3, 6]


class TestDaylightSaving:
    """In Berlin the clock skips 02:00-03:00 on 2026-03-29 and repeats it on 2026-10-25."""

    def test_a_window_follows_the_clock_on_the_wall(self) -> None:
        policy = a_schedule({"from": "08:00", "to": "09:00", "replicas": 3})
        begins = [
            min(
                moment
                for moment in range(
                    int(unix(f"2026-{day}T04:00:00")), int(unix(f"2026-{day}T09:00:00")), 60
                )
                if policy.recommend(shown(2, at=float(moment), lead=0)).replicas
            )
            for day in ("03-28", "03-29", "03-30")
        ]

        hours = [(after - before) / 3600 for before, after in pairwise(begins)]
        assert hours == [23, 24]

    def test_a_time_that_does_not_exist_is_not_late(self) -> None:
        policy = a_schedule({"from": "02:30", "to": "05:00", "replicas": 3})

        first_after_the_gap = datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp()

        assert policy.recommend(shown(2, at=first_after_the_gap, lead=0)).replicas == 3

    def test_a_time_that_comes_twice_covers_both(self) -> None:
        policy = a_schedule({"from": "02:15", "to": "02:45", "replicas": 3})
        first, second = (
            datetime(2026, 10, 25, hour, 30, tzinfo=UTC).timestamp() for hour in (0, 1)
        )

        assert policy.recommend(shown(2, at=first, lead=0)).replicas == 3
        assert policy.recommend(shown(2, at=second, lead=0)).replicas == 3
        assert policy.recommend(shown(2, at=second + 900, lead=0)).replicas is None

    @given(st.integers(0, 366 * 24 * 60))
    def test_a_floor_for_all_times_never_fails(self, minute: int) -> None:
        policy = a_schedule(
            {"from": "00:00", "to": "12:00", "replicas": 2},
            {"from": "12:00", "to": "00:00", "replicas": 2},
        )

        now = unix("2026-01-01T00:00:00") + 60.0 * minute

        assert policy.recommend(shown(2, at=now, lead=0)).replicas == 2


def test_outside_of_every_window_it_tells_the_next() -> None:
    assert at(a_schedule(OFFICE, NIGHT), "2026-11-23T19:00:00").reason == (
        "no window is in force; the next serves 6 from Tue 2026-11-24 08:30 Europe/Berlin"
    )
    assert at(a_schedule(EVE), "2027-06-01T00:00:00").reason == "no window is in force"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"from": 1080},
            r'should be a time in quotes, such as "18:00", not 1080: '
            r"YAML reads 18:00 without quotes as 1080",
            id="what YAML makes of 18:00",
        ),
        pytest.param({"from": "8:30"}, "String should match pattern", id="a digit short"),
        pytest.param({"to": "24:30"}, "String should match pattern", id="after midnight"),
        pytest.param({"from": "24:00"}, 'from should be at most "23:59"', id="begin at the end"),
        pytest.param(
            {"from": "18:00"}, 'from and to should differ, not both "18:00"', id="no time at all"
        ),
        pytest.param({"dates": ["2026-12-24"]}, "give days or dates, not both", id="both"),
        pytest.param({"days": ["Monday"]}, "'Mon', 'Tue'", id="an unknown day"),
        pytest.param({"days": []}, "at least 1 item", id="no day"),
        pytest.param({"replicas": 0}, "greater than 0", id="a floor of nothing"),
        pytest.param({"rampSeconds": 90000}, "less than or equal to 86400", id="a ramp of days"),
    ],
)
def test_windows_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        a_schedule({**OFFICE, **change})


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "../etc/passwd", "Europe", "/etc/localtime"])
def test_the_time_zone_must_exist(name: str) -> None:
    with pytest.raises(ValidationError, match="no time zone is called"):
        a_schedule(OFFICE, timezone=name)


@pytest.mark.parametrize(
    "fields", [{"windows": [OFFICE]}, {"timezone": "UTC"}, {"timezone": "UTC", "windows": []}]
)
def test_time_zone_and_windows_must_be_given(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Schedule.model_validate(fields)


def test_it_reads_no_signal() -> None:
    assert a_schedule(OFFICE).uses == frozenset()
    assert a_schedule(OFFICE).label == "schedule"
