"""What the rules are reminded of: kept, and forgotten, exactly as the HPA does.

The HPA appends nothing while an entry that no window or period reaches can be overwritten. What
it has overwritten is gone, even where a longer window of the other direction would still ask for
it; so its rate limits can count fewer changes than were made. Source: `horizontal.go`
(stabilizeRecommendation, stabilizeRecommendationWithBehaviors, storeScaleEvent).
"""

from collections.abc import Mapping
from dataclasses import replace

from autoscaler.core.behavior import DOWNSCALE_STABILIZATION_SECONDS, Behavior, effective
from autoscaler.core.observation import Memory
from autoscaler.core.past import Mark, Past, age


def remember(
    past: Past,
    now: float,
    count: int,
    behavior: Behavior | None,
    downscale_stabilization_seconds: float = DOWNSCALE_STABILIZATION_SECONDS,
    memories: Mapping[str, Memory] | None = None,
) -> Past:
    """Return the past with one more recommendation, as it was before any rule.

    It takes the place of the last one that is older than both windows, if there is one.

    Args:
        past: What earlier cycles left.
        now: Unix seconds.
        count: What the policies together want.
        behavior: The workload's `spec.behavior`.
        downscale_stabilization_seconds: Window of decreases where behavior names none.
        memories: What the policies want to find again, if that is new.
    """
    longest = downscale_stabilization_seconds
    if behavior is not None:
        limits = effective(behavior, downscale_stabilization_seconds)
        longest = max(limits.scale_up.window_seconds, limits.scale_down.window_seconds)
    marks = past.recommendations
    edge = now - longest + 1e-3  # far from the edge there is nothing to round
    spent = [
        place
        for place, mark in enumerate(marks)
        if mark.time < edge and age(now, mark.time) > longest
    ]
    return past.recalling(_placed(marks, spent, Mark(now, count)), memories)


def note_change(past: Past, now: float, before: int, after: int, behavior: Behavior | None) -> Past:
    """Return the past with one more change of size.

    It takes the place of the last change of its direction that was once found older than that
    direction's longest period, if there is one. Without a behavior no rate limit asks, and only
    the change of direction is kept.

    Args:
        past: What earlier cycles left.
        now: Unix seconds.
        before: Replicas before the change.
        after: Replicas after it.
        behavior: The workload's `spec.behavior`.
    """
    past = past.turned(now, before, after)
    if behavior is None or before == after:
        return past
    limits = effective(behavior)
    if after > before:
        period = limits.scale_up.longest_period_seconds
        return replace(past, scale_ups=_with_event(past.scale_ups, now, after - before, period))
    period = limits.scale_down.longest_period_seconds
    return replace(past, scale_downs=_with_event(past.scale_downs, now, before - after, period))


def note_done(past: Past, now: float, before: int, after: int, behavior: Behavior | None) -> Past:
    """Return the past with one more change that we made ourselves; see `note_change`."""
    if before == after:
        return past
    past = note_change(past, now, before, after, behavior)
    return replace(past, desired=after, asleep=after == 0)


def _with_event(marks: tuple[Mark, ...], now: float, count: int, period: float) -> tuple[Mark, ...]:
    marks = tuple(
        replace(mark, outdated=True) if age(now, mark.time) > period else mark for mark in marks
    )
    spent = [place for place, mark in enumerate(marks) if mark.outdated]
    return _placed(marks, spent, Mark(now, count))


def _placed(marks: tuple[Mark, ...], spent: list[int], mark: Mark) -> tuple[Mark, ...]:
    """Put a mark into the last spent place, or at the end."""
    if not spent:
        return (*marks, mark)
    return (*marks[: spent[-1]], mark, *marks[spent[-1] + 1 :])
