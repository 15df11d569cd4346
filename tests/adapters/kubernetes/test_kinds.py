"""Kinds are found by discovery, asked once."""

import pytest
from kubernetes.client import Configuration

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import (
    AFTER_OUTAGE_SECONDS,
    ASK_AGAIN_SECONDS,
    Kind,
    Kinds,
)
from autoscaler.core.errors import ObservationError
from tests.adapters.kubernetes.conftest import HASTY
from tests.fakes.kubernetes import FakeApiServer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kinds(api: FakeApiServer, clock: Clock) -> Kinds:
    connection = Connection(
        Configuration(host=api.address), limits=HASTY, monotonic=clock, pause=lambda seconds: None
    )
    return Kinds(connection)


def test_a_kind_is_asked_for_once(api: FakeApiServer, kinds: Kinds) -> None:
    found = [kinds.find("apps/v1", "Deployment") for _ in range(3)]

    assert found == [Kind("apps/v1", "Deployment", "deployments", True, True)] * 3
    assert found[0].group == "apps"
    assert found[0].path("llm", "chat", "scale") == (
        "/apis/apps/v1/namespaces/llm/deployments/chat/scale"
    )
    assert len(api.requests) == 1


def test_kinds_of_the_core_group(kinds: Kinds) -> None:
    pod = kinds.find("v1", "Pod")

    assert (pod.group, pod.path()) == ("", "/api/v1/pods")
    assert not pod.scalable


def test_a_kind_outside_of_namespaces(kinds: Kinds) -> None:
    pool = kinds.find("karpenter.sh/v1", "NodePool")

    assert pool.path("ignored", "h100") == "/apis/karpenter.sh/v1/nodepools/h100"
    assert pool.scalable


@pytest.mark.parametrize(
    ("api_version", "kind", "message"),
    [
        ("apps/v1", "Deploy", "the cluster serves no Deploy of apps/v1"),
        ("ray.io/v1", "RayService", "get /apis/ray.io/v1: 404, the cluster does not serve"),
    ],
)
def test_a_kind_that_is_not_served_is_asked_for_again_after_a_while(
    api: FakeApiServer, kinds: Kinds, clock: Clock, api_version: str, kind: str, message: str
) -> None:
    for _ in range(3):
        with pytest.raises(ObservationError, match=message):
            kinds.find(api_version, kind)
    assert len(api.requests) == 1

    clock.now += ASK_AGAIN_SECONDS
    with pytest.raises(ObservationError, match=message):
        kinds.find(api_version, kind)
    assert len(api.requests) == 2


def test_an_outage_is_remembered_for_moments(
    api: FakeApiServer, kinds: Kinds, clock: Clock
) -> None:
    with api.faults.during(status=400) as fault:
        for _ in range(3):
            with pytest.raises(ObservationError, match="400, injected fault"):
                kinds.find("apps/v1", "Deployment")
        assert fault.hits == 1

    clock.now += AFTER_OUTAGE_SECONDS
    assert kinds.find("apps/v1", "Deployment").plural == "deployments"


def test_a_kind_that_moved_is_asked_for_again(api: FakeApiServer, kinds: Kinds) -> None:
    kinds.find("apps/v1", "Deployment")
    kinds.drop("apps/v1")
    kinds.drop("ray.io/v1")
    kinds.find("apps/v1", "Deployment")

    assert len(api.requests) == 2
