"""Whether a workload is decided with open eyes, and by what names its policies are shown."""

from collections.abc import Iterator, Sequence

from autoscaler.core.decision import Cycle, Decision, Proposal, Reason
from autoscaler.core.observation import GapReason


def why_blind(cycle: Cycle, decision: Decision) -> str:
    """Return why nothing useful is seen of a workload; empty where something is.

    Blind is: the target was not seen, or no policy could see enough. A workload asleep at 0
    whose series are simply absent is not blind, for a sleeping engine exports nothing; nor is one
    whose size alone decides (outside its bounds, turned off by hand).
    """
    if decision.replicas is None or decision.reason is Reason.FALLBACK:
        return decision.text
    if not decision.proposals or any(proposal.live for proposal in decision.proposals):
        return ""
    seen = cycle.snapshot.observations.get(decision.workload)
    gaps = seen.missing.values() if seen is not None else ()
    if decision.current == 0 and all(gap.reason is GapReason.EMPTY for gap in gaps):
        return ""
    return "; ".join(f"{one.policy}: {one.why}" for one in decision.proposals)


def by_label(proposals: Sequence[Proposal]) -> Iterator[tuple[str, Proposal]]:
    """Yield each proposal with a label of its own: a second one of a label is called `label#2`."""
    counts: dict[str, int] = {}
    for proposal in proposals:
        count = counts[proposal.policy] = counts.get(proposal.policy, 0) + 1
        yield (proposal.policy if count == 1 else f"{proposal.policy}#{count}"), proposal
