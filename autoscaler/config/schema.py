"""The JSON schema of a policy file: for editors, and for other tools that write such files."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from autoscaler.core.node_pools import NodePool
from autoscaler.core.policy import Policy
from autoscaler.core.workload import ScaledWorkload
from autoscaler.plugins import combiners, load_policy_type, policy_types

FILE_NAME: Final = "scaledworkload.schema.json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_WHOLE: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_MAPS: Final = frozenset({"properties", "$defs", "patternProperties", "dependentSchemas"})


def policy_file_schema() -> dict[str, Any]:
    """Return the schema of a document, of either kind, with every installed policy by its type.

    Relations between fields (min at most max, signals that are defined) are left to `check`.

    Raises:
        ConfigError: An installed policy cannot be loaded.
    """
    types = {name: load_policy_type(name) for name in policy_types()}
    classes: list[type[BaseModel]] = [ScaledWorkload, NodePool, *types.values()]
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in dict.fromkeys(classes)
    ]
    refs, whole = models_json_schema(models, by_alias=True)
    definitions = whole["$defs"]
    root = {
        "description": "A workload with its policies, or a pool of nodes.",
        "oneOf": [refs[ScaledWorkload, "validation"], refs[NodePool, "validation"]],
    }
    # A document that does not say what it is, is a workload.
    pool = _definition(refs[NodePool, "validation"], definitions)
    pool["required"] = ["kind", *pool["required"]]
    variants = {
        f"policy.{name}": _of_type(name, model, _definition(refs[model, "validation"], definitions))
        for name, model in types.items()
    }
    spec = definitions["WorkloadSpec"]["properties"]
    spec["policies"] = {**spec["policies"], "items": _any_policy(types, variants)}
    spec["combine"] = {**spec["combine"], "enum": list(combiners())}
    used = _reachable({**definitions, **variants}, root)
    return {
        "$schema": DIALECT,
        "title": "ScaledWorkload or NodePool",
        **_tidy(root),
        "$defs": {name: _tidy(used[name]) for name in sorted(used)},
    }


def parameters(model: type[Policy]) -> dict[str, Any]:
    """Return the schema of one policy's parameters, without its type."""
    return _tidy(model.model_json_schema(by_alias=True))


def description(thing: object) -> str:
    """Return a docstring as paragraphs, without its indentation."""
    return inspect.cleandoc(thing.__doc__ or "")


def _definition(
    reference: Mapping[str, Any], definitions: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    return definitions[reference["$ref"].rpartition("/")[2]]


def _of_type(name: str, model: type[Policy], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy's schema with its name: one class may be installed under several."""
    properties = {**schema.get("properties", {})}
    properties["type"] = {"const": name, "description": "The algorithm."}
    required = [field for field in schema.get("required", ()) if field != "type"]
    return {
        **schema,
        "description": description(model),
        "properties": properties,
        "required": ["type", *required],
    }


def _any_policy(types: Iterable[str], variants: Iterable[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(types), "description": "The algorithm."}},
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in variants],
    }


def _reachable(
    definitions: Mapping[str, dict[str, Any]], root: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the definitions that the root needs, directly or not."""
    found: dict[str, dict[str, Any]] = {}
    waiting = list(_references(root))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting.extend(_references(definitions[name]))
    return found


def _references(value: object) -> Iterable[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix("#/$defs/")
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _tidy(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in the words of JSON schema, without titles that repeat the name.

    pydantic writes a limit under its own name (`ge`) where a validator of ours comes first.
    """
    tidy: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in _MAPS and isinstance(value, Mapping):
            tidy[key] = {name: _tidy(inner) for name, inner in value.items()}
        elif isinstance(value, Mapping) and key not in {"default", "const", "discriminator"}:
            tidy[key] = _tidy(value)
        elif isinstance(value, list) and key not in {"enum", "required", "examples", "default"}:
            tidy[key] = [_tidy(inner) if isinstance(inner, Mapping) else inner for inner in value]
        else:
            tidy[_WHOLE.get(key, key)] = value
    return tidy
