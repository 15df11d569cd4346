"""Label and field selectors, as query strings and as objects of a Deployment's spec."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.kubernetes.status import ApiError

ALWAYS = frozenset({"metadata.name", "metadata.namespace"})
Matches = Callable[[Mapping[str, Any]], bool]

_REQUIREMENT = re.compile(
    r"\s*(?:"
    r"(?P<key_in>[\w./-]+)\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\)"  # codespell:ignore notin
    r"|(?P<key>[\w./-]+)\s*(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|(?P<absent>!\s*)?(?P<bare>[\w./-]+)"
    r")\s*"
)


def labels(text: str) -> Matches:
    """Return what a `labelSelector` asks of an object's labels.

    Raises:
        ApiError: 400, not a label selector.
    """
    wanted: list[Matches] = []
    at = 0
    while at < len(text):
        found = _REQUIREMENT.match(text, at)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            raise ApiError(400, f"found '{text[at:]}', expected: ',' or 'end of string'")
        wanted.append(_requirement(found))
        at = found.end() + 1
    return lambda has: all(matches(has) for matches in wanted)


def _requirement(found: re.Match[str]) -> Matches:
    if key := found["key_in"]:
        values = {value.strip() for value in found["values"].split(",")}
        if found["set"] == "in":
            return lambda has: has.get(key) in values
        return lambda has: has.get(key) not in values
    if key := found["key"]:
        value = found["value"]
        if found["op"] == "!=":
            return lambda has: has.get(key) != value
        return lambda has: has.get(key) == value
    bare = found["bare"]
    if found["absent"]:
        return lambda has: bare not in has
    return lambda has: bare in has


def fields(text: str, selectable: frozenset[str] = frozenset()) -> Matches:
    """Return what a `fieldSelector` (`path=value` or `path!=value`) asks of an object.

    Raises:
        ApiError: 400, not a selector, or not of a field that can be selected.
    """
    wanted: list[tuple[list[str], bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([\w.]+)(!=|==|=)(.*)", part)
        if found is None:
            raise ApiError(400, f"invalid selector: '{part}'; can't understand '{part}'")
        path, operator, value = found.groups()
        if path not in ALWAYS and path not in selectable:
            raise ApiError(400, f"field label not supported: {path}")
        wanted.append((path.split("."), operator != "!=", value))

    def matches(obj: Mapping[str, Any]) -> bool:
        return all((_text_at(obj, path) == value) is equal for path, equal, value in wanted)

    return matches


def _text_at(obj: Any, path: list[str]) -> str:
    for part in path:
        obj = obj.get(part) if isinstance(obj, Mapping) else None
    return "" if obj is None else str(obj)


def as_text(selector: Mapping[str, Any] | str | None) -> str:
    """Return the query form of `spec.selector`; the text itself where it is text already."""
    if not selector:
        return ""
    if isinstance(selector, str):
        return selector
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [(key, f"{key}={value}") for key, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions", ()):
        key, values = each["key"], ",".join(sorted(each.get("values", ())))
        said = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",  # codespell:ignore notin
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }[each["operator"]]
        parts.append((key, said))
    return ",".join(said for _, said in sorted(parts))
