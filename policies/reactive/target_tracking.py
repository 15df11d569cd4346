"""target-tracking: as many replicas as the load divided by what one should carry."""

from typing import Annotated, Literal

from pydantic import Field

from autoscaler.core.observation import Observation
from autoscaler.core.policy import Policy, Recommendation, up
from autoscaler.core.spec import Number


class TargetTracking(Policy):
    """Run enough replicas that each carries at most `target` of the signal.

    With a fleet-wide total the need is `total / target`, whoever serves it: replicas that are
    still starting change nothing about it, so that one burst is not answered twice.
    """

    type: Literal["target-tracking"] = "target-tracking"

    signal: Annotated[str, Field(min_length=1)]
    """A fleet-wide total, such as requests in flight or tokens per second."""

    target: Annotated[float, Number, Field(gt=0)]
    """What one replica should carry, in the signal's unit."""

    tolerance: Annotated[float, Number, Field(ge=0, lt=1)] = 0.1
    """Relative distance from the target that is left alone."""

    per_replica: bool = False
    """The signal is an average over the ready replicas, not a total."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    def recommend(self, observation: Observation) -> Recommendation:
        value = observation.signal(self.signal).latest
        replicas = observation.replicas
        seen = {self.signal: value, "target": self.target}
        if not self.per_replica:
            total, saw = value, f"{self.signal} is {value:g} in total"
        elif replicas.ready > 0:
            total = value * replicas.ready
            saw = f"{self.signal} is {value:g} on average over {replicas.ready} ready"
        else:
            return Recommendation(
                None, f"{self.signal} is an average and no replica is ready to have one", seen
            )
        count = up(total / self.target)
        carried = replicas.desired * self.target
        on_target = replicas.desired > 0 and abs(total - carried) <= self.tolerance * carried
        if on_target:
            count = replicas.desired
            within = f"within {self.tolerance:.0%} of what {count} should carry"
        else:
            within = f"{count} needed"
        return Recommendation(
            count,
            f"{saw}, {self.target:g} for each replica: {within}",
            seen | {"total": total},
        )
