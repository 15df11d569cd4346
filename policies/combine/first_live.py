"""first-live: the first policy in the file that can see and has an opinion decides."""

from collections.abc import Sequence

from autoscaler.core.policy import Verdict, Vote


def combine(votes: Sequence[Vote], current: int) -> Verdict:
    """Return the count of the first live vote that has one; later votes are spare.

    A vote that may not lower is a floor: it decides nothing by itself, and binds from below if it
    stands before the one that decides.
    """
    floors: list[tuple[int, str]] = []
    for vote in votes:
        if not vote.live or vote.replicas is None:
            continue
        if not vote.may_lower:
            floors.append((vote.replicas, vote.policy))
            continue
        floor, name = max(floors, key=lambda found: found[0], default=(0, ""))
        if floor > vote.replicas:
            return Verdict(floor, f"{name} wants at least {floor}; {vote.policy} {vote.replicas}")
        return Verdict(vote.replicas, f"{vote.policy} wants {vote.replicas}, the first that sees")
    if not floors:
        return Verdict(None, "no live policy has an opinion")
    floor, name = max(floors, key=lambda found: found[0])
    if floor < current:
        return Verdict(current, f"{name} wants at least {floor}, and nothing else lowers")
    return Verdict(floor, f"{name} wants at least {floor}")
