"""What `spec.behavior` means once every absent field has its default.

Source: Kubernetes `pkg/apis/autoscaling/v2/defaults.go`. Defaults are per field; a given policy
list replaces the default list.
"""

from dataclasses import dataclass
from typing import Final, Literal

from autoscaler.core.spec import Behavior, ScalingPolicy, ScalingRules

DOWNSCALE_STABILIZATION_SECONDS: Final = 300.0
"""Window of decreases where the file names none: the flag of the HPA controller."""

Select = Literal["Max", "Min", "Disabled"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How one direction may move, with nothing left open but the tolerance.

    Attributes:
        window_seconds: Stabilization window.
        select: Max (the larger change), Min (the smaller) or Disabled (no change).
        policies: Rate limits.
        tolerance: Relative distance from the target that is left alone; None: the global one.
    """

    window_seconds: int
    select: Select
    policies: tuple[ScalingPolicy, ...]
    tolerance: float | None

    @property
    def longest_period_seconds(self) -> int:
        """The longest period of the rate limits; 0 without any."""
        return max((policy.period_seconds for policy in self.policies), default=0)


@dataclass(frozen=True, slots=True)
class EffectiveBehavior:
    """Both directions."""

    scale_up: Limits
    scale_down: Limits


_UP: Final = (
    ScalingPolicy(type="Pods", value=4, period_seconds=15),
    ScalingPolicy(type="Percent", value=100, period_seconds=15),
)
_DOWN: Final = (ScalingPolicy(type="Percent", value=100, period_seconds=15),)


def effective(
    behavior: Behavior,
    downscale_stabilization_seconds: float = DOWNSCALE_STABILIZATION_SECONDS,
) -> EffectiveBehavior:
    """Fill in the defaults of a behavior. An absent behavior is another thing: see the rules.

    Args:
        behavior: As the file has it.
        downscale_stabilization_seconds: Window of decreases where it names none.
    """
    return EffectiveBehavior(
        _with_defaults(behavior.scale_up, 0, _UP),
        _with_defaults(behavior.scale_down, int(downscale_stabilization_seconds), _DOWN),
    )


def _with_defaults(
    rules: ScalingRules | None, window_seconds: int, policies: tuple[ScalingPolicy, ...]
) -> Limits:
    given = ScalingRules() if rules is None else rules
    window = given.stabilization_window_seconds
    return Limits(
        window_seconds if window is None else window,
        given.select_policy or "Max",
        policies if given.policies is None else given.policies,
        given.tolerance,
    )
