"""What is in memory is answered without waiting, and only that."""

import asyncio
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from metrics_adapter.access import ALLOW_SECONDS, Access
from metrics_adapter.identity import MASTERS, User
from metrics_adapter.patience import Patience
from metrics_adapter.selectors import parse
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import CUSTOM, EXTERNAL, Attributes
from metrics_adapter.turns import FEW_STEPS, at_once
from tests.metrics_adapter.plans import a_board, a_row

USER = User("somebody", groups=("team",))
WANTED = Attributes("", "list", EXTERNAL, "v1beta1", "llm", "load")
OF_PODS = Attributes("", "get", CUSTOM, "v1beta2", "llm", "pods", "load", "*")
PATH = Attributes(path="/apis")


class _Judge:
    """An API server that allows what it is told to, and counts the questions."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.asked = 0

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        del method, path
        assert body is not None
        self.asked += 1
        spec = body["spec"]
        resource = spec.get("resourceAttributes", spec.get("nonResourceAttributes"))
        name = resource.get("resource") or resource["path"]
        return {"status": {"allowed": name in self.allowed}}


def _asked(judge: _Judge, user: User, wanted: Attributes, later: float = 0.0) -> bool:
    """Return what is known so long after it was asked whether the user may."""

    async def known() -> bool:
        clock = [0.0]
        access = Access(judge, lambda: clock[0])
        assert not access.knows(user, wanted)
        with suppress(RefusalError):
            await access.check(user, wanted, trusted=True)
        before, clock[0] = judge.asked, later
        found = access.knows(user, wanted)
        assert judge.asked == before
        return found

    return asyncio.run(known())


@pytest.mark.parametrize(
    ("wanted", "allowed", "later", "known"),
    [
        pytest.param(WANTED, ["*"], 0.0, True, id="everything"),
        pytest.param(WANTED, ["load"], 0.0, True, id="this metric"),
        pytest.param(WANTED, ["other"], 0.0, False, id="another metric"),
        pytest.param(WANTED, ["*"], ALLOW_SECONDS, False, id="too long ago"),
        pytest.param(OF_PODS, ["*"], 0.0, True, id="everything of pods"),
        pytest.param(OF_PODS, ["pods"], 0.0, True, id="this metric of pods"),
        pytest.param(PATH, ["/apis"], 0.0, True, id="a path"),
        pytest.param(PATH, [], 0.0, False, id="a path that is not open"),
    ],
)
def test_only_a_right_that_was_found_moments_ago_is_known(
    wanted: Attributes, allowed: list[str], later: float, known: bool
) -> None:
    assert _asked(_Judge(*allowed), USER, wanted, later) is known


def test_rights_of_one_user_are_not_another_s() -> None:
    async def known() -> tuple[bool, bool, bool]:
        access = Access(_Judge("*"), lambda: 0.0)
        await access.check(USER, WANTED, trusted=True)
        return (
            access.knows(USER, WANTED),
            access.knows(User("somebody", groups=("others",)), WANTED),
            access.knows(USER, OF_PODS),
        )

    assert asyncio.run(known()) == (True, False, False)


def test_masters_whom_somebody_vouches_for_may_and_nobody_is_asked() -> None:
    access = Access(_Judge())

    assert access.knows(User("root", groups=(MASTERS,)), WANTED)
    assert not access.knows(User("root", groups=(MASTERS,), known=False), WANTED)


@pytest.mark.parametrize("steps", range(2 * FEW_STEPS))
def test_few_steps_are_done_at_once_and_more_go_on_where_they_stopped(steps: int) -> None:
    done: list[int] = []

    def working() -> Generator[None, None, str]:
        for step in range(steps):
            done.append(step)
            yield
        return "done"

    work = working()
    found = at_once(work)

    assert (found == ("done",)) == (steps < FEW_STEPS)
    assert len(done) == min(steps, FEW_STEPS)
    if found is None:
        assert len(list(work)) == steps - FEW_STEPS
        assert done == list(range(steps))


def test_patience_counts_from_the_beginning_of_a_request() -> None:
    async def waits() -> str:
        patience = Patience(0.05)
        first = await patience.with_(asyncio.sleep(0.0, "in time"))
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await patience.with_(asyncio.sleep(60.0))
        return first

    assert asyncio.run(waits()) == "in time"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("workload=w7", id="one"),
        pytest.param("workload in (w3,w1,w20)", id="several, in the order of the plan"),
        pytest.param("model_name=llama,workload=w7", id="the narrower of two"),
        pytest.param("workload in (w9,w8),workload in (w8,w7)", id="two sets"),
        pytest.param("workload=nobody", id="nothing"),
        pytest.param("workload!=w7", id="all but one"),
        pytest.param("a!=b,c!=d,e!=f,g!=h,workload=w7", id="many parts"),
        pytest.param("", id="everything"),
    ],
)
def test_values_found_by_their_labels_are_those_that_looking_at_each_finds(text: str) -> None:
    group = a_board(*(a_row(f"w{n}") for n in range(30))).groups["llm", "load"]
    selector = parse(text)

    found = [one for one in group.candidates(selector) if selector.matches(one.labels)]

    assert found == [one for one in group.values if selector.matches(one.labels)]
