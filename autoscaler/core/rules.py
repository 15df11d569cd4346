"""What may change the number after the policies: a fold over a short list of rules.

A rule takes the number so far and returns the number it allows, and why. Stabilization and rate
limits are those of the Kubernetes HPA v2, to the letter: `behavior: null` keeps its legacy rules,
`behavior: {}` has all defaults. Source: `pkg/controller/podautoscaler/horizontal.go` at v1.36.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autoscaler.core.behavior import (
    DOWNSCALE_STABILIZATION_SECONDS,
    Behavior,
    Limits,
    ScalingPolicy,
    effective,
)
from autoscaler.core.decision import Reason, Step
from autoscaler.core.integers import ceil, int32_of, wrap32
from autoscaler.core.interventions import intervened
from autoscaler.core.observation import Intervention
from autoscaler.core.past import HOUR_SECONDS, Mark, Past, age
from autoscaler.core.spec import Bounds
from autoscaler.core.swift import swift


@swift
@dataclass(frozen=True, slots=True)
class Case:
    """What the rules judge by.

    Attributes:
        now: The time of the cycle, Unix seconds.
        current: Replicas found.
        wanted: What the policies together want.
        bounds: The least and the most replicas; `current` lies within them, or is 0.
        behavior: `spec.behavior`.
        past: What earlier cycles left, without this one's recommendation.
        blind: Why no decrease is allowed; empty where all can be seen.
        disruptions_allowed: Replicas that may go at once; None where nothing limits that.
        interventions: What people and other controllers have said.
        broken: Why earlier replicas do not come up; empty where they do.
        downscale_stabilization_seconds: Window of decreases where behavior names none.
    """

    now: float
    current: int
    wanted: int
    bounds: Bounds
    behavior: Behavior | None
    past: Past
    blind: str = ""
    broken: str = ""
    disruptions_allowed: int | None = None
    interventions: tuple[Intervention, ...] = ()
    downscale_stabilization_seconds: float = DOWNSCALE_STABILIZATION_SECONDS


Rule = Callable[[int, Case], tuple[int, Reason, str]]
"""The number allowed, and why, for a number and the case. Pure."""


def apply(wanted: int, case: Case) -> tuple[int, tuple[Step, ...]]:
    """Fold the rules over a number.

    Returns:
        The number decided, and one step for each rule that changed it, in order.
    """
    steps = []
    for rule in RULES:
        allowed, reason, text = rule(wanted, case)
        if allowed != wanted:
            steps.append(Step(rule.__name__, wanted, allowed, reason, text))
            wanted = allowed
    return wanted, tuple(steps)


def outside_bounds(
    current: int, bounds: Bounds, *, asleep: bool | None = None
) -> tuple[int, Reason, str] | None:
    """Say what to do at once, without asking policies or rules, where the size found demands it.

    Args:
        current: Replicas found.
        bounds: The least and the most replicas.
        asleep: Whether 0 replicas are our own doing, so that demand may wake the workload; else
            somebody turned it off. None where that is not known: then a minimum of 0 says yes.

    Returns:
        The count to set, and why; None where policies and rules decide.
    """
    if current == 0:
        if bounds.min == 0 if asleep is None else asleep:
            return None
        return 0, Reason.TURNED_OFF, "somebody set 0 replicas: left alone until it is scaled up"
    if current > bounds.max:
        text = f"{current} replicas run, more than replicas.max {bounds.max}"
        return bounds.max, Reason.ABOVE_MAXIMUM, text
    if current < bounds.min:
        text = f"{current} replicas run, fewer than replicas.min {bounds.min}"
        return bounds.min, Reason.BELOW_MINIMUM, text
    return None


def hold_blind(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Never shrink on what was not seen."""
    if wanted < case.current and case.blind:
        return case.current, Reason.BLIND_NO_LOWERING, f"no decrease: {case.blind}"
    return _unchanged(wanted)


