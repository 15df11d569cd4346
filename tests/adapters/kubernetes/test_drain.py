"""Who goes first: pods that do not serve, then the least loaded."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.drain import Drain, choose, pod_loads
from autoscaler.adapters.kubernetes.label_selectors import Selector
from autoscaler.adapters.kubernetes.pods import DELETION_COST, MARK, Pod, read_pod
from autoscaler.core.observation import PodSample, PodStatus
from tests.adapters.kubernetes.bodies import NOON, a_pod
from tests.builders import a_workload, seen
from tests.fakes.kubernetes import FakeApiServer

CHAT = Selector((("app", "chat"),))
PODS = "/api/v1/namespaces/llm/pods"
OURS = {DELETION_COST: "-1000000", MARK: "1700000000"}


def named(pods: list[dict[str, object]]) -> list[Pod]:
    return [read_pod(pod) for pod in pods]


def chosen(
    gone: int, *pods: dict[str, object], loads: Mapping[str, float] | None = None, most: int = 50
) -> list[str]:
    return [pod.name for pod, _ in choose(named(list(pods)), gone, loads or {}, most).low]


A, B, C = (a_pod(name) for name in "abc")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(chosen(1, A, B, C, loads={"a": 3, "b": 1, "c": 2}), ["b"], id="least loaded"),
        pytest.param(
            chosen(2, A, B, C, loads={"a": 3, "b": 1, "c": 2}), ["b", "c"], id="in that order"
        ),
        pytest.param(
            chosen(1, A, B, C, loads={"a": 9}), ["a"], id="without a sample counts as busier"
        ),
        pytest.param(
            chosen(1, A, a_pod("young", created="2023-11-14T22:13:21Z"), C),
            ["young"],
            id="the youngest where no load is known",
        ),
        pytest.param(
            chosen(1, A, a_pod("b", ready=False), C), [], id="who does not serve goes by itself"
        ),
        pytest.param(
            chosen(2, A, a_pod("b", ready=False), C, loads={"a": 2, "c": 1}),
            ["c"],
            id="and the next beside it",
        ),
        pytest.param(chosen(3, A, B, C), [], id="all go anyway"),
        pytest.param(chosen(2, A, B, C, most=1), ["a"], id="no more than allowed"),
        pytest.param(chosen(1, A, a_pod("b", deleting=True)), ["a"][:0], id="one is left"),
    ],
)
def test_who_goes_first(found: list[str], expected: list[str]) -> None:
    assert found == expected


def test_a_cost_of_somebody_else_is_left_alone() -> None:
    costs = choose(named([A, a_pod("b", annotations={DELETION_COST: "7"})]), 1, {}, 50)

    assert costs.why == "somebody else sets the pods' deletion cost"
    assert (costs.low, costs.reset) == ((), ())


def test_who_was_chosen_before_and_is_not_now_is_reset() -> None:
    costs = choose(named([a_pod("a", annotations=OURS), B]), 1, {"a": 9, "b": 1}, 50)

    assert [pod.name for pod, _ in costs.low] == ["b"]
    assert [pod.name for pod in costs.reset] == ["a"]


pods = st.lists(
    st.builds(
        Pod,
        st.just("llm"),
        st.just({}),
        st.builds(
            PodStatus,
            st.text("pqrst", min_size=1, max_size=4),
            ready=st.booleans(),
            deleting=st.booleans(),
        ),
    ),
    unique_by=lambda pod: pod.name,
    max_size=12,
)


@given(
    pods=pods,
    gone=st.integers(1, 12),
    loads=st.dictionaries(st.text("pqrst", min_size=1, max_size=4), st.floats(0, 9)),
    most=st.integers(0, 5),
)
def test_nobody_busier_goes_before_somebody_idler(
    pods: list[Pod], gone: int, loads: dict[str, float], most: int
) -> None:
    costs = choose(pods, gone, loads, most)

    leave = [pod for pod, _ in costs.low]
    stay = [pod for pod in pods if pod.serves and pod not in leave]
    assert len(leave) <= min(gone, most)
    assert all(pod.serves for pod in leave)
    inf = float("inf")
    assert all(
        loads.get(one.name, inf) <= loads.get(other.name, inf) for one in leave for other in stay
    )
    assert [cost for _, cost in costs.low] == sorted({cost for _, cost in costs.low})
    assert all(cost < 0 for _, cost in costs.low)


def prepare(drain: Drain, gone: int = 1, *, may_write: bool = True) -> str:
    return drain.prepare(
        "llm", CHAT, gone, loads={"a": 2.0, "b": 1.0}, now=NOON, may_write=lambda: may_write
    )


def costs_in(api: FakeApiServer) -> dict[str, str | None]:
    return {
        pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(DELETION_COST)
        for pod in api.objects(PODS)
    }


def test_costs_are_written_and_taken_back(api: FakeApiServer, connection: Connection) -> None:
    api.add(A, B, C)
    drain = Drain(connection, keep_seconds=120)

    assert prepare(drain) == ""
    assert costs_in(api) == {"a": None, "b": "-1000000", "c": None}
    assert {request.query["fieldManager"] for request in api.requests.writes} == {
        "inference-autoscaler"
    }

    # To prepare the same again writes nothing.
    api.requests.clear()
    assert prepare(drain) == ""
    assert api.requests.writes == []

    followed = named(api.objects(PODS))
    assert drain.tidy(followed, NOON + 120, lambda: True) == ""
    assert api.requests.writes == []
    assert drain.tidy(followed, NOON + 121, lambda: True) == ""
    assert costs_in(api) == {"a": None, "b": None, "c": None}


def test_no_more_pods_are_written_to_than_allowed(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(*(a_pod(f"p{number}") for number in range(9)))

    Drain(connection, most_patches=3).prepare(
        "llm", CHAT, 6, loads={}, now=NOON, may_write=lambda: True
    )

    assert len(api.requests.writes) == 3


def test_who_may_not_list_pods_is_told(api: FakeApiServer, connection: Connection) -> None:
    with api.faults.during(method="GET", path="pods", status=403):
        said = prepare(Drain(connection))

    assert said.startswith("no pod was given a deletion cost: list pods llm: 403")


def test_who_may_not_patch_pods_is_told(api: FakeApiServer, connection: Connection) -> None:
    api.add(A, B, C)
    with api.faults.during(method="PATCH", status=403):
        said = prepare(Drain(connection), 2)

    assert said.startswith("0 of 2 deletion costs were written: patch pods llm/b: 403")


def test_a_write_that_fails_is_not_tried_again(api: FakeApiServer, connection: Connection) -> None:
    api.add(A, B, C)
    with api.faults.during(method="PATCH", status=503) as failing:
        said = prepare(Drain(connection), 2)

    assert failing.hits == 1
    assert said.startswith("0 of 2 deletion costs were written: patch pods llm/b: 503")


def test_a_pod_that_went_meanwhile_is_as_good(api: FakeApiServer, connection: Connection) -> None:
    api.add(A, B, C)
    api.faults.add(method="PATCH", status=404)

    assert prepare(Drain(connection), 2) == ""


def test_a_pod_with_a_foreign_cost_is_told(api: FakeApiServer, connection: Connection) -> None:
    api.add(a_pod("a", annotations={DELETION_COST: "7"}), B)

    assert prepare(Drain(connection)) == (
        "no pod was given a deletion cost: somebody else sets the pods' deletion cost"
    )
    assert api.requests.writes == []


def test_who_no_longer_leads_writes_nothing(api: FakeApiServer, connection: Connection) -> None:
    api.add(A, B)

    assert prepare(Drain(connection), may_write=False) == (
        "0 of 1 deletion costs were written in time"
    )
    assert api.requests.writes == []


def test_pods_that_nobody_tells(connection: Connection) -> None:
    said = Drain(connection).prepare("llm", None, 1, loads={}, now=NOON, may_write=lambda: True)

    assert said == "no pod was given a deletion cost: its /scale does not tell its pods"


def test_the_load_is_the_queue_where_it_is_sampled() -> None:
    workload = a_workload(
        signals={"kv": {"role": "utilization"}, "rest": {}, "queue": {"role": "queue"}}
    )
    kv = {"a": PodSample(0.5, NOON)}
    queue = {"a": PodSample(3.0, NOON), "b": PodSample(1.0, NOON)}

    assert pod_loads(workload, seen(pod_samples={"kv": kv, "queue": queue})) == {"a": 3.0, "b": 1.0}
    assert pod_loads(workload, seen(pod_samples={"kv": kv})) == {"a": 0.5}
    assert pod_loads(workload, seen(pod_samples={"rest": kv})) == {}
