"""A document of a policy file against its models: every problem with its line, or the whole."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from autoscaler.config.installed import Installed
from autoscaler.config.nodes import List, Node, Scalar, find, get, plain, shown
from autoscaler.config.nodes import Mapping as MappingNode
from autoscaler.config.problems import Problem, did_you_mean, listed
from autoscaler.core.errors import ConfigError
from autoscaler.core.node_pools import NodePool
from autoscaler.core.policy import Policy
from autoscaler.core.spec import DNS_LABEL
from autoscaler.core.workload import API_VERSION, ScaledWorkload, WorkloadSpec
from autoscaler.plugins import policy_types

_MOST_TRANSLATED: Final = 500
_MEMBER: Final = re.compile(r"<\w+\.\w+: ('[^']*')>")  # one of an enumeration, as Python writes it
POLICIES: Final = ("spec", "policies")
WORKLOAD: Final = "ScaledWorkload"
NODE_POOL: Final = "NodePool"


class _Shape(WorkloadSpec):
    """A workload whose policies are read one by one, by the models of their types."""

    policies: list[Any] = Field(min_length=1)  # type: ignore[assignment]


class _Document(ScaledWorkload):
    """A document whose policies are read one by one."""

    spec: _Shape


@dataclass(slots=True)
class Draft:
    """A document, as far as it can be read.

    Attributes:
        file: The file that it stands in.
        root: All that it says.
        kind: What it says that it is.
        policies: The policies that are in order, by their place in the list.
        workload: The whole of a workload; None where there is a problem.
        pool: The whole of a node pool; None where there is a problem.
    """

    file: str
    root: MappingNode
    kind: str = WORKLOAD
    policies: dict[int, Policy] = field(default_factory=dict)
    workload: ScaledWorkload | None = None
    pool: NodePool | None = None

    def problem(self, loc: Sequence[str | int], text: str) -> Problem:
        """Return a problem at the deepest node on the way `loc`."""
        path, mark, _ = find(self.root, loc)
        return Problem(self.file, text, mark, path)

    def absent(self, loc: Sequence[str | int], name: str, text: str = "is required") -> Problem:
        """Return a problem about a field that is not there, at the mapping that lacks it."""
        path, mark, _ = find(self.root, loc)
        return Problem(self.file, text, mark, (*path, name))


def read_draft(
    file: str, root: Node, installed: Installed, problems: list[Problem]
) -> Draft | None:
    """Read one document; all that is wrong with it goes to `problems`."""
    if isinstance(root, Scalar) and root.value is None and not root.text:
        text = "the document is empty: remove it, or one line --- beside it"
        problems.append(Problem(file, text, root.mark))
        return None
    if not isinstance(root, MappingNode):
        text = f"a policy file should be a mapping (apiVersion, kind, ...), not {shown(root)}"
        problems.append(Problem(file, text, root.mark))
        return None
    draft = Draft(file, root)
    foreign = _foreign(draft)
    if foreign is not None:
        problems.append(foreign)
        return None
    if _says(root, "kind") == NODE_POOL:
        draft.kind = NODE_POOL
        pool, found = _validated(draft, NodePool, root, ())
        problems.extend(found)
        draft.pool = pool if isinstance(pool, NodePool) and not found else None
        return draft
    before = len(problems)
    problems.extend(_policies(draft, installed))
    document, found = _validated(draft, _Document, root, ())
    problems.extend(found)
    if isinstance(document, _Document) and len(problems) == before:
        draft.workload = _whole(document, draft)
    return draft


def _foreign(draft: Draft) -> Problem | None:
    """Say that the document is another kind of object, and nothing else of it."""
    for name, allowed in (("apiVersion", (API_VERSION,)), ("kind", (WORKLOAD, NODE_POOL))):
        node = get(draft.root, name)
        if isinstance(node, Scalar) and not node.bad and node.value not in allowed:
            rule = " or ".join(f"'{one}'" for one in allowed)
            hint = did_you_mean(str(node.value), allowed)
            return draft.problem((name,), f"input should be {rule}, not {shown(node)}{hint}")
    return None


def _says(root: MappingNode, name: str) -> object:
    node = get(root, name)
    return node.value if isinstance(node, Scalar) and not node.bad else None


def _policies(draft: Draft, installed: Installed) -> Iterator[Problem]:
    node = get(draft.root, *POLICIES)
    if not isinstance(node, List):
        return  # the model of the whole document says so
    for index, item in enumerate(node.items):
        loc = (*POLICIES, index)
        policy, problems = _policy(draft, installed, item, loc)
        yield from problems
        if policy is not None:
            draft.policies[index] = policy


def _policy(
    draft: Draft, installed: Installed, item: Node, loc: tuple[str | int, ...]
) -> tuple[Policy | None, list[Problem]]:
    if not isinstance(item, MappingNode):
        bad = isinstance(item, Scalar) and item.bad
        text = f"input should be a mapping, not {shown(item)}"
        return None, [] if bad else [draft.problem(loc, text)]
    match get(item, "type"):
        case Scalar(bad=True):
            return None, []
        case Scalar(value=str(name)):
            try:
                model = installed.policy(name)
            except ConfigError as error:
                return None, [draft.problem((*loc, "type"), str(error))]
        case None:
            text = f"is required; installed are: {listed(policy_types())}"
            return None, [draft.absent(loc, "type", text)]
        case other:
            text = f"input should be text, not {shown(other)}"
            return None, [draft.problem((*loc, "type"), text)]
    policy, problems = _validated(draft, model, item, loc)
    return (policy if isinstance(policy, Policy) else None), problems


def _validated(
    draft: Draft, model: type[BaseModel], node: MappingNode, loc: tuple[str | int, ...]
) -> tuple[BaseModel | None, list[Problem]]:
    """Validate a node as JSON, strictly: lists become tuples, but "3" is no number."""
    try:
        text = json.dumps(plain(node))
        found = model.model_validate_json(text, strict=True, by_alias=True, by_name=False)
        if isinstance(found, Policy):
            sorted(found.needs | found.uses)  # asked here, so that it can be relied upon later
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True, include_input=False)
        return None, list(_translated(draft, model, details[:_MOST_TRANSLATED], loc))
    except Exception as error:  # noqa: BLE001 - a stranger's validator may raise anything
        sentence = f"{model.__name__} failed on these parameters: {type(error).__name__}: {error}"
        return None, [draft.problem(loc, sentence.partition("\n")[0])]
    return found, []


def _whole(document: _Document, draft: Draft) -> ScaledWorkload:
    """Put the policies where they belong; everything is validated already."""
    fields = {name: getattr(document.spec, name) for name in document.spec.model_fields_set}
    fields["policies"] = tuple(draft.policies[index] for index in sorted(draft.policies))
    outer = {name: getattr(document, name) for name in document.model_fields_set}
    outer["spec"] = WorkloadSpec.model_validate(fields)
    return ScaledWorkload.model_validate(outer)


def _translated(
    draft: Draft,
    model: type[BaseModel],
    details: Iterable[Any],
    base: tuple[str | int, ...],
) -> Iterator[Problem]:
    """Turn a model's errors into ours; the alternatives of one field become one problem."""
    rules: dict[tuple[str | int, ...], list[str]] = {}
    for detail in details:
        loc = (*base, *(part for part in detail["loc"] if part != "[key]"))
        path, _, node = find(draft.root, loc)
        if isinstance(node, Scalar) and node.bad:
            continue
        match detail["type"]:
            case "missing":
                yield draft.absent(loc[:-1], str(loc[-1]))
            case "extra_forbidden":
                allowed = sorted(_allowed(model, detail["loc"][:-1]))
                hint = did_you_mean(str(loc[-1]), allowed)
                yield draft.problem(loc, f"no such field{hint}; allowed are: {listed(allowed)}")
            case _:
                rules.setdefault(path, []).append(_rule(detail, node))
    for path, texts in rules.items():
        _, _, node = find(draft.root, path)
        yield draft.problem(path, _alternatives(texts, node))


