"""A PromQL template as Prometheus would read it, without Prometheus.

What is refused here is certainly wrong. What a parser of another version might not know (a
function of a newer Prometheus) is its business, and Prometheus stays the judge.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from autoscaler.config.query import Kind, filled, pieces

if TYPE_CHECKING:  # 2 ms and 5 MB: only where a query is read
    import promql_parser as promql

_SAMPLE_MATCH: Final = 'namespace="x"'
_SAMPLE_LABELS: Final = "namespace"
_SAMPLE_RANGE_SECONDS: Final = 60
_COUNTING: Final = frozenset({"rate", "increase"})
_QUANTILES: Final = frozenset({"histogram_quantile", "quantile_over_time"})


def parse(query: str) -> "promql.Expr":
    """Return the syntax tree of a query whose placeholders are filled in.

    Raises:
        ValueError: It is no PromQL; the message says why.
    """
    import promql_parser

    # The parser takes a backslash before a backquote for an escape; Prometheus does not.
    plain = "".join(
        _double_quoted(piece.text[1:-1])
        if piece.kind is Kind.TEXT and piece.text[0] == "`"
        else piece.text
        for piece in pieces(query)
    )
    return promql_parser.parse(plain)


def nodes(tree: "promql.Expr") -> "tuple[promql.Expr, ...]":
    """Return a tree's nodes, a parent before its children."""
    import promql_parser

    found: list[promql_parser.Expr] = []
    promql_parser.walk(tree, found.append)
    return tuple(found)


def promql_faults(query: str, step_seconds: float | None = None) -> Iterator[str]:
    """Yield what is wrong with a template whose placeholders and brackets are in order.

    Args:
        query: The template.
        step_seconds: The signal's step, to judge ranges by; None where it is not known.
    """
    range_seconds = max(_SAMPLE_RANGE_SECONDS, int(step_seconds or 0))
    sample = filled(query, match=_SAMPLE_MATCH, labels=_SAMPLE_LABELS, window=f"{range_seconds}s")
    try:
        tree = parse(sample)
    except ValueError as error:
        text = " ".join(str(error).split())
        if not (text.startswith("illegal regex") and r"\Q" in text):  # fine for Prometheus' RE2
            yield f"should be PromQL: {text}"
        return
    yield from _wrong_type(tree)
    for node in nodes(tree):
        yield from _wrong_node(node, step_seconds)


def _wrong_type(tree: "promql.Expr") -> Iterator[str]:
    import promql_parser as promql

    while isinstance(tree, promql.ParenExpr):
        tree = tree.expr
    if isinstance(tree, promql.MatrixSelector | promql.SubqueryExpr):
        yield "should answer one value at each time, not a range; put it into a function: rate(...)"
    if isinstance(tree, promql.StringLiteral):
        yield f"should answer a number, not the text {tree.val[:60]!r}"


def _wrong_node(node: "promql.Expr", step_seconds: float | None) -> Iterator[str]:
    import promql_parser as promql

    if isinstance(node, promql.VectorSelector) and node.matchers.or_matchers:
        yield "should have no 'or' within braces: no released Prometheus knows it; join with ' or '"
    if isinstance(node, promql.Call):
        name = node.func.name
        if name in _QUANTILES:
            yield from _wrong_quantile(name, node.args[0])
        if name == "histogram_quantile" and _loses_le(node.args[1]):
            yield (
                "histogram_quantile needs the label le of every bucket: "
                "write sum by ($labels, le) (...)"
            )
        if name in _COUNTING and step_seconds is not None:
            yield from _too_short(name, node.args[0], step_seconds)
    if isinstance(node, promql.AggregateExpr) and str(node.op) == "quantile":
        yield from _wrong_quantile("quantile", node.param)


def _wrong_quantile(function: str, given: object) -> Iterator[str]:
    import promql_parser as promql

    sign = 1.0
    while isinstance(given, promql.UnaryExpr | promql.ParenExpr):
        sign = -sign if isinstance(given, promql.UnaryExpr) else sign
        given = given.expr
    if isinstance(given, promql.NumberLiteral) and not 0 <= sign * given.val <= 1:
        yield f"{function} should be asked for a share from 0 to 1, not {sign * given.val:g}"


def _too_short(function: str, given: object, step_seconds: float) -> Iterator[str]:
    """Yield a range that leaves a part of every step unseen."""
    import promql_parser as promql

    if isinstance(given, promql.MatrixSelector):
        seconds = given.range.total_seconds()
        if seconds < step_seconds:
            yield (
                f"{function} should look back at least one step ({step_seconds:g} s), or it never "
                f"sees what lies between; not {seconds:g} s; write [$window]"
            )


def _loses_le(histogram: "promql.Expr") -> bool:
    """Whether an aggregation of classic buckets drops their bounds."""
    import promql_parser as promql

    while isinstance(histogram, promql.ParenExpr):
        histogram = histogram.expr
    if not isinstance(histogram, promql.AggregateExpr):
        return False
    selectors = [one for one in nodes(histogram) if isinstance(one, promql.VectorSelector)]
    if not selectors or not all((one.name or "").endswith("_bucket") for one in selectors):
        return False
    if histogram.modifier is None:
        return True
    by: bool = histogram.modifier.type == promql.AggModifierType.By
    return ("le" in histogram.modifier.labels) != by


def _double_quoted(text: str) -> str:
    escaped = re.sub(r'["\\]', r"\\\g<0>", text).replace("\n", "\\n")
    return f'"{escaped}"'
