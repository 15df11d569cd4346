"""Label selectors as requests carry them: parsed, checked and matched as Kubernetes does.

The grammar is that of `k8s.io/apimachinery/pkg/labels` (selector.go): `a=b,c!=d,e in (f,g),
h notin (i),j,!k,l>1,m<2`. What it allows and we bound: length and number of requirements, so that
no selector costs more than a moment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from autoscaler.core.integers import INT64_MAX, INT64_MIN

LONGEST: Final = 4096
"""Characters of a selector."""
MOST_REQUIREMENTS: Final = 32
_SHORT: Final = 200
_FEW_COMMAS: Final = 3
"""What is longer or has more parts is not remembered: memory stays small whatever is asked."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX: Final = re.compile(
    r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
)
_TOKEN: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SPACE: Final = " \t\r\n"
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")


class SelectorError(ValueError):
    """Not a label selector; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label.

    Attributes:
        key: The label's name.
        operator: in, notin, exists, absent, gt or lt; `=` and `!=` are in and notin.
        values: What is compared with.
    """

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it. A label that is not there meets notin and absent."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        number, (limit,) = _whole(value), self.values
        if number is None:
            return False
        return number > int(limit) if self.operator == "gt" else number < int(limit)


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all be met; none selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet every requirement."""
        for one in self.requirements:  # noqa: SIM110  # half the time of all()
            if not one.matches(labels):
                return False
        return True


EVERYTHING: Final = Selector()


def parse(text: str) -> Selector:
    """Read a selector.

    Raises:
        SelectorError: It is none, or it is larger than anybody needs.
    """
    if len(text) <= _SHORT and text.count(",") <= _FEW_COMMAS:
        return _remembered(text)
    return _parsed(text)


def _parsed(text: str) -> Selector:
    if len(text) > LONGEST:
        raise SelectorError(f"a selector should have at most {LONGEST} characters, not {len(text)}")
    return Selector(_Reader(text).requirements())


_remembered = lru_cache(maxsize=16384)(_parsed)
"""One for each workload is asked with again and again."""


class _Reader:
    """Reads one selector, token by token."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def requirements(self) -> tuple[Requirement, ...]:
        if not self._tokens:
            return ()
        found = [self._requirement()]
        while self._peek() == ",":
            self._next()
            if len(found) == MOST_REQUIREMENTS:
                raise SelectorError(f"a selector should have at most {MOST_REQUIREMENTS} parts")
            found.append(self._requirement())
        if self._peek():
            raise SelectorError(f"found {self._peek()!r}, expected ',' or the end")
        return tuple(sorted(found, key=lambda one: one.key))

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = _checked_key(self._next())
        if absent or self._peek() in ("", ","):
            return Requirement(key, "absent" if absent else "exists")
        operator = self._next()
        match operator:
            case "=" | "==":
                return Requirement(key, "in", frozenset({self._exact()}))
            case "!=":
                return Requirement(key, "notin", frozenset({self._exact()}))
            case "in" | "notin":
                return Requirement(key, operator, self._set())
            case ">" | "<":
                return Requirement(key, "gt" if operator == ">" else "lt", self._number(key))
            case _:
                raise SelectorError(
                    f"found {operator!r}, expected one of: in, notin, =, ==, !=, >, <"
                )

    def _exact(self) -> str:
        """A value; nothing at all is the empty one."""
        return "" if self._peek() in ("", ",") else _checked_value(self._next())

    def _number(self, key: str) -> frozenset[str]:
        limit = self._exact()
        if _whole(limit) is None:
            raise SelectorError(f"{key}: should be compared with a whole number, not {limit!r}")
        return frozenset({limit})

    def _set(self) -> frozenset[str]:
        """Values in parentheses; a place left empty is the empty value."""
        if self._next() != "(":
            raise SelectorError("in and notin should be followed by values in parentheses")
        values = set()
        value = ""
        while (piece := self._next()) not in ("", ")"):
            if piece == ",":
                values.add(value)
                value = ""
            elif value:
                raise SelectorError(f"found {piece!r}, expected ',' or ')'")
            else:
                value = _checked_value(piece)
        if piece != ")":
            raise SelectorError("values should end with ')'")
        values.add(value)
        return frozenset(values)


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip(_SPACE)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:  # pragma: no cover - every character is in one class or the other
            raise SelectorError(f"cannot read {text[at:]!r}")
        found.append(match[1])
        at = match.end()
    return found


def _checked_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    sound = _NAME.fullmatch(name) is not None
    if slash:
        sound = sound and len(prefix) <= 253 and _PREFIX.fullmatch(prefix) is not None
    if not sound:
        raise SelectorError(f"{key!r} is not the name of a label")
    return key


def _checked_value(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise SelectorError(f"{value!r} is not the value of a label")
    return value


def _whole(text: str) -> int | None:
    """Read a 64-bit integer as Go's ParseInt does; None where it is none."""
    if _WHOLE.fullmatch(text) is None:
        return None
    number = int(text)
    return number if INT64_MIN <= number <= INT64_MAX else None
