"""Reads what the tests of the documents need from a Markdown file: links, anchors, consoles."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
HEADING = re.compile(r"^ {0,3}#{1,6} +(?P<title>.+?)(?: +#+)?$")
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)(?: +\"[^\"]*\")?\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]: +(?P<target>\S+)")
HTML_TARGET = re.compile(r"<(?:a|img)\b[^>]*\b(?:href|src)=\"(?P<target>[^\"]+)\"")
HTML_ANCHOR = re.compile(r"<a\b[^>]*\b(?:id|name)=\"(?P<name>[^\"]+)\"")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the words after the fence, its lines, and the line of its first line."""

    words: tuple[str, ...]
    lines: tuple[str, ...]
    first_line: int


@dataclass(frozen=True, slots=True)
class Document:
    """A Markdown text split into fenced blocks and the numbered lines outside of them."""

    blocks: tuple[Block, ...]
    prose: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block, where it stands, and the exit code that its block promises."""

    line: int
    text: str
    exits: int


def read(text: str) -> Document:
    """Split a Markdown text; a fence that is never closed runs to the end."""
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        opening = FENCE.match(line)
        if opening is None:
            prose.append((number, line))
            continue
        inside: list[str] = []
        for _, inner in lines:
            closing = FENCE.match(inner)
            if closing and closing["fence"].startswith(opening["fence"]) and not closing["info"]:
                break
            inside.append(inner)
        blocks.append(Block(tuple(opening["info"].split()), tuple(inside), number + 1))
    return Document(tuple(blocks), tuple(prose))


def links(document: Document) -> Iterator[tuple[int, str]]:
    """Yield line and target of every link and picture outside of code."""
    for number, line in document.prose:
        plain = re.sub(r"`[^`]*`", "", line)
        for pattern in (LINK, REFERENCE, HTML_TARGET):
            for found in pattern.finditer(plain):
                yield number, found["target"]


def anchors(document: Document) -> set[str]:
    """Return the names that a link may point to, formed as GitHub forms them."""
    names: set[str] = set()
    for _, line in document.prose:
        names.update(found["name"] for found in HTML_ANCHOR.finditer(line))
        if heading := HEADING.match(line):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading["title"])
            slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
            candidates = (slug if n == 0 else f"{slug}-{n}" for n in count())
            names.add(next(name for name in candidates if name not in names))
    return names


def commands(document: Document) -> Iterator[Command]:
    """Yield the commands of the `console` blocks: lines after `$ `, joined at a closing backslash.

    ` ```console no-run ` yields nothing; ` ```console exits-2 ` promises exit code 2 of its last
    command and 0 of the others.
    """
    for block in document.blocks:
        if block.words[:1] != ("console",) or "no-run" in block.words:
            continue
        found: list[tuple[int, str]] = []
        lines = enumerate(block.lines, start=block.first_line)
        for number, line in lines:
            if line.startswith("$ "):
                text = line.removeprefix("$ ")
                while text.endswith("\\"):
                    text = text[:-1] + next(lines)[1].strip()
                found.append((number, text))
        codes = [word for word in block.words if word.startswith("exits-")]
        last = int(codes[0].removeprefix("exits-")) if codes else 0
        for index, (number, text) in enumerate(found):
            yield Command(number, text, last if index == len(found) - 1 else 0)
