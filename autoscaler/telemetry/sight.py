"""Whether a workload is decided with open eyes, and by what names its policies are shown."""

from collections.abc import Iterable, Sequence
from typing import Final

from autoscaler.core.decision import Cycle, Decision, Proposal, Reason
from autoscaler.core.observation import GapReason

_LONG_CAUSE: Final = 30
"""Letters of a cause that is not told twice: a shorter one is no longer than what replaces it."""


def why_blind(cycle: Cycle, decision: Decision) -> str:
    """Return why nothing useful is seen of a workload; empty where something is.

    Blind is: the target was not seen, or no policy could see enough. A workload asleep at 0
    whose series are simply absent is not blind, for a sleeping engine exports nothing; nor is one
    whose size alone decides (outside its bounds, turned off by hand).
    """
    if decision.replicas is None or decision.reason is Reason.FALLBACK:
        return decision.text
    for proposal in decision.proposals:
        if proposal.live:
            return ""
    if not decision.proposals:
        return ""
    seen = cycle.snapshot.observations.get(decision.workload)
    gaps = seen.missing.values() if seen is not None else ()
    if decision.current == 0 and all(gap.reason is GapReason.EMPTY for gap in gaps):
        return ""
    return said_once(decision, "; ".join(f"{one.policy}: {one.why}" for one in decision.proposals))


def said_once(decision: Decision, text: str, again: str = "the same") -> str:
    """Return a text in which each long cause stands once.

    A source that is down is the cause of every signal and of every policy that rests on one.

    Args:
        decision: Whose readings name the causes.
        text: What is to be shown of it.
        again: What stands for a cause from its second time on.
    """
    causes = {one.why for one in decision.readings if len(one.why) >= _LONG_CAUSE}
    for cause in sorted(causes, key=lambda one: (-len(one), one)):
        before, found, after = text.partition(cause)
        text = before + found + after.replace(cause, again)
    return text


def why_held(decision: Decision) -> str:
    """Return why a decrease is not made for want of trust; empty where none is wanted, or it is.

    What rests on an ageing signal counts as at least the present size already when it is combined;
    what else is not trusted is held by a rule.
    """
    for step in decision.steps:
        if step.rule == "hold_blind":
            return step.text
    current = decision.current
    if current is None or decision.replicas != current:
        return ""
    answers = [one.recommendation for one in decision.proposals]
    wanted = [one.replicas for one in answers if one is not None and one.replicas is not None]
    if max(wanted, default=current) >= current:
        return ""
    doubts = [
        f"{one.signal} is {one.state} ({one.why})"
        for one in decision.readings
        if one.usable and not one.may_lower
    ]
    return f"no decrease: {'; '.join(doubts)}" if doubts and not decision.steps else ""


def by_label(proposals: Sequence[Proposal]) -> Iterable[tuple[str, Proposal]]:
    """Return each proposal with a label of its own: a second one of a label is called `label#2`."""
    labels = [proposal.policy for proposal in proposals]
    if len(set(labels)) < len(labels):
        counts: dict[str, int] = {}
        for place, label in enumerate(labels):
            count = counts[label] = counts.get(label, 0) + 1
            labels[place] = label if count == 1 else f"{label}#{count}"
    return zip(labels, proposals, strict=True)
