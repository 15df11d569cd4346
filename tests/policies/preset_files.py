"""The presets that ship, and the policies in them."""

from functools import cache
from pathlib import Path

from autoscaler.config import load_fleet
from autoscaler.core.policy import Policy
from autoscaler.core.workload import ScaledWorkload

ROOT = Path(__file__).resolve().parents[2]
PRESETS = tuple(sorted((ROOT / "policies" / "presets").glob("*.yaml")))


@cache
def workload_of(preset: Path) -> ScaledWorkload:
    """The one workload of a preset."""
    (workload,) = load_fleet([preset]).workloads
    return workload


def policies_in_presets() -> list[Policy]:
    """Every policy of every preset, in file order."""
    return [policy for preset in PRESETS for policy in workload_of(preset).spec.policies]
