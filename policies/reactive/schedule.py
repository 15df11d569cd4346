"""schedule: floors by the calendar, in force on time in spite of the cold start."""

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from autoscaler.core.observation import Observation
from autoscaler.core.policy import Policy, Recommendation, up
from autoscaler.core.spec import Number, Spec

DAY_SECONDS = 86400.0
DAYS_AHEAD = 8
"""How far the reason looks for the next window: a week, and the day that has begun."""


class Day(StrEnum):
    """A day of the week, in the order of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


WEEK = tuple(Day)


def _wall_clock(value: object) -> object:
    """Refuse what YAML has turned into a number."""
    if isinstance(value, int | float):
        hint = f": YAML reads {int(value) // 60}:{int(value) % 60:02d} without quotes as {value:g}"
        raise ValueError(f'should be a time in quotes, such as "18:00", not {value:g}{hint}')
    return value


WallClock = Annotated[
    str, BeforeValidator(_wall_clock), Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")
]
"""A time of day, "00:00" to "24:00", in quotes."""


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"no time zone is called {name!r}; use a name such as Europe/Berlin or UTC"
        ) from None
    return name


class Window(Spec):
    """A floor on certain days, from one time of day to another."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] | None = None
    """Days on which it begins: Mon, Tue, Wed, Thu, Fri, Sat, Sun; every day if absent."""

    dates: Annotated[tuple[date, ...], Field(min_length=1)] | None = None
    """Dates on which it begins, such as "2026-12-24", instead of days."""

    from_: Annotated[WallClock, Field(alias="from")]
    """Time of day from which the floor must serve, such as "08:30"."""

    to: WallClock
    """Time of day at which it ends; not after `from` means on the next day."""

    replicas: Annotated[PositiveInt, Number]
    """Fewest replicas while it lasts."""

    ramp_seconds: Annotated[float, Number, Field(ge=0, le=DAY_SECONDS)] = 0.0
    """The floor rises in steps over this time, complete when it must be asked for."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.days is not None and self.dates is not None:
            raise ValueError("give days or dates, not both")
        if self.from_ == self.to:
            raise ValueError(
                f'from and to should differ, not both "{self.to}"; '
                f'a whole day is from "00:00" to "24:00"'
            )
        if self.from_ == "24:00":
            raise ValueError('from should be at most "23:59", not "24:00"')
        return self

    def begins_on(self, day: date) -> bool:
        """Whether it begins on a day."""
        if self.dates is not None:
            return day in self.dates
        return self.days is None or WEEK[day.weekday()] in self.days

    def lasts(self, day: date, zone: ZoneInfo) -> tuple[float, float]:
        """Return begin and end, Unix seconds, of the window that begins on `day`.

        Where the clock is changed a time of day may come twice or never. The window then is the
        longest that the words allow: a floor is never late and never short.
        """
        over_night = timedelta(days=0 if self.to > self.from_ else 1)
        return min(_moments(day, self.from_, zone)), max(_moments(day + over_night, self.to, zone))


def _moments(day: date, clock: str, zone: ZoneInfo) -> tuple[float, float]:
    """The two readings of a time of day; equal except where the clock is changed."""
    if clock == "24:00":
        day, clock = day + timedelta(days=1), "00:00"
    moment = datetime.combine(day, time.fromisoformat(clock), zone)
    return moment.timestamp(), moment.replace(fold=1).timestamp()


class Schedule(Policy):
    """Run at least so many replicas at certain times.

    The floor serves at `from`: it is asked for earlier by the lead time, and over `rampSeconds`
    before that it rises in steps (rounded up), so that not all replicas start at once. Where
    windows overlap the largest floor counts. Outside of every window it has no opinion. It only
    ever raises: when a window ends, the other policies decide how fast the workload shrinks.
    """

    type: Literal["schedule"] = "schedule"

    timezone: Annotated[str, AfterValidator(_time_zone)]
    """IANA time zone of every time here, such as Europe/Berlin; follows daylight saving."""

    windows: Annotated[tuple[Window, ...], Field(min_length=1)]
    """When to run at least how many replicas."""

    def recommend(self, observation: Observation) -> Recommendation:
        now, lead = observation.now, observation.lead_seconds
        zone = ZoneInfo(self.timezone)
        today = datetime.fromtimestamp(now, zone).date()
        floors: list[tuple[int, str]] = []
        later: list[tuple[float, int]] = []
        for window in self.windows:
            for offset in range(-1, DAYS_AHEAD + 1):
                day = today + timedelta(days=offset)
                if not window.begins_on(day):
                    continue
                begin, end = window.lasts(day, zone)
                if now >= end:
                    continue
                floor = _floor(window, now, begin - lead)
                if floor:
                    floors.append((floor, _describe(window, floor, now, begin)))
                else:
                    later.append((begin, window.replicas))
        if floors:
            count, why = max(floors, key=lambda floor: floor[0])
            return Recommendation(count, why, {"floor": float(count)}, raise_only=True)
        why = "no window is in force"
        if later:
            begin, replicas = min(later)
            when = datetime.fromtimestamp(begin, zone)
            why += f"; the next serves {replicas} from {when:%a %Y-%m-%d %H:%M} {self.timezone}"
        return Recommendation(None, why, raise_only=True)


def _floor(window: Window, now: float, complete: float) -> int:
    """The floor at `now` of a window that must be asked for completely at `complete`."""
    if now >= complete:
        return window.replicas
    if now < complete - window.ramp_seconds:
        return 0
    return up(window.replicas * (1.0 - (complete - now) / window.ramp_seconds))


def _describe(window: Window, floor: int, now: float, begin: float) -> str:
    words = f'window "{window.from_}" to "{window.to}" wants at least {window.replicas}'
    if now >= begin:
        return words
    return f"{words} in {begin - now:g} s: {floor} asked for by now"
