"""OpenAPI documents of the metrics APIs, versions 2 and 3, out of one table of operations."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from metrics_adapter.targets import CUSTOM, EXTERNAL, VERSIONS

Document = dict[str, Any]

_INFO: Final = {"title": "inference-autoscaler metrics adapter", "version": "v1"}
_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object"}
_TIME: Final = {"type": "string", "format": "date-time"}
_QUANTITY: Final = {
    "type": "string",
    "pattern": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
    "description": "A quantity, as Kubernetes writes it.",
}
_SEGMENT: Final = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[^/%\s]+$"}
_NAMESPACE: Final = ("namespace", "path", "Namespace of the workload.")
_METRIC: Final = ("metric", "path", "A signal, its forecast, or desired_replicas.")
_LABELS: Final = ("labelSelector", "query", "Which values, by their labels.")

_SCHEMAS: Final[Mapping[str, Document]] = {
    "ExternalMetricValue": {
        "metricName": _TEXT,
        "metricLabels": {"type": "object", "additionalProperties": _TEXT},
        "timestamp": _TIME,
        "value": _QUANTITY,
    },
    "ObjectReference": {
        "kind": _TEXT, "namespace": _TEXT, "name": _TEXT, "apiVersion": _TEXT,
    },
    # The selector may be null, for which OpenAPI 2 has no word.
    "MetricIdentifier": {"name": _TEXT, "selector": {}},
    "Status": {
        "kind": {"type": "string", "enum": ["Status"]},
        "apiVersion": {"type": "string", "enum": ["v1"]},
        "metadata": _OBJECT,
        "status": {"type": "string", "enum": ["Success", "Failure"]},
        "message": _TEXT,
        "reason": _TEXT,
        "code": {"type": "integer"},
    },
    "APIResource": {
        "name": _TEXT, "singularName": _TEXT, "namespaced": {"type": "boolean"}, "kind": _TEXT,
        "verbs": {"type": "array", "items": _TEXT},
    },
}  # fmt: skip
"""Properties of each schema; all of them are required."""
_EXTERNAL_PATH: Final = f"/apis/{EXTERNAL}/{VERSIONS[EXTERNAL]}/namespaces/{{namespace}}/{{metric}}"
_CUSTOM_PATH: Final = (
    f"/apis/{CUSTOM}/{VERSIONS[CUSTOM]}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}"
)
_REFUSALS: Final = {
    "400": "Malformed path, query or selector.",
    "401": "The bearer token is not valid.",
    "403": "The user may not.",
    "404": "Nothing of this name, or nothing that matches.",
    "405": "Only GET is answered; values cannot be watched.",
    "406": "Only application/json is answered.",
    "413": "A request has no body.",
    "429": "Too many questions about access are open.",
    "503": "The value is missing, stale or of no use; the message says why.",
    "504": "The answer took too long to make.",
}


def documents(groups: Iterable[str]) -> dict[str, bytes]:
    """Return every OpenAPI document by its path."""
    served = tuple(groups)
    found = {"/openapi/v2": orjson.dumps(_version_2(served))}
    paths: Document = {}
    for group in served:
        name = f"apis/{group}/{VERSIONS[group]}"
        body = orjson.dumps(_version_3(group))
        found[f"/openapi/v3/{name}"] = body
        digest = hashlib.sha256(body).hexdigest()[:32].upper()
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    found["/openapi/v3"] = orjson.dumps({"paths": paths})
    return found


def _version_2(groups: tuple[str, ...]) -> Document:
    paths = {
        path: {
            "get": {
                "operationId": operation,
                "description": description,
                "produces": ["application/json"],
                "parameters": [
                    {
                        "name": name,
                        "in": place,
                        "description": text,
                        "required": place == "path",
                        "type": "string",
                    }
                    for name, place, text in parameters
                ],
                "responses": {
                    code: {"description": text, "schema": {"$ref": f"#/definitions/{schema}"}}
                    for code, (text, schema) in _responses(answer).items()
                },
            }
        }
        for group in groups
        for path, operation, description, parameters, answer in _operations(group)
    }
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": paths,
        "definitions": _schemas("#/definitions/"),
    }


def _version_3(group: str) -> Document:
    paths = {
        path: {
            "get": {
                "operationId": operation,
                "description": description,
                "parameters": [
                    {
                        "name": name,
                        "in": place,
                        "description": text,
                        "required": place == "path",
                        "schema": _SEGMENT if place == "path" else _TEXT,
                    }
                    for name, place, text in parameters
                ],
                "responses": {
                    code: {
                        "description": text,
                        "content": {
                            "application/json": {
                                "schema": {"$ref": f"#/components/schemas/{schema}"}
                            }
                        },
                    }
                    for code, (text, schema) in _responses(answer).items()
                },
            }
        }
        for path, operation, description, parameters, answer in _operations(group)
    }
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths,
        "components": {"schemas": _schemas("#/components/schemas/")},
    }


_Parameters = tuple[tuple[str, str, str], ...]


def _operations(group: str) -> tuple[tuple[str, str, str, _Parameters, str], ...]:
    """Return path, name, description, parameters and answer of each operation of a group."""
    listing = (
        f"/apis/{group}/{VERSIONS[group]}",
        f"list{'External' if group == EXTERNAL else 'Custom'}Metrics",
        "What metrics there are.",
        (),
        "APIResourceList",
    )
    value: tuple[str, str, str, _Parameters, str]
    if group == EXTERNAL:
        value = (
            _EXTERNAL_PATH,
            "getExternalMetric",
            "Values of a metric in a namespace, one for each workload that the selector matches.",
            (_NAMESPACE, _METRIC, _LABELS),
            "ExternalMetricValueList",
        )
    else:
        value = (
            _CUSTOM_PATH,
            "getCustomMetric",
            "Values of a metric of objects in a namespace.",
            (
                _NAMESPACE,
                ("resource", "path", "pods, or that of a scaled object such as deployments.apps."),
                ("name", "path", "An object; * for all that labelSelector matches."),
                _METRIC,
                ("labelSelector", "query", "Which objects, by their labels."),
                ("metricLabelSelector", "query", "Which values, by their labels."),
            ),
            "MetricValueList",
        )
    return listing, value


def _responses(answer: str) -> dict[str, tuple[str, str]]:
    return {"200": ("OK", answer)} | {code: (text, "Status") for code, text in _REFUSALS.items()}


def _schemas(prefix: str) -> Document:
    """Return every schema; references begin with `prefix`."""
    found = {name: _schema(properties) for name, properties in _SCHEMAS.items()}
    found["MetricValue"] = _schema(
        {
            "describedObject": {"$ref": f"{prefix}ObjectReference"},
            "metric": {"$ref": f"{prefix}MetricIdentifier"},
            "timestamp": _TIME,
            "value": _QUANTITY,
        }
    )
    found["APIResourceList"] = _list_of("APIResource", "resources", prefix, groupVersion=_TEXT)
    for kind, item in (
        ("ExternalMetricValueList", "ExternalMetricValue"),
        ("MetricValueList", "MetricValue"),
    ):
        found[kind] = _list_of(item, "items", prefix, metadata=_OBJECT)
    return found


def _list_of(item: str, name: str, prefix: str, **more: Document) -> Document:
    items = {"type": "array", "items": {"$ref": f"{prefix}{item}"}}
    return _schema({"kind": _TEXT, "apiVersion": _TEXT, **more, name: items})


def _schema(properties: Document) -> Document:
    return {"type": "object", "required": list(properties), "properties": properties}
