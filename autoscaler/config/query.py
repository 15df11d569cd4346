"""A PromQL template as text: placeholders, brackets, quotes; and how it is filled in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

PLACEHOLDERS: Final = ("$match", "$labels", "$window")

_OTHER_WORDS: Final = {
    "$sel": "$match", "$selector": "$match", "$matchers": "$match", "$labelmatchers": "$match",
    "$label": "$labels", "$by": "$labels", "$groupby": "$labels",
    "$w": "$window", "$range": "$window", "$interval": "$window", "$rate_interval": "$window",
    "$__rate_interval": "$window", "$__interval": "$window", "$__range": "$window",
}  # fmt: skip
_WORD: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_LIST: Final = re.compile(r"\$(match|labels)(?![A-Za-z0-9_])(\s*,\s*)?")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
_STANDS_IN: Final = {"$match": ("{", "braces: metric{$match}"), "$labels": ("(", "by ($labels)")}


class Kind(Enum):
    """What a piece of a query is."""

    CODE = "code"
    TEXT = "text"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a query: code, one quoted text with its quotes, or a comment.

    Attributes:
        kind: Which of them.
        text: As written.
        start: Where it begins, in characters.
        closed: False for a quoted text without its closing quote.
    """

    kind: Kind
    text: str
    start: int
    closed: bool = True


@lru_cache(maxsize=4096)  # thousands of files share a handful of templates
def query_faults(query: str, step_seconds: float | None = None) -> tuple[str, ...]:
    """Return what is wrong with a template, each in one sentence.

    Args:
        query: The template.
        step_seconds: The signal's step, to judge ranges by; None where it is not known.
    """
    faults = [*_unknown_placeholders(query)]
    unbalanced = _unbalanced(query)
    faults += [unbalanced] if unbalanced else [*_misplaced(query)]
    if not faults:
        from autoscaler.config.promql import promql_faults

        faults += promql_faults(query, step_seconds)
    return tuple(faults)


def placeholders_in(query: str) -> frozenset[str]:
    """Return the known placeholders that a template uses."""
    return frozenset(found.group() for found in _WORD.finditer(query)) & set(PLACEHOLDERS)


def filled(query: str, *, match: str, labels: str, window: str) -> str:
    """Return a template with its placeholders filled in; quoted texts stay as they are.

    Args:
        query: The template.
        match: Matchers, such as `namespace="llm"`; may be empty.
        labels: Label names, such as `model_name, namespace`; may be empty.
        window: A range, such as `61s`.
    """
    values = {"match": match, "labels": labels}

    def listed(found: re.Match[str]) -> str:
        value = values[found[1]]
        return value + (found[2] or "") if value else ""  # no comma is left where nothing stands

    return "".join(
        _LIST.sub(listed, piece.text).replace("$window", window)
        if piece.kind is Kind.CODE
        else piece.text
        for piece in pieces(query)
    )


def pieces(query: str) -> Iterator[Piece]:
    """Yield a query as code, quoted texts and comments; together they are the query."""
    at = start = 0
    while at < len(query):
        if query[at] not in "\"'`#":
            at += 1
            continue
        if at > start:
            yield Piece(Kind.CODE, query[start:at], start)
        if query[at] == "#":
            end = query.find("\n", at)
            end = len(query) if end < 0 else end
            yield Piece(Kind.COMMENT, query[at:end], at)
        else:
            close = _end_of_string(query, at)
            end = len(query) if close is None else close + 1
            yield Piece(Kind.TEXT, query[at:end], at, close is not None)
        at = start = end
    if at > start:
        yield Piece(Kind.CODE, query[start:at], start)


def _unknown_placeholders(query: str) -> Iterator[str]:
    known = ", ".join(PLACEHOLDERS)
    for found in dict.fromkeys(match.group() for match in _WORD.finditer(query)):
        if found in PLACEHOLDERS:
            continue
        bare = "$" + found.strip("${}")
        meant = bare if bare in PLACEHOLDERS else _OTHER_WORDS.get(bare.lower())
        hint = f"; write {meant}" if meant else ""
        yield f"placeholders should be {known}, not {found[:60]}{hint}"


def _misplaced(query: str) -> Iterator[str]:
    """Yield placeholders where nothing, or the wrong thing, would be filled in."""
    opened: list[str] = []
    for piece in pieces(query):
        if piece.kind is Kind.TEXT:
            for word in sorted(placeholders_in(piece.text)):
                yield f"{word} stands in a quoted text, where nothing is filled in: {piece.text}"
        elif piece.kind is Kind.CODE:
            for found in re.finditer(r"[(\[{]|[)\]}]|\$[a-z]+", piece.text):
                word = found.group()
                if word in _PAIRS.values():
                    opened.append(word)
                elif word in _PAIRS:
                    opened.pop()
                elif word in _STANDS_IN and opened[-1:] != [_STANDS_IN[word][0]]:
                    place = _STANDS_IN[word][1]
                    yield (
                        f"{word} should stand in {place}, "
                        f"not at character {piece.start + found.start() + 1}"
                    )


def _unbalanced(query: str) -> str | None:
    opened: list[tuple[str, int]] = []
    for piece in pieces(query):
        if not piece.closed:
            return f"the quote {piece.text[0]} at character {piece.start + 1} is never closed"
        for at, letter in enumerate(piece.text if piece.kind is Kind.CODE else "", piece.start):
            if letter in "([{":
                opened.append((letter, at))
            elif letter in _PAIRS:
                if not opened or opened[-1][0] != _PAIRS[letter]:
                    return f"the {letter} at character {at + 1} closes nothing"
                opened.pop()
    if opened:
        letter, at = opened[-1]
        return f"the {letter} at character {at + 1} is never closed"
    return None


def _end_of_string(query: str, start: int) -> int | None:
    """Return where the quoted string that starts here ends; backquotes know no escapes."""
    quote, at = query[start], start + 1
    while at < len(query):
        if query[at] == "\\" and quote != "`":
            at += 1
        elif query[at] == quote:
            return at
        at += 1
    return None
