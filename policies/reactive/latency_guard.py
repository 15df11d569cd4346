"""latency-guard: keep a p95 latency below its objective, knowing that it is convex in load."""

import math
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from autoscaler.core.observation import Observation, Series
from autoscaler.core.policy import Policy, Recommendation, up
from autoscaler.core.spec import Number, Seconds, Slo
from policies.reactive.plateau import ALIKE, Plateau, Sizes
from policies.reactive.serving_size import ServingSize
from policies.reactive.too_few import TooFew
from policies.reactive.window import largest, mean, newest, slope, smallest

OBJECTIVES = ("ttft", "itl", "e2e")

IDLE_KEPT_SECONDS = 86400.0
"""How long the lowest latency seen counts as that of an idle replica: a whole day has a night."""

PLATEAU_KEPT_SECONDS = 86400.0
"""How long after a plateau a latency must last to be believed."""

GROWS, RUNS_AWAY = 0.02, 0.9
"""Seconds of delay per second: less may be chance, and more tells nothing further."""

WORSENS = 0.5
"""A latency that grows by this share of itself within `settleSeconds` is not waited for."""


class LatencyGuard(Policy):
    """Run enough replicas that the latency stays under a share of its objective.

    Latency is not proportional to load. Of a replica that is busy for the share `u` of the time it
    is about `T = T0 / (1 - u)`, T0 being the latency when idle: the form of the M/M/1 queue, and
    for lack of a better one that of every queue far from and close to saturation. So the latency is
    converted to load, and the replicas are counted from that:

        u = 1 - T0/T,   allowed = 1 - T0/(headroom * limit),   N = ready * u / allowed

    Beyond saturation T does not settle but grows, and then its growth tells the load: what leaves a
    queue that gets `a` times what it can do is later by (a - 1)/a seconds each second. The larger
    of the two loads counts, and one step is at most `maxStepFactor`.

    Replicas that are starting count: N is computed from those that serve and compared with all that
    were asked for. For `settleSeconds` after the serving number has changed the latency still
    speaks of the old one (it is a percentile over a rate window): a latency that does not get
    clearly worse is then left alone. After a raise it is watched for as long again.

    It lowers by one where the same form predicts less than `lowerHeadroom` of the limit for one
    replica fewer, from the worst latency of the window, and not to a count that lately proved too
    few.

    Replicas take waiting away, not the work itself. Where the average latency after a raise has not
    fallen by half of what the form predicted, T is (nearly) all T0, whatever was taken for it: T0
    follows from the averages at both sizes, n/T = n/T0 - a/T0. While this plateau counts, nothing
    is raised; and it lowers as far as to the size before that raise where the form, with that T0
    and the average of the window, predicts about the plateau, for nothing was gained by leaving
    it. It is forgotten after `rememberSeconds` (found again, after twice as long, up to four
    times), or as soon as the latency is clearly above it.
    """

    type: Literal["latency-guard"] = "latency-guard"

    signal: Annotated[str, Field(min_length=1)]
    """A fleet-wide p95 latency in seconds, such as ttft_p95."""

    objective: Literal["ttft", "itl", "e2e"] | None = None
    """Which limit of spec.slo it must keep; if absent, what the signal's name begins with."""

    headroom: Annotated[float, Number, Field(ge=0.01, le=1)] = 0.8
    """Share of the limit above which the workload grows."""

    lower_headroom: Annotated[float, Number, Field(ge=0.01, le=1)] = 0.6
    """Share of the limit that one replica fewer must be predicted to keep before it shrinks."""

    idle_seconds: Annotated[float, Number, Field(ge=1e-6)] | None = None
    """The latency of an idle replica; if absent, the lowest seen within a day."""

    max_step_factor: Annotated[float, Number, Field(gt=1, le=10)] = 2.0
    """One step is at most this many times the replicas that serve."""

    settle_seconds: Seconds = 120.0
    """How long the signal takes to show a change of replicas: the range of its query."""

    remember_seconds: Seconds = 1800.0
    """How long a count that proved too few, or more that did not help, is not tried again; doubles,
    up to four times."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lower_headroom > self.headroom:
            raise ValueError(
                f"lowerHeadroom should be at most headroom, "
                f"not {self.lower_headroom:g} > {self.headroom:g}"
            )
        if self.objective is None and not self.signal.startswith(OBJECTIVES):
            raise ValueError(
                f"objective should be given (ttft, itl or e2e): the signal's name {self.signal!r} "
                f"begins with none of them"
            )
        return self

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    def recommend(self, observation: Observation) -> Recommendation:
        now, replicas = observation.now, observation.replicas
        memory = observation.memory or {}
        series = observation.signal(self.signal)
        latency = series.latest
        size = ServingSize.follow(observation)
        lowest, lowest_seen = self._lowest(observation)
        too_few = TooFew.recall(memory)

        name, limit = self._limit(observation.terms.slo)
        settling = size.changed is not None and now < size.changed + self.settle_seconds
        sizes = Sizes.recall(memory).follow(
            replicas.ready, latency, now, self.remember_seconds, settling=settling
        )
        saw = f"{self.signal} is {latency:.3g} s"
        evidence = {self.signal: latency, "ready": float(replicas.ready)}
        count: int | None = None
        blind = self._blind(observation, name, limit)
        if limit is None or blind is not None:
            saw = blind or saw
        else:
            goal = self.headroom * limit
            # What was never seen idle is taken to be half of the goal at most: else a start in
            # the middle of an overload would look like the normal latency.
            idle = self.idle_seconds or min(lowest, goal / 2.0)
            sizes = sizes.judge(idle, now, self.settle_seconds, self.remember_seconds)
            plateau = self._plateau(sizes, observation, limit)
            unproved = settling or sizes.undecided(self.settle_seconds)
            saw += f", {goal:.3g} s allowed ({self.headroom:.0%} of {limit:g} s)"
            evidence["allowed"] = goal
            evidence["idle"] = idle if plateau is None else plateau.idle
            if latency > goal and unproved and not self._worsens(series, size):
                count = replicas.desired
                saw += f": waiting for {replicas.ready} ready replicas to show"
            elif latency > goal and not self._believed(sizes, observation, goal, limit):
                count = replicas.desired
                saw += f", but not yet for {self.settle_seconds:g} s; more lately did not help"
            elif latency > goal and plateau is None:
                wanted = self._wanted(observation, idle, goal, limit)
                count = max(wanted, replicas.desired)
                if replicas.starting == 0:
                    too_few = too_few.learn(replicas.ready, now, self.remember_seconds)
                saw += f": {wanted} needed, {replicas.ready} ready and {replicas.starting} starting"
            elif settling:
                count = replicas.desired
                saw += ": the number of ready replicas has just changed"
            elif plateau is not None:
                count, why = self._lower_on(plateau, observation, limit, too_few)
                saw += (
                    f"; more replicas did not help: {plateau.before:.3g} s at {plateau.fewer} "
                    f"and {plateau.after:.3g} s at {plateau.more}: {why}"
                )
            else:
                worst = largest(series)
                allowed = self.lower_headroom * limit
                count, why = self._lower(worst, observation, idle, allowed, too_few)
                saw += f": {why}"
        return Recommendation(
            count,
            saw,
            evidence,
            memory={
                "size": size.as_memory(),
                "lowest": lowest,
                "lowestSeen": lowest_seen,
                "tooFew": too_few.as_memory(),
                "sizes": sizes.as_memory(),
            },
        )

    def _worsens(self, series: Series, size: ServingSize) -> bool:
        """Whether it clearly does over the window, and is not better than when the number changed.

        What made it worse before that may be the want of those that serve now.
        """
        if series.latest < size.value_then(series):
            return False
        return slope(series) * self.settle_seconds > WORSENS * series.latest

    def _plateau(self, sizes: Sizes, observation: Observation, limit: float) -> Plateau | None:
        """The plateau, unless the latency has left it or runs away."""
        series, plateau = observation.signal(self.signal), sizes.plateau
        if plateau is None or observation.now >= plateau.until or plateau.left(mean(series)):
            return None
        return None if self._runs_away(observation, limit) else plateau

    def _believed(self, sizes: Sizes, observation: Observation, goal: float, limit: float) -> bool:
        """Whether a latency above the goal is one to act on.

        A single long request stays in the percentile for the range of its query. Where that proved
        to be what it was, a rise is to last longer.
        """
        found, now = sizes.plateau, observation.now
        if found is None or now >= found.seen + PLATEAU_KEPT_SECONDS:
            return True
        lately = newest(observation.signal(self.signal), self.settle_seconds)
        return bool((lately.values > goal).all()) or self._runs_away(observation, limit)

    def _runs_away(self, observation: Observation, limit: float) -> bool:
        """Whether requests come faster than they are served: a gap between tokens has no queue."""
        series = observation.signal(self.signal)
        queues = self._limit(observation.terms.slo)[0] != "itlP95Seconds"
        return queues and series.latest > limit and slope(series) > GROWS

    def _blind(self, observation: Observation, name: str, limit: float | None) -> str | None:
        """Why it can have no opinion."""
        if limit is None:
            return f"spec.slo.{name} is not set: no limit to keep"
        if min(observation.replicas.ready, observation.replicas.desired) == 0:
            latency = observation.signal(self.signal).latest
            return (
                f"{self.signal} is {latency:.3g} s, but nothing serves now: "
                f"it does not tell the load"
            )
        if self.idle_seconds is not None and self.idle_seconds >= self.headroom * limit:
            return (
                f"idleSeconds is {self.idle_seconds:g}, not below {self.headroom * limit:.3g} s: "
                f"no number of replicas would do"
            )
        return None

    def _limit(self, slo: Slo) -> tuple[str, float | None]:
        """The limit's name in the policy file, and its seconds."""
        objective = self.objective or self.signal[:4].rstrip("_")
        if objective == "ttft":
            return "ttftP95Seconds", slo.ttft_p95_seconds
        if objective == "itl":
            return "itlP95Seconds", slo.itl_p95_seconds
        return "e2eP95Seconds", slo.e2e_p95_seconds

    def _lowest(self, observation: Observation) -> tuple[float, float]:
        """The lowest latency of the last day, and when it was seen."""
        memory, series = observation.memory or {}, observation.signal(self.signal)
        lowest = smallest(series)
        if lowest <= 0:
            positive = series.values[series.values > 0]
            lowest = float(np.min(positive, initial=math.inf))
        kept = float(memory.get("lowest", math.inf))
        seen = float(memory.get("lowestSeen", -math.inf))
        if kept < lowest and observation.now < seen + IDLE_KEPT_SECONDS:
            return kept, seen
        return lowest, observation.now

    def _wanted(self, observation: Observation, idle: float, goal: float, limit: float) -> int:
        """The replicas for the load that the latency tells; at least one more than serve."""
        series, ready = observation.signal(self.signal), observation.replicas.ready
        load, growth = 1.0 - idle / series.latest, slope(series)
        if self._runs_away(observation, limit):
            load = max(load, 1.0 / (1.0 - min(growth, RUNS_AWAY)))
        wanted = up(ready * load / (1.0 - idle / goal))
        return min(max(wanted, ready + 1), up(ready * self.max_step_factor))

    def _lower_on(
        self, plateau: Plateau, observation: Observation, limit: float, too_few: TooFew
    ) -> tuple[int, str]:
        """One fewer where that is about as slow; the size before the plateau is not too few."""
        average = mean(observation.signal(self.signal))
        back = observation.replicas.desired > plateau.fewer
        allowed = self.lower_headroom * limit
        if back:
            allowed, too_few = max(allowed, ALIKE * plateau.level), TooFew()
        return self._lower(average, observation, plateau.idle, allowed, too_few)

    def _lower(
        self,
        latency: float,
        observation: Observation,
        idle: float,
        allowed: float,
        too_few: TooFew,
    ) -> tuple[int, str]:
        ready, desired = observation.replicas.ready, observation.replicas.desired
        fewer = desired - 1
        if fewer == 0:
            return desired, "the last replica stays"
        load = max(0.0, 1.0 - idle / latency) * ready / fewer if latency > 0 else 0.0
        plural = "s" if fewer > 1 else ""
        if load >= 1:
            return desired, f"{fewer} replica{plural} would be overloaded"
        predicted = idle / (1.0 - load)
        if predicted >= allowed:
            return (
                desired,
                f"{fewer} replica{plural} would have {predicted:.3g} s, not below {allowed:.3g} s",
            )
        if fewer < too_few.floor(observation.now):
            return desired, f"{too_few.count} replicas lately proved too few"
        return fewer, f"{fewer} replica{plural} would have {predicted:.3g} s"
