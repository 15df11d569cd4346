"""JSON text to nodes, strictly after RFC 8259, with the place of everything."""

import json
import re
from collections.abc import Callable
from json import decoder

from autoscaler.config.nodes import Entry, List, Mapping, Mark, Node, Path, Scalar
from autoscaler.config.problems import Problem
from autoscaler.config.scalars import AmbiguousError, read_plain
from autoscaler.config.yaml_source import DEEPEST, UnreadableError

# The standard library's own reader of a JSON string: text and place of the opening quote plus
# one to the string and the place after its closing quote. Not in its public list, but stable.
_scan_string: Callable[[str, int], tuple[str, int]] = vars(decoder)["scanstring"]
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9_.+-]+")
_WORDS = {"null": None, "true": True, "false": False}


def read_json(file: str, text: str, problems: list[Problem]) -> Node:
    """Return the one value of a text; duplicate keys and wild numbers go to `problems`.

    Raises:
        UnreadableError: The text is not JSON, or too deep.
    """
    reader = _Reader(file, text, problems)
    root = reader.value((), 0)
    reader.end()
    return root


class _Reader:
    """Walks over the text once."""

    def __init__(self, file: str, text: str, problems: list[Problem]) -> None:
        self._file = file
        self._text = text
        self._problems = problems
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._counted_to = 0

    def end(self) -> None:
        """Refuse anything but space after the value."""
        if self._peek():
            raise UnreadableError("nothing should follow the closing brace", self._mark())

    def value(self, path: Path, depth: int) -> Node:
        """Read the next value."""
        letter, mark = self._peek(), self._mark()
        if depth > DEEPEST:
            raise UnreadableError(f"nested more than {DEEPEST} levels deep", mark)
        if letter == "{":
            return self._mapping(Mapping(mark), path, depth)
        if letter == "[":
            return self._list(List(mark), path, depth)
        if letter == '"':
            text = self._string()
            return Scalar(mark, text, text)
        return self._bare(path, mark)

    def _mapping(self, node: Mapping, path: Path, depth: int) -> Node:
        self._at += 1
        if self._closes("}", node):
            return node
        while True:
            letter, mark = self._peek(), self._mark()
            if letter != '"':
                raise UnreadableError(
                    f"a key in double quotes should stand here{_not(letter)}", mark
                )
            key = self._string()
            if self._peek() != ":":
                raise UnreadableError("a colon should follow the key", self._mark())
            self._at += 1
            inner = (*path, key)
            value = self.value(inner, depth + 1)
            if key in node.entries:
                first = node.entries[key].mark.line
                text = f"this key is here twice; first in line {first}"
                self._problems.append(Problem(self._file, text, mark, inner))
            else:
                node.entries[key] = Entry(mark, value)
            if self._ends("}", node):
                return node

    def _list(self, node: List, path: Path, depth: int) -> Node:
        self._at += 1
        if self._closes("]", node):
            return node
        while True:
            node.items.append(self.value((*path, len(node.items)), depth + 1))
            if self._ends("]", node):
                return node

    def _closes(self, bracket: str, node: Mapping | List) -> bool:
        """Whether the collection that has just been opened is empty."""
        letter = self._peek()
        if not letter:
            raise self._never_closed(bracket, node)
        if letter == bracket:
            self._at += 1
            return True
        return False

    def _ends(self, bracket: str, node: Mapping | List) -> bool:
        """Whether the collection ends after a value; otherwise another value must follow."""
        letter = self._peek()
        if letter == bracket:
            self._at += 1
            return True
        if letter != ",":
            if not letter:
                raise self._never_closed(bracket, node)
            raise UnreadableError(
                f"a comma or {bracket} should stand here{_not(letter)}", self._mark()
            )
        comma = self._mark()
        self._at += 1
        if self._peek() == bracket:
            raise UnreadableError(f"JSON allows no comma before {bracket}: remove it", comma)
        return False

    def _never_closed(self, bracket: str, node: Mapping | List) -> UnreadableError:
        opening = "{" if bracket == "}" else "["
        return UnreadableError(f"the {opening} that opens here is never closed", node.mark)

    def _string(self) -> str:
        mark = self._mark()
        try:
            text, self._at = _scan_string(self._text, self._at + 1)
            text.encode("utf-8")
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated"):
                raise UnreadableError("the quote that opens here is never closed", mark) from error
            if error.msg.startswith("Invalid control"):
                text = "the quote that opens here is not closed in its line"
                raise UnreadableError(text, mark) from error
            raise UnreadableError(f"not JSON: {error.msg.lower()}", mark) from error
        except UnicodeEncodeError as error:
            raise UnreadableError("half of a surrogate pair is not text", mark) from error
        return text

    def _bare(self, path: Path, mark: Mark) -> Scalar:
        word = _WORD.match(self._text, self._at)
        text = word.group() if word else self._peek()
        if text in _WORDS:
            self._at += len(text)
            return Scalar(mark, _WORDS[text], text)
        if not _NUMBER.fullmatch(text):
            raise UnreadableError(f"a JSON value should stand here{_not(text)}", mark)
        self._at += len(text)
        try:
            return Scalar(mark, read_plain(text), text)
        except AmbiguousError as problem:
            self._problems.append(Problem(self._file, str(problem), mark, path))
            return Scalar(mark, None, text, bad=True)

    def _peek(self) -> str:
        """Pass over space and return the next character; empty at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _mark(self) -> Mark:
        """Return the present place; lines are counted once, as we pass."""
        passed = self._text.count("\n", self._counted_to, self._at)
        if passed:
            self._line += passed
            self._line_start = self._text.rfind("\n", 0, self._at) + 1
        self._counted_to = self._at
        return Mark(self._line, self._at - self._line_start + 1)


def _not(found: str) -> str:
    return f", not {found[:20]!r}" if found else ", not the end of the file"
