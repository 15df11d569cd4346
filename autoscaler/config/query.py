"""Checks of a PromQL template that need no PromQL parser: placeholders, brackets, quotes."""

import re
from collections.abc import Iterator
from typing import Final

PLACEHOLDERS: Final = ("$match", "$labels", "$window")

_OTHER_WORDS: Final = {
    "$sel": "$match", "$selector": "$match", "$matchers": "$match", "$labelmatchers": "$match",
    "$label": "$labels", "$by": "$labels", "$groupby": "$labels",
    "$w": "$window", "$range": "$window", "$interval": "$window", "$rate_interval": "$window",
    "$__rate_interval": "$window", "$__interval": "$window", "$__range": "$window",
}  # fmt: skip
_WORD: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}


def query_faults(query: str) -> Iterator[str]:
    """Yield what is wrong with a template, each in one sentence."""
    yield from _unknown_placeholders(query)
    fault = _unbalanced(query)
    if fault:
        yield fault


def placeholders_in(query: str) -> frozenset[str]:
    """Return the known placeholders that a template uses."""
    return frozenset(found.group() for found in _WORD.finditer(query)) & set(PLACEHOLDERS)


def _unknown_placeholders(query: str) -> Iterator[str]:
    known = ", ".join(PLACEHOLDERS)
    for found in dict.fromkeys(match.group() for match in _WORD.finditer(query)):
        if found in PLACEHOLDERS:
            continue
        bare = "$" + found.strip("${}")
        meant = bare if bare in PLACEHOLDERS else _OTHER_WORDS.get(bare.lower())
        hint = f"; write {meant}" if meant else ""
        yield f"placeholders should be {known}, not {found[:60]}{hint}"


def _unbalanced(query: str) -> str | None:
    opened: list[tuple[str, int]] = []
    at = 0
    while at < len(query):
        letter = query[at]
        if letter in "\"'`":
            end = _end_of_string(query, at)
            if end is None:
                return f"the quote {letter} at character {at + 1} is never closed"
            at = end
        elif letter == "#":
            end = query.find("\n", at)
            at = len(query) if end < 0 else end
        elif letter in "([{":
            opened.append((letter, at))
        elif letter in _PAIRS:
            if not opened or opened[-1][0] != _PAIRS[letter]:
                return f"the {letter} at character {at + 1} closes nothing"
            opened.pop()
        at += 1
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
