"""YAML text to nodes: the safe part of YAML, bounded, with the place of everything.

The C parser of PyYAML delivers events; nothing is constructed from tags. Aliases are refused, so
that no file can grow while it is read, and every value stands where an error points to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from autoscaler.config.nodes import Entry, List, Mapping, Mark, Node, Path, Scalar, Value, clean
from autoscaler.config.problems import Problem
from autoscaler.config.scalars import AmbiguousError, read_plain

DEEPEST = 64
MOST_NODES = 200_000

_PLAIN_SENTENCES = {
    "mapping values are not allowed in this context": (
        "a second colon: indent what belongs to the key, or put a value that holds ': ' in quotes"
    ),
    "found unexpected ':'": "put a space after the colon, or the value in quotes",
    "did not find expected key": "this line fits to nothing above it: check its indentation",
    "did not find expected '-' indicator": (
        "this line fits to nothing above it: check its indentation"
    ),
}
_SENTENCES = {
    ("while scanning a quoted scalar", "found unexpected end of stream"): (
        "the quote that opens here is never closed"
    ),
    ("while scanning a quoted scalar", "found unexpected document indicator"): (
        "the quote that opens here is never closed"
    ),
    ("while parsing a flow mapping", "did not find expected ',' or '}'"): (
        "the { that opens here is never closed, or a comma is missing in it"
    ),
    ("while parsing a flow sequence", "did not find expected ',' or ']'"): (
        "the [ that opens here is never closed, or a comma is missing in it"
    ),
}


class _Place(Protocol):
    """A mark of either parser; counts from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class UnreadableError(Exception):
    """The text cannot be read any further."""

    def __init__(self, text: str, mark: Mark) -> None:
        super().__init__(text)
        self.text = text
        self.mark = mark


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open."""

    node: Mapping | List
    path: Path
    key: str | None = None
    key_mark: Mark = field(default=Mark(1, 1))
    skips_value: bool = False
    bad: bool = False

    @property
    def wants_key(self) -> bool:
        return isinstance(self.node, Mapping) and self.key is None

    @property
    def inner_path(self) -> Path:
        """The path of what comes next."""
        if isinstance(self.node, List):
            return (*self.path, len(self.node.items))
        return (*self.path, self.key) if self.key is not None else self.path


def read_yaml(file: str, text: str, problems: list[Problem]) -> Iterator[Node]:
    """Yield the documents of a text; an empty one is a null scalar.

    What can be passed over is noted in `problems`, and reading goes on.

    Raises:
        UnreadableError: The text is not YAML from here on, or too deep, or too much.
    """
    composer = _Composer(file, problems)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentEndEvent):
                yield composer.take()
            else:
                composer.add(event)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, text) from error
    except yaml.YAMLError as error:
        first_line = str(error).partition("\n")[0]
        raise UnreadableError(f"not YAML: {clean(first_line, 200)}", Mark(1, 1)) from error


class _Composer:
    """Builds the nodes of one document at a time from parser events."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._open: list[_Frame] = []
        self._root: Node | None = None
        self._started = Mark(1, 1)
        self._nodes = 0

    def take(self) -> Node:
        """Return the finished document and forget it."""
        root, self._root = self._root, None
        if root is None or (isinstance(root, Scalar) and root.value is None and not root.text):
            return Scalar(self._started, None, "")
        return root

    def add(self, event: yaml.Event) -> None:
        """Take the next event."""
        mark = _mark(event.start_mark)
        match event:
            case yaml.ScalarEvent():
                self._count(mark)
                self._scalar(event, mark)
            case yaml.AliasEvent():
                self._count(mark)
                self._alias(event, mark)
            case yaml.MappingStartEvent():
                self._count(mark)
                self._begin(event, Mapping(mark))
            case yaml.SequenceStartEvent():
                self._count(mark)
                self._begin(event, List(mark))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                frame = self._open.pop()
                refused = Scalar(frame.node.mark, None, "", bad=True)
                self._place(refused if frame.bad else frame.node)
            case yaml.DocumentStartEvent():
                self._started = mark
            case _:
                return

    def _count(self, mark: Mark) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise UnreadableError(
                f"a file should hold at most {MOST_NODES} keys and values: split it", mark
            )

    def _begin(self, event: yaml.CollectionStartEvent, node: Mapping | List) -> None:
        path = self._open[-1].inner_path if self._open else ()
        bad = self._refuse_tag(event.tag, node.mark, path)
        if len(self._open) >= DEEPEST:
            raise UnreadableError(f"nested more than {DEEPEST} levels deep", node.mark)
        self._open.append(_Frame(node, path, bad=bad))

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> None:
        path = self._open[-1].inner_path if self._open else ()
        text, bad = event.value, self._refuse_tag(event.tag, mark, path)
        value: Value = text
        if not event.style and not bad:
            if self._open and self._open[-1].wants_key and text == "<<":
                self._note("merge keys (<<) are not read here: write the fields out", mark, path)
                bad = True
            else:
                try:
                    value = read_plain(text)
                except AmbiguousError as problem:
                    is_key = bool(self._open) and self._open[-1].wants_key
                    self._note(_not_text(text) if is_key else str(problem), mark, path)
                    bad = True
        self._place(Scalar(mark, value, text, bad))

    def _alias(self, event: yaml.AliasEvent, mark: Mark) -> None:
        path = self._open[-1].inner_path if self._open else ()
        name = clean(event.anchor or "")
        self._note(f"aliases (*{name}) are not read here: write the value out", mark, path)
        self._place(Scalar(mark, None, f"*{event.anchor}", bad=True))

    def _refuse_tag(self, tag: str | None, mark: Mark, path: Path) -> bool:
        if tag is None:
            return False
        written = clean(tag.replace("tag:yaml.org,2002:", "!!"))
        self._note(f"tags ({written}) are not read here: remove it", mark, path)
        return True

    def _note(self, text: str, mark: Mark, path: Path) -> None:
        self._problems.append(Problem(self._file, text, mark, path))

    def _place(self, node: Node) -> None:
        """Put a finished node where it belongs."""
        if not self._open:
            self._root = node
            return
        frame = self._open[-1]
        if isinstance(frame.node, List):
            frame.node.items.append(node)
        elif frame.key is None:
            self._take_key(frame, node)
        else:
            if not frame.skips_value:
                frame.node.entries[frame.key] = Entry(frame.key_mark, node)
            frame.key, frame.skips_value = None, False

    def _take_key(self, frame: _Frame, node: Node) -> None:
        frame.key_mark = node.mark
        if not isinstance(node, Scalar):
            self._note("a key should be text, not a list or a mapping", node.mark, frame.path)
            frame.key, frame.skips_value = "?", True
            return
        frame.key = node.text
        if node.bad:
            frame.skips_value = True
        elif not isinstance(node.value, str):
            self._note(_not_text(node.text), node.mark, frame.path)
            frame.skips_value = True
        elif isinstance(frame.node, Mapping) and node.text in frame.node.entries:
            first = frame.node.entries[node.text].mark.line
            self._note(
                f"this key is here twice; first in line {first}",
                node.mark,
                (*frame.path, node.text),
            )
            frame.skips_value = True


def _not_text(key: str) -> str:
    name = clean(key)
    return f'a key should be text, not {name or "nothing"}: write "{name}"'


def _mark(mark: _Place | None) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark(1, 1)


def _unreadable(error: yaml.MarkedYAMLError, text: str) -> UnreadableError:
    context, problem = error.context or "", error.problem or "not YAML"
    at, opened = error.problem_mark, error.context_mark
    mark = _mark(at)
    if (context, problem) in _SENTENCES and opened is not None:
        return UnreadableError(_SENTENCES[context, problem], _mark(opened))
    if problem in _PLAIN_SENTENCES:
        return UnreadableError(_PLAIN_SENTENCES[problem], mark)
    if problem == "found character that cannot start any token":
        letter = _letter_at(text, mark)
        if letter == "\t":
            return UnreadableError("indent with spaces: YAML allows no tab here", mark)
        return UnreadableError(f"quote the value: {letter!r} cannot start an unquoted one", mark)
    sentence = f"{problem}, {context}" if context else problem
    return UnreadableError(f"not YAML: {clean(sentence, 200)}", mark)


def _letter_at(text: str, mark: Mark) -> str:
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    return line[mark.column - 1 : mark.column] or "?"
