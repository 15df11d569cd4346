"""autoscaler policies."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from autoscaler.cli.words import bold, columns, emit, emit_json, say


def policies(
    name: Annotated[
        str | None, typer.Argument(help="Show this policy or combiner with all its parameters.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed policies and combiners, or explain one."""
    from autoscaler import plugins

    if name is None:
        _list(as_json=as_json)
    elif name in plugins.combiners() and name not in plugins.policy_types():
        _show(_combiner(name), as_json=as_json)
    else:
        _show(_policy(name), as_json=as_json)


def _list(*, as_json: bool) -> None:
    from autoscaler import plugins
    from autoscaler.core.errors import ConfigError

    found: dict[str, list[dict[str, Any]]] = {"policies": [], "combiners": []}
    broken: list[str] = []
    for kind, names, about in (
        ("policies", plugins.policy_types(), _policy),
        ("combiners", plugins.combiners(), _combiner),
    ):
        for one in names:
            try:
                found[kind].append(about(one))
            except ConfigError as error:
                broken.append(str(error))
    if as_json:
        emit_json(found)
    else:
        for kind, rows in found.items():
            emit(bold(kind))
            table = [(row["name"], row["summary"], row["origin"]) for row in rows]
            emit("\n".join(columns(table, indent="  ")) + "\n")
        emit("autoscaler policies NAME shows the parameters of one.")
    if broken:
        for problem in broken:
            say(problem)
        raise typer.Exit(1)


def _policy(name: str) -> dict[str, Any]:
    from autoscaler import plugins
    from autoscaler.config.schema import description, parameters

    model = plugins.load_policy_type(name)
    text = description(model)
    return {
        "name": name,
        "kind": "policy",
        "origin": plugins.policy_origin(name),
        "summary": _summary(text),
        "description": text,
        "parameters": list(_parameters(parameters(model))),
    }


def _combiner(name: str) -> dict[str, Any]:
    import sys

    from autoscaler import plugins
    from autoscaler.config.schema import description

    combiner = plugins.load_combiner(name)
    module = sys.modules.get(getattr(combiner, "__module__", ""))
    summary = _summary(description(module)).removeprefix(f"{name}: ")
    text = description(combiner)
    return {
        "name": name,
        "kind": "combiner",
        "origin": plugins.combiner_origin(name),
        "summary": summary or _summary(text),
        "description": text,
        "parameters": [],
    }


def _summary(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _parameters(
    schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None, prefix: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield every parameter, those inside lists and mappings with their path."""
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        if name == "type" and not prefix:
            continue
        path = f"{prefix}{name}"
        parameter = {
            "name": path,
            "type": _type(field, definitions),
            "required": name in required,
            "description": _summary(field.get("description", "")),
        }
        if name not in required:
            parameter["default"] = field.get("default")
        yield parameter
        for inner, suffix in _inside(field, definitions):
            if prefix.count(".") < 4:
                yield from _parameters(inner, definitions, f"{path}{suffix}.")


def _inside(
    field: Mapping[str, Any], definitions: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], str]]:
    if "$ref" in field:
        found = definitions[field["$ref"].rpartition("/")[2]]
        if "properties" in found:
            yield found, ""
    for branch in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        yield from _inside(branch, definitions)
    items = field.get("items")
    if isinstance(items, Mapping):
        for inner, suffix in _inside(items, definitions):
            yield inner, f"[]{suffix}"


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say in a few words what a parameter may be."""
    if "$ref" in field:
        return _type(definitions[field["$ref"].rpartition("/")[2]], definitions)
    branches = [*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())]
    if branches:
        told = [_type(branch, definitions) for branch in branches if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(told))
    if "const" in field:
        return str(field["const"])
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    words = {
        "integer": "whole number", "number": "number", "string": "text", "boolean": "true | false",
        "object": "mapping",
    }  # fmt: skip
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), definitions)}"
    return words.get(str(field.get("type")), "any") + _limits(field)


def _limits(field: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    told = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    return f" {', '.join(told)}" if told else ""


def _show(about: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(about)
        return
    emit(f"{bold(about['name'])}: a {about['kind']} of {about['origin']}\n")
    emit(about["description"])
    for parameter in about["parameters"]:
        default = json.dumps(parameter.get("default"), ensure_ascii=False)
        if parameter["required"]:
            usual = "required"
        else:
            usual = "optional" if default == "null" else f"default {default}"
        emit(f"\n  {bold(parameter['name'])}  ({parameter['type']}; {usual})")
        emit(f"      {parameter['description']}")
