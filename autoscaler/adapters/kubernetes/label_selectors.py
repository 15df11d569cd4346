"""Label selectors in both forms of the API: an object, or one line of text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_IN: Final = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUAL: Final = re.compile(r"(?P<key>[^\s!=]+)\s*(?P<operator>==|=|!=)\s*(?P<value>\S*)")
_PARTS: Final = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on a label that is not a plain equality.

    Attributes:
        key: The label.
        operator: In, NotIn, Exists or DoesNotExist.
        values: For In and NotIn.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet it; an absent label is not in any list."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """Picks objects by their labels; without any condition it picks all.

    Attributes:
        equal: Labels with the one value allowed, sorted by label.
        conditions: Everything else.
    """

    equal: tuple[tuple[str, str], ...] = ()
    conditions: tuple[Condition, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is picked."""
        return all(labels.get(key) == value for key, value in self.equal) and all(
            condition.holds(labels) for condition in self.conditions
        )

    @property
    def text(self) -> str:
        """As the query parameter `labelSelector` wants it."""
        parts = [f"{key}={value}" for key, value in self.equal]
        for condition in self.conditions:
            values = f" ({','.join(condition.values)})"
            parts.append(
                {
                    "In": f"{condition.key} in{values}",
                    "NotIn": f"{condition.key} notin{values}",
                    "Exists": condition.key,
                }.get(condition.operator, f"!{condition.key}")
            )
        return ",".join(parts)


def of_object(selector: object) -> Selector | None:
    """Read `matchLabels` and `matchExpressions`; None where there is no selector, or a broken one.

    A condition that is not understood makes the whole selector unusable: dropping it would pick
    too many objects.
    """
    if not isinstance(selector, Mapping):
        return None
    conditions: list[Condition] = []
    for expression in selector.get("matchExpressions") or ():
        operator = expression.get("operator")
        if operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            return None
        conditions.append(
            Condition(str(expression.get("key")), operator, tuple(expression.get("values") or ()))
        )
    labels: Mapping[str, Any] = selector.get("matchLabels") or {}
    return Selector(tuple(sorted(labels.items())), tuple(conditions))


def of_text(text: object) -> Selector | None:
    """Read a selector such as `app=chat,tier in (a,b),!old`; None where it is none.

    An empty text is no selector: `/scale` writes it where a resource does not tell its pods.
    """
    if not isinstance(text, str) or not text.strip():
        return None
    equal: list[tuple[str, str]] = []
    conditions: list[Condition] = []
    for part in (part.strip() for part in _PARTS.split(text)):
        if listed := _IN.fullmatch(part):
            operator = "In" if listed["operator"] == "in" else "NotIn"
            values = tuple(value.strip() for value in listed["values"].split(","))
            conditions.append(Condition(listed["key"], operator, values))
        elif (compared := _EQUAL.fullmatch(part)) and compared["operator"] == "!=":
            conditions.append(Condition(compared["key"], "NotIn", (compared["value"],)))
        elif compared:
            equal.append((compared["key"], compared["value"]))
        elif re.fullmatch(r"!\s*\S+", part):
            conditions.append(Condition(part[1:].strip(), "DoesNotExist"))
        elif re.fullmatch(r"[^\s()!=,]+", part):
            conditions.append(Condition(part, "Exists"))
        else:
            return None
    return Selector(tuple(sorted(equal)), tuple(conditions))
