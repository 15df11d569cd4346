"""What the rules are reminded of: kept, and forgotten, so that they answer as the HPA does.

Of recommendations the HPA keeps all that a window reaches; here those go that no window can ask
for any more, which changes no answer. Of changes it appends none while there is one that no
period reaches: that one is overwritten, even where a longer period of the other direction would
still ask for it, so its rate limits can count fewer changes than were made. That is kept to the
letter. Source: `horizontal.go` (stabilizeRecommendation, stabilizeRecommendationWithBehaviors,
storeScaleEvent).
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

    Args:
        past: What earlier cycles left, none of it later than `now`.
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
    return past.recalling(_binding(past.recommendations, Mark(now, count), longest), memories)


def _binding(marks: tuple[Mark, ...], newest: Mark, longest: float) -> tuple[Mark, ...]:
    """Return the recommendations that a window that ends now or later can still ask for.

    Windows ask for their highest and their lowest one. One that a later one equals or exceeds,
    and another equals or undercuts, is neither in any window: a steady workload keeps one.
    """
    highest = lowest = newest.count
    kept = [newest]
    for mark in reversed(marks):
        if lowest <= mark.count <= highest:
            continue
        if age(newest.time, mark.time) <= longest:
            kept.append(mark)
            highest, lowest = max(highest, mark.count), min(lowest, mark.count)
    return tuple(reversed(kept))


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
