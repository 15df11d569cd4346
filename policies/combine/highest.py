"""highest: the most that any policy wants."""

from collections.abc import Sequence

from autoscaler.core.policy import Verdict, Vote


def combine(votes: Sequence[Vote], current: int) -> Verdict:
    """Return the largest opinion.

    A vote that may not lower is a floor: it binds from below and holds nobody else back. Where
    floors are all there is, the workload does not shrink.
    """
    opinions = [(vote.replicas, vote) for vote in votes if vote.replicas is not None]
    if not opinions:
        return Verdict(None, "no policy has an opinion")
    most, winner = max(opinions, key=lambda opinion: opinion[0])
    if most < current and not any(vote.may_lower for _, vote in opinions):
        return Verdict(current, f"{winner.policy} wants at least {most}, and nothing else lowers")
    return Verdict(most, f"{winner.policy} wants {most}, the most")
