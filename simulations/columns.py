"""What the columns of a trace may hold; each kind is read from an array of fields or from a text.

Both ways read the same numbers. The way by arrays gives up on all but plain, valid fields; the
way by single texts then says what is wrong, or reads what is unusual.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from autoscaler.core.observation import FloatArray
from simulations.grid import TICKS, Grid
from simulations.lengths import MOST_TOKENS, IntArray

LONGEST_SECONDS: Final = 366 * 86_400.0
_STAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII
)


class BadFieldError(ValueError):
    """A field breaks the rule of its column; the message is the rule and the value found."""


class Column(Protocol):
    """One column that is needed.

    Attributes:
        name: As in the header.
        kind: The numpy type that holds it.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> type: ...

    def of_fields(self, grid: Grid, column: int) -> IntArray | FloatArray | None:
        """Return a column of a grid; None where a field should be looked at by itself."""
        ...

    def of_text(self, text: str) -> float:
        """Return one field.

        Raises:
            BadFieldError: It breaks the rule.
        """
        ...


@dataclass(frozen=True, slots=True)
class Seconds:
    """Times in seconds, not negative.

    Attributes:
        name: As in the header.
        most: The latest that may stand there.
    """

    name: str
    most: float = LONGEST_SECONDS

    @property
    def kind(self) -> type:
        return float

    def of_fields(self, grid: Grid, column: int) -> FloatArray | None:
        read = grid.decimals(column)
        return None if read is None or read.max() > self.most else read

    def of_text(self, text: str) -> float:
        seconds = _number(text)
        if math.isnan(seconds):
            raise BadFieldError(f"should be a number of seconds, not {shown(text)}")
        if seconds < 0:
            raise BadFieldError(f"should not be negative, not {shown(text)}")
        if seconds > self.most:
            raise BadFieldError(
                f"should be seconds since the trace began, at most {self.most:.0f}"
                f"{' (a year)' if self.most == LONGEST_SECONDS else ''}, not {shown(text)}"
            )
        return seconds


@dataclass(frozen=True, slots=True)
class Stamps:
    """Dates with times, UTC unless they say otherwise; held as ticks of 100 ns since 1970."""

    name: str

    @property
    def kind(self) -> type:
        return int

    def of_fields(self, grid: Grid, column: int) -> IntArray | None:
        return grid.stamps(column)

    def of_text(self, text: str) -> float:
        ticks = _ticks(text)
        if ticks is None:
            raise BadFieldError(
                f"should be a time since 1970 such as 2023-11-16 18:17:03.9799600, "
                f"not {shown(text)}"
            )
        return ticks


@dataclass(frozen=True, slots=True)
class Tokens:
    """Whole numbers of tokens.

    Attributes:
        name: As in the header.
        least: 0 or 1.
    """

    name: str
    least: int = 0

    @property
    def kind(self) -> type:
        return int

    def of_fields(self, grid: Grid, column: int) -> IntArray | None:
        read = grid.whole(column)
        if read is None or read.min() < self.least or read.max() > MOST_TOKENS:
            return None
        return read

    def of_text(self, text: str) -> float:
        # Nine digits hold the most tokens allowed: an endless number is never converted.
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            tokens = int(text)
            if self.least <= tokens <= MOST_TOKENS:
                return tokens
        number = _number(text)
        if number < 0:
            raise BadFieldError(f"should not be negative, not {shown(text)}")
        if number > MOST_TOKENS:
            raise BadFieldError(f"should be at most {MOST_TOKENS}, not {shown(text)}")
        if number == 0 and self.least and text.isdecimal():
            raise BadFieldError(f"should be at least {self.least}, not {text}")
        raise BadFieldError(f"should be a whole number of tokens, not {shown(text)}")


@dataclass(frozen=True, slots=True)
class Amount:
    """Numbers that are not negative, with fractions or without.

    Attributes:
        name: As in the header.
        what: What is counted.
        most: The most that may stand there.
    """

    name: str
    what: str
    most: float

    @property
    def kind(self) -> type:
        return float

    def of_fields(self, grid: Grid, column: int) -> FloatArray | None:
        read = grid.decimals(column)
        return None if read is None or read.max() > self.most else read

    def of_text(self, text: str) -> float:
        number = _number(text)
        if math.isnan(number):
            raise BadFieldError(f"should be a number of {self.what}, not {shown(text)}")
        if number < 0:
            raise BadFieldError(f"should not be negative, not {shown(text)}")
        if number > self.most:
            raise BadFieldError(f"should be at most {self.most:.0f}, not {shown(text)}")
        return number


def shown(value: Any) -> str:
    """Return what was found, short enough for a line."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _ticks(text: str) -> int | None:
    """Return ticks since 1970; None where the text is no time, or one before."""
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{'+00:00' if zone in (None, 'Z') else zone}")
    except ValueError:
        return None
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = past.days * 86_400 + past.seconds
    return seconds * TICKS + int((fraction or "0")[:7].ljust(7, "0")) if seconds >= 0 else None


def _number(text: str) -> float:
    """Return a number; NaN where the text is none, or one that only Python reads as one."""
    if "_" in text or not text.isascii():
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan
