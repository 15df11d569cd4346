"""Presets: complete policy files that load, explain themselves and can be simulated."""

from pathlib import Path

import pytest
import yaml

from autoscaler.config import load_fleet, read_fleet
from autoscaler.core.spec import Actuation, Role
from simulations.measurements import measurements_of
from simulations.profiles import profile_of
from tests.policies.preset_files import PRESETS, ROOT, workload_of

by_name = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.stem)


def test_there_is_one_for_every_engine_and_every_policy() -> None:
    assert {preset.stem for preset in PRESETS} == {
        "burst", "hpa", "kpa", "nim", "node-pool", "regression", "schedule", "seasonal", "sglang",
        "target-tracking", "tgi", "triton-trtllm", "vllm-queue-latency", "watermark",
    }  # fmt: skip


@by_name
def test_it_loads_without_a_warning(preset: Path) -> None:
    assert read_fleet([preset]).warnings == ()


@by_name
def test_editors_find_its_schema(preset: Path) -> None:
    first = preset.read_text(encoding="utf-8").splitlines()[0]

    assert first == "# yaml-language-server: $schema=scaledworkload.schema.json"


@by_name
def test_it_watches_before_it_acts(preset: Path) -> None:
    assert workload_of(preset).spec.actuation is Actuation.NONE
    assert {pool.spec.actuation for pool in load_fleet([preset]).pools} <= {Actuation.NONE}


@by_name
def test_it_says_everything_that_matters(preset: Path) -> None:
    """Nothing is inherited: who copies a preset sees what will be in force."""
    document, *pools = yaml.safe_load_all(preset.read_text(encoding="utf-8"))
    spec = document["spec"]

    for pool in pools:
        assert set(pool["spec"]) == {
            "actuation", "gpusPerNode", "nodes", "provisioningSeconds", "scaleDownSeconds",
        }  # fmt: skip
    assert set(spec) == {
        "target", "actuation", "replicas", "replica", "slo", "source", "match", "signals",
        "policies", "combine", "behavior", "fallback",
    }  # fmt: skip
    for signal in spec["signals"].values():
        assert {"role", "kind", "query", "windowSeconds", "stepSeconds", "maxAgeSeconds",
                "onMissing"} <= set(signal)  # fmt: skip


@by_name
def test_the_simulator_knows_every_signal_and_the_profile(preset: Path) -> None:
    spec = workload_of(preset).spec
    if spec.replica.profile is None:
        pytest.skip("a preset without a profile is not meant for the simulator")

    assert measurements_of(spec.signals).keys() == spec.signals.keys()
    assert profile_of(spec.replica).gpus == spec.replica.gpus


@by_name
def test_queries_keep_the_labels_that_tell_workloads_apart(preset: Path) -> None:
    for name, signal in workload_of(preset).spec.signals.items():
        assert "$match" in signal.query, name
        assert "by ($labels" in signal.query, name
        assert ("_bucket{" in signal.query) == (signal.role is Role.LATENCY), name
        assert ("rate(" in signal.query) == ("[$window]" in signal.query), name


@by_name
def test_the_readme_lists_it(preset: Path) -> None:
    readme = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")

    assert f"[{preset.name}](presets/{preset.name})" in readme
