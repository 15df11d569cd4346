"""Pods: what is read of them, which are failing, and to whom they belong."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.label_selectors import Condition, Selector
from autoscaler.adapters.kubernetes.pods import (
    DELETION_COST,
    MARK,
    Pod,
    PodIndex,
    failing,
    read_pod,
    ready_replicas,
)
from autoscaler.core.observation import PodStatus
from tests.adapters.kubernetes.bodies import NOON, a_container, a_pod


def test_a_pod_is_read_as_policies_need_it() -> None:
    requests = {"requests": {"cpu": "500m", "memory": "2Gi", "nvidia.com/gpu": "4"}}

    pod = read_pod(a_pod(containers=(a_container(ready=True),)))
    full = read_pod(
        {
            **a_pod(),
            "spec": {"containers": [{"name": "engine", "resources": requests}]},
        }
    )

    assert pod.serves
    assert full.status == PodStatus(
        name="chat-a",
        phase="Running",
        ready=True,
        deleting=False,
        started=NOON,
        ready_changed=NOON,
        requests={"cpu": 0.5, "memory": 2 * 2**30, "nvidia.com/gpu": 4.0},
    )


def test_what_is_absent_is_not_known() -> None:
    pod = read_pod({"metadata": {"name": "x"}})

    assert pod.status == PodStatus("x", "Unknown", None, started=None, ready_changed=None)
    assert not pod.serves


@pytest.mark.parametrize(
    ("spec", "requests"),
    [
        pytest.param(
            {"containers": [{"resources": {"requests": {"cpu": "1"}}}, {}]},
            {},
            id="a container without a request leaves the sum unknown",
        ),
        pytest.param(
            {
                "containers": [{"resources": {"requests": {"cpu": "1"}}}],
                "initContainers": [
                    {"restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}}},
                    {"resources": {"requests": {"cpu": "9"}}},
                ],
            },
            {"cpu": 1.25},
            id="sidecars count, initialisation does not",
        ),
        pytest.param(
            {
                "containers": [{"resources": {"requests": {"cpu": "1"}}}],
                "resources": {"requests": {"cpu": "3"}},
            },
            {"cpu": 3.0},
            id="the pod's own request goes first",
        ),
        pytest.param(
            {"containers": [{"resources": {"requests": {"cpu": "many", "memory": "1"}}}]},
            {"memory": 1.0},
            id="what is no quantity is not known",
        ),
        pytest.param({}, {}, id="no containers"),
    ],
)
def test_requests(spec: Mapping[str, Any], requests: Mapping[str, float]) -> None:
    assert read_pod({**a_pod(), "spec": spec}).status.requests == requests


@pytest.mark.parametrize(
    ("pod", "fails"),
    [
        pytest.param(a_pod(), False, id="it serves"),
        pytest.param(a_pod(ready=False), False, id="it is starting"),
        pytest.param(
            a_pod(ready=False, containers=(a_container("ContainerCreating"),)),
            False,
            id="it is being made",
        ),
        *(
            pytest.param(
                a_pod(ready=False, phase="Pending", containers=(a_container(reason),)),
                True,
                id=reason,
            )
            for reason in (
                "CrashLoopBackOff",
                "ImagePullBackOff",
                "ErrImagePull",
                "InvalidImageName",
                "CreateContainerConfigError",
            )
        ),
        pytest.param(
            a_pod(ready=False, containers=(a_container(restarts=2),)),
            True,
            id="it runs again after two crashes",
        ),
        pytest.param(
            a_pod(ready=False, containers=(a_container(restarts=1),)),
            False,
            id="one crash may pass",
        ),
        pytest.param(
            a_pod(ready=False, containers=(a_container(restarts=3, exited=0),)),
            False,
            id="an initialisation that is done",
        ),
        pytest.param(
            a_pod(containers=(a_container(ready=True, restarts=9),)),
            False,
            id="crashes of long ago",
        ),
        pytest.param(
            a_pod(ready=False, containers=(a_container("CrashLoopBackOff"),), deleting=True),
            False,
            id="it is being deleted",
        ),
        pytest.param(
            a_pod(ready=False, phase="Failed", containers=(a_container("CrashLoopBackOff"),)),
            False,
            id="it was evicted: another was made instead",
        ),
    ],
)
def test_pods_that_will_not_come_up_are_failing(pod: Mapping[str, Any], fails: bool) -> None:
    assert failing([read_pod(pod)], NOON, 600) == int(fails)


def test_a_crashing_initialisation_fails_the_pod() -> None:
    body = a_pod(ready=False, phase="Pending")
    body["status"]["initContainerStatuses"] = [a_container("CrashLoopBackOff")]

    assert failing([read_pod(body)], NOON, 600) == 1


@pytest.mark.parametrize(("later", "fails"), [(599, 0), (600, 1)])
def test_a_pod_fails_when_no_node_has_taken_it_for_too_long(later: float, fails: int) -> None:
    pod = read_pod(a_pod(ready=None, phase="Pending", unschedulable=True))

    assert failing([pod], NOON + later, 600) == fails


def test_a_group_of_pods_that_is_one_replica_fails_once() -> None:
    group = "leaderworkerset.sigs.k8s.io/group-index"
    pods = [
        read_pod(
            a_pod(name, ready=False, labels={group: "0"}, containers=(a_container("ErrImagePull"),))
        )
        for name in ("leader", "worker-1", "worker-2")
    ]

    assert failing(pods, NOON, 600) == 1


def test_only_pods_that_serve_are_ready() -> None:
    bodies = (
        a_pod("a"),
        a_pod("b", ready=False),
        a_pod("c", deleting=True),
        a_pod("d", ready=None),
    )

    assert ready_replicas(map(read_pod, bodies)) == 1


@pytest.mark.parametrize(
    ("annotations", "marked"),
    [
        pytest.param({DELETION_COST: "-5", MARK: "1700000000"}, NOON, id="ours"),
        pytest.param({DELETION_COST: "-5"}, None, id="somebody else's"),
        pytest.param({DELETION_COST: "-5", MARK: "soon"}, None, id="a mark that is none"),
    ],
)
def test_a_deletion_cost_is_ours_only_with_our_mark(
    annotations: Mapping[str, str], marked: float | None
) -> None:
    pod = read_pod(a_pod(annotations=annotations))

    assert (pod.deletion_cost, pod.marked) == ("-5", marked)


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))
pods = st.lists(
    st.builds(Pod, st.sampled_from(["n", "m"]), labels, st.builds(PodStatus, st.text("pq"))),
    max_size=8,
)
selectors = st.builds(
    Selector,
    labels.map(lambda wanted: tuple(sorted(wanted.items()))),
    st.lists(st.builds(Condition, st.sampled_from("abc"), st.just("Exists")), max_size=1).map(
        tuple
    ),
)


@given(pods=pods, wanted=st.lists(selectors, max_size=4))
def test_an_index_finds_what_a_selector_picks(pods: list[Pod], wanted: list[Selector]) -> None:
    index = PodIndex(lambda: pods)

    for selector in wanted:
        found = index.of("n", selector)
        expected = [pod for pod in pods if pod.namespace == "n" and selector.matches(pod.labels)]
        assert sorted(found, key=id) == sorted(expected, key=id)
        assert [pod.name for pod in found] == sorted(pod.name for pod in found)


def test_an_index_that_is_not_asked_reads_nothing() -> None:
    def read() -> list[Pod]:
        raise AssertionError("nobody asked")

    PodIndex(read)
