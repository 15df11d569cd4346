"""The JSON schema says what the loader says, as far as a schema can."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.config.schema import policy_file_schema
from autoscaler.plugins import policy_types
from tests.config.texts import CHAT, POOL, changed, problems_in

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema checks the schema")

PRESETS = sorted((Path(__file__).parents[2] / "policies" / "presets").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return policy_file_schema()


def accepts(schema: dict[str, Any], document: object) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


def test_is_a_schema_of_draft_2020_12(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_accepts_every_preset(preset: Path, schema: dict[str, Any]) -> None:
    for document in yaml.safe_load_all(preset.read_text()):
        jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize(
    "change",
    [
        ("gpus: 4", "gpu: 4"),
        ("gpus: 4", 'gpus: "4"'),
        ("gpus: 4", "gpus: 4.5"),
        ("gpus: 4", "gpus: 4.0"),
        ("gpus: 4", "gpus: 0"),
        ("gpus: 4", "gpus: null"),
        ("gpus: 4", "gpus: true"),
        ("gpus: 4", "profile: null"),
        ("coldStartSeconds: 240", "cold_start_seconds: 240"),
        ("coldStartSeconds: 240", "coldStartSeconds: 90000"),
        ("actuation: none", "actuation: scale"),
        ("actuation: none", "actuation: patch"),
        ("combine: highest", "combine: vote"),
        ("combine: highest", "combine: loudest"),
        ("type: queue-drain", "type: queue-drian"),
        ("type: queue-drain, ", ""),
        ("signal: queue_length}", "signal: queue_length, drainSeconds: 0}"),
        ("signal: queue_length}", "signal: queue_length, drainSecond: 3}"),
        ("signal: queue_length}", "signal: queue_length, drainSeconds: 3}"),
        ("{type: queue-drain, signal: queue_length}", "queue-drain"),
        ("stabilizationWindowSeconds: 600", "stabilizationWindowSeconds: 7200"),
        ("stabilizationWindowSeconds: 600", "selectPolicy: Disabled"),
        ("stabilizationWindowSeconds: 600", "tolerance: 100m"),
        ("stabilizationWindowSeconds: 600", "policies: [{type: Pods, value: 1}]"),
        ("replicas: keep", "replicas: 3"),
        ("replicas: keep", "replicas: most"),
        ("model_name: chat", "model_name: 3"),
        ("name: chat, namespace", "name: Chat, namespace"),
        ("kind: ScaledWorkload", "kind: Deployment"),
        ("slo: {ttftP95Seconds: 2.0}", "slo: {e2eP95Seconds: 2.0, ttftP95Seconds: 1}"),
        ("slo: {ttftP95Seconds: 2.0}", "slo: {ttftP95Seconds: 0}"),
        ("replicas: {min: 1, max: 12}", "replicas: {min: 1}"),
    ],
    ids=lambda change: f"{change[0]} to {change[1]}",
)
def test_agrees_with_the_loader(change: tuple[str, str], schema: dict[str, Any]) -> None:
    text = changed(change)

    assert accepts(schema, yaml.safe_load(text)) == (problems_in({"a.yaml": text}) == [])


@pytest.mark.parametrize(
    "change",
    [
        ("scaleDownSeconds: 600", "scaleDownSeconds: 60"),
        ("scaleDownSeconds: 600", "scaleDownSecond: 60"),
        ("kind: NodePool\n", ""),
        ("kind: NodePool", "kind: ScaledWorkload"),
        ("kind: NodePool", "kind: NodePools"),
        ("apiVersion: inference-autoscaler.dev/v1alpha1\n", ""),
        ("apiVersion: inference-autoscaler.dev/v1alpha1", "apiVersion: v1"),
        ("name: h100", "name: H100"),
        ("name: h100", "name: h100, namespace: llm"),
        ("actuation: none", "actuation: hpa"),
        ("actuation: none", "actuation: scale"),
        ("gpusPerNode: 8", "gpusPerNode: 0"),
        ("gpusPerNode: 8", "gpusPerNode: eight"),
        ("max: 6", "max: 0"),
        ("{min: 1, max: 6}", "{min: 1}"),
        ("  gpusPerNode: 8\n", ""),
        ("provisioningSeconds: 300", "provisioningSeconds: -1"),
    ],
    ids=lambda change: f"{change[0]} to {change[1]}",
)
def test_agrees_with_the_loader_of_node_pools(
    change: tuple[str, str], schema: dict[str, Any]
) -> None:
    text = changed(change, text=POOL)

    assert accepts(schema, yaml.safe_load(text)) == (problems_in({"a.yaml": text}) == [])


def test_has_every_installed_policy_with_a_description(schema: dict[str, Any]) -> None:
    for name in policy_types():
        variant = schema["$defs"][f"policy.{name}"]
        assert variant["properties"]["type"]["const"] == name
        assert "type" in variant["required"]
        assert variant["description"]
        for field, parameter in variant["properties"].items():
            assert parameter.get("description"), f"{name}.{field} says nothing of itself"


def test_speaks_json_schema_only(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)

    assert '"ge":' not in text
    assert '"le":' not in text
    assert json.dumps(policy_file_schema()) == text


def test_every_reference_leads_somewhere_and_every_definition_is_needed(
    schema: dict[str, Any],
) -> None:
    text = json.dumps(schema)

    for name in schema["$defs"]:
        assert f'"#/$defs/{name}"' in text
    assert accepts(schema, yaml.safe_load(CHAT))
