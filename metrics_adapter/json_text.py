"""A JSON document that is read piece by piece: whoever serves meanwhile waits for one piece."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import orjson


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


_SPACE: Final = re.compile(r"[ \t\n\r]*")
_SHORT: Final = 2048
"""Most values are no longer: these are cut out of the rest."""
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)


class TooLongError(ValueError):
    """A value is longer than it may be."""


class JsonText:
    """A JSON document, read from its beginning.

    Raises:
        ValueError: It is none, or holds halves of characters, which could not be written again;
            `TooLongError` where a value is longer than it may be.
    """

    def __init__(self, body: bytes, longest: int = 0) -> None:
        """Stand before its first character; a value has so many at most, 0 for any number."""
        self._text = body.decode()
        self._at = 0
        self._longest = longest

    def names(self) -> Iterator[str]:
        """Yield the names of an object that is the whole document; the caller reads each value."""
        self._needs("{")
        if not self.takes("}"):
            while True:
                name = self.value()
                if not isinstance(name, str):
                    raise ValueError(f"a name should be a text: character {self._at}")
                self._needs(":")
                yield name
                if self.takes("}"):
                    break
                self._needs(",")
        if self._after_space() != len(self._text):
            raise ValueError(f"more after its end: character {self._at}")

    def items(self) -> Iterator[Any]:
        """Yield the items of an array whose bracket was taken."""
        if self.takes("]"):
            return
        while True:
            yield self.value()
            if self.takes("]"):
                return
            self._needs(",")

    def takes(self, mark: str) -> bool:
        """Go past a mark, if it comes next."""
        found = self._text.startswith(mark, self._after_space())
        self._at += found
        return found

    def value(self) -> Any:
        """Read the value that comes next, whole."""
        begun = self._after_space()
        found, self._at = self._read(begun)
        if self._text.find("\\u", begun, self._at) >= 0:
            orjson.loads(self._text[begun : self._at])  # it refuses halves of characters
        return found

    def _read(self, begun: int) -> tuple[Any, int]:
        left = len(self._text) - begun
        if not self._longest or left <= _SHORT:
            return _DECODER.raw_decode(self._text, begun)
        for size in (_SHORT, self._longest):  # what is cut off is none, or what follows is not
            try:
                found, length = _DECODER.raw_decode(self._text[begun : begun + size])
            except ValueError:
                if size >= left:
                    raise
            else:
                return found, begun + length
        raise TooLongError(f"a part that is none, or of more than {self._longest} characters")

    def _needs(self, mark: str) -> None:
        if not self.takes(mark):
            raise ValueError(f"expected {mark!r}: character {self._at}")

    def _after_space(self) -> int:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._at
