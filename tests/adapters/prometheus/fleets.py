"""Fleets for tests of the query plan."""

from collections.abc import Iterable, Mapping
from typing import Any

from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.builders import a_fleet, a_workload
from tests.policies.preset_files import ROOT, workload_of

QUEUE = "sum by ($labels) (queue{$match})"
P95 = "histogram_quantile(0.95, sum by ($labels, le) (rate(ttft_seconds_bucket{$match}[$window])))"


def asking(name: str, *queries: str, source: str = "default", **match: str) -> ScaledWorkload:
    """A workload whose signals are these queries: one, two, ..."""
    return asking_all(name, {f"s{n}": {"query": q} for n, q in enumerate(queries)}, source, match)


def asking_all(
    name: str,
    signals: Mapping[str, Mapping[str, Any]],
    source: str = "default",
    match: Mapping[str, str] | None = None,
) -> ScaledWorkload:
    """A workload with these signals."""
    return a_workload(name=name, signals=signals, source=source, match=match or {})


def fleet_of(workloads: Iterable[ScaledWorkload]) -> FleetSpec:
    return a_fleet(*workloads)


def a_large_fleet(count: int, presets: tuple[str, ...]) -> FleetSpec:
    """So many workloads of a hundred teams, made from presets in turn."""
    made = []
    presets_ = [workload_of(ROOT / "policies" / "presets" / f"{name}.yaml") for name in presets]
    for number in range(count):
        preset = presets_[number % len(presets_)]
        namespace = f"team-{number % 100:02d}"
        match = {
            label: namespace if label == "namespace" else f"{value}-{number:05d}"
            for label, value in preset.spec.match.items()
        }
        metadata = {"name": f"chat-{number:05d}", "namespace": namespace}
        made.append(
            preset.model_copy(
                update={
                    "metadata": preset.metadata.model_copy(update=metadata),
                    "spec": preset.spec.model_copy(update={"match": match}),
                }
            )
        )
    return a_fleet(*made)
