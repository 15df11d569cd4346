"""What people and other controllers say of a workload's size, and which of them counts."""

from typing import Final

from autoscaler.core.decision import Reason
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.spec import Bounds

_REASONS: Final = {
    InterventionKind.SUSPENDED: Reason.SUSPENDED,
    InterventionKind.PAUSED: Reason.PAUSED,
    InterventionKind.REPLICAS: Reason.OVERRIDDEN,
    InterventionKind.EDITED: Reason.EDITED,
    InterventionKind.PAUSED_DOWN: Reason.PAUSED,
}


def intervened(
    wanted: int,
    current: int,
    now: float,
    bounds: Bounds,
    interventions: tuple[Intervention, ...],
) -> tuple[int, Reason, str]:
    """Return the number that the strongest intervention leaves, and why.

    Args:
        wanted: The number so far.
        current: Replicas found.
        now: Unix seconds.
        bounds: The least and the most replicas: a number set by hand stays within them.
        interventions: What people and other controllers have said.
    """
    if not interventions:
        return wanted, Reason.RECOMMENDED, ""
    standing = {one.kind: one for one in reversed(interventions) if one.holds(now)}
    for kind in InterventionKind:
        if kind in standing and kind is not InterventionKind.EXPECTED_MISSING:
            left = _as_said(standing[kind], wanted, current, bounds)
            if left < current and InterventionKind.PAUSED_DOWN in standing:
                return current, Reason.PAUSED, standing[InterventionKind.PAUSED_DOWN].text
            return left, _REASONS[kind], standing[kind].text
    return wanted, Reason.RECOMMENDED, "nobody has a say in it now"


def _as_said(said: Intervention, wanted: int, current: int, bounds: Bounds) -> int:
    match said.kind:
        case InterventionKind.PAUSED_DOWN:
            return max(wanted, current)
        case InterventionKind.REPLICAS if said.replicas is not None:
            return bounds.clamp(said.replicas)
        case _:
            return current