def stabilize(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Go only as far as every recommendation of the window agrees.

    With a behavior, the present size is pulled into the corridor between the lowest
    recommendation of the scaleUp window and the highest of the scaleDown window; one that is
    exactly a window old is out. Without, the highest of the window counts, that old one included.
    """
    marks, window = case.past.recommendations, case.downscale_stabilization_seconds
    if case.behavior is None:
        highest = max([wanted, *(m.count for m in marks if age(case.now, m.time) <= window)])
        return highest, Reason.STABILIZED, _text_of_window("highest", window, highest)
    limits = effective(case.behavior, window)
    lowest = min([wanted, *_recent(marks, case.now, limits.scale_up.window_seconds)])
    highest = max([wanted, *_recent(marks, case.now, limits.scale_down.window_seconds)])
    allowed = min(max(case.current, lowest), highest)
    if allowed == wanted:
        return _unchanged(wanted)
    which, count, limit = "highest", highest, limits.scale_down
    if allowed < wanted:
        which, count, limit = "lowest", lowest, limits.scale_up
    return allowed, Reason.STABILIZED, _text_of_window(which, limit.window_seconds, count)


def limit_rate(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Change no more within a period than `spec.behavior` allows.

    Where a bound is at least as tight, the number is left to `clamp`.
    """
    allowed, reason, text = limited(wanted, case)
    if reason in (Reason.AT_MINIMUM, Reason.AT_MAXIMUM):
        return _unchanged(wanted)
    return allowed, reason, text


def hold_rollout(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Add no replicas while earlier ones do not come up."""
    if wanted > case.current and case.broken:
        return case.current, Reason.BROKEN_ROLLOUT, f"no increase: {case.broken}"
    return _unchanged(wanted)


def spend_flap_budget(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Refuse a decrease that would be one change of direction too many within the hour.

    An increase is never refused: an outage is worse than a flap.
    """
    budget = case.behavior.max_reversals_per_hour if case.behavior is not None else None
    if budget is None or wanted >= case.current or case.past.direction <= 0:
        return _unchanged(wanted)
    turns = sum(age(case.now, time) < HOUR_SECONDS for time in case.past.turns)
    if turns < budget:
        return _unchanged(wanted)
    text = f"no decrease: {turns} changes of direction within the hour, {budget} are allowed"
    return case.current, Reason.FLAP_BUDGET, text


def keep_disruption_budget(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Let no more replicas go at once than their PodDisruptionBudgets would."""
    return within_disruptions(wanted, case.current, case.disruptions_allowed)


def clamp(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Stay within replicas.min and replicas.max; only a person has a later word."""
    if wanted < case.bounds.min:
        return _at_minimum(case.bounds)
    if wanted > case.bounds.max:
        return _at_maximum(case.bounds)
    return _unchanged(wanted)


def within_disruptions(
    wanted: int, current: int, disruptions_allowed: int | None
) -> tuple[int, Reason, str]:
    """Return the number that is left when so many replicas may go at once; None: any."""
    if disruptions_allowed is None or wanted >= current:
        return _unchanged(wanted)
    text = f"a PodDisruptionBudget lets {disruptions_allowed} go at once"
    return max(wanted, current - max(0, disruptions_allowed)), Reason.DISRUPTION_BUDGET, text


def obey(wanted: int, case: Case) -> tuple[int, Reason, str]:
    """Do as a person says, and leave alone what another controller drives."""
    if not case.interventions:
        return _unchanged(wanted)
    said = intervened(wanted, case.current, case.now, case.bounds, case.interventions)
    kept = within_disruptions(said[0], case.current, case.disruptions_allowed)
    return said if kept[0] == said[0] else (kept[0], kept[1], f"{said[2]}; {kept[2]}")


RULES: Final[tuple[Rule, ...]] = (
    hold_blind,
    stabilize,
    limit_rate,
    hold_rollout,
    spend_flap_budget,
    keep_disruption_budget,
    clamp,
    obey,
)
"""In the order in which they are folded."""


def limited(stabilized: int, case: Case) -> tuple[int, Reason, str]:
    """Return what the HPA makes of a stabilized number: rate limits, and the bound on that side.

    Where limit and bound are equal the bound is named, as there.
    """
    bounds, within = case.bounds, _unchanged(stabilized)
    if case.behavior is None:
        if stabilized < bounds.min:
            return _at_minimum(bounds)
        limit = max(2 * case.current, 4)
        text = f"without spec.behavior a size is at most doubled, or 4, at once: {limit}"
        ceiling = (limit, Reason.RATE_LIMITED, text) if limit < bounds.max else _at_maximum(bounds)
        return ceiling if stabilized > ceiling[0] else within
    limits = effective(case.behavior, case.downscale_stabilization_seconds)
    if stabilized > case.current:
        ceiling = _highest_allowed(case, limits.scale_up)
        ceiling = ceiling if ceiling[0] < bounds.max else _at_maximum(bounds)
        return ceiling if stabilized > ceiling[0] else within
    if stabilized < case.current:
        floor = _lowest_allowed(case, limits.scale_down)
        floor = floor if floor[0] > bounds.min else _at_minimum(bounds)
        return floor if stabilized < floor[0] else within
    return within


def _unchanged(wanted: int) -> tuple[int, Reason, str]:
    """Say nothing: most rules have nothing to say in most cycles."""
    return wanted, Reason.RECOMMENDED, ""


def _at_maximum(bounds: Bounds) -> tuple[int, Reason, str]:
    return bounds.max, Reason.AT_MAXIMUM, f"replicas.max is {bounds.max}"


def _at_minimum(bounds: Bounds) -> tuple[int, Reason, str]:
    return bounds.min, Reason.AT_MINIMUM, f"replicas.min is {bounds.min}"


def _recent(marks: tuple[Mark, ...], now: float, seconds: float) -> list[int]:
    return [mark.count for mark in marks if age(now, mark.time) < seconds]


def _text_of_window(which: str, seconds: float, count: int) -> str:
    return f"the {which} recommendation of the last {seconds:g} s is {count}"


def _highest_allowed(case: Case, limits: Limits) -> tuple[int, Reason, str]:
    """The largest size that scaleUp allows now; never below the present one."""
    if limits.select == "Disabled" or not limits.policies:
        return case.current, Reason.SCALING_DISABLED, "scaleUp is disabled"
    allowed = [(_raised(_base(case, policy), policy), policy) for policy in limits.policies]
    choose = min if limits.select == "Min" else max
    limit, policy = choose(allowed, key=lambda pair: pair[0])
    text = f"scaleUp allows {_text_of(policy)}: {max(limit, case.current)} now"
    return max(limit, case.current), Reason.RATE_LIMITED, text


def _lowest_allowed(case: Case, limits: Limits) -> tuple[int, Reason, str]:
    """The smallest size that scaleDown allows now; never above the present one."""
    if limits.select == "Disabled" or not limits.policies:
        return case.current, Reason.SCALING_DISABLED, "scaleDown is disabled"
    allowed = [(_lowered(_base(case, policy), policy), policy) for policy in limits.policies]
    choose = max if limits.select == "Min" else min
    limit, policy = choose(allowed, key=lambda pair: pair[0])
    text = f"scaleDown allows {_text_of(policy)}: {min(limit, case.current)} now"
    return min(limit, case.current), Reason.RATE_LIMITED, text


def _base(case: Case, policy: ScalingPolicy) -> int:
    """The size at the start of a policy's period; changes of both directions count."""
    added = sum(_recent(case.past.scale_ups, case.now, policy.period_seconds))
    removed = sum(_recent(case.past.scale_downs, case.now, policy.period_seconds))
    return wrap32(case.current - added + removed)


def _raised(base: int, policy: ScalingPolicy) -> int:
    if policy.type == "Pods":
        return wrap32(base + policy.value)
    # Rounded up, or a small workload would never grow. The order of the operations decides
    # the last bit, and with it the count.
    return int32_of(ceil(float(base) * (1 + float(policy.value) / 100)))


def _lowered(base: int, policy: ScalingPolicy) -> int:
    if policy.type == "Pods":
        return wrap32(base - policy.value)
    return int32_of(float(base) * (1 - float(policy.value) / 100))


def _text_of(policy: ScalingPolicy) -> str:
    unit = " %" if policy.type == "Percent" else " replicas"
    return f"{policy.value}{unit} in {policy.period_seconds} s"
