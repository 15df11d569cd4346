"""`spec.behavior`, and what it means once every absent field has its default.

Source: Kubernetes `pkg/apis/autoscaling/v2/defaults.go`. Defaults are per field; a given policy
list replaces the default list.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from autoscaler.core.spec import Number, Spec, Tolerance

DOWNSCALE_STABILIZATION_SECONDS: Final = 300.0
"""Window of decreases where the file names none: the flag of the HPA controller."""

Select = Literal["Max", "Min", "Disabled"]


class ScalingPolicy(Spec):
    """One rate limit of the HPA v2 schema."""

    type: Literal["Pods", "Percent"]
    """Pods (a count) or Percent (of the size at the start of the period)."""

    value: Annotated[PositiveInt, Number]
    """Most change within the period."""

    period_seconds: Annotated[int, Number, Field(gt=0, le=1800)]
    """Length of the period."""


class ScalingRules(Spec):
    """How one direction may move; absent fields have the HPA's defaults."""

    stabilization_window_seconds: Annotated[int, Number, Field(ge=0, le=3600)] | None = None
    """Go only as far as every recommendation of this many seconds agrees."""

    select_policy: Select | None = None
    """Max: the policy that allows the larger change; Min: the smaller; Disabled: no change."""

    policies: tuple[ScalingPolicy, ...] | None = None
    """Rate limits; a given list replaces the default list."""

    tolerance: Tolerance | None = None
    """Relative distance from the target that is left alone in this direction."""


class Behavior(Spec):
    """`spec.behavior` of an autoscaling/v2 HorizontalPodAutoscaler, and a flap budget."""

    scale_up: ScalingRules | None = None
    """Limits of growth."""

    scale_down: ScalingRules | None = None
    """Limits of shrinking."""

    max_reversals_per_hour: Annotated[NonNegativeInt, Number] | None = None
    """Changes of direction within any hour before decreases wait; unlimited if absent."""

    @cached_property
    def limits(self) -> "EffectiveBehavior":
        """What it means with every default, worked out once."""
        return _filled(self, DOWNSCALE_STABILIZATION_SECONDS)


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
    if downscale_stabilization_seconds == DOWNSCALE_STABILIZATION_SECONDS:
        return behavior.limits
    return _filled(behavior, downscale_stabilization_seconds)


def _filled(behavior: Behavior, downscale_stabilization_seconds: float) -> EffectiveBehavior:
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
