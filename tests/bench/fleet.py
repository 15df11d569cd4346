"""The fleet of the benchmark: so many workloads on three engines, as their presets say."""

from importlib.resources import as_file, files
from typing import Final

from autoscaler.config import load_fleet
from autoscaler.config.load import LoadedFleet
from autoscaler.core.spec import Actuation, Bounds
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.plugins import load_combiner

PRESETS: Final = ("vllm-queue-latency", "sglang", "tgi")
NAMESPACES: Final = 100
REPLICAS: Final = 2
"""Of each workload at the start; also its least."""


def name_of(index: int) -> str:
    return f"m{index:05}"


def namespace_of(index: int) -> str:
    return f"team-{index % NAMESPACES:02}"


def index_of(name: str) -> int:
    return int(name[1:])


def fleet_of(workloads: int) -> FleetSpec:
    """Return so many workloads, a third on each engine, spread over a hundred namespaces."""
    made = [_preset(name) for name in PRESETS]
    members = tuple(_member(made[index % len(made)], index) for index in range(workloads))
    return FleetSpec(members, {one: load_combiner(one) for one in {m.spec.combine for m in made}})


class Unchanging:
    """Policy files that are never written to."""

    def __init__(self, fleet: FleetSpec) -> None:
        self.loaded = LoadedFleet(fleet, {}, ())
        self.problem = ""

    def look(self) -> bool:
        return False


def _preset(name: str) -> ScaledWorkload:
    with as_file(files("policies") / "presets" / f"{name}.yaml") as path:
        (workload,) = load_fleet([path]).workloads
    return workload


def _member(preset: ScaledWorkload, index: int) -> ScaledWorkload:
    name, namespace, spec = name_of(index), namespace_of(index), preset.spec
    match = {label: namespace if label == "namespace" else name for label in spec.match}
    changes = {
        "target": spec.target.model_copy(update={"name": name}),
        "actuation": Actuation.SCALE,
        "replicas": Bounds(min=REPLICAS, max=16),
        "match": match,
    }
    where = preset.metadata.model_copy(update={"name": name, "namespace": namespace})
    spec = spec.model_copy(update=changes)
    return preset.model_copy(update={"metadata": where, "spec": spec})
