"""Combiners: how the answers of all policies become one number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.policy import Combiner, Vote
from policies.combine import first_live, highest, vote

ALL: dict[str, Combiner] = {
    "highest": highest.combine,
    "vote": vote.combine,
    "first-live": first_live.combine,
}


def says(replicas: int | None, policy: str = "a") -> Vote:
    return Vote(policy, live=True, replicas=replicas)


def floor(replicas: int | None, policy: str = "floor") -> Vote:
    return Vote(policy, live=True, replicas=replicas, may_lower=False)


def blind(policy: str = "blind") -> Vote:
    return Vote(policy, live=False, replicas=None)


A, B = says(3, "a"), says(5, "b")


@pytest.mark.parametrize(
    ("votes", "current", "expected", "reason"),
    [
        pytest.param([A, B], 4, 5, "b wants 5, the most", id="the most wins"),
        pytest.param([A, B], 8, 5, "b wants 5, the most", id="downwards too"),
        pytest.param([A, says(3, "b")], 1, 3, "a wants 3, the most", id="ties go to the first"),
        pytest.param([blind(), says(None), A], 8, 3, "a wants 3, the most", id="silence is none"),
        pytest.param([floor(3), says(2)], 10, 3, "floor wants 3, the most", id="a floor binds"),
        pytest.param([floor(3), B], 10, 5, "b wants 5, the most", id="and holds nobody back"),
        pytest.param([floor(3)], 2, 3, "floor wants 3, the most", id="a floor alone raises"),
        pytest.param(
            [floor(3), blind()], 10, 10, "floor wants at least 3, and nothing else lowers",
            id="and does not lower",
        ),
        pytest.param([blind(), says(None)], 4, None, "no policy has an opinion", id="nobody"),
        pytest.param([], 4, None, "no policy has an opinion", id="no policy"),
    ],
)  # fmt: skip
def test_highest(votes: list[Vote], current: int, expected: int | None, reason: str) -> None:
    verdict = highest.combine(votes, current)

    assert (verdict.replicas, verdict.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("votes", "current", "expected", "reason"),
    [
        pytest.param([A, B], 4, 5, "b wants 5, the largest raise", id="any may raise"),
        pytest.param(
            [A, B], 8, 5, "all agree to lower; b wants 5, the most", id="all agree to lower"
        ),
        pytest.param([A, B], 5, 5, "b wants the present 5", id="one wants to stay"),
        pytest.param(
            [A, says(None, "c")], 8, 8, "c has no opinion, so not all agree to lower",
            id="silence is no agreement",
        ),
        pytest.param(
            [A, blind()], 8, 3, "all agree to lower; a wants 3, the most",
            id="who cannot see is not asked",
        ),
        pytest.param(
            [A, floor(None)], 8, 3, "all agree to lower; a wants 3, the most",
            id="a silent floor is no veto",
        ),
        pytest.param(
            [A, floor(4)], 8, 4, "all agree to lower; floor wants 4, the most",
            id="a floor binds and is no veto",
        ),
        pytest.param([A, floor(9)], 8, 9, "floor wants 9, the largest raise", id="a floor raises"),
        pytest.param(
            [floor(4), blind()], 8, 8, "floor wants at least 4, and nothing else lowers",
            id="a floor alone does not lower",
        ),
        pytest.param([blind(), says(None)], 8, None, "no live policy has an opinion", id="nobody"),
    ],
)  # fmt: skip
def test_vote(votes: list[Vote], current: int, expected: int | None, reason: str) -> None:
    verdict = vote.combine(votes, current)

    assert (verdict.replicas, verdict.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("votes", "current", "expected", "reason"),
    [
        pytest.param([A, B], 4, 3, "a wants 3, the first that sees", id="the first decides"),
        pytest.param(
            [blind(), says(None), B, A], 8, 5, "b wants 5, the first that sees",
            id="who is blind or silent is passed over",
        ),
        pytest.param(
            [floor(4), A], 8, 4, "floor wants at least 4; a 3", id="an earlier floor binds"
        ),
        pytest.param(
            [A, floor(4)], 8, 3, "a wants 3, the first that sees", id="a later one does not"
        ),
        pytest.param([floor(2), A], 8, 3, "a wants 3, the first that sees", id="a low one neither"),
        pytest.param(
            [floor(4), floor(6, "f")], 8, 8, "f wants at least 6, and nothing else lowers",
            id="floors alone do not lower",
        ),
        pytest.param([floor(9)], 8, 9, "floor wants at least 9", id="and raise"),
        pytest.param([blind(), says(None)], 8, None, "no live policy has an opinion", id="nobody"),
    ],
)  # fmt: skip
def test_first_live(votes: list[Vote], current: int, expected: int | None, reason: str) -> None:
    verdict = first_live.combine(votes, current)

    assert (verdict.replicas, verdict.reason) == (expected, reason)


VOTES = st.lists(
    st.builds(
        Vote,
        policy=st.sampled_from("abc"),
        live=st.just(True),
        replicas=st.none() | st.integers(0, 50),
        may_lower=st.booleans(),
    )
    | st.just(blind()),
    max_size=6,
)


@pytest.mark.parametrize("combine", ALL.values(), ids=ALL)
@given(votes=VOTES, current=st.integers(0, 50))
def test_every_combiner_keeps_the_promises(
    combine: Combiner, votes: list[Vote], current: int
) -> None:
    opinions = [one.replicas for one in votes if one.replicas is not None]

    verdict = combine(votes, current)

    assert verdict.reason
    assert combine(tuple(votes), current) == verdict
    if not opinions:
        assert verdict.replicas is None
        return
    assert verdict.replicas is not None
    assert verdict.replicas in {*opinions, current}
    if verdict.replicas < current:
        assert any(one.may_lower and one.replicas is not None for one in votes)
    if all(one.may_lower for one in votes if one.live) and len(opinions) == 1:
        assert verdict.replicas in (opinions[0], current)


@pytest.mark.parametrize("combine", [highest.combine, vote.combine], ids=["highest", "vote"])
@given(votes=VOTES, current=st.integers(0, 50), place=st.integers(0, 5), more=st.integers(0, 9))
def test_who_wants_more_never_gets_fewer(
    combine: Combiner, votes: list[Vote], current: int, place: int, more: int
) -> None:
    raised = [
        Vote(one.policy, one.live, one.replicas + more, one.may_lower)
        if index == place and one.replicas is not None
        else one
        for index, one in enumerate(votes)
    ]

    before, after = combine(votes, current).replicas, combine(raised, current).replicas

    assert (before is None) == (after is None)
    assert (before or 0) <= (after or 0)
