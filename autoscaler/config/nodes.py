"""What a policy file holds, with the place of everything: scalars, mappings and lists."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Value = None | bool | int | float | str
Path = tuple[str | int, ...]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value.

    Attributes:
        mark: Where it starts.
        value: What it means; whole numbers are int however they are written.
        text: How it is written, without quotes.
        bad: A problem was already reported here; nothing more should be said of it.
    """

    mark: Mark
    value: Value
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, with its value."""

    mark: Mark
    node: "Node"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Entries by key, in file order."""

    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class List:
    """Items in file order."""

    mark: Mark
    items: list["Node"] = field(default_factory=list)


Node = Scalar | Mapping | List


def plain(node: Node) -> object:
    """Return the node as dicts, lists and values."""
    match node:
        case Scalar():
            return node.value
        case Mapping():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case List():
            return [plain(item) for item in node.items]


def find(root: Node, loc: Sequence[str | int]) -> tuple[Path, Mark, Node]:
    """Return the deepest node on the way `loc`: its path, where it starts, and itself.

    Parts of `loc` that name nothing in the file are skipped: they are names of alternatives,
    or of fields that are missing. The mark of a mapping's entry is that of its key.
    """
    path: list[str | int] = []
    mark, node = root.mark, root
    for part in loc:
        if isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
            entry = node.entries[part]
            mark, node = entry.mark, entry.node
        elif isinstance(node, List) and isinstance(part, int) and 0 <= part < len(node.items):
            node = node.items[part]
            mark = node.mark
        else:
            continue
        path.append(part)
    return tuple(path), mark, node


def get(root: Node, *path: str) -> Node | None:
    """Return the node at exactly this path of keys, if it is there."""
    node: Node = root
    for key in path:
        if not isinstance(node, Mapping) or key not in node.entries:
            return None
        node = node.entries[key].node
    return node


def leaves(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Yield every scalar under a node with its path from there, in file order."""
    match node:
        case Scalar():
            yield path, node
        case Mapping():
            for key, entry in node.entries.items():
                yield from leaves(entry.node, (*path, key))
        case List():
            for index, item in enumerate(node.items):
                yield from leaves(item, (*path, index))


def dotted(path: Path) -> str:
    """Write a path as a person reads it: spec.policies[1].signal."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f'["{clean(part)}"]'
    return text


def clean(text: str, longest: int = _LONGEST_SHOWN) -> str:
    """Return text that fits in one line of a message: shortened, control characters escaped."""
    if len(text) > longest:
        text = text[:longest] + "..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def shown(node: Node) -> str:
    """Write a node's value for a message: numbers as they stand, text in quotes."""
    match node:
        case Scalar(value=str()):
            return f"'{clean(node.text)}'"
        case Scalar(value=None):
            return "null"
        case Scalar():
            return clean(node.text)
        case Mapping():
            return "a mapping"
        case List():
            return "a list"