def _rule(detail: Any, node: Node) -> str:
    """One rule, without the value found; a validator's own sentence as it stands."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in {"value_error", "assertion_error"}:
        return "=" + str(context.get("error", detail["msg"]))
    if kind == "string_pattern_mismatch" and context.get("pattern") == DNS_LABEL:
        return "input should be a Kubernetes name (lower-case letters, digits, - and .)"
    named = {
        "model_type": "input should be a mapping",
        "model_attributes_type": "input should be a mapping",
        "dict_type": "input should be a mapping",
        "mapping_type": "input should be a mapping",
        "tuple_type": "input should be a list",
        "list_type": "input should be a list",
        "frozen_set_type": "input should be a list",
        "set_type": "input should be a list",
        "string_type": "input should be text",
        "bool_type": "input should be true or false",
        "int_type": "input should be a whole number",
        "int_from_float": "input should be a whole number",
        "float_type": "input should be a number",
        "finite_number": "input should be a finite number",
        "is_instance_of": "input should be something else",
    }
    if kind == "too_short" and isinstance(node, List):
        return f"=should have at least {context.get('min_length')} entry"
    return named.get(kind) or _MEMBER.sub(r"\1", detail["msg"][:1].lower() + detail["msg"][1:])


def _alternatives(rules: Sequence[str], node: Node) -> str:
    """Join the rules of one field and add what was found."""
    told = list(dict.fromkeys(rules))
    sentences = [rule[1:] for rule in told if rule.startswith("=")]
    if sentences:
        return sentences[0].replace("\n", " ")
    prefix = "input should be "
    text = " or ".join(
        rule.removeprefix(prefix) if index else rule for index, rule in enumerate(told)
    )
    return f"{text}, not {shown(node)}{_hint(text, node)}"


def _hint(rule: str, node: Node) -> str:
    """Say what to change where the quotes are the mistake."""
    if not isinstance(node, Scalar):
        return ""
    if "number" in rule and isinstance(node.value, str):
        try:
            float(node.value)
        except ValueError:
            return ""
        return ": remove the quotes"
    if "text" in rule and node.value is not None and not isinstance(node.value, str):
        return f': write "{node.text}"'
    return ""


def _allowed(model: type[BaseModel], loc: Sequence[str | int]) -> frozenset[str]:
    """Return the names that a mapping may hold, from the model that refused one."""
    schema = _schema(model)
    return frozenset(_names(schema, schema, list(loc), 0))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _names(
    schema: Mapping[str, Any], whole: Mapping[str, Any], loc: list[str | int], depth: int
) -> set[str]:
    """Follow a location through a JSON schema; parts that name alternatives are skipped."""
    if depth > 32:
        return set()
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _names(whole["$defs"][name], whole, loc, depth + 1)
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    if branches:
        return set().union(*(_names(branch, whole, loc, depth + 1) for branch in branches))
    if not loc:
        return set(schema.get("properties", ()))
    part, rest = loc[0], loc[1:]
    inner: Any = None
    if isinstance(part, str):
        inner = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
    elif isinstance(part, int):
        inner = schema.get("items")
    if not isinstance(inner, Mapping):
        return _names(schema, whole, rest, depth + 1) if rest or part else set()
    return _names(inner, whole, rest, depth + 1)
