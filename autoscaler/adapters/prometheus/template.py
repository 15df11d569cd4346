"""What is filled into a PromQL template: matchers over many workloads, escaped; ranges."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from autoscaler.config.query import filled

_META: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")
_SHORT: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED: Final = re.compile(r'[\\"\x00-\x1f\x7f]')


def quoted(text: str) -> str:
    r"""Return a PromQL string for any text: quotes, backslashes and control characters escaped."""
    return '"' + _ESCAPED.sub(lambda it: _SHORT.get(it[0]) or f"\\x{ord(it[0]):02x}", text) + '"'


def literal(text: str) -> str:
    """Return a regular expression (RE2) that matches exactly this text.

    Only the characters that Prometheus 2 counts as special are escaped: it then looks an
    alternation of literals up in its index, instead of trying the expression on every value.
    """
    return _META.sub(r"\\\g<0>", text)


def matcher(label: str, values: Collection[str]) -> str:
    """Return the matcher of one label: `=` for one value, `=~` for several, sorted.

    An empty value also matches series without the label, as everywhere in PromQL.
    """
    if len(values) == 1:
        return f"{label}={quoted(next(iter(values)))}"
    return f"{label}=~{quoted('|'.join(literal(value) for value in sorted(values)))}"


def matchers(values: Mapping[str, Collection[str]]) -> str:
    """Return what `$match` stands for: one matcher for each label, in order of their names."""
    return ",".join(matcher(label, values[label]) for label in sorted(values))


def fill(template: str, match: str, labels: Sequence[str], range_seconds: int) -> str:
    """Return a template with `$match`, `$labels` and `$window` filled in."""
    return filled(template, match=match, labels=", ".join(labels), window=f"{range_seconds}s")


def range_seconds(step_seconds: float, scrape_seconds: float) -> int:
    """Return the range that `$window` stands for, in seconds.

    At least a step, so that nothing between two steps stays unseen, and at least four scrapes, so
    that one that failed leaves enough samples. A multiple of the scrape interval gets one second
    more: Prometheus 2 counts a sample at the very start of a range and Prometheus 3 does not.
    """
    seconds = math.ceil(max(step_seconds, 4 * scrape_seconds))
    return seconds + 1 if math.isclose(seconds % scrape_seconds, 0.0, abs_tol=1e-9) else seconds
