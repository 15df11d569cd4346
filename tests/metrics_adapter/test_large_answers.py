"""Answers from many values or pods: made in small steps, bounded, and right whatever comes."""

import asyncio
import json
from collections.abc import Generator
from typing import Any

import pytest

from metrics_adapter import answers as answers_module
from metrics_adapter.answers import Answers
from metrics_adapter.board import board_end
from metrics_adapter.newest import Newest
from metrics_adapter.pods import Owned, Pod, PodLists
from metrics_adapter.selectors import Selector
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import Custom, External, read_path
from tests.metrics_adapter.conftest import Clock
from tests.metrics_adapter.plans import a_board, a_row, a_signal

EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm"
HOSTILE = ",".join(f"!k{n}" for n in range(32))


def all_of(steps: Generator[None, None, bytes]) -> tuple[Any, int]:
    """Return the document, and how many steps it took."""
    taken = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return json.loads(end.value), taken
        taken += 1


def external(metric: str = "load") -> External:
    asked = read_path(f"{EXTERNAL}/{metric}")
    assert isinstance(asked, External)
    return asked


def custom(path: str) -> Custom:
    asked = read_path(f"{CUSTOM}/{path}")
    assert isinstance(asked, Custom)
    return asked


def knowing(*rows: dict[str, Any]) -> tuple[Answers, Newest]:
    newest = Newest(Clock(0.0))
    newest.publish(a_board(*rows), 0.0)
    return Answers(newest), newest


def pods_of(workloads: int, each: int) -> Owned:
    return {
        ("Deployment", f"w{n}"): [
            Pod(f"w{n}-{m}", {"app": f"w{n}"}, ("Deployment", f"w{n}")) for m in range(each)
        ]
        for n in range(workloads)
    }


def test_every_pod_is_looked_at_once_however_many_workloads_there_are() -> None:
    queue = {"queue": a_signal(50.0, role="queue")}
    answers, _ = knowing(*(a_row(f"w{n}", signals=queue) for n in range(40)))

    document, taken = all_of(answers.pods(custom("pods/*/queue"), "", "", pods_of(50, 5)))

    assert taken == 40 + 40 * 5
    assert len(document["items"]) == 200
    assert {one["value"] for one in document["items"]} == {"10"}


def test_pods_show_values_of_the_workloads_whose_signal_is_a_total_or_a_level() -> None:
    answers, _ = knowing(
        *(a_row(f"w{n}", signals={"load": a_signal(5.0, role="other")}) for n in range(9)),
        a_row("w9", signals={"load": a_signal(5.0, role="latency")}),
    )

    document, _ = all_of(answers.pods(custom("pods/*/load"), "", "", pods_of(10, 1)))

    assert [one["describedObject"]["name"] for one in document["items"]] == ["w9-0"]


def test_pods_are_sorted_out_by_their_controller_once_for_a_list() -> None:
    items = [
        {
            "metadata": {
                "name": f"p{n}",
                "ownerReferences": [{"kind": "StatefulSet", "name": "s", "controller": True}],
            }
        }
        for n in range(3)
    ]

    class Api:
        async def ask(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"items": [*items, {"metadata": {"name": "alone"}}]}

    async def listed() -> Owned:
        return await PodLists(Api()).of("llm")

    owned = asyncio.run(listed())

    assert [one.name for one in owned["StatefulSet", "s"]] == ["p0", "p1", "p2"]
    assert [one.name for one in owned["", ""]] == ["alone"]


@pytest.mark.parametrize("selector", ["", HOSTILE], ids=["everything", "hostile"])
def test_values_are_looked_at_in_small_steps(selector: str) -> None:
    answers, _ = knowing(*(a_row(f"w{n}") for n in range(30)))
    objects = custom("deployments.apps/*/load")

    found, taken = all_of(answers.external(external(), selector))
    listed, walked = all_of(answers.objects(objects, selector, selector))

    assert (len(found["items"]), len(listed["items"])) == (30, 30)
    assert (taken, walked) == (30, 60)


@pytest.mark.parametrize("kind", ["external", "objects", "pods"])
def test_an_answer_that_has_begun_ends_whatever_plan_comes(kind: str) -> None:
    queue = {"queue": a_signal(50.0, role="queue")}
    answers, newest = knowing(*(a_row(f"w{n}", signals=queue) for n in range(30)))
    before = newest.board
    assert before is not None
    steps = {
        "external": lambda: answers.external(external("queue"), ""),
        "objects": lambda: answers.objects(custom("deployments.apps/*/queue"), "", ""),
        "pods": lambda: answers.pods(custom("pods/*/queue"), "", "", pods_of(30, 1)),
    }[kind]()
    next(steps)

    newest.publish(a_board(cycle="c-2"), 0.0)
    for _ in board_end(before):
        pass

    assert len(all_of(steps)[0]["items"]) == 30


def test_a_selector_is_written_out_once_for_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, _ = knowing(*(a_row(f"w{n}") for n in range(30)))
    written: list[Selector] = []
    write = answers_module._label_selector

    def counting(selector: Selector) -> dict[str, Any] | None:
        written.append(selector)
        return write(selector)

    monkeypatch.setattr(answers_module, "_label_selector", counting)

    document, _ = all_of(answers.objects(custom("deployments.apps/*/load"), "", "!k"))

    assert len(written) == 1
    shown = {"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]}
    assert all(one["metric"] == {"name": "load", "selector": shown} for one in document["items"])


def test_an_answer_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, _ = knowing(*(a_row(f"w{n}") for n in range(30)))
    monkeypatch.setattr(answers_module, "LARGEST_ANSWER", 6000)
    objects = custom("deployments.apps/*/load")

    assert len(all_of(answers.objects(objects, "", "workload=w3"))[0]["items"]) == 1
    with pytest.raises(RefusalError, match="the answer would be too large") as refused:
        all_of(answers.objects(objects, "", HOSTILE))
    assert refused.value.code == 400


def test_values_whose_sum_no_hpa_can_make_are_refused() -> None:
    """Each fits 64 bits of thousandths; the HPA's own sum would come out below zero."""
    signals = {
        "load": a_signal(9e15),
        "usage": a_signal(9e15, role="utilization"),
        "queue": a_signal(9e15, role="queue"),
    }
    answers, _ = knowing(a_row("w0", signals=signals), a_row("w1"))

    assert all_of(answers.external(external(), ""))[0]["items"][0]["value"] == "9P"
    shares = all_of(answers.pods(custom("pods/*/queue"), "", "", pods_of(1, 3)))[0]["items"]
    assert {one["value"] for one in shares} == {"3P"}

    answers, _ = knowing(a_row("w0", signals=signals), a_row("w1", signals=signals))
    assert len(all_of(answers.external(external(), "workload=w1"))[0]["items"]) == 1
    for steps in (
        answers.external(external(), ""),
        answers.pods(custom("pods/*/usage"), "", "", pods_of(1, 2)),
    ):
        with pytest.raises(RefusalError, match=r"add up to 1\.8e\+16: no HPA can add") as refused:
            all_of(steps)
        assert refused.value.code == 503
