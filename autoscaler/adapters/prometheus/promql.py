"""What a template says of its own query: which series, how dear, and whether it can be shared.

A query can be shared by many workloads if its answer, asked over the union of their matchers and
picked apart by label, is what each would have got alone. That is proven on the syntax tree; where
it cannot be proven the query is asked for each workload.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

import promql_parser as promql

from autoscaler.adapters.prometheus.template import fill, quoted
from autoscaler.config.promql import nodes, parse

_MARK: Final = "inference_autoscaler_match"
_OPERATORS: Final = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_ACROSS: Final = frozenset({"absent", "absent_over_time", "scalar", "info"})
_WRITING: Final = frozenset({"label_replace", "label_join"})
_COSTLY: Final = frozenset({"histogram_quantile", "histogram_quantiles", "histogram_fraction"})


class Reach(Enum):
    """How the values of a part of a query relate to workloads."""

    FIXED = "fixed"
    """Has no `$match`: the same for every workload."""
    EACH = "each"
    """Every value belongs to one workload, and its labels say to which."""
    ACROSS = "across"
    """Values mix workloads, or have lost the labels that tell them apart."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a template for one set of label names.

    Attributes:
        reach: Whether it can be shared.
        costly: Whether it reads histograms.
        selectors: The series that it reads, as templates with `$match`; without offset and @, for
            they serve to ask how old the newest sample is. Of a classic histogram one bucket.
            Those without `$match` only where none has it.
        metrics: The names of these series, where they have one.
    """

    reach: Reach
    costly: bool
    selectors: tuple[str, ...]
    metrics: tuple[str, ...]


def shape_of(template: str, labels: Collection[str], range_seconds: int) -> Shape:
    """Return what a template says of its query.

    Args:
        template: With its placeholders.
        labels: The label names of `spec.match`.
        range_seconds: What `$window` stands for.

    Raises:
        ValueError: It is no PromQL.
    """
    tree = parse(fill(template, f'{_MARK}=""', sorted(labels), range_seconds))
    every = nodes(tree)
    read = [node for node in every if isinstance(node, promql.VectorSelector)]
    matched = [one for one in read if _is_marked(one)] or read
    calls = {node.func.name for node in every if isinstance(node, promql.Call)}
    return Shape(
        reach=_reach(tree, frozenset(labels)),
        costly=bool(calls & _COSTLY),
        selectors=tuple(dict.fromkeys(_written(one) for one in matched)),
        metrics=tuple(dict.fromkeys(one.name for one in matched if one.name)),
    )


def _is_marked(selector: promql.VectorSelector) -> bool:
    return any(matcher.name == _MARK for matcher in selector.matchers.matchers)


def _written(selector: promql.VectorSelector) -> str:
    """Return a selector as text; the parser's own text does not escape."""
    name, found = selector.name or "", selector.matchers.matchers
    parts = [
        "$match"
        if one.name == _MARK
        else f"{one.name}{_OPERATORS[str(one.op).partition('.')[2]]}{quoted(one.value)}"
        for one in found
    ]
    if name.endswith("_bucket") and all(one.name != "le" for one in found):
        parts.append('le="+Inf"')
    return f"{name}{{{', '.join(parts)}}}" if parts else name


def _reach(node: object, labels: frozenset[str]) -> Reach:
    found = Reach.FIXED
    match node:
        case promql.VectorSelector() if _is_marked(node):
            found = Reach.EACH
        case promql.MatrixSelector():
            found = _reach(node.vector_selector, labels)
        case promql.SubqueryExpr() | promql.UnaryExpr() | promql.ParenExpr():
            found = _reach(node.expr, labels)
        case promql.AggregateExpr():
            found = _of_aggregation(node, labels)
        case promql.Call():
            found = _of_call(node, labels)
        case promql.BinaryExpr():
            found = _of_pair(node, labels)
        case _:
            pass
    return found


def _of_aggregation(node: promql.AggregateExpr, labels: frozenset[str]) -> Reach:
    inner = _reach(node.expr, labels)
    if inner is Reach.FIXED and _reach(node.param, labels) is Reach.FIXED:
        return Reach.FIXED
    if inner is not Reach.EACH or _reach(node.param, labels) is not Reach.FIXED:
        return Reach.ACROSS
    if str(node.op) == "count_values" and _text(node.param) in labels:
        return Reach.ACROSS
    if node.modifier is None:
        return Reach.ACROSS if labels else Reach.EACH
    named = frozenset(node.modifier.labels)
    by = node.modifier.type == promql.AggModifierType.By
    kept = labels <= named if by else not labels & named
    return Reach.EACH if kept else Reach.ACROSS


def _of_call(node: promql.Call, labels: frozenset[str]) -> Reach:
    found = {_reach(one, labels) for one in node.args}
    if found <= {Reach.FIXED}:
        return Reach.FIXED
    if Reach.ACROSS in found or node.func.name in _ACROSS:
        return Reach.ACROSS
    if node.func.name in _WRITING and _text(node.args[1]) in labels:
        return Reach.ACROSS
    return Reach.EACH


def _of_pair(node: promql.BinaryExpr, labels: frozenset[str]) -> Reach:
    left, right = _reach(node.lhs, labels), _reach(node.rhs, labels)
    if Reach.ACROSS in (left, right):
        return Reach.ACROSS
    if Reach.EACH not in (left, right):
        return Reach.FIXED
    if _is_scalar(node.lhs) or _is_scalar(node.rhs) or _keeps(node.modifier, labels):
        return Reach.EACH
    if left is right:  # one workload's values would be paired with another's
        return Reach.ACROSS
    return _beside_fixed(node, labels, each_left=left is Reach.EACH)


def _beside_fixed(node: promql.BinaryExpr, labels: frozenset[str], *, each_left: bool) -> Reach:
    """Return the reach where one side is the same for all and the pairing ignores some labels.

    The answer still tells workloads apart where it takes its labels from the other side.
    """
    operator, modifier = str(node.op), node.modifier
    if operator in ("and", "unless"):
        return Reach.EACH if each_left else Reach.ACROSS
    cardinality = promql.VectorMatchCardinality
    many = cardinality.ManyToOne if each_left else cardinality.OneToMany
    if operator == "or" or modifier is None or modifier.card != many:
        return Reach.ACROSS
    return Reach.ACROSS if labels & frozenset(modifier.group_labels or ()) else Reach.EACH


def _keeps(modifier: promql.BinModifier | None, labels: frozenset[str]) -> bool:
    """Whether only values with equal labels are paired."""
    if modifier is None or modifier.matching is None:
        return True
    named = frozenset(modifier.matching.labels)
    including = modifier.matching.type == promql.LabelModifierType.Include
    return labels <= named if including else not labels & named


def _is_scalar(node: object) -> bool:
    match node:
        case promql.NumberLiteral():
            return True
        case promql.UnaryExpr() | promql.ParenExpr():
            return _is_scalar(node.expr)
        case promql.BinaryExpr():
            return _is_scalar(node.lhs) and _is_scalar(node.rhs)
        case promql.Call():
            return bool(node.func.return_type == promql.ValueType.Scalar)
        case _:
            return False


def _text(node: object) -> str | None:
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    return node.val if isinstance(node, promql.StringLiteral) else None
