"""vote: any live policy may raise; all live ones must agree to lower."""

from collections.abc import Sequence

from autoscaler.core.policy import Verdict, Vote


def combine(votes: Sequence[Vote], current: int) -> Verdict:
    """Return the largest raise; or else, if all agree to lower, the largest of their counts.

    A live policy without an opinion does not agree. A vote that may not lower is a floor: it has
    no voice in lowering, and binds from below.
    """
    opinions = [(vote.replicas, vote) for vote in votes if vote.live and vote.replicas is not None]
    if not opinions:
        return Verdict(None, "no live policy has an opinion")
    most, winner = max(opinions, key=lambda opinion: opinion[0])
    if most > current:
        return Verdict(most, f"{winner.policy} wants {most}, the largest raise")
    voters = [vote for vote in votes if vote.live and vote.may_lower]
    silent = [vote.policy for vote in voters if vote.replicas is None]
    if most == current:
        return Verdict(current, f"{winner.policy} wants the present {current}")
    if not voters:
        return Verdict(current, f"{winner.policy} wants at least {most}, and nothing else lowers")
    if silent:
        return Verdict(current, f"{silent[0]} has no opinion, so not all agree to lower")
    return Verdict(most, f"all agree to lower; {winner.policy} wants {most}, the most")
