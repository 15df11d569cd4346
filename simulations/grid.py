"""Plain CSV lines as arrays: whole columns are read at once, where nothing in them is special."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.observation import FloatArray
from simulations.lengths import IntArray
from simulations.source import LONGEST_LINE

TICKS: Final = 10_000_000
"""Ticks in a second: time stamps are counted in steps of 100 ns."""
_MOST_DIGITS: Final = 15
_COMMA, _NEWLINE, _POINT, _ZERO = b",\n.0"
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The fields of some lines of one width.

    Attributes:
        characters: The lines; shape (n,).
        starts: Where each field begins; shape (rows, width).
        ends: Where each field ends, exclusive; shape (rows, width).
    """

    characters: NDArray[np.uint8]
    starts: IntArray
    ends: IntArray

    @classmethod
    def of(cls, block: bytes, width: int) -> "Grid | None":
        """Return the fields of whole lines.

        None where anything asks for a closer look: another number of fields, quotes, an empty or
        very long line, a carriage return inside, or a character outside ASCII.
        """
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        if not block.isascii() or b'"' in block or b"\r" in block:
            return None
        if not block.endswith(b"\n"):
            block += b"\n"
        characters = np.frombuffer(block, dtype=np.uint8)
        found = np.flatnonzero((characters == _COMMA) | (characters == _NEWLINE))
        if len(found) % width:
            return None
        ends = found.reshape(-1, width)
        line_ends = characters[ends] == _NEWLINE
        if line_ends[:, :-1].any() or not line_ends[:, -1].all():
            return None
        starts = np.concatenate([[0], found[:-1] + 1]).reshape(-1, width)
        if int((ends[:, -1] - starts[:, 0]).max()) + 2 >= LONGEST_LINE:
            return None
        return cls(characters, starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def last(self, column: int) -> str:
        """Return the text of the last row's field."""
        start, end = int(self.starts[-1, column]), int(self.ends[-1, column])
        return self.characters[start:end].tobytes().decode("ascii")

    def whole(self, column: int) -> IntArray | None:
        """Return whole numbers of at most 15 digits; None where a field is anything else."""
        read = self._digits(column)
        return None if read is None or read[1].any() else read[0]

    def decimals(self, column: int) -> FloatArray | None:
        """Return numbers such as 12.5, of at most 15 digits; None where a field is not such.

        They are those that `float` returns: both parts of the division are exact.
        """
        read = self._digits(column)
        if read is None:
            return None
        numbers: FloatArray = read[0] / 10.0 ** np.maximum(0, read[1] - 1)
        return numbers

    def stamps(self, column: int) -> IntArray | None:
        """Return ticks since 1970 of times such as 2023-11-16 18:17:03.9799600, with +00:00 or not.

        None where a field is anything else.
        """
        ticks = np.zeros(len(self), dtype=np.int64)
        lengths = self.ends[:, column] - self.starts[:, column]
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            read = _stamps(
                self.characters[self.starts[rows, column][:, None] + np.arange(int(length))]
            )
            if read is None or read.min() < 0:
                return None
            ticks[rows] = read
        return ticks

    def _digits(self, column: int) -> tuple[IntArray, IntArray] | None:
        """Return the digits as one number, and 1 + how many follow the point (0 without one)."""
        start, end = self.starts[:, column], self.ends[:, column]
        length = end - start
        longest = int(length.max())
        if longest > _MOST_DIGITS + 1:
            return None
        number = np.zeros(len(self), dtype=np.int64)
        after = np.zeros(len(self), dtype=np.int64)
        digits = np.zeros(len(self), dtype=np.int64)
        for at in range(longest):
            character = self.characters[np.minimum(start + at, end)]
            digit = character - np.uint8(_ZERO)
            is_digit = digit < 10
            is_point = (character == _POINT) & (after == 0)
            if not (is_digit | is_point | (at >= length)).all():
                return None
            number = np.where(is_digit, 10 * number + digit, number)
            after += is_point | (is_digit & (after > 0))
            digits += is_digit
        if digits.min() < 1 or digits.max() > _MOST_DIGITS:
            return None
        return number, after


def _stamps(characters: NDArray[np.uint8]) -> IntArray | None:
    """Return ticks since 1970 of time stamps of one length; shape (rows, length) to (rows,)."""
    length = characters.shape[1]
    if length >= 25 and (characters[:, -6:] == np.frombuffer(b"+00:00", dtype=np.uint8)).all():
        length -= 6
    if length != 19 and not 21 <= length <= 27:
        return None
    digits = (characters[:, :length] - np.uint8(_ZERO)).astype(np.int64)
    separators = [4, 7, 10, 13, 16, *range(19, min(length, 20))]
    wanted = np.frombuffer(b"-- ::."[: len(separators)], dtype=np.uint8)
    others = np.delete(digits, separators, axis=1)
    if (characters[:, separators] != wanted).any() or (others < 0).any() or (others > 9).any():
        return None

    def number(first: int, last: int) -> IntArray:
        value: IntArray = digits[:, first:last] @ 10 ** np.arange(last - first - 1, -1, -1)
        return value

    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    if hour.max() > 23 or minute.max() > 59 or second.max() > 59:
        return None
    days, inverse = np.unique(
        number(0, 4) * 10_000 + number(5, 7) * 100 + number(8, 10), return_inverse=True
    )
    try:
        numbers = [_day(int(day)) for day in days]
    except ValueError:
        return None
    seconds = np.array(numbers)[inverse] * 86_400 + hour * 3600 + minute * 60 + second
    ticks: IntArray = seconds * TICKS
    if length > 20:
        ticks = ticks + number(20, length) * 10 ** (27 - length)
    return ticks


def _day(packed: int) -> int:
    """Return days since 1970 of a day such as 20231116."""
    return date(packed // 10_000, packed // 100 % 100, packed % 100).toordinal() - _EPOCH
