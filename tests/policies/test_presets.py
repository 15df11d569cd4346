"""Presets: complete policy files that load, explain themselves and can be simulated."""

from pathlib import Path

import pytest
import yaml

from autoscaler.adapters.prometheus.plan import PlanLimits, plan_queries
from autoscaler.config import load_fleet, read_fleet
from autoscaler.core.spec import Actuation, Role
from simulations.measurements import measurements_of
from simulations.profiles import profile_of
from tests.adapters.prometheus.promtool import complaints_of, needs_promtool
from tests.policies.preset_files import PRESETS, ROOT, workload_of

by_name = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.stem)


def test_there_is_one_for_every_engine_and_every_policy() -> None:
    assert {preset.stem for preset in PRESETS} == {
        "burst", "dcgm", "hpa", "inference-gateway", "kafka", "kpa", "kserve", "nim", "node-pool",
        "rabbitmq", "ray-serve", "regression", "schedule", "seasonal", "sglang", "sqs",
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
def test_all_its_queries_can_be_shared_by_many_workloads(preset: Path) -> None:
    assert [
        query.apart for query in plan_queries(load_fleet([preset])).queries if query.apart
    ] == []


@needs_promtool
def test_prometheus_accepts_every_query(tmp_path: Path) -> None:
    """Raw and recorded."""
    fleet = load_fleet(PRESETS)
    plans = [plan_queries(fleet, limits=PlanLimits(recorded=one)) for one in (False, True)]
    queries = {query.promql for plan in plans for query in plan.queries}
    selectors = {one for plan in plans for found in plan.selectors.values() for one in found}

    assert complaints_of(tmp_path, sorted(queries | selectors)) == ""


@by_name
def test_the_readme_lists_it(preset: Path) -> None:
    readme = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")

    assert f"[{preset.name}](presets/{preset.name})" in readme
